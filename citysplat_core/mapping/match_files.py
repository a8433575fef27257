"""The databases of verified pairs that a box is solved from: all there, and none damaged."""

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq

from citysplat_core.errors import MappingError


def need_databases(artifacts: Iterable[Path], box: str) -> list[Path]:
    """List the ``matches.db`` of artifacts.

    An artifact without verified pairs may lack it; one whose table names verified pairs may not: a
    lost file would look like photos that nothing ties together.

    Args:
        artifacts: Folders of ``box_matches`` and ``fringe_matches``.
        box: The box that they are for.

    Raises:
        MappingError: An artifact lost its database.
    """
    found = []
    for folder in artifacts:
        file = folder / "matches.db"
        if file.is_file():
            found.append(file)
        elif n_pairs := _verified_pairs(folder / "pairs.parquet"):
            raise MappingError(
                f"{file} does not exist, though {n_pairs} pairs are verified",
                expected="the database of verified pairs beside pairs.parquet",
                fix=_remedy(folder),
                box=box,
            )
    return found


def _verified_pairs(table: Path) -> int:
    if not table.is_file():
        return 0
    states = pq.read_table(table, columns=["state"]).column("state").to_pylist()
    return int(states.count("verified"))


def refuse_damaged(databases: Sequence[Path], box: str) -> None:
    """Name the first database that is damaged; none is named if the fault lies elsewhere.

    Args:
        databases: SQLite files.
        box: The box that they are for.

    Raises:
        MappingError: A file is no whole database.
    """
    for file in databases:
        damage = _damage(file)
        if damage:
            raise MappingError(
                f"{file} is damaged ({damage})",
                expected="a whole COLMAP database of verified pairs",
                fix=_remedy(file.parent),
                box=box,
            )


def _damage(file: Path) -> str:
    try:
        uri = file.resolve().as_uri() + "?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            told = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            connection.execute("SELECT COUNT(*) FROM two_view_geometries").fetchone()
    except sqlite3.DatabaseError as error:
        return str(error)
    return "" if told == "ok" else " ".join(str(told).split())


def _remedy(folder: Path) -> str:
    return (
        "Restore it (`citysplat restore`), or delete the folder "
        f"{folder} and the file `current` beside it, and run again."
    )
