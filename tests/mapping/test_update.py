import json
import shutil
from functools import partial

import numpy as np
import pandas as pd
import pycolmap
import pytest

from citysplat_core.mapping import read_components, read_images, read_registered, solve, solve_box
from citysplat_core.mapping.lineage import read_earlier
from citysplat_core.settings import MappingSettings, UpdateSettings
from citysplat_core.storage import ArtifactStore, no_progress

N, CORNERS = 26, ((0, 0), (52, 0), (65, 17))


@pytest.fixture(scope="module", autouse=True)
def _no_pictures():
    """Spare the pictures, which take as long as an update."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solve, "draw_from_above", lambda path, **_: path.touch())
        yield


@pytest.fixture
def street(make_street):
    return make_street(n_photos=N, corners=CORNERS)


class Box:
    """A box of one street whose photos come and go, solved and updated as its asset does."""

    def __init__(self, root, writer, box="030"):
        self.root, self.writer, self.box, self.n_made = root, writer, box, 0
        self.store = ArtifactStore(root)

    @property
    def in_force(self):
        return self.store.find("sparse_model", self.box)

    def solve(self, street, *, without=(), pairs=None, rule=None, progress=no_progress, **settings):
        self.n_made += 1
        folder = self.root / f"in{self.n_made}"
        shutil.rmtree(folder, ignore_errors=True)
        chosen = {"is_pair": pairs} if pairs else {}
        artifacts = self.writer(folder, street, without=without, **chosen)
        found = self.in_force
        step = partial(
            solve_box,
            self.box,
            **artifacts.inputs(self.box),
            settings=MappingSettings(**{"strategy": "incremental"} | settings),
            n_threads=1,
            progress=progress,
            earlier=found.path if found else None,
            update=rule,
        )
        return self.store.produce(
            "sparse_model",
            self.box,
            step_version="1",
            settings={},
            inputs={"n": str(self.n_made)},
            build=lambda out, work: step(out=out, work=work),
        )


@pytest.fixture
def box(tmp_path, artifact_writer):
    return Box(tmp_path / "city", artifact_writer)


@pytest.fixture(scope="module")
def solutions(tmp_path_factory, make_street, artifact_writer):
    """Give a function that solves the street without some photos, once for all tests."""
    known = {}

    def solved(without):
        if without not in known:
            known[without] = Box(tmp_path_factory.mktemp("solved"), artifact_writer)
            known[without].solve(make_street(n_photos=N, corners=CORNERS), without=without)
        return known[without]

    return solved


@pytest.fixture
def box_without(tmp_path, artifact_writer, solutions):
    """Give a function that makes a box whose version in force lacks some photos."""

    def make(*without):
        shutil.copytree(solutions(without).root, tmp_path / "city")
        box = Box(tmp_path / "city", artifact_writer)
        box.n_made = 1
        return box

    return make


def lineage_of(made):
    return json.loads((made.path / "lineage.json").read_text())


def relative_errors_m(street, made):
    """Compare each photo's place with the truth after the best similarity of all."""
    rows = read_registered(made.path)
    truth = np.array([street.centers[street.ids.index(i)] for i in rows["colmap_id"]])
    solved = rows[["east_m", "north_m", "up_m"]].to_numpy()
    fit = pycolmap.estimate_sim3d(solved, truth)
    moved = np.array([fit * place for place in solved])
    return np.linalg.norm(moved - truth, axis=1)


def test_new_photos_join_the_finished_model(box_without, street):
    box = box_without(8, 19)
    first = box.in_force
    second = box.solve(street)
    assert second.counts["made_by"] == "updated (2 added, 0 dropped, 0 failed)"
    assert set(read_registered(second.path)["colmap_id"]) == set(street.ids)
    assert len(read_components(second.path)) == 1
    assert relative_errors_m(street, second).max() < 0.2
    assert second.counts["drift_m"] < 0.05
    assert second.counts["n_points"] > first.counts["n_points"]
    told = lineage_of(second)
    assert told["made_by"] == "updated"
    assert [u["from"] for u in told["updates"]] == [first.fingerprint]


