from dataclasses import replace

import numpy as np
import pytest

from citysplat_core.matching.evidence import sequence_steps
from citysplat_core.matching.pairs import wrap_deg
from citysplat_core.matching.yaws import solve_yaws
from tests.matching.look_alikes import Rows, drive_rows

LYING = slice(28, 42)


@pytest.fixture(scope="module")
def rows() -> Rows:
    return drive_rows()


@pytest.fixture(scope="module")
def graph(rows):
    return rows.graph(rows.true_pairs())[0]


def yaws_of(rows: Rows, edges, start_deg=None, photos=None):
    photos = photos or rows.photos
    steps, _ = sequence_steps(photos, edges)
    start = np.full(len(photos), np.nan) if start_deg is None else start_deg
    return solve_yaws(photos, edges, steps > 0, start)


def worst_deg(rows: Rows, yaws) -> float:
    return float(np.abs(wrap_deg(yaws.heading_deg - rows.heading_deg)).max())


def test_headings_are_right_though_a_compass_lies(rows, graph):
    yaws = yaws_of(rows, graph.edges)
    assert worst_deg(rows, yaws) < 2.0
    assert np.isnan(yaws.compass_sigma_deg[LYING]).all()
    assert (yaws.compass_sigma_deg[:28] < 8).all()
    assert ((yaws.heading_deg >= 0) & (yaws.heading_deg < 360)).all()


def test_headings_are_right_without_any_compass(rows, graph):
    assert worst_deg(rows, yaws_of(rows.without_compass(), graph.edges)) < 2.0


@pytest.mark.parametrize("wrong_deg", [60.0, -60.0])
def test_photos_that_start_wrong_hear_their_neighbours(rows, graph, wrong_deg):
    start = rows.heading_deg.copy()
    start[[5, 20, 33]] += wrong_deg
    assert worst_deg(rows, yaws_of(rows, graph.edges, start)) < 2.0


def test_turns_and_baselines_are_compared_with_the_headings(rows, graph):
    yaws = yaws_of(rows, graph.edges)
    steps, _ = sequence_steps(rows.photos, graph.edges)
    inside = steps > 0
    assert np.isnan(yaws.turn_error_deg[~inside]).all()
    assert (yaws.turn_error_deg[inside] < 2.0).all()
    first, second = graph.edges.rows.T
    way = rows.photos.east_north_m[second] - rows.photos.east_north_m[first]
    is_long = inside & (np.hypot(*way.T) > 3.0)
    assert np.isfinite(yaws.direction_error_deg[is_long]).all()
    assert np.isnan(yaws.direction_error_deg[~is_long]).all()
    assert np.median(yaws.direction_error_deg[is_long]) < 3.0


def test_a_wrong_turn_among_many_stands_out_and_turns_nobody(rows, graph):
    edges = replace(graph.edges, rotation=graph.edges.rotation.copy())
    steps, _ = sequence_steps(rows.photos, edges)
    wrong = int(np.flatnonzero(steps == 2)[4])
    angle = np.radians(25.0)
    turn = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    edges.rotation[wrong] = np.array(turn) @ edges.rotation[wrong]
    yaws = yaws_of(rows, edges)
    assert worst_deg(rows, yaws) < 2.0
    assert yaws.turn_error_deg[wrong] > 20.0


def test_no_compass_vouches_for_itself(rows, graph):
    """Without neighbours nobody has compared it with anything."""
    nobody = graph.edges.select(np.zeros(len(graph.edges), dtype=bool))
    yaws = yaws_of(rows, nobody, rows.photos.heading_deg)
    assert np.isnan(yaws.heading_deg).all()
    assert np.isnan(yaws.compass_sigma_deg).all()


def test_the_compass_of_lonely_photos_does_not_clear_that_of_their_sequence(rows, graph):
    """Half of the lying drive has neighbours that contradict it."""
    lonely = (graph.edges.rows >= 34).any(axis=1)
    yaws = yaws_of(rows, graph.edges.select(~lonely))
    assert np.isnan(yaws.compass_sigma_deg[LYING]).all()
    assert np.abs(wrap_deg(yaws.heading_deg - rows.heading_deg))[:34].max() < 2.0
    assert np.isnan(yaws.heading_deg[34:]).all()


def test_photos_that_know_only_their_turns_have_no_heading(rows, graph):
    still = replace(
        rows.photos, east_north_m=np.zeros_like(rows.position_m),
        heading_deg=np.full(len(rows.photos), np.nan),
    )  # fmt: skip
    yaws = yaws_of(rows, graph.edges, photos=still)
    assert np.isnan(yaws.heading_deg).all()
    steps, _ = sequence_steps(still, graph.edges)
    assert (yaws.turn_error_deg[steps > 0] < 2.0).all()


def test_cameras_that_are_not_upright_are_not_heard(rows, graph):
    tilted = replace(graph.edges, rotation=graph.edges.rotation @ np.diag([1.0, -1.0, -1.0]))
    yaws = yaws_of(rows, tilted)
    assert np.isnan(yaws.heading_deg).all()
    assert np.isnan(yaws.turn_error_deg).all()
