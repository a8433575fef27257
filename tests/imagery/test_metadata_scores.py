"""What metadata alone say: glitches, biases, parked cameras, crossings, night."""

import json

import numpy as np
import pyarrow as pa
import pytest

from citysplat_core.imagery.metadata_scores import SCORES_SCHEMA, metadata_scores

LON, LAT = 8.54, 47.37
M_PER_DEG = 111_194.93
NOON_MS = 1_718_970_000_000  # 2024-06-21 11:40 UTC


def catalog(east, north, seconds, *, sequence="s", computed=None, panorama=None):
    """A catalog of photos placed in metres about a point of Zurich."""
    east, north = np.asarray(east, float), np.asarray(north, float)
    scale = M_PER_DEG * np.cos(np.radians(47.4))
    count = len(east)
    sequences = [sequence] * count if isinstance(sequence, str) else sequence
    computed = np.full((count, 2), np.nan) if computed is None else np.asarray(computed, float)
    times = [None if s is None else int(NOON_MS + 1000 * s) for s in seconds]
    return pa.table(
        {
            "image_id": pa.array([f"{k:04d}" for k in range(count)], pa.string()),
            "sequence_id": pa.array(sequences, pa.string()),
            "captured_at": pa.array(times, pa.timestamp("ms", tz="UTC")),
            "lon": LON + east / scale,
            "lat": LAT + north / M_PER_DEG,
            "computed_lon": LON + computed[:, 0] / scale,
            "computed_lat": LAT + computed[:, 1] / M_PER_DEG,
            "panorama_id": pa.array(panorama or [None] * count, pa.string()),
        }
    )


def scores(*args, **options):
    table = metadata_scores(catalog(*args, **options))
    assert table.schema.equals(SCORES_SCHEMA)
    return table.to_pandas()


def drive(count=40, speed=8.0):
    """A car that drives north, one photo a second."""
    seconds = np.arange(count, dtype=float)
    return np.zeros(count), speed * seconds, seconds


def test_a_steady_drive_has_speed_course_and_no_jump():
    found = scores(*drive())
    np.testing.assert_allclose(found.speed_m_s, 8.0, atol=0.02)
    np.testing.assert_allclose(found.step_m[1:], 8.0, atol=0.02)
    assert np.isnan(found.step_m[0])
    assert (found.gps_jump_m == 0).all()
    assert ((found.course_deg < 0.5) | (found.course_deg > 359.5)).all()
    assert not found.is_crossing.any()
    assert found.sequence_index.tolist() == list(range(40))
    assert set(found.sequence_length) == {40}
    assert (found.still_run == -1).all()


@pytest.mark.parametrize("rows", [[20], [20, 21, 22], [0], [0, 1], [39]])
def test_a_glitch_of_gps_is_told_from_its_track(rows):
    east, north, seconds = drive()
    east[rows] += 150.0
    found = scores(east, north, seconds)
    assert np.flatnonzero(found.gps_jump_m > 40).tolist() == rows
    assert (found.gps_jump_m[rows] > 120).all()


def test_a_track_that_goes_on_elsewhere_is_no_glitch():
    # After a tunnel nobody can say which half is wrong.
    east, north, seconds = drive()
    east[20:] += 500.0
    assert (scores(east, north, seconds).gps_jump_m == 0).all()


def test_a_fast_train_with_clock_steps_is_no_glitch():
    seconds = np.floor(np.arange(60) / 3)  # three photos a second, times cut to the second
    found = scores(np.zeros(60), 50.0 * np.arange(60) / 3, seconds)
    assert (found.gps_jump_m == 0).all()


def test_the_bias_of_a_sequence_is_the_median_against_computed_positions():
    east, north, seconds = drive(10)
    computed = np.column_stack([east + 3.0, north - 12.0])
    computed[0] += 400.0  # one wrong solution
    computed[5] = np.nan
    found = scores(east, north, seconds, computed=computed)
    assert (found.bias_east_m == -3.0).all()
    assert (found.bias_north_m == 12.0).all()
    assert found.computed_jump_m[0] > 40
    assert np.isnan(found.computed_jump_m[5])
    assert np.isnan(scores(*drive(10)).bias_east_m).all()


def test_a_parked_car_is_one_run_and_a_drive_is_none():
    rng = np.random.default_rng(1)
    seconds = np.arange(100, dtype=float)
    north = np.concatenate([8.0 * np.arange(20), np.full(60, 152.0), 152 + 8.0 * np.arange(20)])
    east = rng.normal(0, 0.2, 100)
    found = scores(east, north + rng.normal(0, 0.2, 100), seconds)
    run = found[found.still_run >= 0]
    assert 50 <= len(run) <= 60
    assert run.index.min() >= 19
    assert run.index.max() <= 80
    assert run.still_run.value_counts().max() > 40
    for _, photos in run.groupby("still_run"):
        assert photos.still_rank.tolist() == list(range(len(photos)))
        assert set(photos.still_length) == {len(photos)}


