import numpy as np
import pycolmap
import pytest

from citysplat_core.simulation.cameras import CAMERA_KINDS, make_camera, pixel_rays


@pytest.mark.parametrize("kind", CAMERA_KINDS, ids=lambda kind: kind.model)
def test_distortion_is_that_of_colmap(kind):
    camera = make_camera(kind, "one", np.random.default_rng(0), 640)
    rays = pixel_rays(camera).reshape(-1, 2)
    colmap = pycolmap.Camera(
        model="RADIAL", width=camera.width, height=camera.height,
        params=[camera.focal_px, camera.width / 2, camera.height / 2, camera.k1, camera.k2],
    )  # fmt: skip
    pixels = colmap.img_from_cam(np.column_stack([rays, np.ones(len(rays))]))
    x, y = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    np.testing.assert_allclose(pixels, np.column_stack([x.ravel(), y.ravel()]), atol=1e-6)


def test_the_longest_side_is_as_asked():
    for kind in CAMERA_KINDS:
        camera = make_camera(kind, "one", np.random.default_rng(0), 320)
        assert max(camera.width, camera.height) == 320
        assert camera.width / camera.height == pytest.approx(kind.full_width / kind.full_height)
