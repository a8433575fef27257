import numpy as np
import pandas as pd
import pycolmap
import pytest

from citysplat_core.mapping.priors import PRIOR_SCHEMA, choose_priors, count_priors, write_priors
from citysplat_core.settings import PriorSettings

SETTINGS = PriorSettings()


def photos(n=20, *, noise_m=0.0, **columns):
    rng = np.random.default_rng(3)
    across = rng.normal(0, noise_m, (n, 2)) if noise_m else np.zeros((n, 2))
    rows = pd.DataFrame(
        {
            "image_id": [f"photo{i}" for i in range(n)],
            "colmap_id": range(100, 100 + n),
            "east_m": 6.0 * np.arange(n) + across[:, 0],
            "north_m": across[:, 1],
            "up_m": 30.0,
            "sequence_id": "drive",
            "captured_at": pd.date_range("2024-05-01", periods=n, freq="s", tz="UTC"),
        }
    )
    return rows.assign(**columns)


def test_every_photo_has_a_finite_prior_of_its_source():
    sources = ["computed"] * 10 + ["gps"] * 10
    table = choose_priors(photos(position_source=sources), SETTINGS)
    assert list(table.columns) == PRIOR_SCHEMA.names
    assert table["sigma_m"].tolist() == [SETTINGS.sigma_computed_m] * 10 + [4.0] * 10
    assert set(table["up_source"]) == {"measured"}
    assert set(table["sigma_up_m"]) == {SETTINGS.sigma_up_m}


@pytest.mark.parametrize("noise_m", [2.0, 5.0])
def test_a_drive_that_zigzags_is_worth_less(noise_m):
    table = choose_priors(photos(200, noise_m=noise_m), SETTINGS)
    extra = np.sqrt(np.median(table["sigma_m"]) ** 2 - SETTINGS.sigma_gps_m**2)
    assert extra == pytest.approx(noise_m, rel=0.25)


def test_noise_of_one_sequence_is_not_anothers():
    calm, wild = photos(30), photos(30, noise_m=6.0, sequence_id="other")
    table = choose_priors(pd.concat([calm, wild], ignore_index=True), SETTINGS)
    assert set(table["sigma_m"][:30]) == {SETTINGS.sigma_gps_m}
    assert (table["sigma_m"][30:] > 5.0).all()


def test_one_position_a_kilometre_away_is_worth_a_kilometre_and_its_neighbours_keep_theirs():
    rows = photos()
    rows.loc[9, ["east_m", "north_m"]] += 700.0
    sigma = choose_priors(rows, SETTINGS)["sigma_m"]
    assert sigma[9] > 900
    assert (sigma.drop(9) < 10).all()


def test_missing_altitudes_come_from_the_sequence_then_from_the_box_and_say_so():
    rows = photos(12)
    rows.loc[0:3, "up_m"] = [np.nan, 40.0, 42.0, np.nan]
    rows.loc[6:, "sequence_id"] = "without"
    rows.loc[6:, "up_m"] = np.nan
    table = choose_priors(rows, SETTINGS)
    assert table["up_source"].tolist() == [
        "sequence",
        *["measured"] * 2,
        "sequence",
        *["measured"] * 2,
        *["box"] * 6,
    ]
    assert table["up_m"][0] == np.median([40, 42, 30, 30])
    assert (table["up_m"][6:] == np.median([40, 42, 30, 30])).all()
    assert set(table.loc[table["up_source"] != "measured", "sigma_up_m"]) == {
        SETTINGS.missing_up_sigma_m
    }


def test_a_box_without_any_altitude_says_none():
    table = choose_priors(photos(up_m=np.nan), SETTINGS)
    assert set(table["up_source"]) == {"none"}
    assert set(table["up_m"]) == {0.0}


def test_gravity_is_down_in_the_cameras_axes_where_a_rotation_is_known():
    level = pycolmap.Rotation3d(np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]]))
    turn = level.angle() * level.axis() if hasattr(level, "axis") else np.array([np.pi / 2, 0, 0])
    rows = photos(rotation_x=turn[0], rotation_y=turn[1], rotation_z=turn[2])
    rows.loc[4, "rotation_x"] = np.nan
    gravity = choose_priors(rows, SETTINGS)[["gravity_x", "gravity_y", "gravity_z"]].to_numpy()
    assert gravity[0] == pytest.approx([0, 1, 0], abs=1e-9)  # y points down in a level camera
    assert np.isnan(gravity[4]).all()


@pytest.fixture
def database(make_street, tmp_path):
    street = make_street(n_photos=8, corners=((0, 0), (20, 0)))
    street.write_database(tmp_path / "w.db", list(range(8)), [(0, 1)])
    return street, tmp_path / "w.db"


def test_the_database_holds_what_was_chosen(database):
    street, file = database
    street.gps[3] = np.nan
    street.gps[5, 2] = np.nan
    priors = choose_priors(street.images(), SETTINGS)
    write_priors(file, priors)
    with pycolmap.Database.open(file) as opened:
        found = {p.corr_data_id.id: p for p in opened.read_all_pose_priors()}
    assert set(found) == set(street.ids) - {street.ids[3]}
    prior = found[street.ids[5]]
    assert prior.coordinate_system == pycolmap.PosePriorCoordinateSystem.CARTESIAN
    assert prior.position[:2] == pytest.approx(street.gps[5, :2])
    assert np.sqrt(np.diag(prior.position_covariance)) == pytest.approx([4, 4, 30])
    counts = count_priors(file, priors)
    assert (counts.n_priors, counts.n_without_position, counts.n_undefined) == (7, 1, 0)
    assert (counts.n_heights_missing, counts.n_gravity) == (1, 0)


@pytest.mark.parametrize("wrong", ["position", "covariance", "zero covariance", "system"])
def test_an_undefined_prior_is_counted(database, wrong):
    street, file = database
    priors = choose_priors(street.images(), SETTINGS)
    write_priors(file, priors)
    with pycolmap.Database.open(file) as opened:
        prior = opened.read_all_pose_priors()[0]
        if wrong == "position":
            prior.position = np.array([np.nan, 0, 0])
        elif wrong == "covariance":
            prior.position_covariance = np.full((3, 3), np.nan)
        elif wrong == "zero covariance":
            prior.position_covariance = np.zeros((3, 3))
        else:
            prior.coordinate_system = pycolmap.PosePriorCoordinateSystem.UNDEFINED
        opened.update_pose_prior(prior)
    assert count_priors(file, priors).n_undefined == 1
