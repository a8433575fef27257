from dataclasses import replace

import numpy as np
import pandas as pd
import pycolmap
import pytest

from citysplat_core.mapping.geographic import grow_from
from citysplat_core.mapping.joining import settle_models
from citysplat_core.mapping.mappers import MapJob
from citysplat_core.mapping.watch import Watch
from citysplat_core.settings import MappingSettings
from tests.mapping.test_ties import SIM, cut, moved


@pytest.fixture
def job(solved_street, tmp_path):
    street, _, _ = solved_street
    return MapJob(
        database=street.root / "street.db",
        photos=tmp_path,
        out=tmp_path / "out",
        images=pd.DataFrame(),
        positions=street.positions(),
        partners={},
        sequences=[],
        fixed_cameras=frozenset({7}),
        settings=MappingSettings(),
        n_threads=1,
        tick=lambda _, __: None,
        beat=lambda: None,
        watch=Watch(600),
    )


def halves(solved_street, *, n_shared=4):
    street, whole, _ = solved_street
    half = street.n_photos // 2
    first = cut(whole, street.ids[: half + n_shared // 2])
    return [first, moved(cut(whole, street.ids[half - n_shared // 2 :]), SIM)]


@pytest.mark.parametrize("n_shared", [4, 0])
def test_two_halves_become_one_street_of_true_shape(solved_street, job, n_shared):
    street, _, _ = solved_street
    (joined,) = settle_models(halves(solved_street, n_shared=n_shared), job)
    ids = sorted(joined.reg_image_ids())
    assert ids == street.ids
    solved = np.array([joined.image(i).projection_center() for i in ids])
    sim = pycolmap.estimate_sim3d(solved, street.centers)
    left = np.linalg.norm([sim * c for c in solved] - street.centers, axis=1)
    assert np.median(left) < 0.3
    assert joined.compute_mean_reprojection_error() < 1.0


def test_a_joined_model_takes_in_the_photos_that_neither_half_had(solved_street, job):
    street, whole, _ = solved_street
    parts = [cut(whole, street.ids[:20]), moved(cut(whole, street.ids[22:]), SIM)]
    (joined,) = settle_models(parts, job)
    assert sorted(joined.reg_image_ids()) == street.ids


def test_a_model_does_not_grow_into_the_photos_of_others(solved_street, job):
    street, whole, _ = solved_street
    first, others, rest = street.ids[:20], set(street.ids[20:24]), street.ids[24:]
    with pycolmap.Database.open(job.database) as database:
        cache = pycolmap.DatabaseCache.create(database, pycolmap.DatabaseCacheOptions())
    model = pycolmap.Reconstruction(cut(whole, first))
    model.load(cache)
    grow_from(job, cache, model, elsewhere=others)
    assert set(first) <= set(model.reg_image_ids()) <= {*first, *rest}


def test_halves_that_gps_puts_elsewhere_stay_apart(solved_street, job):
    away = {
        i: p + np.array([0, 40.0 * (k >= 20), 0]) for k, (i, p) in enumerate(job.positions.items())
    }
    found = settle_models(halves(solved_street, n_shared=0), replace(job, positions=away))
    assert sorted(m.num_reg_images() for m in found) == [20, 20]


def test_a_model_that_gps_wants_in_two_places_is_cut_there(solved_street, job):
    street, whole, _ = solved_street
    away = {
        i: p + np.array([0, 40.0 * (k >= 26), 0]) for k, (i, p) in enumerate(job.positions.items())
    }
    found = settle_models([whole], replace(job, positions=away))
    assert [sorted(m.reg_image_ids()) for m in found] == [street.ids[:26], street.ids[26:]]


def test_one_model_is_left_as_it_is(solved_street, job):
    _, whole, _ = solved_street
    assert settle_models([whole], job) == [whole]


def test_a_run_out_of_time_joins_nothing(solved_street, job):
    late = replace(job, watch=Watch(-1.0))
    assert len(settle_models(halves(solved_street), late)) == 2
