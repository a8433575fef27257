"""Adjust every box together with its fringes: what one similarity a component cannot mend.

A street that leaves a box closes its loops only in the neighbour; until there it is a little too
long and bent, and no scaling of the whole box straightens it. So the cameras and points of a box
are adjusted with those of its neighbours around it. Each box is adjusted for itself from the same
aligned city, one at a time: nothing larger than a box and its surroundings is in memory, and a box
around which nothing has moved is not adjusted again.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pycolmap

from citysplat_core.errors import MappingError
from citysplat_core.mapping.adjusted import (
    FOLDER,
    START_COLUMNS,
    Adjusted,
    digests_of_poses,
    files_of,
    read_adjusted,
    write_adjusted,
)
from citysplat_core.mapping.graph import Ints
from citysplat_core.mapping.joint import adjust_jointly
from citysplat_core.mapping.merged_model import Merged, Sights, merge_models, read_sights
from citysplat_core.mapping.regions import Neighbourhoods, Region
from citysplat_core.mapping.tables import POSE_COLUMNS, pose_of, pose_row
from citysplat_core.settings import AlignSettings
from citysplat_core.storage import Progress, digest_of, digest_of_frame, whole_file_of

log = logging.getLogger(__name__)

_VERSION: Final = 3
_INSIDE: Final = ("key", "lenses", "models")
"""What is told of a box for the programs that read it."""
_KEPT: Final = "adjusting"
_SAME_M: Final = 0.005
"""A box is adjusted again if a photo of its region starts further from where it did."""
_LEAST_KEPT: Final = 0.8
_MOST_SIGMAS: Final = 3.0


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A component in the city.

    Attributes:
        box: Key of its box.
        component: Its number in the box.
        folder: Its COLMAP model.
        city_from_model: The similarity that aligns it.
    """

    box: str
    component: int
    folder: Path
    city_from_model: pycolmap.Sim3d


@dataclass(frozen=True, kw_only=True)
class AlignedCity:
    """The components of a city, each moved by its similarity.

    Attributes:
        rows: All registrations: colmap_id, node, component, solved_in, the pose columns, and rank
            (see ``Neighbourhoods``).
        before: The same rows before alignment.
        seams: Row pairs that are one photo in two components and tie them, shape (S, 2).
        placed: The component of each node.
    """

    rows: pd.DataFrame
    before: pd.DataFrame
    seams: Ints
    placed: Sequence[Placed]

    @cached_property
    def neighbourhoods(self) -> Neighbourhoods:
        """Which rows belong to each component, and which components are tied."""
        return Neighbourhoods(self.rows, self.seams)


