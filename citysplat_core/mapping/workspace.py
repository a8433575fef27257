"""What the mapper of a box sees: one small database, the photos by name, their positions."""

import logging
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pycolmap

from citysplat_core.errors import StorageError
from citysplat_core.features import (
    finish_database,
    merge_databases,
    quiet_colmap,
    read_pair_counts,
)
from citysplat_core.mapping.georegister import Floats
from citysplat_core.mapping.match_files import need_databases, refuse_damaged
from citysplat_core.mapping.members import choose_images, link_photos, with_sources
from citysplat_core.mapping.priors import PriorCounts, choose_priors, count_priors, write_priors
from citysplat_core.mapping.sequences import order_sequences
from citysplat_core.mapping.vouching import partners_of
from citysplat_core.settings import MappingSettings, PriorSettings

log = logging.getLogger(__name__)

_MIN_HOME_IMAGES = 3
EXACT_MODEL = "SIMPLE_PINHOLE"
"""Only views of panoramas have cameras of this model; their intrinsics were chosen by us."""
_EMPTY = pd.DataFrame(columns=["colmap_id_a", "colmap_id_b", "n_inliers"], dtype="int64")


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """The input of a mapper.

    Attributes:
        database: COLMAP database: photos, keypoints, priors, verified pairs; global ids.
        photos: Folder with a link to every photo, by COLMAP name.
        images: One row a photo, sorted by colmap_id: image_id, colmap_id, camera_id, box,
            is_home, east_m, north_m, up_m (NaN where not finite), sequence_id, captured_at,
            heading_deg, rotation_x, rotation_y, rotation_z, sha256 (null or NaN where unknown).
        positions: East, north, up by colmap_id, metres, city frame; up may be NaN. A photo whose
            position is not finite is not in it.
        priors: The columns of ``priors.PRIOR_SCHEMA``, in the order of ``images``.
        prior_counts: What the database's priors are, read back.
        partners: Verified partners by colmap_id, strongest first.
        fixed_cameras: Cameras with known intrinsics and too few photos to refine them, and the
            exact ones of views that were cut out of panoramas.
        mappable: Photos in groups of verified pairs that are large enough for a component.
        n_pairs: Verified pairs that are strong enough.
        size_bytes: Size of the database.
        build_s: Seconds that its making took; near 0 if an earlier run made it.
        load_s: Seconds that a mapper spends to read it.
        lack: Why it cannot be mapped; empty if it can.
    """

    database: Path
    photos: Path
    images: pd.DataFrame
    positions: Mapping[int, Floats]
    priors: pd.DataFrame
    prior_counts: PriorCounts
    partners: Mapping[int, list[int]]
    fixed_cameras: frozenset[int]
    mappable: frozenset[int]
    n_pairs: int
    size_bytes: int
    build_s: float
    load_s: float
    lack: str

    @property
    def home_ids(self) -> set[int]:
        """The box's own photos."""
        return set(self.images.loc[self.images["is_home"], "colmap_id"].tolist())

    @property
    def sequences(self) -> list[list[int]]:
        """The photos of every sequence in their order."""
        return order_sequences(self.images)


def build_workspace(  # noqa: PLR0913 - a box has that many inputs
    box: str,
    *,
    box_images: Mapping[str, Path],
    box_matches: Path,
    fringe_matches: Mapping[str, Path],
    fringe_images: Path,
    neighbour_matches: Mapping[str, Path],
    work: Path,
    settings: MappingSettings,
    priors: PriorSettings | None = None,
    plan_images: Path | None = None,
) -> Workspace:
    """Unite a box's photos and pairs with the fringe photos and pairs of its neighbours.

    Args:
        box: Key of the box.
        box_images: Artifacts of the box and of the neighbours that have fringe photos.
        box_matches: Artifact with the box's own verified pairs.
        fringe_matches: Artifacts with the verified pairs across each border, by fringe key.
        fringe_images: The plan's table of fringe photos.
        neighbour_matches: ``box_matches`` of neighbours; pairs of fringe photos count.
        work: Folder that keeps the database between a kill and the next run.
        settings: Which pairs count, which cameras are refined.
        priors: What positions are worth.
        plan_images: ``images.parquet`` of the plan, which knows who gave each position; without it
            all count as GPS.

    Returns:
        The workspace; ``lack`` says whether there is anything to map.

    Raises:
        MappingError: The box's or a neighbour's photos are not among ``box_images``, or a database
            of pairs is missing or damaged.
    """
    images = choose_images(box, box_images, fringe_matches, fringe_images)
    images = with_sources(images, plan_images)
    home_ids = set(images.loc[images["is_home"], "colmap_id"].tolist())
    started = time.perf_counter()
    database = work / "workspace.db"
    chosen = choose_priors(images, priors or PriorSettings())
    if not _is_whole(database):
        parts = (box_matches, *fringe_matches.values(), *neighbour_matches.values())
        sources = need_databases(parts, box)
        _unite(
            sources, set(images["colmap_id"].tolist()), home_ids, database, settings, box, chosen
        )
    build_s = time.perf_counter() - started
    pairs = read_pair_counts(database)
    partners = partners_of(pairs, min_inliers=settings.min_matches)
    groups = _groups(partners)
    gps = images[["east_m", "north_m", "up_m"]].to_numpy(float)
    ids = images["colmap_id"].tolist()
    return Workspace(
        database=database,
        photos=link_photos(images, box_images, work / "photos"),
        images=images,
        positions={i: p for i, p in zip(ids, gps, strict=True) if np.isfinite(p[:2]).all()},
        priors=chosen,
        prior_counts=count_priors(database, chosen),
        partners=partners,
        fixed_cameras=_fixed_cameras(images, box_images, settings.min_refine_images),
        mappable=frozenset().union(*(g for g in groups if len(g) >= settings.min_model_size)),
        n_pairs=int((pairs["n_inliers"] >= settings.min_matches).sum()),
        size_bytes=database.stat().st_size,
        build_s=build_s,
        load_s=_time_to_load(database, settings.min_matches),
        lack=_find_lack(images, groups, settings),
    )


