import cv2
import numpy as np
import pycolmap
import pytest

from citysplat_core.features import quiet_colmap
from citysplat_core.mapping.model_colours import colour_points


@pytest.fixture
def photos(tmp_path, solved_street):
    street, *_ = solved_street
    for number, image_id in enumerate(street.ids):
        plain = np.full((480, 640, 3), 50 + number, np.uint8)
        cv2.imwrite(str(tmp_path / f"photo{image_id}.jpg"), plain)
    return tmp_path


def colours(model):
    return np.array([p.color for p in model.points3D.values()])


def test_all_points_have_the_colours_of_their_photos(solved_street, photos):
    model = pycolmap.Reconstruction(solved_street[1])
    with quiet_colmap():
        colour_points(model, photos)
    assert colours(model).min() >= 48


def test_only_black_points_are_coloured_if_only_new_ones_are_asked_for(solved_street, photos):
    model = pycolmap.Reconstruction(solved_street[1])
    for number, point in enumerate(model.points3D.values()):
        point.color = np.array([0, 0, 0] if number % 2 else [9, 9, 9], np.uint8)
    (photos / f"photo{min(model.reg_image_ids())}.jpg").unlink()
    with quiet_colmap():
        colour_points(model, photos, only_new=True)
    found = colours(model)
    assert (found[::2] == 9).all()
    assert (found[1::2].min(axis=1) >= 48).mean() > 0.9
