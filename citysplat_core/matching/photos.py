"""The photos that take part in matching, with sequence numbers, as plain arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from citysplat_core.features import image_name
from citysplat_core.matching.pairs import NO_PANORAMA, NO_SEQUENCE
from citysplat_core.matching.standing import stays_of


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
        creator: Numbers of the people who took them, -1 for unknown, shape (N,); None if unknown.
        stay: Numbers of the stays of cameras that stand (`standing.stays_of`), shape (N,); None if
            nobody has looked.
        half_view: Tangents of half the angles of view, across and up, NaN where no focal length is
            known, shape (N, 2); None if none is.
    """

    colmap_id: NDArray[np.int64]
    names: tuple[str, ...]
    side: NDArray[np.int64]
    east_north_m: NDArray[np.float64]
    heading_deg: NDArray[np.float64]
    sequence: NDArray[np.int64]
    captured_at: NDArray[np.int64]
    panorama: NDArray[np.int64] | None = None
    creator: NDArray[np.int64] | None = None
    half_view: NDArray[np.float32] | None = None
    stay: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """Count the photos."""
        return len(self.colmap_id)

    def ids_of(self, pairs: NDArray[np.int32]) -> list[tuple[int, int]]:
        """Return the colmap ids of pairs of rows (P, 2)."""
        ids = self.colmap_id[pairs.reshape(-1, 2)].tolist()
        return [(first, second) for first, second in ids]

    def rows_of(self, colmap_ids: ArrayLike) -> NDArray[np.int32]:
        """Return the rows of pairs of colmap ids (P, 2), each of which must be there."""
        ids = np.asarray(colmap_ids, dtype=np.int64).reshape(-1, 2)
        return np.searchsorted(self.colmap_id, ids).astype(np.int32)

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
            creator=None if self.creator is None else self.creator[rows],
            half_view=None if self.half_view is None else self.half_view[rows],
            stay=None if self.stay is None else self.stay[rows],
        )


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
    sequence = np.where(numbers < 0, NO_SEQUENCE, numbers).astype(np.int64)
    east_north_m = table[["east_m", "north_m"]].to_numpy(dtype=np.float64)
    heading_deg = table["heading_deg"].to_numpy(dtype=np.float64, na_value=np.nan)
    return Photos(
        colmap_id=table["colmap_id"].to_numpy(dtype=np.int64),
        names=tuple(image_name(str(image_id)) for image_id in table["image_id"]),
        side=table["side"].to_numpy(dtype=np.int64),
        east_north_m=east_north_m,
        heading_deg=heading_deg,
        sequence=sequence,
        captured_at=milliseconds,
        panorama=_panorama_numbers(table),
        creator=_creator_numbers(table),
        half_view=_half_views(table, box_images),
        stay=stays_of(sequence, milliseconds, east_north_m, heading_deg),
    )


def _panorama_numbers(table: pd.DataFrame) -> NDArray[np.int64] | None:
    """Number the panoramas of views; None if there are no views."""
    if "panorama_id" not in table or table["panorama_id"].isna().all():
        return None
    numbers, _ = pd.factorize(table["panorama_id"], sort=True)
    return np.where(numbers < 0, NO_PANORAMA, numbers).astype(np.int64)


def _creator_numbers(table: pd.DataFrame) -> NDArray[np.int64] | None:
    """Number the people who took the photos; None if nothing is said of them."""
    if "creator" not in table:
        return None
    named = table["creator"].where(table["creator"].astype("str") != "")
    return pd.factorize(named, sort=True)[0].astype(np.int64)


def _half_views(table: pd.DataFrame, box_images: Sequence[Path]) -> NDArray[np.float32]:
    """Tangents of half the angles of view from the first parameter of each camera, the focal."""
    paths = [folder / "cameras.parquet" for folder in box_images]
    cameras = pd.concat([pd.read_parquet(path) for path in paths])
    focal_px = np.array([params[0] for params in cameras["params"]], dtype=np.float64)
    halves = cameras[["width", "height"]].to_numpy(dtype=np.float64) / 2.0
    known = cameras["has_prior_focal"].to_numpy(dtype=bool) & (focal_px > 0)
    tangents = np.full(halves.shape, np.nan)
    tangents[known] = halves[known] / focal_px[known, None]
    views = pd.DataFrame(tangents, index=cameras["camera_id"].to_numpy())
    of_photo = views[~views.index.duplicated()].reindex(table["camera_id"].to_numpy())
    return of_photo.to_numpy(dtype=np.float32)
