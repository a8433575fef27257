import pycolmap
import pytest

from citysplat_core.features import quiet_colmap
from citysplat_core.mapping.extend import extend_model, leave_model, residuals_of
from citysplat_core.mapping.mappers import map_incremental
from tests.mapping.map_jobs import map_job


@pytest.fixture
def make_job(make_street, tmp_path):
    """Give a function that makes a street's job and its model in the city frame."""

    def make(*, without=()):
        street = make_street(n_photos=20, corners=((0, 0), (45, 0)))
        pairs = [(i, j) for i in range(20) for j in range(i + 1, min(i + 5, 20))]
        street.write_database(tmp_path / "all.db", list(range(20)), pairs)
        old = [i for i in range(20) if i not in without]
        street.write_database(tmp_path / "old.db", old, [p for p in pairs if set(p) <= set(old)])
        jobs = [map_job(street, tmp_path, name) for name in ("old.db", "all.db")]
        with quiet_colmap():
            model = map_incremental(jobs[0])[0]
        names = [model.image(i).name for i in model.reg_image_ids()]
        places = [street.positions()[i] for i in model.reg_image_ids()]
        options = pycolmap.RANSACOptions(max_error=2.0)
        model.transform(
            pycolmap.align_reconstruction_to_locations(model, names, places, 3, options)
        )
        return street, jobs[1], model

    return make


def cache_of(job):
    with quiet_colmap(), pycolmap.Database.open(job.database) as database:
        return pycolmap.DatabaseCache.create(
            database, pycolmap.DatabaseCacheOptions(min_num_matches=15)
        )


def test_only_candidates_join(make_job):
    street, job, model = make_job(without=(6, 12))
    with quiet_colmap():
        joined = extend_model(model, cache_of(job), candidates={street.ids[6]}, job=job)
    assert joined == {street.ids[6]}
    assert set(model.reg_image_ids()) == set(street.ids) - {street.ids[12]}


def test_a_photo_far_from_its_position_that_nobody_vouches_for_does_not_join(make_job):
    street, job, model = make_job(without=(6, 12))
    job.positions[street.ids[6]][:2] += (40, 0)
    candidates = {street.ids[6], street.ids[12]}
    with quiet_colmap():
        assert extend_model(model, cache_of(job), candidates=candidates, job=job) == {
            street.ids[12]
        }
    assert street.ids[6] not in residuals_of(model, job.positions)


def test_a_limit_ends_it_with_a_whole_model(make_job):
    street, job, model = make_job(without=(6, 12))
    job.watch.stopped = "stopped by the test"
    with quiet_colmap():
        assert extend_model(model, cache_of(job), candidates=set(street.ids), job=job) == set()
    assert model.num_reg_images() == 18


def test_photos_leave_with_all_that_only_they_saw(make_job):
    street, _, model = make_job()
    leave_model(model, {street.ids[3], 999})
    assert set(model.images) == set(street.ids) - {street.ids[3]}
    assert all(point.track.length() >= 2 for point in model.points3D.values())
