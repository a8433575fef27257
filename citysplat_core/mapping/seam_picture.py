"""A picture of the seams: where two components hold the same photo, and how far apart."""

from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from citysplat_core.mapping.graph import Floats, Ints
from citysplat_core.storage import published

_LEAST_M: Final = 0.01
_MOST_M: Final = 3.0


def draw_seams(path: Path, places: Floats, seams: Ints, *, apart_m: float) -> None:
    """Draw all cameras in grey and the shared photos in the colour of their gap.

    Args:
        path: The PNG to make.
        places: Places of all registrations, metres, shape (N, 3).
        seams: Row pairs that are one photo in two components, shape (S, 2).
        apart_m: Gaps over this are ringed.
    """
    figure = Figure(figsize=(9, 9), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(places[:, 0], places[:, 1], ".", color="#c9cfd6", ms=3, zorder=1)
    first, second = places[seams[:, 0]], places[seams[:, 1]]
    gap = np.linalg.norm(first - second, axis=1)
    where = (first + second) / 2
    order = np.argsort(gap)  # the widest on top
    dots = axes.scatter(
        where[order, 0], where[order, 1], c=np.clip(gap[order], _LEAST_M, _MOST_M), s=26,
        cmap="turbo", norm=LogNorm(_LEAST_M, _MOST_M), zorder=3,
    )  # fmt: skip
    wide = gap > apart_m
    axes.plot(*where[wide, :2].T, "o", mfc="none", mec="#c00000", ms=11, zorder=4)
    figure.colorbar(dots, ax=axes, label="distance of the two places, metres", shrink=0.7)
    told = f", median {np.median(gap):.3f} m" if len(gap) else ""
    axes.set_title(
        f"Photos that two components hold: {len(seams)}{told}\n"
        f"grey: all cameras; ringed: more than {apart_m:g} m apart",
        fontsize=10,
    )
    axes.set_aspect("equal")
    axes.ticklabel_format(useOffset=False)
    axes.set_xlabel("east, metres")
    axes.set_ylabel("north, metres")
    with published(path) as stream:
        canvas.print_png(stream)  # type: ignore[no-untyped-call]
