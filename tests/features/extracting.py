"""Extraction of a box in a test's own folders, and a look into what it wrote."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from citysplat_core.features import extract_box_features
from citysplat_core.settings import FeatureSettings
from citysplat_core.storage import StepReport, no_progress


def run(
    folder: Path,
    box_images: Path,
    *,
    tag: str = "out",
    threads: int = 1,
    progress: Callable[[int, int, str], None] = no_progress,
    **settings: Any,
) -> tuple[Path, StepReport]:
    """Extract into ``folder / tag``; a second run with that tag goes on with its work."""
    out, work = folder / tag, folder / f"{tag}-work"
    out.mkdir(exist_ok=True)
    work.mkdir(exist_ok=True)
    report = extract_box_features(
        "0213",
        box_images=box_images,
        out=out,
        work=work,
        settings=FeatureSettings(**settings),
        n_threads=threads,
        progress=progress,
    )
    return out, report


def rows_of(path: Path, query: str) -> list[tuple[Any, ...]]:
    """Ask a database."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()