def _time_to_load(database: Path, min_matches: int) -> float:
    started = time.perf_counter()
    with quiet_colmap(), pycolmap.Database.open(database) as opened:
        pycolmap.DatabaseCache.create(
            opened, pycolmap.DatabaseCacheOptions(min_num_matches=min_matches)
        )
    return time.perf_counter() - started


def _unite(
    sources: list[Path],
    image_ids: set[int],
    home_ids: set[int],
    database: Path,
    settings: MappingSettings,
    box: str,
    priors: pd.DataFrame,
) -> None:
    """Merge what the mapper needs; guests that no chain of pairs ties to the box stay away."""
    try:
        pairs = pd.concat([_EMPTY, *(read_pair_counts(path) for path in sources)])
    except StorageError:
        refuse_damaged(sources, box)
        raise
    inside = pairs["colmap_id_a"].isin(image_ids) & pairs["colmap_id_b"].isin(image_ids)
    partners = partners_of(pairs[inside], min_inliers=settings.min_matches)
    reached = set(home_ids)
    for image_id in sorted(home_ids):
        if not reached.issuperset(partners.get(image_id, ())):
            reached |= reach(image_id, partners)
    part = database.with_suffix(".part")
    part.unlink(missing_ok=True)
    try:
        merge_databases(sources, part, keep_descriptors=False, image_ids=reached)
    except StorageError:
        refuse_damaged(sources, box)
        raise
    write_priors(part, priors)
    finish_database(part)
    part.rename(database)


def _is_whole(database: Path) -> bool:
    """Say whether an earlier run's workspace can be used; a damaged one is made again."""
    if not database.is_file():
        return False
    try:
        read_pair_counts(database)
    except StorageError as error:
        log.warning("The unfinished workspace is made again: %s", error)
        database.unlink()
        return False
    return True


def _fixed_cameras(
    images: pd.DataFrame, box_images: Mapping[str, Path], min_images: int
) -> frozenset[int]:
    cameras = pd.concat([pd.read_parquet(p / "cameras.parquet") for p in box_images.values()])
    known = set(cameras.loc[cameras["has_prior_focal"].astype(bool), "camera_id"].tolist())
    exact = set(cameras.loc[cameras["model"] == EXACT_MODEL, "camera_id"].tolist()) & known
    counts = Counter(images["camera_id"].tolist())
    return frozenset(
        int(c) for c, n in counts.items() if c in exact or (c in known and n < min_images)
    )


def reach(start: int, partners: Mapping[int, list[int]]) -> set[int]:
    """Collect the photos that a chain of verified pairs ties to a photo, and itself."""
    reached, edge = {start}, {start}
    while edge:
        edge = {p for i in edge for p in partners.get(i, ())} - reached
        reached |= edge
    return reached


def _groups(partners: Mapping[int, list[int]]) -> list[set[int]]:
    left, found = set(partners), []
    while left:
        found.append(reach(min(left), partners))
        left -= found[-1]
    return found


def _find_lack(images: pd.DataFrame, groups: list[set[int]], settings: MappingSettings) -> str:
    n_home = int(images["is_home"].sum())
    if n_home < _MIN_HOME_IMAGES:
        return f"{n_home} photos: a sparse model needs at least {_MIN_HOME_IMAGES}"
    n_placed = int(images.loc[images["is_home"], "east_m"].notna().sum())
    if not n_placed:
        return f"none of its {n_home} photos has a position"
    if not groups:
        return f"none of its {n_home} photos has a verified pair"
    largest = max(len(group) for group in groups)
    if largest < settings.min_model_size:
        return (
            f"verified pairs tie at most {largest} photos together: "
            f"a sparse model needs at least {settings.min_model_size}"
        )
    return ""
