from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation

from citysplat_core.mapping.graph import Cameras, Sigmas
from citysplat_core.mapping.pose_graph import solve_pose_graph
from citysplat_core.mapping.tables import TURN_SCHEMA, read_turns, write_table
from citysplat_core.mapping.turns import find_turns, turns_of
from tests.mapping.test_pose_graph import turned_apart, two_strips

QUATERNION = ["qw", "qx", "qy", "qz"]


def component(ids, *, accepted=True):
    return SimpleNamespace(image_ids=list(ids), accepted=accepted)


@pytest.fixture
def parted(solved_street):
    """A street in two components that share no photo, and its database."""
    street, whole, _ = solved_street
    half = street.n_photos // 2
    parts = [component(street.ids[:half]), component(street.ids[half:])]
    return street, whole, parts, street.root / "street.db"


def test_turns_are_those_of_the_photos_on_both_sides_of_the_cut(parted):
    street, whole, parts, database = parted
    table = pd.DataFrame(find_turns(database, parts, [street.ids]))
    assert len(table) >= 4
    place = {i: k for k, i in enumerate(street.ids)}
    apart = table["colmap_id_b"].map(place) - table["colmap_id_a"].map(place)
    assert apart.between(1, 8).all()
    assert (table[["component_a", "component_b"]].to_numpy() == [0, 1]).all()
    pose = {i: whole.image(i).cam_from_world().rotation.matrix() for i in street.ids}
    pairs = table[["colmap_id_a", "colmap_id_b"]].to_numpy().tolist()
    true = Rotation.from_matrix([pose[b] @ pose[a].T for a, b in pairs])
    told = Rotation.from_quat(table[QUATERNION].to_numpy(), scalar_first=True)
    assert np.degrees((told * true.inv()).magnitude()).max() < 1.0


def test_components_that_are_refused_or_share_the_photos_have_no_turns(parted):
    street, _, (first, second), database = parted
    refused = component(second.image_ids, accepted=False)
    assert find_turns(database, [first, refused], [street.ids]) == []
    assert find_turns(database, [component(street.ids)], [street.ids]) == []
    assert find_turns(database, [first, second], []) == []


def test_a_model_of_an_older_version_has_no_turns(tmp_path):
    before = read_turns(tmp_path)
    write_table(tmp_path / "turns.parquet", [], TURN_SCHEMA)
    pd.testing.assert_frame_equal(before, read_turns(tmp_path))


def test_turns_find_their_registrations_and_agree_in_the_true_city():
    rng = np.random.default_rng(2)
    rotation = Rotation.random(4, rng=rng)
    cameras = Cameras(node=np.array([0, 0, 1, 1]), center=np.zeros((4, 3)), rotation=rotation)
    rows = pd.DataFrame({"colmap_id": [5, 6, 7, 8], "node": cameras.node})
    table = pd.DataFrame({"colmap_id_a": [6, 6], "colmap_id_b": [7, 9]})
    table[["node_a", "node_b"]] = [[0.0, 1.0], [0.0, np.nan]]
    table[QUATERNION] = (rotation[2] * rotation[1].inv()).as_quat(scalar_first=True)
    turns = turns_of(table, rows, cameras)
    assert turns.nodes.tolist() == [[0, 1]]
    assert (turns.first * turns.second.inv()).magnitude() == pytest.approx(0, abs=1e-9)
    assert len(turns_of(table[:0], rows, cameras).nodes) == 0


def test_a_short_component_is_turned_as_the_matches_say_not_as_noise_does():
    graph = turned_apart(two_strips(np.random.default_rng(0), turn_deg=10.0))
    found = solve_pose_graph(graph, Sigmas())
    off = graph.turns.second * graph.turns.first.inv()
    assert np.degrees(off.magnitude()).min() > 9
    by_first = graph.turns.first * found.rotation[0].inv()
    by_second = graph.turns.second * found.rotation[1].inv()
    assert np.degrees((by_first * by_second.inv()).magnitude()).max() < 1.5