def test_slow_video_is_not_a_parked_camera():
    seconds = np.arange(79) * 0.133
    assert (scores(np.zeros(79), 1.28 * seconds, seconds).still_run == -1).all()


def test_two_streets_that_meet_make_a_crossing_and_nothing_else_does():
    count = 41
    along = np.arange(-100, 105, 5.0)
    east = np.concatenate([np.zeros(count), along])
    north = np.concatenate([along, np.zeros(count)])
    seconds = np.concatenate([np.arange(count), np.arange(count)]).astype(float)
    found = scores(east, north, seconds, sequence=["a"] * count + ["b"] * count)
    distance = np.hypot(east, north)
    assert found.is_crossing[distance <= 10].all()
    assert not found.is_crossing[distance > 50].any()


def test_a_turn_is_a_crossing():
    seconds = np.arange(40, dtype=float)
    east = np.concatenate([np.zeros(20), 6.0 * np.arange(1, 21)])
    north = np.concatenate([6.0 * np.arange(20), np.full(20, 114.0)])
    found = scores(east, north, seconds)
    assert found.is_crossing[18:21].all()
    assert found.turn_deg[19] == pytest.approx(90, abs=1)
    assert not found.is_crossing[:10].any()
    assert not found.is_crossing[30:].any()


def test_night_is_known_before_download():
    found = scores([0.0, 0.0], [0.0, 0.0], [0.0, 12 * 3600.0])
    assert found.is_night.tolist() == [False, True]
    assert found.sun_elevation_deg[0] == pytest.approx(66.0, abs=0.2)


def test_photos_without_time_place_or_sequence_get_no_score_and_no_verdict():
    table = catalog([0.0, 5.0, np.nan], [0.0, 0.0, 0.0], [None, None, 3.0], sequence=[None] * 3)
    found = metadata_scores(table).to_pandas()
    assert np.isnan(found.sun_elevation_deg).all()
    assert not found.is_night.any()
    assert found.speed_m_s.isna().all()
    assert (found.still_run == -1).all()
    assert found.sequence_index.tolist() == [0, 0, -1]
    assert np.isnan(found.gps_jump_m[2])


def test_views_of_a_panorama_share_its_scores_and_are_no_parked_camera():
    east, north, seconds = drive(20)
    views = 6
    table = catalog(
        np.repeat(east, views + 1), np.repeat(north, views + 1), np.repeat(seconds, views + 1)
    )
    names, owners = [], []
    for number in range(20):
        names += [f"p{number}", *(f"p{number}~v{view}" for view in range(views))]
        owners += [None, *[f"p{number}"] * views]
    table = table.set_column(0, "image_id", pa.array(names))
    table = table.set_column(7, "panorama_id", pa.array(owners, pa.string()))
    found = metadata_scores(table).to_pandas()
    assert (found.still_run == -1).all()
    assert set(found.sequence_length) == {20}
    np.testing.assert_allclose(found.speed_m_s, 8.0, atol=0.02)


def test_a_new_sequence_far_away_changes_no_score():
    east, north, seconds = drive()
    alone = scores(east, north, seconds)
    together = scores(
        np.concatenate([east, east + 900.0]), np.concatenate([north, north]),
        np.concatenate([seconds, seconds]), sequence=["s"] * 40 + ["t"] * 40,
    )  # fmt: skip
    assert together[:40].equals(alone)


def test_a_catalog_without_rows_has_no_scores():
    assert len(scores([], [], [])) == 0


def test_the_wrong_positions_of_a_real_city_are_found(real_data):
    answer = json.loads(
        (real_data / "mapillary_v4_curitiba" / "images_response_scrubbed.json").read_text()
    )["data"]

    def column(name, axis):
        return [e.get(name, {"coordinates": [np.nan] * 2})["coordinates"][axis] for e in answer]

    times = pa.array([e["captured_at"] for e in answer]).cast(pa.timestamp("ms", tz="UTC"))
    table = pa.table(
        {
            "image_id": [str(e["id"]) for e in answer],
            "sequence_id": [e["sequence"] for e in answer],
            "captured_at": times,
            "lon": column("geometry", 0),
            "lat": column("geometry", 1),
            "computed_lon": column("computed_geometry", 0),
            "computed_lat": column("computed_geometry", 1),
        }
    )
    found = metadata_scores(table).to_pandas()
    wrong = found[found.computed_jump_m > 40]
    assert len(wrong) == 1
    assert wrong.computed_jump_m.iloc[0] == pytest.approx(161.9, abs=1)
    assert (found.gps_jump_m == 0).all()
    assert found.still_length.max() >= 30
    assert not found.is_night.any()
