from dataclasses import replace

import numpy as np
import pytest

from citysplat_core.matching.lens import bend
from citysplat_core.matching.pairs import wrap_deg
from citysplat_core.matching.sketch import Sketch
from citysplat_core.matching.sketching import place_photos, sketch_photos, weigh_with_sketch
from tests.matching.look_alikes import Case, drive_rows, make_case


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case(drive_rows())


def with_noisy_gps(case: Case, sigma_m: float) -> Case:
    noise = np.random.default_rng(5).normal(0, sigma_m, (len(case.rows.photos), 2))
    photos = replace(case.rows.photos, east_north_m=case.rows.photos.east_north_m + noise)
    return replace(case, rows=replace(case.rows, photos=photos))


def weigh(case: Case):
    return weigh_with_sketch(
        case.rows.photos, case.graph.edges, case.graph.inliers, gps_sigma_m=4.0,
        max_distance_m=60.0, prove=lambda found: found.is_tested & (found.share_for > 0.6),
    )  # fmt: skip


def errors_of_pairs(case: Case, sketch: Sketch) -> np.ndarray:
    rows = case.graph.edges.rows[case.false_share == 0]
    a, b = rows[sketch.is_known[rows].all(axis=1)].T
    error = sketch.centre_m[:, :2] - case.rows.position_m
    return np.hypot(*(error[b] - error[a]).T)


@pytest.mark.parametrize(("sigma_m", "most_m"), [(0.0, 0.2), (1.0, 0.3)])
def test_neighbours_are_placed_whatever_the_noise_of_gps(case, sigma_m, most_m):
    noisy = with_noisy_gps(case, sigma_m)
    evidence, sketch = weigh(noisy)
    assert sketch.is_known.mean() > 0.8
    assert np.median(errors_of_pairs(noisy, sketch)) < most_m
    assert (evidence.verdict[case.is_true] > 0).mean() > 0.9
    assert (evidence.verdict[~case.is_true] > 0).mean() < 0.2


def test_a_lens_is_told_as_a_share_of_what_it_is_said_to_be(case):
    """However often the sketch is drawn, its lens is that of the photos as they were given."""
    inliers = case.graph.inliers
    flat = inliers.bearing.reshape(-1, 2).astype(np.float64)
    bent = bend(flat, np.full(len(flat), 0.92), np.full(len(flat), -0.05))
    bent = bent.reshape(inliers.bearing.shape).astype(np.float32)
    odd = replace(case, graph=replace(case.graph, inliers=replace(inliers, bearing=bent)))
    _, sketch = weigh(odd)
    assert sketch.is_known.mean() > 0.6
    np.testing.assert_allclose(sketch.focal[sketch.is_known], 0.92, atol=0.03)
    np.testing.assert_allclose(sketch.radial[sketch.is_known], -0.05, atol=0.03)


def test_photos_between_placed_ones_move_with_them(case):
    photos = case.rows.photos
    _, sketch = weigh(case)
    rows = np.flatnonzero(photos.sequence == photos.sequence[0])
    lost = rows[np.argsort(photos.captured_at[rows])][4]
    known = sketch.is_known.copy()
    known[lost] = False
    placed = place_photos(photos, replace(sketch, is_known=known))
    moved = placed.east_north_m - photos.east_north_m
    near = moved[rows].min(axis=0) - 1e-9, moved[rows].max(axis=0) + 1e-9
    assert ((near[0] <= moved[lost]) & (moved[lost] <= near[1])).all()
    assert np.hypot(*moved[lost]) > 0
    np.testing.assert_allclose(placed.east_north_m[known], sketch.centre_m[known, :2])
    assert np.abs(wrap_deg(placed.heading_deg - sketch.heading_deg)).max() < 1e-9


def test_photos_that_nobody_knows_stay_where_they_are(case):
    photos = case.rows.photos
    nothing = Sketch.unknown(photos.east_north_m, photos.heading_deg)
    placed = place_photos(photos, nothing)
    np.testing.assert_array_equal(placed.east_north_m, photos.east_north_m)


def test_without_sequences_nothing_is_sketched(case):
    alone = case.rows.without_sequences().photos
    sketch = sketch_photos(
        alone, case.graph.edges, case.graph.inliers, gps_sigma_m=4.0, max_distance_m=60.0
    )
    assert not sketch.is_known.any()
