"""The photos of a town as tables: what the world says, and the truth."""

from collections.abc import Sequence as Items

import numpy as np
import pyarrow as pa

from citysplat_core.simulation.captures import Capture
from citysplat_core.simulation.sensors import quaternions, readings
from citysplat_core.simulation.town import Town


def world_table(town: Town, captures: Items[Capture]) -> pa.Table:
    """Give what a photo service knows of the photos, truth left out.

    Args:
        town: The town.
        captures: Its captures, as ``plan_captures`` gives them.

    Returns:
        One row a photo: image_id int64; lon, lat (degrees), altitude (metres, NaN if missing),
        compass_angle (degrees clockwise from north); computed_lon, computed_lat,
        computed_altitude, computed_compass_angle (NaN if missing); rotation (axis-angle, camera
        from local East-North-Up, null if missing); camera_type; camera_parameters (focal / longest
        side, k1, k2; null if missing); width, height of the original, pixels; captured_at (ms
        since 1970); sequence, creator_id, creator_username, organization_id (null if none), make,
        model, quality_score, is_pano, foot, exif_orientation.
    """
    said = readings(town, captures)
    has_altitude = np.isfinite(said.gps_enu[:, 2])
    flat = said.gps_enu.copy()
    flat[~has_altitude, 2] = 0.0
    gps = town.frame.lon_lat_alt(flat)
    gps[~has_altitude, 2] = np.nan
    has_sfm = np.isfinite(said.computed_enu[:, 0])
    computed = np.full((len(captures), 3), np.nan)
    computed[has_sfm] = town.frame.lon_lat_alt(said.computed_enu[has_sfm])
    vectors = pa.list_(pa.float64())

    def rows(values: np.ndarray) -> pa.Array:
        return pa.array(
            [list(v) if k else None for v, k in zip(values.tolist(), has_sfm, strict=True)], vectors
        )

    taken = [capture.sequence for capture in captures]
    return pa.table(
        {
            "image_id": pa.array([int(capture.image_id) for capture in captures], pa.int64()),
            "lon": gps[:, 0],
            "lat": gps[:, 1],
            "altitude": gps[:, 2],
            "compass_angle": said.compass_deg,
            "computed_lon": computed[:, 0],
            "computed_lat": computed[:, 1],
            "computed_altitude": computed[:, 2],
            "computed_compass_angle": said.computed_compass_deg,
            "rotation": rows(said.computed_rotation),
            "camera_type": [s.camera.camera_type for s in taken],
            "camera_parameters": pa.array(
                [
                    None if s.camera.is_pano else v
                    for s, v in zip(taken, rows(said.camera_parameters).to_pylist(), strict=True)
                ],
                vectors,
            ),
            "width": pa.array([s.camera.full_width for s in taken], pa.int64()),
            "height": pa.array([s.camera.full_height for s in taken], pa.int64()),
            "captured_at": pa.array([c.captured_at_ms for c in captures], pa.int64()),
            "sequence": [s.sequence_id for s in taken],
            "creator_id": pa.array([s.creator_id for s in taken], pa.int64()),
            "creator_username": [s.creator_username for s in taken],
            "organization_id": pa.array([s.organization_id for s in taken], pa.int64()),
            "make": [s.camera.make for s in taken],
            "model": [s.camera.model for s in taken],
            "quality_score": said.quality,
            "is_pano": [s.camera.is_pano for s in taken],
            "foot": [s.kind == "walk" for s in taken],
            "exif_orientation": pa.array([1] * len(captures), pa.int64()),
        }
    )


def truth_table(town: Town, captures: Items[Capture]) -> pa.Table:
    """Give the truth about the photos, in the city frame.

    Args:
        town: The town.
        captures: Its captures.

    Returns:
        One row a photo: image_id (string); lon, lat, alt_m and east_m, north_m, up_m of the camera;
        qw, qx, qy, qz, tx, ty, tz (``cam_from_world``, COLMAP's convention); fx, fy, cx, cy, k1,
        k2 and width, height of the rendered photo, pixels (fx to cy, k1 and k2 say nothing of a
        panorama); heading_deg; camera_name; is_pano; sequence;
        kind (drive, sideways or walk); is_blurred, has_overlay, dusk.
    """
    centres = np.array([capture.centre for capture in captures])
    q = quaternions(np.array([capture.rotation for capture in captures]))
    t = np.array([capture.translation for capture in captures])
    place = town.frame.lon_lat_alt(centres)
    columns: dict[str, object] = {"image_id": [capture.image_id for capture in captures]}
    columns |= dict(zip(("lon", "lat", "alt_m"), place.T, strict=True))
    columns |= dict(zip(("east_m", "north_m", "up_m"), centres.T, strict=True))
    columns |= dict(zip(("qw", "qx", "qy", "qz"), q.T, strict=True))
    columns |= dict(zip(("tx", "ty", "tz"), t.T, strict=True))
    cameras = [capture.camera for capture in captures]
    columns |= {
        "fx": [camera.focal_px for camera in cameras],
        "fy": [camera.focal_px for camera in cameras],
        "cx": [camera.width / 2 for camera in cameras],
        "cy": [camera.height / 2 for camera in cameras],
        "k1": [camera.k1 for camera in cameras],
        "k2": [camera.k2 for camera in cameras],
        "width": [camera.width for camera in cameras],
        "height": [camera.height for camera in cameras],
        "heading_deg": [capture.heading_deg for capture in captures],
        "camera_name": [camera.name for camera in cameras],
        "is_pano": [camera.is_pano for camera in cameras],
        "sequence": [capture.sequence.sequence_id for capture in captures],
        "kind": [capture.sequence.kind for capture in captures],
        "is_blurred": [capture.is_blurred for capture in captures],
        "has_overlay": [capture.has_overlay for capture in captures],
        "dusk": [capture.sequence.is_dusk for capture in captures],
    }
    return pa.table(columns)
