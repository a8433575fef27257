from dataclasses import replace

import pycolmap
import pytest

from citysplat_core.errors import MappingError
from citysplat_core.mapping.mappers import (
    incremental_options,
    keeps_all_intrinsics,
    run_mapper,
)
from citysplat_core.mapping.watch import Watch
from citysplat_core.settings import MappingSettings
from tests.mapping.map_jobs import map_job


@pytest.fixture
def job(make_street, tmp_path):
    street = make_street()
    settings = MappingSettings(max_runtime_s=77, seed=5)
    return map_job(street, tmp_path, "none.db", settings=settings, watch=Watch(77))


def test_colmaps_failure_names_the_box_and_the_remedy(job):
    def broken(_):
        raise ValueError("Check failed: no such thing")

    with pytest.raises(
        MappingError, match=r"Box 030: the odd mapper failed: Check failed.*strategy"
    ):
        run_mapper("odd", broken, job, box="030")
    assert not (job.out / "done").exists()


def test_a_finished_run_is_read_back(job, make_street):
    models = run_mapper("x", lambda _: [make_street().model()], job, box="030")
    again = run_mapper("x", lambda _: pytest.fail("must not run"), job, box="030")
    assert [m.num_reg_images() for m in again] == [m.num_reg_images() for m in models] == [30]


def test_settings_reach_the_options(job):
    options = incremental_options(job)
    assert options.max_runtime_seconds == 77
    assert options.random_seed == 5
    assert set(options.constant_cameras) == {7}
    assert options.min_model_size == 6


@pytest.mark.parametrize(
    ("fixed", "keeps"),
    [(set(), False), ({1}, True), ({2}, False), ({1, 2}, True), ({1, 2, 3}, True), ({2, 3}, False)],
)
def test_exact_views_beside_guessed_lenses_do_not_stop_these_from_being_refined(job, fixed, keeps):
    models = {1: "RADIAL", 2: "SIMPLE_PINHOLE", 3: "SIMPLE_PINHOLE"}
    with pycolmap.Database.open(job.database) as database:
        for number, model in models.items():
            camera = pycolmap.Camera.create_from_model_name(number, model, 500.0, 640, 480)
            database.write_camera(camera, use_camera_id=True)
    assert keeps_all_intrinsics(replace(job, fixed_cameras=frozenset(fixed))) == keeps
