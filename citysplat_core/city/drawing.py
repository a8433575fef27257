"""Pictures of a whole city for its report: boxes, match graph, camera paths, from above."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

STATE_COLOURS = {
    "done": "#1f8a70",
    "skipped": "#a39c8f",
    "failed": "#c4472f",
    "missing": "#8fa3b0",
}
"""Colours of the states, as in the viewer."""

_INK = "#1c2529"
_PLACED, _LOST = "#24507a", "#b08968"
_WIDTH_IN = 9.0
_DPI = 120


def draw_boxes_map(city: Mapping[str, Any], cameras: Mapping[str, Any]) -> bytes:
    """Draw the boxes coloured by state, and all photos.

    Args:
        city: ``city.json``.
        cameras: ``cameras.geojson``.

    Returns:
        A PNG picture.
    """
    west, south, east, north = city["bounds"]
    squeeze = float(np.cos(np.radians((south + north) / 2)))
    figure, axes = _canvas((east - west) * squeeze, north - south)
    for box in city["boxes"]:
        colour = STATE_COLOURS[box["state"]]
        size = (box["east"] - box["west"], box["north"] - box["south"])
        corner = (box["west"], box["south"])
        axes.add_patch(Rectangle(corner, *size, facecolor=colour, alpha=0.25))
        axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=colour, linewidth=1.2))
    points = [feature["geometry"]["coordinates"] for feature in cameras["features"]]
    places = np.array(points, float).reshape(-1, 2)
    placed = np.array([f["properties"]["registered"] for f in cameras["features"]], dtype=bool)
    for mask, colour, label in ((placed, _PLACED, "placed"), (~placed, _LOST, "not placed")):
        name = f"{int(mask.sum())} photos {label}"
        axes.scatter(places[mask, 0], places[mask, 1], s=5, color=colour, linewidths=0, label=name)
    states = [box["state"] for box in city["boxes"]]
    for state, colour in STATE_COLOURS.items():
        if state in states:
            name = f"{states.count(state)} boxes {state}"
            axes.add_patch(Rectangle((west, south), 0, 0, facecolor=colour, label=name))
    margin = 0.02 * max(east - west, north - south)
    axes.set_xlim(west - margin, east + margin)
    axes.set_ylim(south - margin, north + margin)
    axes.set_aspect(1 / squeeze)
    _legend(axes, columns=3)
    return _png(figure)


def draw_match_graph(photos: pd.DataFrame, pairs: Sequence[Path]) -> bytes:
    """Draw all verified pairs of a city as lines between the photos.

    Args:
        photos: The plan's ``images.parquet``: colmap_id, east_m, north_m.
        pairs: ``pairs.parquet`` of boxes and fringes.

    Returns:
        A PNG picture; pairs that only fringes proposed have a colour of their own.
    """
    figure, axes = _canvas(*_spread(photos))
    place = photos.set_index("colmap_id")[["east_m", "north_m"]]
    columns = ["colmap_id_a", "colmap_id_b", "sources", "state"]
    tables = [pd.read_parquet(path, columns=columns) for path in pairs]
    filled = [table for table in tables if len(table)]
    table = pd.concat(filled) if filled else pd.DataFrame(columns=columns)
    known = table["colmap_id_a"].isin(place.index) & table["colmap_id_b"].isin(place.index)
    table = table[(table["state"] == "verified") & known]
    is_fringe = (table["sources"] == "fringe").to_numpy()
    for mask, colour, label in (
        (~is_fringe, _PLACED, "inside boxes"),
        (is_fringe, "#d97b1c", "across borders"),
    ):
        part = table[mask]
        ends = [place.loc[part[c]].to_numpy(float) for c in ("colmap_id_a", "colmap_id_b")]
        lines = LineCollection(
            list(np.stack(ends, axis=1)), colors=colour, linewidths=0.5, alpha=0.45
        )
        axes.add_collection(lines)
        axes.plot([], [], color=colour, label=f"{len(part):,} verified pairs {label}")
    axes.scatter(place["east_m"], place["north_m"], s=4, color=_INK, linewidths=0, zorder=3)
    _metres(axes)
    return _png(figure)


def draw_camera_paths(cameras: pd.DataFrame, photos: pd.DataFrame) -> bytes:
    """Draw the solved cameras from above with a line to where GPS put them.

    Args:
        cameras: The alignment's ``cameras.parquet``: image_id, east_m, north_m.
        photos: The plan's ``images.parquet``: image_id, east_m, north_m.

    Returns:
        A PNG picture; the lines are the horizontal GPS residuals at true scale.
    """
    figure, axes = _canvas(*_spread(photos))
    both = cameras.merge(photos, on="image_id", suffixes=("", "_gps"))
    solved = both[["east_m", "north_m"]].to_numpy(float)
    measured = both[["east_m_gps", "north_m_gps"]].to_numpy(float)
    gap = np.linalg.norm(solved - measured, axis=1)
    lines = LineCollection(
        list(np.stack([solved, measured], axis=1)), colors="#c4472f", linewidths=0.7, alpha=0.7
    )
    axes.add_collection(lines)
    median = f"median {np.median(gap):.2f} m" if gap.size else "none"
    axes.plot([], [], color="#c4472f", label=f"GPS residual, {median}")
    east, north = solved.T
    axes.scatter(east, north, s=6, color=_PLACED, linewidths=0, zorder=3, label="Solved position")
    _metres(axes)
    return _png(figure)


def _spread(photos: pd.DataFrame) -> tuple[float, float]:
    east, north = np.ptp(photos[["east_m", "north_m"]].to_numpy(float), axis=0)
    return float(east), float(north)


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Make a figure that has about the shape of what it shows."""
    ratio = float(np.clip(height / max(width, 1e-12), 0.35, 0.85))
    figure = Figure(figsize=(_WIDTH_IN, _WIDTH_IN * ratio + 0.5), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.tick_params(labelsize=8, colors="#5d686d")
    axes.ticklabel_format(useOffset=False, style="plain")
    for spine in axes.spines.values():
        spine.set_color("#dcd8cf")
    return figure, axes


def _metres(axes: Axes) -> None:
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel("east, metres", fontsize=9)
    axes.set_ylabel("north, metres", fontsize=9)
    _legend(axes, columns=2)


def _legend(axes: Axes, *, columns: int) -> None:
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns, fontsize=9, frameon=False
    )


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    # Without the program's version in it, the same numbers give the same bytes.
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
