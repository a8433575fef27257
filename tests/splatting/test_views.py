import cv2
import numpy as np
import pycolmap
import pytest
import torch

from citysplat_core.errors import SplatError
from citysplat_core.splatting.views import Undistorter, View, shot_of


def spots(camera: pycolmap.Camera, rays: np.ndarray) -> np.ndarray:
    """A black photo with a bright round spot where each ray falls."""
    photo = np.zeros((camera.height, camera.width, 3), np.uint8)
    y, x = np.mgrid[: camera.height, : camera.width] + 0.5
    for u, v in camera.img_from_cam(rays):
        photo[np.hypot(x - u, y - v) < 4] = 255
    return photo


@pytest.mark.parametrize(
    ("model", "params"),
    [
        ("SIMPLE_RADIAL", [500.0, 322.0, 236.0, -0.12]),
        ("PINHOLE", [500.0, 510.0, 318.0, 241.0]),
        ("OPENCV_FISHEYE", [420.0, 420.0, 320.0, 240.0, 0.02, -0.01, 0.0, 0.0]),
    ],
)
def test_a_ray_falls_where_the_pinhole_matrix_says(tmp_path, model, params):
    camera = pycolmap.Camera(model=model, width=640, height=480, params=params)
    ray = np.array([[0.31, -0.22, 1.0]])
    cv2.imwrite(str(tmp_path / "p.png"), spots(camera, ray))
    undistorter = Undistorter(camera, width_px=320)
    picture = undistorter.read(tmp_path / "p.png")[..., 0].astype(float)
    assert picture.shape[1] == 320
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]] + 0.5
    found = np.array([(x * picture).sum(), (y * picture).sum()]) / picture.sum()
    expected = undistorter.intrinsics @ ray[0]
    assert np.abs(found - expected[:2] / expected[2]).max() < 0.3


def test_a_small_photo_is_not_enlarged(tmp_path):
    camera = pycolmap.Camera(model="PINHOLE", width=64, height=48, params=[50.0, 50.0, 32.0, 24.0])
    cv2.imwrite(str(tmp_path / "p.png"), np.zeros((48, 64, 3), np.uint8))
    assert Undistorter(camera, width_px=320).read(tmp_path / "p.png").shape == (48, 64, 3)


def test_an_unreadable_photo_is_named(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no jpeg")
    camera = pycolmap.Camera(model="PINHOLE", width=64, height=48, params=[50.0, 50.0, 32.0, 24.0])
    with pytest.raises(SplatError, match=r"broken\.jpg cannot be read"):
        Undistorter(camera, width_px=64).read(tmp_path / "broken.jpg")


def test_a_view_at_half_size_sees_the_same_points_at_half_the_pixels():
    view = View(
        image_id="a",
        sequence_id="s",
        is_home=True,
        camera_from_local=np.eye(4),
        intrinsics=np.array([[50.0, 0, 33], [0, 50, 24], [0, 0, 1]]),
        photo=np.full((49, 66, 3), 51, np.uint8),
        points=np.array([[0.1, 0.1, 2.0], [0, 0, -1.0], [9.0, 0, 1.0]]),
        point_rows=np.array([4, 5, 6]),
        mask=np.arange(66)[None].repeat(49, 0) >= 33,
    )
    pixels, depths, rows = view.project()
    assert rows.tolist() == [4]  # one is behind, one outside
    assert np.allclose(pixels, [[35.5, 26.5]])
    half = shot_of(view, shrink=2, device=torch.device("cpu"))
    assert half.size == (33, 24)
    assert torch.allclose(half.photo, torch.tensor(0.2))
    assert np.allclose(half.pixels.numpy(), pixels * [33 / 66, 24 / 49])
    assert float(half.depths_m[0]) == depths[0] == 2.0
    assert half.mask is not None
    assert half.mask[:, 17:].all()
    assert not half.mask[:, :16].any()
