"""A tiny city made by hand: four boxes, two of them with splats of known colours and places."""

import json
from dataclasses import dataclass
from pathlib import Path

import gsply
import numpy as np
import pandas as pd
import pycolmap
import pytest

from citysplat_core.city import BoxInputs
from citysplat_core.geography import CityFrame, box_bounds, quadkey_of, tile_of

ZOOM = 18
FRAME = CityFrame(13.4, 52.5, 40.0)
SH_C0 = 0.28209479177387814
RED, BLUE, GREEN, GREY = (0.85, 0.05, 0.05), (0.05, 0.1, 0.85), (0.05, 0.7, 0.1), (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class TinyCity:
    """Where the hand-made artifacts are, and what is true of them."""

    root: Path
    plan: Path
    alignment: Path
    boxes: dict[str, BoxInputs]
    west: str
    east: str
    failed: str
    missing: str
    red_wall_enu: np.ndarray  # corners of the red wall, city frame, (4, 3)


def tile_keys():
    x, y = (int(v) for v in tile_of(13.4, 52.5, ZOOM))
    return [quadkey_of(ZOOM, x + dx, y + dy) for dy in (0, 1) for dx in (0, 1)]


def center_enu(key):
    west, south, east, north = box_bounds(key)
    return FRAME.enu((west + east) / 2, (south + north) / 2)[:2]


def place_in(key, east_m, north_m, up_m=0.0):
    center_east, center_north = center_enu(key)
    return np.array([center_east + east_m, center_north + north_m, up_m])


def splat_points(enu, colour, size_m=0.12, opacity=0.97, n_rest=3):
    """Round Gaussians of one colour at city-frame positions."""
    n = len(enu)
    return {
        "means": np.asarray(enu, float),
        "scales": np.full((n, 3), np.log(size_m)),
        "quats": np.tile([1.0, 0, 0, 0], (n, 1)),
        "opacities": np.full(n, np.log(opacity / (1 - opacity))),
        "sh0": np.tile((np.array(colour) - 0.5) / SH_C0, (n, 1)),
        "shN": np.zeros((n, n_rest, 3)),
    }


def join(*parts):
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def write_splat(folder, key, points, origin):
    """Write a ``splat`` artifact; points are in the city frame."""
    folder.mkdir(parents=True)
    local = {**points, "means": points["means"] - origin}
    arrays = {k: np.ascontiguousarray(v, dtype=np.float32) for k, v in local.items()}
    gsply.plywrite(folder / "splat.ply", gsply.GSData(**arrays))
    scene = {"version": 1, "box": key, "origin_enu_m": list(origin), "antialiased": True}
    scene |= {"n_gaussians": len(points["means"]), "sh_degree": 1, "test_images": [f"{key}_1"]}
    (folder / "scene.json").write_text(json.dumps(scene))
    (folder / "metrics.json").write_text(json.dumps({"psnr_db": 23.456, "ssim": 0.8, "views": []}))
    return folder


def wall(center, width_m, height_m, axis, step_m=0.12):
    """A grid of points on a standing rectangle along east (0) or north (1)."""
    along = np.arange(-width_m / 2, width_m / 2 + 1e-9, step_m)
    up = np.arange(0, height_m + 1e-9, step_m)
    a, u = (g.ravel() for g in np.meshgrid(along, up))
    points = np.tile(np.asarray(center, float), (len(a), 1))
    points[:, axis] += a
    points[:, 2] += u
    return points


def ground(key, step_m=0.8):
    center = center_enu(key)
    side = np.arange(-20, 20.1, step_m)
    e, n = (g.ravel() for g in np.meshgrid(side, side))
    return np.stack([center[0] + e, center[1] + n, np.full(len(e), -1.6)], axis=1)


def rotation_looking(heading_deg):
    """``cam_from_world`` as wxyz of a level camera; x right, y down, z forward."""
    h = np.radians(heading_deg)
    forward = np.array([np.sin(h), np.cos(h), 0])
    right = np.array([np.cos(h), -np.sin(h), 0])
    matrix = np.stack([right, [0, 0, -1], forward])
    x, y, z, w = pycolmap.Rotation3d(matrix).quat
    return matrix, (w, x, y, z)


def camera_rows(key, start_id, n=3):
    """Photos walking north through the middle of a box, looking north."""
    rows = []
    for i in range(n):
        center = place_in(key, 0, -12 + 6 * i)
        matrix, (w, x, y, z) = rotation_looking(0)
        t = -matrix @ center
        pose = {"qw": w, "qx": x, "qy": y, "qz": z, "tx": t[0], "ty": t[1], "tz": t[2]}
        place = dict(zip(("east_m", "north_m", "up_m"), center, strict=True))
        row = {"image_id": f"{key}_{i}", "colmap_id": start_id + i, "box": key, "component": 0}
        rows.append({**row, **pose, **place, "gps_residual_m": 1.5 + i})
    return rows


def write_sparse_model(folder, rows):
    """Write a ``sparse_model`` artifact with one component."""
    model = pycolmap.Reconstruction()
    camera = pycolmap.Camera(
        camera_id=7, model="PINHOLE", width=640, height=480, params=[400.0, 400.0, 320.0, 240.0]
    )
    model.add_camera_with_trivial_rig(camera)
    for row in rows:
        rotation = pycolmap.Rotation3d([row["qx"], row["qy"], row["qz"], row["qw"]])
        pose = pycolmap.Rigid3d(rotation, [row["tx"], row["ty"], row["tz"]])
        image = pycolmap.Image(
            name=f"{row['image_id']}.jpg", camera_id=7, image_id=row["colmap_id"]
        )
        model.add_image_with_trivial_frame(image, pose)
        model.register_frame(model.images[row["colmap_id"]].frame_id)
    (folder / "components" / "0").mkdir(parents=True)
    model.write(str(folder / "components" / "0"))
    table = pd.DataFrame(rows).drop(columns="box").assign(is_home=True, n_observations=50)
    table.to_parquet(folder / "images.parquet")
    pd.DataFrame({"component": [0], "accepted": [True]}).to_parquet(folder / "components.parquet")
    return folder


def write_box_images(folder, rows, creator):
    """Write a ``box_images`` artifact without photos; the last photo was taken first."""
    folder.mkdir(parents=True)
    n = len(rows)
    times = pd.date_range("2024-05-01", periods=n, freq="s", tz="UTC")[::-1]
    pd.DataFrame(
        {"image_id": [r["image_id"] for r in rows], "sequence_id": "s1", "captured_at": times}
    ).to_parquet(folder / "images.parquet")
    (folder / "ATTRIBUTION.md").write_text(
        "# Attribution\n\nPhotos from Mapillary, licensed CC BY-SA 4.0, by:\n\n"
        f"- {creator}: 3 photos\n- zoe: 1 photos\n\nAdapted material keeps the licence.\n"
    )
    return folder


def write_plan(folder, keys, rows):
    folder.mkdir(parents=True)
    boxes = []
    for key in sorted(keys):
        west, south, east, north = box_bounds(key)
        ce, cn = (float(v) for v in center_enu(key))
        boxes.append({"key": key, "zoom": ZOOM, "n_images": 4, "west": west, "south": south})
        boxes[-1] |= {"east": east, "north": north, "center_east_m": ce, "center_north_m": cn}
    a, b, c, d = keys
    kinds = [(a, b, "edge"), (a, c, "edge"), (b, d, "edge"), (c, d, "edge")]
    kinds += [(a, d, "corner"), (b, c, "corner")]
    fringes = [
        {"key": f"{min(p, q)}--{max(p, q)}", "a": min(p, q), "b": max(p, q), "kind": kind}
        for p, q, kind in kinds
    ]
    plan = {"version": 1, "city": "Tinytown", "digest": "x", "boxes": boxes, "estimates": {}}
    plan["fringes"] = [{**f, "n_images": 2} for f in sorted(fringes, key=lambda f: f["key"])]
    (folder / "plan.json").write_text(json.dumps(plan))
    place = FRAME.lon_lat_alt([[r["east_m"], r["north_m"], r["up_m"]] for r in rows])
    known = pd.DataFrame(
        {
            "image_id": [r["image_id"] for r in rows],
            "box": [r["box"] for r in rows],
            "lon": place[:, 0] + 2e-5,
            "lat": place[:, 1],
            "heading_deg": 12.0,
        }
    )
    lost_place = FRAME.lon_lat_alt(np.append(center_enu(d), 0.0))
    lost = {"image_id": "lost", "box": d, "lon": lost_place[0], "lat": lost_place[1]}
    table = pd.concat([known, pd.DataFrame([{**lost, "heading_deg": np.nan}])])
    table.to_parquet(folder / "images.parquet")
    return folder


@pytest.fixture(scope="session")
def tiny_city(tmp_path_factory):
    """Four boxes: west and east are done and hold walls, one failed, one is missing."""
    root = tmp_path_factory.mktemp("tiny")
    keys = tile_keys()
    west, east, failed, missing = keys
    rows = camera_rows(west, 1) + camera_rows(east, 11)
    plan = write_plan(root / "plan", keys, rows)
    alignment = root / "alignment"
    alignment.mkdir()
    frame_columns = pd.DataFrame(rows)
    place = FRAME.lon_lat_alt(frame_columns[["east_m", "north_m", "up_m"]].to_numpy())
    frame_columns.assign(lon=place[:, 0], lat=place[:, 1], alt_m=place[:, 2]).to_parquet(
        alignment / "cameras.parquet"
    )
    seam = f"{min(west, east)}--{max(west, east)}"
    pd.DataFrame(
        {"fringe": [seam], "n_shared": [5], "before_m": [1.0], "after_m": [0.04], "state": ["ok"]}
    ).to_parquet(alignment / "fringes.parquet")

    start = place_in(west, 0, -6)
    red_at = start + np.array([3.0, 12.0, -1.0])
    red = wall(red_at, 4.0, 2.0, axis=0)
    blue = wall(place_in(east, 0, 10, -1.0), 4.0, 2.0, axis=0)
    # A green wall across the border that both boxes trained: each keeps its own half.
    border = FRAME.enu(box_bounds(east)[0], FRAME.origin_lat)[0]
    green = wall((border, center_enu(west)[1] + 6, -1.0), 8.0, 2.0, axis=0)
    sky = np.array([[0.0, 600.0, 300.0], [500.0, 0.0, 250.0]]) + np.append(center_enu(west), 0)
    boxes = {}
    for key, own, colour, creator in ((west, red, RED, "anna"), (east, blue, BLUE, "ben")):
        origin = np.append(center_enu(key), 0.0).round(3)
        parts = [splat_points(own, colour), splat_points(green, GREEN)]
        parts += [splat_points(ground(key), GREY, size_m=0.5)]
        parts += [splat_points(own[:5], (1, 1, 1), opacity=0.001)]
        if key == west:
            parts.append(splat_points(sky, (0.6, 0.7, 1.0), size_m=30.0))
        mine = [row for row in rows if row["box"] == key]
        boxes[key] = BoxInputs(
            key=key,
            state="done",
            splat=write_splat(root / "splat" / key, key, join(*parts), origin),
            sparse_model=write_sparse_model(root / "sparse" / key, mine),
            box_images=write_box_images(root / "images" / key, mine, creator),
        )
    boxes[failed] = BoxInputs(key=failed, state="failed", reason="2 of 40 photos registered")
    corners = red_at + np.array([[-2, 0, 0], [2, 0, 0], [2, 0, 2], [-2, 0, 2]], float)
    return TinyCity(root, plan, alignment, boxes, west, east, failed, missing, corners)
