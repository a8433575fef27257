"""The two steps of matching: inside a box, and across the fringe between two boxes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import KDTree

from citysplat_core.features import connected, merge_databases
from citysplat_core.matching.budget import nothing
from citysplat_core.matching.headings import compass_that_follows_motion
from citysplat_core.matching.match_task import Task, match_and_write
from citysplat_core.matching.pairs_plan import may_share_surface, propose_pairs
from citysplat_core.matching.photos import Photos, read_photos
from citysplat_core.matching.retrieval import DESCRIBERS, retrieve_pairs
from citysplat_core.settings import MatchingSettings
from citysplat_core.storage import Progress, StepReport

_WITNESS_M: Final = 60.0
"""Photos this near to those of a fringe are asked with them."""


def match_box(  # noqa: PLR0913 - an artifact's step, with what it may take over
    box: str,
    *,
    box_images: Path,
    box_features: Path,
    out: Path,
    work: Path,
    settings: MatchingSettings,
    n_threads: int,
    progress: Progress,
    earlier: Path | None = None,
) -> StepReport:
    """Match the photos inside a box: the artifact ``box_matches``.

    Args:
        box: Key of the box.
        box_images: The artifact ``box_images`` of the box.
        box_features: The artifact ``box_features`` of the box.
        out: Empty folder; receives ``pairs.parquet``, ``matches.db``, ``report.json``,
            ``graph.png``, ``tried.parquet``.
        work: Folder of this fingerprint's unfinished work; a killed step goes on from there.
        settings: Matching settings.
        n_threads: Threads; the result does not depend on it.
        progress: Called after every chunk of pairs.
        earlier: An earlier version of the artifact: the results of its pairs of unchanged photos
            are taken over, only the others are compared. The result is the same without it.

    Returns:
        Counts of pairs. Skipped, with the reason, if no pair of the box is verified.

    Raises:
        MatchingError: A position is not finite, or COLMAP could not work on the database.
        StorageError: A database is damaged, or the disk is full.
    """
    photos = read_photos([box_images])
    compass = compass_that_follows_motion(photos)
    database = work / "matches.db"
    if not database.exists():
        _make_whole(database, [box_features / "features.db"], None)
    proposals = propose_pairs(
        photos,
        settings,
        compass,
        retrieved=_look_alikes(database, photos, compass, settings),
        n_threads=n_threads,
    )
    too_few = f"the box has {len(photos)} usable photos" if len(photos) < 2 else ""
    task = Task(
        key=box,
        photos=photos,
        heading_deg=compass,
        across=False,
        proposals=proposals,
        database=database,
        out=out,
        empty_reason=too_few,
        earlier=earlier,
    )
    return match_and_write(task, settings, n_threads, progress)


def match_fringe(  # noqa: PLR0913 - two boxes have two of everything
    fringe: str,
    *,
    images_a: Path,
    images_b: Path,
    features_a: Path,
    features_b: Path,
    fringe_images: Path,
    out: Path,
    work: Path,
    settings: MatchingSettings,
    n_threads: int,
    progress: Progress,
    earlier: Path | None = None,
    matches: Sequence[Path] = (),
) -> StepReport:
    """Match the photos on both sides of a border: the artifact ``fringe_matches``.

    Args:
        fringe: Key of the fringe, ``A--B``.
        images_a: The artifact ``box_images`` of box A.
        images_b: The artifact ``box_images`` of box B.
        features_a: The artifact ``box_features`` of box A.
        features_b: The artifact ``box_features`` of box B.
        fringe_images: The plan's ``fringe_images.parquet``.
        out: Empty folder; receives the same files as `match_box`.
        work: Folder of this fingerprint's unfinished work.
        settings: Matching settings.
        n_threads: Threads; the result does not depend on it.
        progress: Called after every chunk of pairs.
        earlier: An earlier version of the artifact: the results of its pairs of unchanged photos
            are taken over, only the others are compared. The result is the same without it.
        matches: The artifacts ``box_matches`` of the two boxes: their pairs say how far away things
            are, without which the pairs across the border are judged by their poses alone.

    Returns:
        Counts of pairs. Skipped, with the reason, if a side has no usable photo near the border
        or no pair is verified.

    Raises:
        MatchingError: A position is not finite, or COLMAP could not work on the database.
        FeatureError: The two boxes were not made from one catalog.
        StorageError: A database is damaged, or the disk is full.
    """
    both = read_photos([images_a, images_b])
    compass = compass_that_follows_motion(both)  # whole boxes say more than their margins
    plan = pd.read_parquet(fringe_images)
    members = plan.loc[plan["fringe"] == fringe, "colmap_id"].to_numpy()
    rows = np.flatnonzero(np.isin(both.colmap_id, members))
    photos = both.select(rows)
    counts = [int((photos.side == side).sum()) for side in (0, 1)]
    database = work / "matches.db"
    if not database.exists():
        sources = [features_a / "features.db", features_b / "features.db"]
        _make_whole(database, sources, set(photos.colmap_id.tolist()))
    proposals = nothing()
    if all(counts):
        proposals = propose_pairs(
            photos,
            settings,
            compass[rows],
            across=True,
            retrieved=_look_alikes(database, photos, compass[rows], settings, across=True),
            n_threads=n_threads,
        )
    boxes = fringe.split("--")
    empty = [box for box, number in zip(boxes, counts, strict=True) if not number]
    reason = f"no usable photo near the border in {' and '.join(empty)}" if empty else ""
    task = Task(
        key=fringe,
        photos=photos,
        heading_deg=compass[rows],
        across=True,
        proposals=proposals,
        database=database,
        out=out,
        empty_reason=reason,
        earlier=earlier,
        judged=_copies_of([folder / "matches.db" for folder in matches], work),
        witnesses=both.select(_around(both, rows)) if matches else None,
    )
    return match_and_write(task, settings, n_threads, progress)


def _around(photos: Photos, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Give the rows of photos near those of a fringe: few photos alone prove nothing.

    A handful of look-alike pairs agree with each other as well as true ones do; the drives that
    they belong to, which hold far more photos, know by metres where they are.
    """
    if not len(rows):
        return rows
    far_m, _ = KDTree(photos.east_north_m[rows]).query(photos.east_north_m)
    return np.flatnonzero(far_m <= _WITNESS_M)


