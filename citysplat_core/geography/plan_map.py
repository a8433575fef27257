"""The picture of a box plan."""

from math import cos, radians
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from citysplat_core.geography.plan import BoxPlan

_MOST_POINTS = 60_000
_MOST_LABELS = 64
_COLOURS = 20


def draw_plan(
    plan: BoxPlan,
    lon: NDArray[np.float64],
    lat: NDArray[np.float64],
    box: NDArray[np.int64],
    file: Path,
) -> None:
    """Draw boxes, fringes and photos on a plain map.

    Of very many photos every n-th is drawn, 60,000 at most.

    Args:
        plan: The plan.
        lon: Longitudes of the photos, degrees, shape (N,).
        lat: Latitudes, degrees, shape (N,).
        box: Number of each photo's box in the plan, shape (N,).
        file: PNG to write, 1,000 px wide.
    """
    figure = Figure(figsize=(10, 9), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    corners = [
        [(b.west, b.south), (b.east, b.south), (b.east, b.north), (b.west, b.north)]
        for b in plan.boxes
    ]
    axes.add_collection(PolyCollection(corners, facecolors="none", edgecolors="#345", lw=1.2))
    if len(plan.boxes) <= _MOST_LABELS:
        _label(axes, plan)
    middle = {b.key: ((b.west + b.east) / 2, (b.south + b.north) / 2) for b in plan.boxes}
    lines = [(middle[fringe.a], middle[fringe.b]) for fringe in plan.fringes]
    axes.add_collection(LineCollection(lines, colors="#e09f3e", lw=0.8, alpha=0.7, zorder=1))
    step = max(1, -(-len(lon) // _MOST_POINTS))
    size = 6 if step == 1 else 1
    colours = box[::step] % _COLOURS
    axes.scatter(
        lon[::step], lat[::step], c=colours, cmap="tab20", vmin=0, vmax=_COLOURS, s=size, zorder=2
    )
    south, north = min(b.south for b in plan.boxes), max(b.north for b in plan.boxes)
    axes.set_aspect(_aspect((south + north) / 2))
    axes.autoscale_view()
    axes.ticklabel_format(useOffset=False)
    axes.tick_params(labelsize=7)
    axes.set_xlabel("longitude")
    axes.set_ylabel("latitude")
    axes.set_title(
        f"{plan.city}: {len(plan.boxes)} boxes, {len(plan.fringes)} fringes, {len(lon)} photos"
    )
    figure.savefig(file)


def _label(axes: Axes, plan: BoxPlan) -> None:
    for box in plan.boxes:
        axes.text(
            box.west + 0.03 * (box.east - box.west),
            box.north - 0.04 * (box.north - box.south),
            f"{box.key[-6:]}\n{box.n_images} photos",
            fontsize=8,
            va="top",
            color="#345",
        )


def _aspect(lat_deg: float) -> float:
    """Give the aspect at which a degree of longitude looks as long as it is."""
    return 1.0 / cos(radians(lat_deg))
