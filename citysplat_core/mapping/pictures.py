"""Pictures from above: where cameras are, where GPS says, and how far apart the two are."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from citysplat_core.storage import published

Floats = NDArray[np.float64]

_COLOURS = ("#0b6fb8", "#d1495b", "#2a9d5c", "#8f5bd0", "#e08e1b", "#17a3a3", "#7a5230", "#c13fa6")
_MAX_POINTS = 40_000
_MARGIN_M = 12.0
_LEAP_M = 40.0


def draw_from_above(
    path: Path,
    *,
    title: str,
    cameras: pd.DataFrame,
    gps: pd.DataFrame,
    points: tuple[Floats, NDArray[np.uint8]] | None = None,
) -> None:
    """Draw cameras, GPS positions and the arrows between them.

    Args:
        path: The PNG to make.
        title: Heading.
        cameras: One row a registered photo: colmap_id, group (any label), east_m, north_m and the
            pose columns qw, qx, qy, qz.
        gps: One row a photo, registered or not: colmap_id, east_m, north_m; with sequence_id and
            captured_at the drives are drawn as lines. Photos without a position are not shown, and
            counted in the title.
        points: Positions (N, 3) in metres and colours (N, 3), or None.
    """
    figure = Figure(figsize=(9, 9), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if points is not None:
        _draw_points(axes, *points)
    placed = gps[np.isfinite(gps[["east_m", "north_m"]].to_numpy(float)).all(axis=1)]
    _draw_streets(axes, placed)
    absent = placed[~placed["colmap_id"].isin(cameras["colmap_id"])]
    axes.plot(absent["east_m"], absent["north_m"], "x", color="#c00000", ms=6, zorder=6)
    both = cameras.merge(placed, on="colmap_id", suffixes=("", "_gps"))
    axes.plot(
        both["east_m_gps"], both["north_m_gps"], "o", mfc="none", mec="#333333", ms=4, zorder=3
    )
    _draw_arrows(axes, both)
    for number, (label, group) in enumerate(cameras.groupby("group", sort=True)):
        _draw_cameras(axes, group, str(label), _COLOURS[number % len(_COLOURS)])
    _frame(axes, both, absent)
    lost = f", {len(gps) - len(placed)} without a position" if len(placed) < len(gps) else ""
    axes.set_title(
        f"{title}\n{len(cameras)} of {len(gps)} photos{lost}; circles and lines: GPS; "
        "arrows: from GPS to the solved place; red crosses: no pose",
        fontsize=10,
    )
    if cameras["group"].nunique() <= 12 and len(cameras):
        axes.legend(loc="upper right", fontsize=8)
    with published(path) as stream:
        canvas.print_png(stream)  # type: ignore[no-untyped-call]


def _draw_streets(axes: Axes, gps: pd.DataFrame) -> None:
    """Draw each drive as a thin line through its positions, broken where it leaps."""
    if "sequence_id" not in gps or "captured_at" not in gps:
        return
    lines = []
    ordered = gps.sort_values(["captured_at", "colmap_id"])
    for _, drive in ordered.groupby("sequence_id", sort=True):
        place = drive[["east_m", "north_m"]].to_numpy(float)
        step = np.linalg.norm(np.diff(place, axis=0), axis=1)
        if len(step):
            leaps = np.flatnonzero(step > max(_LEAP_M, 5 * float(np.median(step)))) + 1
            lines += [part for part in np.split(place, leaps) if len(part) > 1]
    axes.add_collection(LineCollection(lines, colors="#9aa7b5", linewidths=0.9, zorder=2))


def _draw_arrows(axes: Axes, both: pd.DataFrame) -> None:
    """Draw what lies between a photo's position and where it was solved."""
    if not len(both):
        return
    off = both[["east_m", "north_m"]].to_numpy(float)
    start = both[["east_m_gps", "north_m_gps"]].to_numpy(float)
    axes.quiver(
        *start.T,
        *(off - start).T,
        angles="xy",
        scale_units="xy",
        scale=1,
        width=0.0016,
        headwidth=5,
        headlength=6,
        color="#333333",
        zorder=4,
    )


def _draw_points(axes: Axes, positions: Floats, colours: NDArray[np.uint8]) -> None:
    step = max(1, len(positions) // _MAX_POINTS)
    shades = np.clip(colours[::step].astype(float) / 255, 0, 1)
    axes.scatter(
        positions[::step, 0], positions[::step, 1], s=1.0, c=shades, linewidths=0, zorder=1
    )


def _draw_cameras(axes: Axes, group: pd.DataFrame, label: str, colour: str) -> None:
    """Draw dots with a tick in the direction of view."""
    forward = _forward(group)
    east, north = group["east_m"].to_numpy(), group["north_m"].to_numpy()
    axes.plot(east, north, ".", color=colour, ms=7, label=f"{label}: {len(group)}", zorder=5)
    axes.quiver(
        east, north, forward[:, 0], forward[:, 1], color=colour, width=0.002, scale=45, zorder=4
    )


def _forward(group: pd.DataFrame) -> Floats:
    """Give the horizontal part of the viewing direction (third row of the rotation matrix)."""
    w, x, y, z = (group[name].to_numpy() for name in ("qw", "qx", "qy", "qz"))
    return np.stack([2 * (x * z - w * y), 2 * (y * z + w * x)], axis=1)


def _frame(axes: Axes, both: pd.DataFrame, absent: pd.DataFrame) -> None:
    """Show cameras and GPS, not the farthest point or the worst GPS position."""
    names: list[tuple[pd.DataFrame, str, str]] = [
        (both, "east_m", "north_m"),
        (both, "east_m_gps", "north_m_gps"),
        (absent, "east_m", "north_m"),
    ]
    places = np.concatenate([t[[e, n]].to_numpy(float).reshape(-1, 2) for t, e, n in names])
    axes.set_aspect("equal")
    axes.ticklabel_format(useOffset=False)
    axes.set_xlabel("east, metres")
    axes.set_ylabel("north, metres")
    if not len(places):
        return
    middle = np.median(places, axis=0)
    near: Any = np.abs(places - middle).max(axis=1)
    reach = float(np.percentile(near, 98)) + _MARGIN_M
    axes.set_xlim(middle[0] - reach, middle[0] + reach)
    axes.set_ylim(middle[1] - reach, middle[1] + reach)