def _copies_of(databases: Sequence[Path], work: Path) -> tuple[Path, ...]:
    """Copy databases of other artifacts: COLMAP writes into each that it opens."""
    copies = []
    for number, source in enumerate(databases):
        copy = work / f"judged-{number}.db"
        copy.unlink(missing_ok=True)  # of a run that was killed
        with connected(source, read_only=True) as connection:
            connection.execute("VACUUM INTO ?", (str(copy),))
        copies.append(copy)
    return tuple(copies)


def _look_alikes(
    database: Path,
    photos: Photos,
    heading_deg: NDArray[np.float64],
    settings: MatchingSettings,
    *,
    across: bool = False,
) -> NDArray[np.int32] | None:
    """Retrieve pairs of photos that look alike, if that is wanted."""
    if settings.retrieval == "none" or len(photos) < 2:
        return None

    def allowed(pairs: NDArray[np.int32]) -> NDArray[np.bool_]:
        may = may_share_surface(photos, heading_deg, pairs, settings)
        sides = photos.side[pairs]
        return np.asarray(may & (sides[:, 0] != sides[:, 1])) if across else may

    return retrieve_pairs(
        DESCRIBERS[settings.retrieval](database, photos.colmap_id, settings.seed),
        photos.east_north_m,
        k=settings.retrieval_k,
        distance_m=settings.retrieval_distance_m,
        allowed=allowed,
    )


def _make_whole(database: Path, sources: list[Path], image_ids: set[int] | None) -> None:
    """Make the working database so that a kill leaves it whole or absent."""
    part = database.with_suffix(".part.db")
    for stale in database.parent.glob(f"{part.name}*"):
        stale.unlink()
    merge_databases(sources, part, keep_descriptors=True, image_ids=image_ids, keep_pairs=False)
    part.replace(database)
