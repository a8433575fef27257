import numpy as np
import pycolmap
import pytest

from citysplat_core.mapping.geometry_stats import measure_geometry, triangulation_angles_deg


def add_point(model, xyz, image_ids, index):
    elements = [pycolmap.TrackElement(i, index) for i in image_ids]
    return model.add_point3D(np.array(xyz, float), pycolmap.Track(elements))


@pytest.fixture
def model(make_street):
    made = make_street(n_photos=6, corners=((0, 0), (25, 0))).model()
    for image in made.images.values():
        image.points2D = pycolmap.Point2DList([pycolmap.Point2D(np.zeros(2))] * 2)
    return made


def test_angles_are_those_between_the_widest_rays(model):
    a, b = (model.image(i).projection_center() for i in (100, 105))
    away = np.cross(b - a, [0.3, 0.1, 0.9])
    away /= np.linalg.norm(away)
    near = (a + b) / 2 + away * np.linalg.norm(b - a) / 2
    far = (a + b) / 2 + away * np.linalg.norm(b - a) * 100
    add_point(model, near, [100, 103, 105], 0)
    add_point(model, far, [100, 105], 1)
    angles = triangulation_angles_deg(model)
    assert angles[0] == pytest.approx(90, abs=1e-6)
    assert angles[1] == pytest.approx(np.degrees(2 * np.arctan(0.005)), rel=1e-6)
    stats = measure_geometry([model])
    assert (stats.n_points, stats.track_length_mean, stats.flat_share) == (2, 2.5, 0.5)
    assert stats.points_per_photo == pytest.approx(2 / 6)


def test_a_model_without_points_has_no_numbers(model):
    assert measure_geometry([model]) is None
    assert measure_geometry([]) is None
