"""A mapper's job on a street, as most tests of mappers want it."""

from pathlib import Path
from typing import Any

import pandas as pd

from citysplat_core.mapping.mappers import MapJob
from citysplat_core.mapping.watch import Watch
from citysplat_core.settings import MappingSettings


def map_job(street, folder: Path, database: str = "m.db", **others: Any) -> MapJob:
    """Give the job of mapping a database in a folder; the street's camera is known."""
    told = {
        "database": folder / database,
        "photos": folder,
        "out": folder / "out",
        "images": pd.DataFrame(),
        "positions": street.positions(),
        "partners": {},
        "sequences": [],
        "fixed_cameras": frozenset({7}),
        "settings": MappingSettings(),
        "n_threads": 1,
        "tick": lambda _, __: None,
        "beat": lambda: None,
        "watch": Watch(600),
    }
    return MapJob(**told | others)