def test_models_of_another_mapper_take_new_photos_in(box, street):
    box.solve(street, without=(8, 19), strategy="geographic")
    made = box.solve(street, strategy="geographic")
    assert made.counts["made_by"] == "updated (2 added, 0 dropped, 0 failed)"
    assert made.counts["strategy"] == "geographic, updated"
    assert relative_errors_m(street, made).max() < 0.2


def test_the_rest_of_an_updated_model_hardly_moves(box_without, street):
    box = box_without(8, 19)
    before = read_registered(box.in_force.path).set_index("colmap_id")
    after = read_registered(box.solve(street).path).set_index("colmap_id")
    names = ["east_m", "north_m", "up_m"]
    moved = np.linalg.norm((after[names] - before[names]).dropna(), axis=1)
    assert len(moved) == N - 2
    assert np.median(moved) < 0.3  # two GPS positions more place the whole anew


def test_photos_that_have_gone_leave_the_model(box_without, street):
    made = box_without().solve(street, without=(7, 8))
    assert made.counts["made_by"] == "updated (0 added, 2 dropped, 0 failed)"
    assert len(read_images(made.path)) == N - 2
    model = pycolmap.Reconstruction(made.path / "components" / "0")
    assert set(model.images) == set(street.ids) - {street.ids[7], street.ids[8]}
    seers = {e.image_id for p in model.points3D.values() for e in p.track.elements}
    assert seers == set(model.images)


def test_many_small_updates_end_in_a_new_solution(box_without, street):
    box, rule = box_without(8, 19), UpdateSettings(max_new_share=0.05)
    made = box.solve(street, without=(3, 19), rule=rule)
    assert made.counts["made_by"] == "updated (1 added, 1 dropped, 0 failed)"
    made = box.solve(street, without=(3, 19), rule=rule)  # its inputs have other versions, no more
    assert made.counts["made_by"] == "updated (0 added, 0 dropped, 0 failed)"
    assert made.counts["n_updates"] == 2
    assert len(pd.read_parquet(made.path / "solved" / "images.parquet")) == N - 2
    made = box.solve(street, rule=rule)
    assert made.counts["made_by"] == (
        "solved again because 2 of 24 photos are new since it was solved, over max_new_share = 0.05"
    )
    assert lineage_of(made)["updates"] == []
    assert len(pd.read_parquet(made.path / "solved" / "images.parquet")) == N


def test_new_photos_that_hang_together_alone_make_a_component(box, make_street):
    street = make_street(n_photos=36, corners=((0, 0), (99, 0)))
    box.solve(street, without=range(30, 36))
    made = box.solve(street, without=range(26, 30))  # no pair ties the last six to the others
    assert made.counts["made_by"] == "updated (6 added, 4 dropped, 0 failed)"
    assert read_components(made.path)["n_images"].tolist() == [26, 6]


@pytest.mark.parametrize(
    ("rule", "settings", "because"),
    [
        (UpdateSettings(enabled=False), {}, "update.enabled = false"),
        (UpdateSettings(max_drift_m=1e-6), {}, "m since it was solved, over max_drift_m = 1e-06"),
        (None, {"min_matches": 16}, "settings, the step or COLMAP have changed"),
    ],
)
def test_the_rule_asks_for_a_new_solution(box_without, street, rule, settings, because):
    made = box_without(8, 19).solve(street, rule=rule, **settings)
    assert made.counts["made_by"].startswith("solved again because")
    assert because in made.counts["made_by"]
    assert made.counts["n_registered"] == N


def test_other_keypoints_of_all_photos_ask_for_a_new_solution(box_without, make_street):
    other = make_street(n_photos=N, corners=CORNERS, seed=2)
    made = box_without(8, 19).solve(other)
    assert "24 of 24 photos are lost" in made.counts["made_by"]
    assert made.counts["n_registered"] == N
    assert relative_errors_m(other, made).max() < 0.2


def test_a_photo_that_was_replaced_leaves_and_joins_again(box_without, street):
    street.replace_file(9)
    made = box_without().solve(street)
    assert made.counts["made_by"] == "updated (0 added, 0 dropped, 0 failed)"
    assert made.counts["n_registered"] == N
    assert relative_errors_m(street, made).max() < 0.2


