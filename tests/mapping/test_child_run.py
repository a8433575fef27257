import json
import subprocess
import sys
from dataclasses import replace

import pytest

from citysplat_core.mapping import child_run, mappers
from citysplat_core.mapping.mappers import map_global, map_hierarchical
from tests.mapping.map_jobs import map_job


@pytest.fixture
def job(make_street, tmp_path):
    street = make_street(n_photos=30)
    pairs = [(i, j) for i in range(30) for j in range(i + 1, min(i + 5, 30))]
    street.write_database(tmp_path / "m.db", list(range(30)), pairs)
    (tmp_path / "out").mkdir()
    return map_job(street, tmp_path)


@pytest.mark.parametrize("mapper", [map_global, map_hierarchical])
def test_models_come_back_from_the_process(job, mapper):
    (model,) = mapper(job)
    assert model.num_reg_images() == 30
    assert not job.watch.stopped


def test_a_process_that_fails_says_why(job):
    with pytest.raises(
        RuntimeError, match=r"its process ended with 1: .*(unable|open|error|Error)"
    ):
        map_global(replace(job, photos=job.photos / "none" / "such"))


def test_the_process_ends_with_its_parent(job):
    told = {
        "mapper": "global",
        "database": str(job.database),
        "photos": str(job.photos),
        "out": str(job.out),
        "keeps_intrinsics": True,
        "log_level": 2,
        "options": {"num_threads": 1},
    }
    ended = subprocess.run(
        [sys.executable, "-P", child_run.__file__],
        input=json.dumps(told) + "\n",  # and then its input closes, as when the parent is killed
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 1
    assert not (job.out / "models").exists()


def test_a_large_box_is_divided_and_comes_back_in_one(job, monkeypatch):
    monkeypatch.setattr(mappers, "LEAF_PHOTOS", 20)
    models = map_hierarchical(job)
    assert models[0].num_reg_images() >= 25
    assert len({i for model in models for i in model.reg_image_ids()}) == 30
