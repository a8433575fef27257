"""The photos that take part in matching, with sequence numbers, as plain arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from citysplat_core.features import image_name
from citysplat_core.matching.pairs import NO_PANORAMA, NO_SEQUENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Photos:
    """Usable photos of one or two boxes, one row a photo, sorted by colmap id.

    Attributes:
        colmap_id: Global image ids, shape (N,).
        names: COLMAP image names.
        side: Which of the given boxes is the photo's home, 0 or 1, shape (N,).
        east_north_m: Positions in the city frame, metres, shape (N, 2).
        heading_deg: Compass, clockwise from north, degrees, NaN where unknown, shape (N,).
        sequence: Sequence numbers, ``NO_SEQUENCE`` for none, shape (N,).
        captured_at: Milliseconds since 1970 (UTC), shape (N,); the smallest integer if unknown.
        panorama: Numbers of the panoramas that views were cut out of, ``NO_PANORAMA`` for ordinary
            photos, shape (N,); None if there are only those.
    """

    colmap_id: NDArray[np.int64]
    names: tuple[str, ...]
    side: NDArray[np.int64]
    east_north_m: NDArray[np.float64]
    heading_deg: NDArray[np.float64]
    sequence: NDArray[np.int64]
    captured_at: NDArray[np.int64]
    panorama: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """Count the photos."""
        return len(self.colmap_id)

    def select(self, rows: NDArray[np.intp]) -> "Photos":
        """Return some of the photos, in the given order; sequence numbers stay comparable."""
        return Photos(
            colmap_id=self.colmap_id[rows],
            names=tuple(self.names[row] for row in rows),
            side=self.side[rows],
            east_north_m=self.east_north_m[rows],
            heading_deg=self.heading_deg[rows],
            sequence=self.sequence[rows],
            captured_at=self.captured_at[rows],
            panorama=None if self.panorama is None else self.panorama[rows],
        )

    @property
    def n_pairs_of_one_panorama(self) -> int:
        """Count the pairs of views of one panorama: they stand at one place and are never tried."""
        if self.panorama is None:
            return 0
        _, counts = np.unique(self.panorama[self.panorama != NO_PANORAMA], return_counts=True)
        return int((counts * (counts - 1) // 2).sum())


def read_photos(box_images: Sequence[Path]) -> Photos:
    """Read the usable photos of some ``box_images`` artifacts.

    Args:
        box_images: Folders of the artifacts; a photo's ``side`` is its folder's place in the list.
    """
    tables = [pd.read_parquet(folder / "images.parquet") for folder in box_images]
    usable = [table[table["status"] == "ok"].assign(side=side) for side, table in enumerate(tables)]
    table = pd.concat(usable).sort_values("colmap_id")
    known = table["sequence_id"].notna() & (table["sequence_id"].astype(str) != "")
    numbers, _ = pd.factorize(table["sequence_id"].where(known), sort=True)
    captured_at = pd.to_datetime(table["captured_at"], utc=True)
    milliseconds = captured_at.to_numpy(dtype="datetime64[ms]").astype(np.int64)
    return Photos(
        colmap_id=table["colmap_id"].to_numpy(dtype=np.int64),
        names=tuple(image_name(str(image_id)) for image_id in table["image_id"]),
        side=table["side"].to_numpy(dtype=np.int64),
        east_north_m=table[["east_m", "north_m"]].to_numpy(dtype=np.float64),
        heading_deg=table["heading_deg"].to_numpy(dtype=np.float64, na_value=np.nan),
        sequence=np.where(numbers < 0, NO_SEQUENCE, numbers).astype(np.int64),
        captured_at=milliseconds,
        panorama=_panorama_numbers(table),
    )


def _panorama_numbers(table: pd.DataFrame) -> NDArray[np.int64] | None:
    """Number the panoramas of views; None if there are no views."""
    if "panorama_id" not in table or table["panorama_id"].isna().all():
        return None
    numbers, _ = pd.factorize(table["panorama_id"], sort=True)
    return np.where(numbers < 0, NO_PANORAMA, numbers).astype(np.int64)
