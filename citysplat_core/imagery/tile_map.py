"""The picture of a tile ledger: what was read, what was not, what is new and what has gone."""

from math import cos, radians
from pathlib import Path
from typing import Any

import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch, PathPatch, Rectangle
from matplotlib.path import Path as Outline

from citysplat_core.geography import Area, tile_bounds

_COLOURS = {
    "complete": "#b7dfb0",
    "empty": "#eef0f2",
    "unknown": "#f2c14e",
    "failed": "#e4572e",
}
_MOST_LABELLED = 150
_INK: dict[str, Any] = {
    "color": "#123",
    "bbox": {"facecolor": "white", "alpha": 0.6, "lw": 0, "pad": 2},
}


def draw_tiles(tiles: pa.Table, area: Area, file: Path) -> None:
    """Draw the tiles of an area, coloured by state, with their numbers.

    Args:
        tiles: ``TILES_SCHEMA`` of the ledger.
        area: Drawn as an outline.
        file: PNG to write, 1,000 px wide.
    """
    rows = tiles.to_pylist()
    figure = Figure(figsize=(10, 9), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for row in rows:
        west, south, east, north = tile_bounds(row["z"], row["x"], row["y"])
        axes.add_patch(
            Rectangle(
                (west, south), east - west, north - south, facecolor=_COLOURS[row["state"]],
                edgecolor="#345", lw=0.8,
            )
        )  # fmt: skip
        if len(rows) <= _MOST_LABELLED:
            size = 11 if len(rows) <= 9 else 7
            at = ((west + east) / 2, (south + north) / 2)
            axes.text(*at, _label(row), fontsize=size, ha="center", va="center", **_INK)
        elif row["n_new"] or row["n_gone"]:
            axes.plot((west + east) / 2, (south + north) / 2, "o", ms=3, color="#2e5ae4")
    _draw_outline(axes, area)
    _finish(axes, rows)
    figure.savefig(file)


def _label(row: dict[str, Any]) -> str:
    """Say what is known of a tile: its column and row, images, news, and the date of an answer."""
    lines = [f"{row['x']}/{row['y']}"]
    if row["state"] not in {"complete", "empty"}:
        lines.append(f"{row['state']}, {row['tries']} tries" if row["tries"] else "not asked yet")
    if row["n_images"] is not None:
        lines.append(f"{row['n_images']:,} images")
    if row["n_new"] or row["n_gone"]:
        lines.append(f"+{row['n_new']:,}  \N{MINUS SIGN}{row['n_gone']:,}")
    if row["fetched_at"] is not None:
        lines.append(f"{row['fetched_at']:%Y-%m-%d}")
    return "\n".join(lines)


def _draw_outline(axes: Axes, area: Area) -> None:
    for part in getattr(area.polygon, "geoms", [area.polygon]):
        for ring in (part.exterior, *part.interiors):
            axes.add_patch(
                PathPatch(Outline(list(ring.coords)), fill=False, edgecolor="#c2185b", lw=1.6)
            )


def _finish(axes: Axes, rows: list[dict[str, Any]]) -> None:
    bounds = [tile_bounds(row["z"], row["x"], row["y"]) for row in rows]
    west, south = min(b[0] for b in bounds), min(b[1] for b in bounds)
    east, north = max(b[2] for b in bounds), max(b[3] for b in bounds)
    axes.set_xlim(west, east)
    axes.set_ylim(south, north)
    axes.set_aspect(1.0 / cos(radians((south + north) / 2)))
    axes.ticklabel_format(useOffset=False)
    axes.tick_params(labelsize=7)
    axes.set_xlabel("longitude")
    axes.set_ylabel("latitude")
    number = {state: sum(row["state"] == state for row in rows) for state in _COLOURS}
    handles = [
        Patch(facecolor=colour, edgecolor="#345", label=f"{state}: {number[state]}")
        for state, colour in _COLOURS.items()
    ]
    axes.figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=9)
    new, gone = (sum(row[name] or 0 for row in rows) for name in ("n_new", "n_gone"))
    axes.set_title(f"{len(rows)} tiles: {new:,} images new, {gone:,} gone since the look before")
