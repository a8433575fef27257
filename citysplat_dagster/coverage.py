"""The tiles of a ledger as Dagster shows them: a picture and a table."""

from typing import Any

import dagster as dg

from citysplat_core.imagery.tables import TILES_SCHEMA, read_table
from citysplat_core.storage import Artifact
from citysplat_dagster.results import picture

_MOST_ROWS = 500
_MOST_IN_A_CHECK = 40
_OPEN = ("failed", "unknown")
_MAP = "map of tiles"


def tile_table(made: Artifact) -> dict[str, dg.MetadataValue[Any]]:
    """Give one row a tile: those without an answer first, then those with news."""
    rows = _rows(made)
    shown = [dg.TableRecord(_cells(row)) for row in rows[:_MOST_ROWS]]
    return {f"tiles ({len(shown)} of {len(rows)})": dg.MetadataValue.table(shown)}


def coverage_metadata(made: Artifact) -> dict[str, dg.MetadataValue[Any]]:
    """Give the map of the tiles, and a table of those that are open or have news."""
    notable = [r for r in _rows(made) if r["state"] in _OPEN or r["n_new"] or r["n_gone"]]
    found: dict[str, dg.MetadataValue[Any]] = {}
    name = made.manifest["previews"].get(_MAP)
    if name is not None:
        found[_MAP] = dg.MetadataValue.md(picture(_MAP, made.path / name))
    if notable:
        found["open and changed tiles"] = dg.MetadataValue.md(_markdown(notable))
    return found


def _rows(made: Artifact) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_table(made.path / "tiles.parquet", TILES_SCHEMA).to_pylist()
    rows.sort(key=lambda r: (r["state"] not in _OPEN, not (r["n_new"] or r["n_gone"])))
    return rows


def _cells(row: dict[str, Any]) -> dict[str, str | int | float | bool | None]:
    at = row["fetched_at"]
    return {
        "tile": f"{row['z']}/{row['x']}/{row['y']}",
        "state": row["state"],
        "images": row["n_images"],
        "new": row["n_new"],
        "gone": row["n_gone"],
        "unchanged": row["n_unchanged"],
        "read at": at.isoformat(sep=" ", timespec="minutes") if at else None,
        "tries": row["tries"],
        "reason": row["reason"],
    }


def _markdown(rows: list[dict[str, Any]]) -> str:
    cells = [_cells(row) for row in rows[:_MOST_IN_A_CHECK]]
    names = list(cells[0])
    lines = [" | ".join(names), " | ".join("---" for _ in names)]
    lines += [" | ".join("" if v is None else str(v) for v in c.values()) for c in cells]
    if len(rows) > len(cells):
        lines.append(f"{len(rows) - len(cells)} more | " + " | ".join("" for _ in names[1:]))
    return "\n".join(f"| {line} |" for line in lines)
