"""Where the photos of the city were taken, for the map and for standing where they were taken."""

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pycolmap
from numpy.typing import NDArray

from citysplat_core.city.inputs import BoxInputs
from citysplat_core.geography import CityFrame

log = logging.getLogger(__name__)

POSE_COLUMNS = ["qw", "qx", "qy", "qz", "tx", "ty", "tz"]
_DEFAULT_FOV_Y_DEG = 60.0
_DEFAULT_ASPECT = 4 / 3


def registered_cameras(
    boxes: Mapping[str, BoxInputs], alignment: Path | None, frame: CityFrame
) -> pd.DataFrame:
    """Collect the poses of all registered photos, one row a photo, in its home box.

    Args:
        boxes: The boxes' artifacts.
        alignment: The ``city_alignment`` artifact; without it, poses are those of the boxes' own
            models.
        frame: The city frame.

    Returns:
        Columns box, image_id, colmap_id, component, the pose ``cam_from_world`` (qw to tz, city
        frame), east_m, north_m, up_m, lon, lat, gps_residual_m; sorted by box and colmap_id.
    """
    if alignment is not None:
        table = pd.read_parquet(alignment / "cameras.parquet")
    else:
        table = _home_cameras(boxes)
    table = table[table["box"].isin(set(boxes))]
    table = table.drop_duplicates("image_id").sort_values(["box", "colmap_id"], ignore_index=True)
    place = frame.lon_lat_alt(table[["east_m", "north_m", "up_m"]].to_numpy(float))
    return table.assign(lon=place[:, 0], lat=place[:, 1])


def _home_cameras(boxes: Mapping[str, BoxInputs]) -> pd.DataFrame:
    columns = ["image_id", "colmap_id", "component", *POSE_COLUMNS]
    columns += ["east_m", "north_m", "up_m", "gps_residual_m"]
    tables = [pd.DataFrame(columns=["box", *columns])]
    for key, inputs in sorted(boxes.items()):
        if inputs.sparse_model is None:
            continue
        table = pd.read_parquet(inputs.sparse_model / "images.parquet")
        parts = pd.read_parquet(inputs.sparse_model / "components.parquet")
        accepted = parts.loc[parts["accepted"].astype(bool), "component"]
        table = table[table["is_home"].astype(bool) & table["component"].isin(accepted)]
        tables.append(table[columns].assign(box=key))
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else tables[0]


def rotations(poses: pd.DataFrame) -> NDArray[np.float64]:
    """Give the rotation matrices ``cam_from_world``, shape (N, 3, 3), from qw, qx, qy, qz."""
    quats = poses[["qw", "qx", "qy", "qz"]].to_numpy(float).reshape(-1, 4)
    w, x, y, z = (quats / np.linalg.norm(quats, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def headings_deg(poses: pd.DataFrame) -> NDArray[np.float64]:
    """Give where the cameras look, clockwise from north, degrees 0 to 360, shape (N,)."""
    forward = rotations(poses)[:, 2, :]
    heading: NDArray[np.float64] = np.degrees(np.arctan2(forward[:, 0], forward[:, 1])) % 360.0
    return heading


def fields_of_view(sparse_model: Path | None) -> dict[int, tuple[float, float]]:
    """Read the solved fields of view of a box's photos.

    Args:
        sparse_model: The ``sparse_model`` artifact, or None.

    Returns:
        colmap_id to (vertical field of view in degrees, width over height). Photos of a model that
        is not there are absent.
    """
    views: dict[int, tuple[float, float]] = {}
    if sparse_model is None:
        return views
    for folder in sorted((sparse_model / "components").glob("[0-9]*")):
        model = pycolmap.Reconstruction(str(folder))
        for image_id, image in model.images.items():
            camera = model.cameras[image.camera_id]
            tall = math.degrees(2 * math.atan(camera.height / 2 / camera.mean_focal_length()))
            views.setdefault(int(image_id), (tall, camera.width / camera.height))
    return views


def walk_order(cameras: pd.DataFrame, box_images: Path | None) -> pd.DataFrame:
    """Sort a box's cameras as they were taken: by sequence, then by time.

    Args:
        cameras: Rows of ``registered_cameras`` of one box.
        box_images: The ``box_images`` artifact, or None: the order stays.

    Returns:
        The same rows.
    """
    if box_images is None:
        return cameras
    taken = pd.read_parquet(
        box_images / "images.parquet", columns=["image_id", "sequence_id", "captured_at"]
    )
    joined = cameras.merge(taken, on="image_id", how="left", validate="one_to_one")
    return joined.sort_values(["sequence_id", "captured_at", "colmap_id"], ignore_index=True)


def camera_list(
    cameras: pd.DataFrame, views: Mapping[int, tuple[float, float]], held_out: set[str]
) -> list[dict[str, Any]]:
    """Describe a box's cameras for the viewer, in the order of the rows.

    Args:
        cameras: Rows of ``registered_cameras``.
        views: Fields of view by colmap_id; absent ones are taken as 60 degrees.
        held_out: Image ids that the splat was not trained on.

    Returns:
        One dictionary a camera: image_id, position_enu_m, rotation_wxyz (``cam_from_world``),
        fov_y_deg, aspect, held_out.
    """
    rows = []
    for row in cameras.to_dict("records"):
        fov_y_deg, aspect = views.get(int(row["colmap_id"]), (_DEFAULT_FOV_Y_DEG, _DEFAULT_ASPECT))
        rows.append(
            {
                "image_id": str(row["image_id"]),
                "position_enu_m": [round(float(row[c]), 4) for c in ("east_m", "north_m", "up_m")],
                "rotation_wxyz": [round(float(row[c]), 7) for c in ("qw", "qx", "qy", "qz")],
                "fov_y_deg": round(fov_y_deg, 3),
                "aspect": round(aspect, 4),
                "held_out": str(row["image_id"]) in held_out,
            }
        )
    return rows


def start_pose(cameras: pd.DataFrame) -> dict[str, list[float]]:
    """Choose where a visitor of a box begins: a real photo's place, looking at the box's middle.

    Args:
        cameras: Rows of ``registered_cameras`` of the box, at least one.

    Returns:
        position_enu_m and look_at_enu_m (10 m ahead) of the photo whose view ahead comes closest
        to the middle of all cameras; the box itself may be mostly empty.
    """
    position = cameras[["east_m", "north_m", "up_m"]].to_numpy(float)
    ahead = position + 10.0 * rotations(cameras)[:, 2, :]
    off = np.hypot(*(ahead[:, :2] - np.median(position[:, :2], axis=0)).T)
    best = int(np.argmin(off))
    return {
        "position_enu_m": [round(float(v), 3) for v in position[best]],
        "look_at_enu_m": [round(float(v), 3) for v in ahead[best]],
    }
