from dataclasses import replace

import numpy as np
import pandas as pd
import pycolmap
import pytest

from citysplat_core.mapping.sketch_mapper import map_sketch, photos_of
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
