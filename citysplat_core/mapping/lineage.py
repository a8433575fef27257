"""How a model came to be: solved at once, or updated from the version before, and since when.

An updated model depends on its history, so the history is kept with it: what the box was when it
was last solved, which pairs that was made of, and every update since.
"""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pycolmap

from citysplat_core.errors import StorageError
from citysplat_core.mapping.tables import write_table
from citysplat_core.mapping.vouching import Partners
from citysplat_core.settings import MappingSettings, PriorSettings
from citysplat_core.storage import (
    digest_of,
    read_json,
    settings_dict,
    versions_of,
    warn_of_damage,
    whole_file_of,
    write_json,
)

log = logging.getLogger(__name__)

_VERSION: Final = 1
"""Raised when models that were made before can no longer be updated."""

MadeBy = Literal["solved", "updated", "solved again"]

PLACE_COLUMNS: Final = ("east_m", "north_m", "up_m")
SOLVED_SCHEMA: Final = pa.schema(
    [
        ("colmap_id", pa.int32()),
        ("component", pa.int32()),
        *[(name, pa.float64()) for name in (*PLACE_COLUMNS, "gps_residual_m")],
    ]
)
"""``solved/images.parquet``: every photo that the box had when it was solved, and its place then
(component -1 and NaN if it had none)."""
PAIR_SCHEMA: Final = pa.schema([("colmap_id_a", pa.int32()), ("colmap_id_b", pa.int32())])
"""``solved/pairs.parquet``: the verified pairs that the solution was made of."""

_FILE: Final = "lineage.json"
_TABLES: Final = ("images.parquet", "solved/images.parquet", "solved/pairs.parquet")


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """Where a model comes from.

    Attributes:
        made_by: How this version was made.
        because: Why it was solved again; empty otherwise.
        recipe: Digest of settings, step and library versions.
        strategy: The mapper that solved it last.
        pixel_error: Mean reprojection error when it was solved, pixels; NaN if nothing was.
        updates: Every update since it was solved, the oldest first: ``from`` (fingerprint of the
            version before), ``n_added``, ``n_dropped``, ``n_failed``, ``drift_m``, ``cpu_seconds``.
        left: Fingerprint of the version that was given up, if it was solved again.
    """

    made_by: MadeBy
    recipe: str
    strategy: str = ""
    pixel_error: float = float("nan")
    because: str = ""
    updates: tuple[dict[str, Any], ...] = ()
    left: str = ""

    def describe(self) -> str:
        """Say it in one line."""
        if self.made_by == "updated":
            last = self.updates[-1]
            counts = ", ".join(f"{last[f'n_{k}']} {k}" for k in ("added", "dropped", "failed"))
            return f"updated ({counts})"
        return f"solved again because {self.because}" if self.because else self.made_by

    def counts(self) -> dict[str, int | float | str]:
        """Give its flat numbers for a manifest."""
        last = self.updates[-1] if self.made_by == "updated" else {}
        told: dict[str, int | float | str] = {
            "made_by": self.describe(),
            "n_updates": len(self.updates),
        }
        names = ("n_added", "n_dropped", "n_failed", "drift_m")
        return told | {name: last[name] for name in names if name in last}


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """A finished version of a box that may be updated.

    Attributes:
        folder: The artifact.
        lineage: How it came to be.
        images: Its ``images.parquet``.
        components: Numbers of its accepted components, the largest first.
        solved: Photos and their places when it was solved, columns of ``SOLVED_SCHEMA``.
        pairs: Verified pairs when it was solved.
    """

    folder: Path
    lineage: Lineage
    images: pd.DataFrame
    components: tuple[int, ...]
    solved: pd.DataFrame
    pairs: frozenset[tuple[int, int]]

    def model(self, number: int) -> pycolmap.Reconstruction:
        """Read one of its components, city frame."""
        return pycolmap.Reconstruction(self.folder / "components" / str(number))

    @property
    def fingerprint(self) -> str:
        """Name of the version."""
        return self.folder.name

    @property
    def registered(self) -> set[int]:
        """Photos that it has placed."""
        return set(self.images.loc[self.images["component"] >= 0, "colmap_id"].tolist())


def recipe_of(settings: MappingSettings, priors: PriorSettings | None, version: str) -> str:
    """Digest what a model is made by; one made otherwise is solved again, never updated.

    Args:
        settings: Of mapping.
        priors: Of priors; None: the defaults.
        version: Of the step.
    """
    return digest_of(
        {
            "version": _VERSION,
            "step": version,
            "mapping": settings_dict(settings),
            "priors": settings_dict(priors or PriorSettings()),
            "libraries": versions_of(("pycolmap",)),
        }
    )


def pairs_of(partners: Partners) -> frozenset[tuple[int, int]]:
    """Give the pairs of a table of partners, the smaller id first."""
    return frozenset((a, b) for a, others in partners.items() for b in others if a < b)


def write_lineage(
    out: Path, lineage: Lineage, solved: pd.DataFrame, pairs: frozenset[tuple[int, int]]
) -> None:
    """Write ``lineage.json`` and the folder ``solved`` of an artifact.

    Args:
        out: The artifact.
        lineage: How it was made.
        solved: Photos and places when it was solved, columns of ``SOLVED_SCHEMA``.
        pairs: Verified pairs when it was solved.
    """
    (out / "solved").mkdir()
    write_table(out / "solved" / "images.parquet", solved, SOLVED_SCHEMA)
    rows = np.array(sorted(pairs), dtype=np.int32).reshape(-1, 2)
    table = pd.DataFrame(rows, columns=PAIR_SCHEMA.names)
    write_table(out / "solved" / "pairs.parquet", table, PAIR_SCHEMA)
    value = asdict(lineage)
    value["pixel_error"] = None if np.isnan(lineage.pixel_error) else lineage.pixel_error
    write_json(out / _FILE, {"version": _VERSION, **value})


def read_earlier(folder: Path | None, box: str) -> tuple[Earlier | None, str]:
    """Read the version in force of a box, every file checked against its manifest.

    Args:
        folder: The artifact ``sparse_model``; None if there is none.
        box: Key of the box.

    Returns:
        The version, and an empty text; or None and why it cannot be updated: it is damaged, or
        holds no model. Without a version of this box that says how it was made the text is empty,
        too.
    """
    if folder is None or not (folder / _FILE).is_file():
        return None, ""
    try:
        manifest = read_json(folder / "manifest.json")
        if manifest["partition"] != box:  # the box is a part of one that was too large
            return None, ""
        names = [str(name) for name in manifest["files"] if str(name).startswith("components/")]
        whole = all(whole_file_of(folder, name) for name in (_FILE, *_TABLES, *names))
        found = _read(folder, names) if whole else None
    except (StorageError, OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        warn_of_damage(folder, f"{type(error).__name__}: {error}")
        found = None
    if found is None:
        return None, "the version before is damaged"
    if not found.components:
        return None, "the version before has no model"
    return found, ""


def _read(folder: Path, names: list[str]) -> Earlier:
    value = dict(read_json(folder / _FILE))
    del value["version"]
    value["updates"] = tuple(value["updates"])
    value["pixel_error"] = float("nan") if value["pixel_error"] is None else value["pixel_error"]
    images, solved, pairs = (pd.read_parquet(folder / name) for name in _TABLES)
    rows = pairs[PAIR_SCHEMA.names].itertuples(index=False)
    return Earlier(
        folder=folder,
        lineage=Lineage(**value),
        images=images,
        components=tuple(sorted({int(name.split("/")[1]) for name in names})),
        solved=solved,
        pairs=frozenset((int(a), int(b)) for a, b in rows),
    )