def adjust_city(
    city: AlignedCity,
    *,
    out: Path,
    work: Path,
    earlier: Path | None,
    settings: AlignSettings,
    n_threads: int,
    progress: Progress,
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Adjust all boxes that share photos with others.

    Args:
        city: The aligned city.
        out: Folder of the artifact; gets the folder ``adjusted``.
        work: Folder that outlives a kill; boxes that were finished in it are not adjusted again.
        earlier: The version in force of the artifact; boxes around which nothing has moved are
            taken over from it. None: there is none.
        settings: Reach and expected error.
        n_threads: Threads to use.
        progress: Called for every box.

    Returns:
        The rows with adjusted poses, and of each box ``box``, ``refused`` (why it stays as it was;
        empty if it was adjusted) and numbers.
    """
    (out / FOLDER).mkdir()
    kept = work / _KEPT
    kept.mkdir(exist_ok=True)
    boxes = sorted({each.box for each in city.placed})
    found = city.rows.copy()
    told = []
    for number, box in enumerate(boxes):
        progress(number, len(boxes), f"adjusting box {box} with its fringes")
        region = city.neighbourhoods.region(box, reach_m=settings.adjust_reach_m)
        if region is None:
            told.append({"box": box, "refused": "it shares no photo with another component"})
            continue
        key = _key_of(region, city.before, settings)
        adjusted = _found(region, city.rows, key, kept, earlier)
        if adjusted is None:
            adjusted = _adjust(region, city, key, settings, n_threads)
            write_adjusted(kept, adjusted)
        write_adjusted(out / FOLDER, adjusted)
        told.append({k: v for k, v in adjusted.told.items() if k not in _INSIDE})
        _put(found, adjusted.own, city.neighbourhoods.rows_of_box(box))
    return found, told


def _key_of(region: Region, before: pd.DataFrame, settings: AlignSettings) -> str:
    """Digest what a box is adjusted from, but for how the city is aligned."""
    names = ["colmap_id", "solved_in", "component", *POSE_COLUMNS]
    chosen = [settings.adjust_reach_m, settings.adjust_sigma_m, settings.seed]
    return digest_of([_VERSION, digest_of_frame(before.iloc[region.rows][names]), chosen])


def _found(
    region: Region, rows: pd.DataFrame, key: str, kept: Path, earlier: Path | None
) -> Adjusted | None:
    """Give what was made of the same before: in this run until it was killed, or in the last."""
    names = [f"{FOLDER}/{name}" for name in files_of(region.box)]
    is_whole = earlier is not None and all(whole_file_of(earlier, name) for name in names)
    for folder in (kept, earlier / FOLDER if earlier and is_whole else None):
        adjusted = read_adjusted(folder, region.box) if folder else None
        if adjusted is None or adjusted.told["key"] != key:
            continue
        starts = adjusted.photos.drop_duplicates("colmap_id").set_index("colmap_id")
        if set(starts.index) != set(region.starts):
            continue
        here = rows.iloc[list(region.starts.values())][["east_m", "north_m", "up_m"]]
        there = starts.loc[list(region.starts), list(START_COLUMNS)]
        off = np.linalg.norm(here.to_numpy(float) - there.to_numpy(float), axis=1)
        if off.max() <= _SAME_M:
            return adjusted
    return None


def _adjust(
    region: Region, city: AlignedCity, key: str, settings: AlignSettings, n_threads: int
) -> Adjusted:
    rows, placed = city.rows, city.placed
    mine = rows.iloc[region.rows]
    photos_of = mine.groupby("node")["colmap_id"].apply(list).to_dict()
    sights = [_sights_of(placed[k], photos_of.get(k, [])) for k in region.nodes.tolist()]
    starts = {i: pose_of(rows.iloc[row]) for i, row in region.starts.items()}
    merged = merge_models(sights, starts)
    adjust_jointly(
        merged.model, sigma_m=settings.adjust_sigma_m, n_threads=n_threads, seed=settings.seed
    )
    photos = _photo_rows(region, rows, merged, placed)
    points = _point_rows(region, sights, merged, placed)
    numbers = _measure(region, photos, points, sights, merged.model)
    refused = _why_refused(numbers, settings)
    if refused:
        log.warning("Box %s is not adjusted with its fringes: %s", region.box, refused)
    told = {k: round(v, 4) if np.isfinite(v) else None for k, v in numbers.items()}
    return Adjusted(
        photos=photos,
        points=points,
        told={
            "box": region.box,
            "key": key,
            "refused": refused,
            "lenses": _lenses_of(merged),
            "models": _solved(region, city),
            **told,
        },
    )


def _solved(region: Region, city: AlignedCity) -> dict[str, str]:
    """Give the digest of the poses of each of the box's components before alignment."""
    mine = city.before.iloc[city.neighbourhoods.rows_of(region.nodes[: region.n_own])]
    return digests_of_poses(mine)


def _lenses_of(merged: Merged) -> dict[str, list[float]]:
    """Give the parameters of each camera, by its id as text."""
    cameras = sorted(merged.model.cameras.items())
    return {str(k): [float(v) for v in camera.params] for k, camera in cameras}


def _sights_of(placed: Placed, photos: Sequence[int]) -> Sights:
    if not placed.folder.is_dir():
        raise MappingError(
            f"{placed.folder} does not exist",
            expected="the model of an accepted component",
            fix="Materialize sparse_model of this box again.",
            box=placed.box,
        )
    model = pycolmap.Reconstruction(placed.folder)
    model.transform(placed.city_from_model)
    return read_sights(model, photos)


def _photo_rows(
    region: Region, rows: pd.DataFrame, merged: Merged, placed: Sequence[Placed]
) -> pd.DataFrame:
    """Give the rows of ``PHOTO_SCHEMA``, the box's own first, sorted."""
    mine = rows.iloc[region.rows]
    mine = mine[mine["node"].isin(region.nodes[: region.n_own])]
    own = sorted(
        (placed[node].component, image_id)
        for node, image_id in zip(mine["node"], mine["colmap_id"], strict=True)
    )
    around = [(-1, image_id) for image_id in sorted(set(region.starts) - region.own)]
    ids = sorted(region.starts)
    begun = rows.iloc[[region.starts[i] for i in ids]][["east_m", "north_m", "up_m"]]
    starts = dict(zip(ids, begun.to_numpy(float), strict=True))
    return pd.DataFrame(
        [
            {
                "colmap_id": image_id,
                "component": component,
                **pose_row(merged.model.image(image_id).cam_from_world()),
                **dict(zip(START_COLUMNS, starts[image_id], strict=True)),
            }
            for component, image_id in [*own, *around]
        ]
    )


def _point_rows(
    region: Region, sights: Sequence[Sights], merged: Merged, placed: Sequence[Placed]
) -> pd.DataFrame:
    """Give the rows of ``POINT_SCHEMA``: the box's own points that are left."""
    ids = np.array(sorted(merged.model.point3D_ids()), np.int64)
    places = np.array([merged.model.point3D(i).xyz for i in ids.tolist()]).reshape(-1, 3)
    tables = []
    for number in range(region.n_own):
        became = merged.points_of[number]
        left = np.isin(became, ids)
        where = places[np.searchsorted(ids, became[left])]
        table = pd.DataFrame(where, columns=["east_m", "north_m", "up_m"])
        component = placed[region.nodes[number]].component
        point_ids = sights[number].point_ids[left]
        tables.append(table.assign(component=component, point3D_id=point_ids))
    return pd.concat(tables, ignore_index=True)


def _measure(
    region: Region,
    photos: pd.DataFrame,
    points: pd.DataFrame,
    sights: Sequence[Sights],
    model: pycolmap.Reconstruction,
) -> dict[str, float]:
    own = photos[photos["component"] >= 0]
    here, there = (own[list(names)].to_numpy(float) for names in (POSE_COLUMNS[-3:], START_COLUMNS))
    moved = np.linalg.norm(here - there, axis=1)
    n_points = sum(len(each.point_ids) for each in sights[: region.n_own])
    return {
        "n_photos": len(region.own),
        "n_photos_around": len(region.starts) - len(region.own),
        "moved_median_m": float(np.median(moved)),
        "moved_p90_m": float(np.percentile(moved, 90)),
        "kept_points_share": len(points) / n_points if n_points else 0.0,
        "reproj_error_px": float(model.compute_mean_reprojection_error()),
    }


def _why_refused(numbers: Mapping[str, float], settings: AlignSettings) -> str:
    """Say why an adjustment is not to be believed; empty if it is."""
    if not all(np.isfinite(value) for value in numbers.values()):
        return "its numbers are not finite"
    if numbers["kept_points_share"] < _LEAST_KEPT:
        return f"only {numbers['kept_points_share']:.0%} of the points fit afterwards"
    if numbers["moved_p90_m"] > _MOST_SIGMAS * settings.adjust_sigma_m:
        return f"a tenth of the photos moved by more than {numbers['moved_p90_m']:.1f} m"
    return ""


def _put(found: pd.DataFrame, own: pd.DataFrame, at: Ints) -> None:
    """Write adjusted poses into some rows."""
    names = list(POSE_COLUMNS)
    keys = pd.MultiIndex.from_frame(found.iloc[at][["component", "colmap_id"]])
    poses = own.set_index(["component", "colmap_id"])[names].reindex(keys).to_numpy(float)
    known = np.isfinite(poses[:, 0])
    found.loc[found.index[at[known]], names] = poses[known]
