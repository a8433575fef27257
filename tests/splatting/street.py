"""A tiny street by formula, as the artifacts that training reads."""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pycolmap
from numpy.typing import NDArray

BOX = "1202102332221030"
NEIGHBOUR = "1202102332221031"
SIZE = (160, 90)
CENTRE = (1000.0, -500.0)  # of the box in the city frame: far from 0, to show the local frame
GROUND_UP_M = 40.0


@dataclass(frozen=True)
class StreetArtifacts:
    """Where the street's artifacts lie."""

    sparse_model: Path
    alignment: Path
    box_images: dict[str, Path]
    bounds: tuple[float, float, float, float] = (950.0, -550.0, 1050.0, -450.0)


def camera() -> pycolmap.Camera:
    width, height = SIZE
    return pycolmap.Camera(
        camera_id=1,
        model="SIMPLE_RADIAL",
        width=width,
        height=height,
        params=[110.0, width / 2, height / 2, -0.03],
    )


def poses(n: int) -> list[pycolmap.Rigid3d]:
    """``cam_from_world`` of a walk along the street (east), looking left and right by turns."""
    found = []
    for k in range(n):
        yaw = 0.35 * np.sin(1.3 * k)
        forward = np.array([np.cos(yaw), np.sin(yaw), -0.03])
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forward, right), forward])
        centre = np.array([-6 + 9.0 * k / n, 0.5 * np.sin(k), 1.6])
        centre += np.array([*CENTRE, GROUND_UP_M])
        found.append(pycolmap.Rigid3d(pycolmap.Rotation3d(rotation), -rotation @ centre))
    return found


def trace(pose: pycolmap.Rigid3d) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Photo (H, W, 3) and hit points (H, W, 3) in the city frame; NaN in the sky."""
    width, height = SIZE
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    flat = camera().cam_from_img(np.stack([x.ravel(), y.ravel()], 1))
    rays = np.c_[flat, np.ones(len(flat))] @ pose.rotation.matrix()
    start = pose.inverse().translation - [*CENTRE, GROUND_UP_M]
    with np.errstate(divide="ignore"):
        planes = [-start[2] / rays[:, 2], (5 - start[1]) / rays[:, 1], (-5 - start[1]) / rays[:, 1]]
        planes.append((25 - start[0]) / rays[:, 0])
    distance = np.where(np.array(planes) > 0, planes, np.inf)
    which, t = distance.argmin(0), distance.min(0)
    hit = start + rays * np.minimum(t, 1e6)[:, None]
    hit[(which > 0) & (hit[:, 2] > 6)] = np.nan
    u, v = hit[:, 0] + hit[:, 1], np.where(which == 0, hit[:, 1] * 2, hit[:, 2] * 2)
    colour = np.stack([np.sin(2.1 * u + which), np.sin(1.7 * v + 2 * which), np.cos(u - v)], 1)
    colour = np.where(np.isnan(hit), (0.6, 0.75, 0.95), 0.5 + 0.3 * colour)
    photo = (colour * 255).round().astype(np.uint8).reshape(height, width, 3)
    origin = np.array([*CENTRE, GROUND_UP_M])
    return photo, (hit + origin).reshape(height, width, 3)


def build_street(root: Path, *, n: int = 24, n_fringe: int = 3) -> StreetArtifacts:
    """Write a sparse model, an alignment and photos; the last photos belong to the neighbour."""
    rng = np.random.default_rng(0)
    model = pycolmap.Reconstruction()
    model.add_camera_with_trivial_rig(camera())
    model_dir = root / "sparse" / "components" / "0"
    model_dir.mkdir(parents=True)
    rows, tables = [], {BOX: [], NEIGHBOUR: []}
    for k, pose in enumerate(poses(n)):
        box = BOX if k < n - n_fringe else NEIGHBOUR
        photo, hits = trace(pose)
        photos = root / box / "photos"
        photos.mkdir(parents=True, exist_ok=True)
        image_id = f"photo{k:02}"
        cv2.imwrite(
            str(photos / f"{image_id}.jpg"), photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98]
        )
        pixels = rng.integers((0, 0), SIZE, (60, 2))
        pixels = pixels[~np.isnan(hits[pixels[:, 1], pixels[:, 0], 0])]
        image = pycolmap.Image(
            name=f"{image_id}.jpg",
            camera_id=1,
            image_id=k + 1,
            points2D=pycolmap.Point2DList([pycolmap.Point2D(p + 0.5) for p in pixels]),
        )
        model.add_image_with_trivial_frame(image, pose)
        for index, (px, py) in enumerate(pixels):
            track = pycolmap.Track([pycolmap.TrackElement(k + 1, index)])
            model.add_point3D(hits[py, px], track, np.zeros(3, np.uint8))
        rows.append(
            {"image_id": image_id, "colmap_id": k + 1, "component": 0, "is_home": box == BOX}
        )
        taken = pd.Timestamp("2026-01-01", tz="UTC") + pd.Timedelta(seconds=k)
        tables[box].append({"image_id": image_id, "sequence_id": f"s{k % 2}", "captured_at": taken})
    model.write(model_dir)
    pd.DataFrame(rows).to_parquet(root / "sparse" / "images.parquet")
    for box, table in tables.items():
        pd.DataFrame(table).to_parquet(root / box / "images.parquet")
    (root / "alignment").mkdir()
    same = {"scale": 1.0, "rotation_wxyz": [1, 0, 0, 0], "translation_m": [0, 0, 0]}
    value = {"version": 1, "components": [{"box": BOX, "component": 0, **same}]}
    (root / "alignment" / "transforms.json").write_text(json.dumps(value))
    photos = {box: root / box for box in tables}
    return StreetArtifacts(root / "sparse", root / "alignment", photos)
