"""A street that leaves a box at its corner is matched across the corner."""

import numpy as np
import pandas as pd
import pytest

from citysplat_core.features import read_pair_counts
from citysplat_core.geography import CityFrame, box_bounds, load_plan, quadkey_of
from citysplat_core.geography.plan_boxes import plan_boxes
from citysplat_core.matching import match_box, match_fringe
from citysplat_core.settings import BoxSettings, MatchingSettings
from citysplat_core.storage import no_progress

SOUTH_WEST = quadkey_of(17, 70_000, 40_000)
WEST, SOUTH, EAST, NORTH = box_bounds(SOUTH_WEST)
FRAME = CityFrame(EAST, NORTH)  # its origin is the corner
NORTH_EAST_DEG = 45.0


@pytest.fixture
def city(tmp_path, street, box_of_points):
    """Plan and boxes of a drive over the corner: plan folder, and images and features by box."""
    turn = np.radians(NORTH_EAST_DEG)
    along = np.array([np.sin(turn), np.cos(turn)])
    table = street.cameras()
    away_m = table["north_m"].to_numpy() - table["north_m"].mean()
    table[["east_m", "north_m"]] = away_m[:, None] * along
    table["heading_deg"] = NORTH_EAST_DEG
    points, descriptors = street.points()
    straight = points[:, :2] - [0.0, street.cameras()["north_m"].mean()]
    points[:, :2] = straight @ np.array([[along[1], -along[0]], along])
    place = FRAME.lon_lat_alt(np.c_[table[["east_m", "north_m"]], np.zeros(len(table))])
    catalog = tmp_path / "catalog"
    catalog.mkdir()
    listed = table.assign(lon=place[:, 0], lat=place[:, 1], altitude_m=np.nan, status="listed")
    for name in ("lon", "lat", "altitude_m", "heading_deg"):
        listed[f"computed_{name}"] = np.nan
    listed.to_parquet(catalog / "catalog.parquet")
    plan = tmp_path / "plan"
    plan.mkdir()
    settings = BoxSettings(min_zoom=17, max_zoom=17, max_images=60, fringe_width_m=25.0)
    plan_boxes(catalog, city="town", frame=FRAME, out=plan, settings=settings, progress=no_progress)
    home = pd.read_parquet(plan / "images.parquet").set_index("image_id")["box"]
    boxes = {
        key: box_of_points(
            tmp_path / key, table[table["image_id"].isin(own.index)], points, descriptors
        )
        for key, own in home.groupby(home)
    }
    return plan, boxes


@pytest.mark.parametrize("exhaustive_fringe_pairs", [400, 0])
def test_pairs_across_a_corner_are_proposed_and_verified(tmp_path, city, exhaustive_fringe_pairs):
    plan, boxes = city
    (fringe,) = load_plan(plan / "plan.json").fringes
    assert fringe.kind == "corner"
    for name in ("out", "work"):
        (tmp_path / name).mkdir()
    (images_a, features_a), (images_b, features_b) = boxes[fringe.a], boxes[fringe.b]
    report = match_fringe(
        fringe.key,
        images_a=images_a,
        images_b=images_b,
        features_a=features_a,
        features_b=features_b,
        fringe_images=plan / "fringe_images.parquet",
        out=tmp_path / "out",
        work=tmp_path / "work",
        settings=MatchingSettings(exhaustive_fringe_pairs=exhaustive_fringe_pairs),
        n_threads=1,
        progress=no_progress,
    )
    assert not report.skipped
    pairs = pd.read_parquet(tmp_path / "out" / "pairs.parquet")
    proposed = pairs[pairs["sources"].str.contains("fringe")]
    assert (proposed["state"] == "verified").sum() >= 8
    assert_all_across(plan, pairs)


def assert_all_across(plan, pairs):
    home = pd.read_parquet(plan / "images.parquet").set_index("colmap_id")["box"]
    assert (home[pairs["colmap_id_a"]].to_numpy() != home[pairs["colmap_id_b"]].to_numpy()).all()


def test_the_pairs_of_both_sides_help_to_judge_and_stay_out_of_the_result(tmp_path, city):
    plan, boxes = city
    (fringe,) = load_plan(plan / "plan.json").fringes
    for name in ("out", "work", fringe.a, fringe.b):
        for folder in ("", "box-work"):
            (tmp_path / "matches" / name / folder).mkdir(parents=True, exist_ok=True)
    settings = MatchingSettings()
    for key in (fringe.a, fringe.b):
        images, features = boxes[key]
        match_box(
            key, box_images=images, box_features=features, out=tmp_path / "matches" / key,
            work=tmp_path / "matches" / key / "box-work", settings=settings, n_threads=1,
            progress=no_progress,
        )  # fmt: skip
    sides = [tmp_path / "matches" / key for key in (fringe.a, fringe.b)]
    before = [(folder / "matches.db").read_bytes() for folder in sides]
    (images_a, features_a), (images_b, features_b) = boxes[fringe.a], boxes[fringe.b]
    out = tmp_path / "matches" / "out"
    report = match_fringe(
        fringe.key, images_a=images_a, images_b=images_b, features_a=features_a,
        features_b=features_b, fringe_images=plan / "fringe_images.parquet", out=out,
        work=tmp_path / "matches" / "work", settings=settings, n_threads=1, progress=no_progress,
        matches=sides,
    )  # fmt: skip
    assert not report.skipped
    pairs = pd.read_parquet(out / "pairs.parquet")
    assert_all_across(plan, pairs)
    assert (pairs["state"] == "verified").sum() >= 8
    unchanged = [(folder / "matches.db").read_bytes() for folder in sides]
    assert unchanged == before, "an artifact was written into"
    assert not list((tmp_path / "matches").rglob("*.db-*"))
    counts = read_pair_counts(out / "matches.db").set_index(["colmap_id_a", "colmap_id_b"])
    verified = pairs[pairs["state"] == "verified"].set_index(["colmap_id_a", "colmap_id_b"])
    assert sorted(counts.index) == sorted(verified.index)
    assert (counts["n_inliers"].sort_index() == verified["n_inliers"].sort_index()).all()
