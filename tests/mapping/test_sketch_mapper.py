from dataclasses import replace

import numpy as np
import pandas as pd
import pycolmap
import pytest

from citysplat_core.mapping.sketch_mapper import map_sketch, photos_of, set_lenses
from citysplat_core.matching.lens import bend
from citysplat_core.matching.pairs import NO_SEQUENCE
from tests.mapping.map_jobs import map_job


@pytest.fixture(scope="module")
def street(make_street, tmp_path_factory):
    """A drive round a corner, with GPS that is off by a metre, and no compass."""
    corners = ((0, 0), (70, 0), (110, 30))
    street = make_street(n_photos=40, corners=corners, gps_noise_m=1.0)
    street.folder = tmp_path_factory.mktemp("sketched")
    rows = list(range(40))
    near = [(i, j) for i in rows for j in rows if i < j <= i + 4]
    street.write_database(street.folder / "m.db", rows, near)
    return street


def described(street) -> pd.DataFrame:
    start = pd.Timestamp("2024-05-01", tz="UTC")
    times = [start + pd.Timedelta(seconds=2 * row) for row in range(street.n_photos)]
    return street.images().assign(sequence_id="drive", captured_at=times, heading_deg=np.nan)


def errors_m(street, model: pycolmap.Reconstruction) -> np.ndarray:
    """Distances from the true places after the best similarity."""
    ids = sorted(model.reg_image_ids())
    solved = np.array([model.image(i).projection_center() for i in ids])
    true = street.centers[np.array(ids) - street.first_id]
    sim = pycolmap.estimate_sim3d(solved, true)
    return np.linalg.norm([sim * c for c in solved] - true, axis=1)


def test_a_drive_becomes_one_model_of_the_right_shape(street):
    (model,) = map_sketch(map_job(street, street.folder, images=described(street)))
    assert sorted(model.reg_image_ids()) == street.ids
    assert np.median(errors_m(street, model)) < 0.1
    assert model.compute_mean_reprojection_error() < 1.0


def test_photos_without_a_position_join_by_what_they_see(street):
    job = map_job(street, street.folder, images=described(street))
    few = {i: p for i, p in job.positions.items() if i % 10}
    (model,) = map_sketch(replace(job, positions=few))
    assert sorted(model.reg_image_ids()) == street.ids


def test_streets_that_no_pair_ties_become_two_models(street):
    rows = list(range(40))
    near = [(i, j) for i in rows for j in rows if i < j <= i + 4 and (i < 15) == (j < 15)]
    street.write_database(street.folder / "two.db", rows, near)
    job = map_job(street, street.folder, "two.db", images=described(street))
    found = map_sketch(job)
    assert sorted(min(m.reg_image_ids()) for m in found) == [100, 115]
    assert all(np.median(errors_m(street, m)) < 0.15 for m in found)


def test_without_sequences_there_is_no_sketch(street):
    images = described(street).assign(sequence_id=None)
    assert map_sketch(map_job(street, street.folder, images=images)) == []


def test_photos_are_described_in_the_order_of_their_ids(street):
    images = described(street).sample(frac=1.0, random_state=2)
    images.loc[images["colmap_id"] == 103, "sequence_id"] = ""
    photos = photos_of(map_job(street, street.folder, images=images))
    assert photos.colmap_id.tolist() == street.ids
    assert photos.sequence[3] == NO_SEQUENCE
    assert (np.diff(photos.captured_at) == 2000).all()
    np.testing.assert_allclose(photos.half_view[0], [320 / 450, 240 / 450], rtol=1e-6)


@pytest.mark.parametrize(
    ("model", "params"),
    [
        ("SIMPLE_RADIAL", [500.0, 320, 240, 0.02]),
        ("RADIAL", [500.0, 320, 240, -0.05, 0.0]),
        ("OPENCV", [500.0, 505.0, 320, 240, 0.03, 0, 0, 0]),
        ("SIMPLE_PINHOLE", [500.0, 320, 240]),
    ],
)
def test_cameras_get_the_lens_of_the_sketch(model, params):
    """The new camera sees a point where the old one sees it through the sketch's lens."""
    radial = 0.0 if model == "SIMPLE_PINHOLE" else -0.06
    image = np.random.default_rng(1).uniform(-0.4, 0.4, (50, 2))
    whole = pycolmap.Reconstruction()
    whole.add_camera(
        pycolmap.Camera(model=model, width=640, height=480, params=params, camera_id=3)
    )
    through = bend(image, np.full(50, 0.9), np.full(50, radial))
    expected = whole.camera(3).img_from_cam(np.c_[through, np.ones(50)])
    set_lenses(whole, {3: [(0.9, radial)] * 8})
    seen = whole.camera(3).img_from_cam(np.c_[image, np.ones(50)])
    assert np.abs(seen - expected).max() < 0.5  # pixels: to first order of the bend


def test_a_few_photos_do_not_tell_a_lens():
    whole = pycolmap.Reconstruction()
    params = [500.0, 320, 240, 0.02]
    whole.add_camera(
        pycolmap.Camera(model="SIMPLE_RADIAL", width=640, height=480, params=params, camera_id=3)
    )
    set_lenses(whole, {3: [(0.5, 0.3)] * 3})
    assert whole.camera(3).params.tolist() == params