def test_another_camera_model_asks_for_a_new_solution(box_without, street, monkeypatch):
    cameras = street.cameras().assign(model="RADIAL", params=[[450.0, 320.0, 240.0, 0.0, 0.0]])
    monkeypatch.setattr(street, "cameras", lambda: cameras)
    assert "photos are lost" in box_without(8, 19).solve(street).counts["made_by"]


def test_a_model_whose_bridge_has_gone_stays_whole(box_without, street):
    rule = UpdateSettings(max_lost_share=0.2)
    made = box_without().solve(street, without=range(11, 15), rule=rule)
    assert made.counts["made_by"] == "updated (0 added, 4 dropped, 0 failed)"
    assert read_components(made.path)["n_images"].tolist() == [22]
    assert relative_errors_m(street, made).max() < 0.2


def test_other_pairs_of_the_same_photos_ask_for_a_new_solution(box_without, street):
    rule = UpdateSettings(max_changed_pairs_share=0.4)
    made = box_without().solve(street, pairs=lambda i, j: j <= i + 2, rule=rule)
    assert "45 of 94 pairs of photos that stay have changed" in made.counts["made_by"]


def test_new_photos_between_two_components_make_them_one(box, street):
    first = box.solve(street, without=range(11, 15))
    assert read_components(first.path)["n_images"].tolist() == [11, 11]
    made = box.solve(street)
    assert made.counts["made_by"] == "updated (4 added, 0 dropped, 0 failed)"
    assert read_components(made.path)["n_images"].tolist() == [N]
    assert relative_errors_m(street, made).max() < 0.2


def test_photos_that_no_pair_is_believed_of_any_more_stay(box_without, street):
    made = box_without().solve(street, pairs=lambda i, j: j <= i + 4 and not {i, j} & {9, 10})
    assert made.counts["made_by"] == "updated (0 added, 0 dropped, 0 failed)"
    assert made.counts["n_registered"] == N


def test_new_photos_that_cannot_join_ask_for_a_new_solution(box_without, street):
    new = (8, 19)
    for row in new:
        street.replace_file(row, matches_hold=False)
    made = box_without(*new).solve(street, rule=UpdateSettings(min_joined_share=0.5))
    assert made.counts["made_by"].startswith(
        "solved again because 0 of 2 new photos with pairs could be registered"
    )


def test_a_new_photo_with_a_wrong_position_stands_where_its_partners_see_it(box_without, street):
    street.gps[8, :2] += (200, 200)
    made = box_without(8, 19).solve(street)
    assert made.counts["made_by"] == "updated (2 added, 0 dropped, 0 failed)"
    assert made.counts["n_position_contradicted"] == 1
    assert relative_errors_m(street, made).max() < 0.2


def test_a_box_without_a_model_is_solved(box, street):
    box.solve(street, without=range(2, N))
    made = box.solve(street)
    assert made.counts["made_by"] == "solved again because the version before has no model"


def test_a_damaged_version_is_not_updated(box_without, street, caplog):
    box = box_without(8, 19)
    file = box.in_force.path / "components" / "0" / "points3D.bin"
    file.write_bytes(file.read_bytes()[:-9])
    made = box.solve(street)
    assert made.counts["made_by"] == "solved again because the version before is damaged"
    assert "points3D.bin is damaged" in caplog.text


def test_a_kill_keeps_the_version_in_force(box_without, street):
    box = box_without(8, 19)
    first = box.in_force

    def kill(done, total, note):
        del total
        if note.startswith("update") and done == N:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        box.solve(street, progress=kill)
    assert box.in_force.path == first.path
    assert read_earlier(first.path, "030")[0] is not None
    made = box.solve(street)
    assert made.counts["made_by"] == "updated (2 added, 0 dropped, 0 failed)"


def test_the_same_update_gives_the_same_model(box_without, street, tmp_path):
    box = box_without(8, 19)
    twin = Box(shutil.copytree(box.root, tmp_path / "twin"), box.writer)
    twin.n_made = 1
    tables = [read_images(each.solve(street).path) for each in (box, twin)]
    pd.testing.assert_frame_equal(*tables)
