import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import numpy as np
import pycolmap
import pytest

from citysplat_core.mapping.geographic import map_geographic
from citysplat_core.mapping.mappers import map_incremental, run_mapper
from citysplat_core.mapping.snapshots import Snapshots
from citysplat_core.mapping.strategy import MAPPERS
from citysplat_core.settings import MappingSettings
from tests.mapping.map_jobs import map_job

MAP_SLOWLY = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    import numpy as np
    import pandas as pd
    from citysplat_core.mapping.mappers import MapJob, run_mapper
    from citysplat_core.mapping.strategy import MAPPERS
    from citysplat_core.mapping.watch import Watch
    from citysplat_core.settings import MappingSettings

    root, name, stop_at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

    def tick(n, _):
        if n >= stop_at:
            (root / "reached").touch()
            time.sleep(60)

    positions = dict(enumerate(np.load(root / "gps.npy"), start=100))
    job = MapJob(
        database=root / "m.db", photos=root, out=root / "out", images=pd.DataFrame(),
        positions=positions, partners={}, sequences=[],
        fixed_cameras=frozenset({7}), settings=MappingSettings(snapshot_every=5), n_threads=1,
        tick=tick, beat=lambda: None, watch=Watch(600),
    )
    run_mapper(name, MAPPERS[name], job, box="030")
""")


def kill_half_way(root, name, stop_at):
    """Map in a process that is killed when so many photos are registered."""
    command = [sys.executable, "-c", MAP_SLOWLY, str(root), name, str(stop_at)]
    with subprocess.Popen(command) as child:
        until = time.monotonic() + 50
        while not (root / "reached").exists():
            assert child.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL


@pytest.fixture
def street(make_street, tmp_path):
    """Give two stretches of 20 photos that no pair joins."""
    street = make_street(n_photos=40, corners=((0, 0), (120, 0)))
    pairs = [(i, j) for i in range(40) for j in range(i + 1, min(i + 5, 40))]
    pairs = [(i, j) for i, j in pairs if (i < 20) == (j < 20)]
    street.write_database(tmp_path / "m.db", list(range(40)), pairs)
    np.save(tmp_path / "gps.npy", street.gps)
    return street


@pytest.fixture
def job(street, tmp_path):
    return map_job(street, tmp_path, settings=MappingSettings(snapshot_every=5))


def assert_both_stretches_are_whole(models, street):
    ids = sorted(sorted(model.reg_image_ids()) for model in models)
    assert ids == [street.ids[:20], street.ids[20:]]
    true = dict(zip(street.ids, street.centers, strict=True))
    for model in models:
        names = [model.image(i).name for i in model.reg_image_ids()]
        places = np.array([true[i] for i in model.reg_image_ids()])
        fit = pycolmap.align_reconstruction_to_locations(
            model, names, places, 3, pycolmap.RANSACOptions(max_error=0.5)
        )
        assert fit is not None
        solved = np.array([model.image(i).projection_center() for i in model.reg_image_ids()])
        errors_m = np.linalg.norm([fit * p for p in solved] - places, axis=1)
        assert np.median(errors_m) < 0.2


@pytest.mark.parametrize("stop_at", [13, 34])
def test_a_killed_incremental_run_goes_on_from_its_snapshot(street, job, tmp_path, stop_at):
    kill_half_way(tmp_path, "incremental", stop_at)
    kept = Snapshots(job.out / "unfinished")
    finished = kept.finished()
    snapshot = kept.newest(finished)
    assert [m.num_reg_images() for m in finished] == ([20] if stop_at > 20 else [])
    n_known = sum(m.num_reg_images() for m in finished)
    n_known += pycolmap.Reconstruction(snapshot).num_reg_images()
    assert stop_at - 6 <= n_known < stop_at

    told = []
    job = replace(job, tick=lambda n, _: told.append(n))
    models = run_mapper("incremental", map_incremental, job, box="030")
    assert told[0] == n_known + 1
    assert_both_stretches_are_whole(models, street)
    assert not (job.out / "unfinished").exists()


def test_a_killed_geographic_run_passes_over_finished_models(street, job, tmp_path):
    kill_half_way(tmp_path, "geographic", 30)
    told = []
    job = replace(job, tick=lambda n, _: told.append(n))
    models = run_mapper("geographic", map_geographic, job, box="030")
    assert min(told) > 20
    assert_both_stretches_are_whole(models, street)


def test_half_a_snapshot_is_never_taken_up(make_street, tmp_path):
    kept = Snapshots(tmp_path)
    for stamp in (8, 9, 10):
        (kept.growing / str(stamp)).mkdir()
        make_street().model().write(kept.growing / str(stamp))
        kept.settle(stamp * 10.0)
    (kept.growing / "11").mkdir()
    (kept.growing / "11" / "images.bin").write_bytes(b"half")
    again = Snapshots(tmp_path)
    assert again.spent_s() == 100.0
    assert again.newest([]).name == "10"
    (again.newest([]) / "cameras.bin").unlink()
    assert again.newest([]).name == "9"
    assert again.newest([make_street().model()]) is None
    again.forget()
    assert again.newest([]) is None
    assert again.spent_s() == 0.0


def test_a_model_counts_as_finished_only_when_it_is_whole(make_street, tmp_path):
    kept = Snapshots(tmp_path)
    kept.finish(make_street().model(), 12.5)
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "images.bin").write_bytes(b"half")
    assert [m.num_reg_images() for m in Snapshots(tmp_path).finished()] == [30]
    assert Snapshots(tmp_path).spent_s() == 12.5
    (tmp_path / "finished" / "0" / "spent_s.txt").write_text("")
    assert Snapshots(tmp_path).spent_s() == 0.0


def spend(folder, spent_s):
    """Say that the newest model that was kept took so long."""
    for file in folder.glob("unfinished/*/*/spent_s.txt"):
        assert float(file.read_text()) > 0
        file.write_text(str(spent_s))


@pytest.mark.parametrize(("spent_s", "is_over"), [(300.0, False), (601.0, True)])
@pytest.mark.parametrize("name", ["incremental", "geographic"])
def test_a_run_that_was_killed_has_the_time_that_was_left(
    street, job, tmp_path, name, spent_s, is_over
):
    kill_half_way(tmp_path, name, 30)
    spend(job.out, spent_s)
    models = run_mapper(name, MAPPERS[name], job, box="030")
    assert job.watch.spent_s > spent_s
    if is_over:
        assert job.watch.stopped == "stopped at max_runtime_s = 600"
        n_photos = sum(model.num_reg_images() for model in models)
        assert 20 <= n_photos < 30
    else:
        assert not job.watch.stopped
        assert_both_stretches_are_whole(models, street)
