"""A street that leaves a box at its corner is matched across the corner."""

import numpy as np
import pandas as pd
import pytest

from citysplat_core.geography import CityFrame, box_bounds, load_plan, quadkey_of
from citysplat_core.geography.plan_boxes import plan_boxes
from citysplat_core.matching import match_fringe
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
    home = pd.read_parquet(plan / "images.parquet").set_index("colmap_id")["box"]
    assert (home[pairs["colmap_id_a"]].to_numpy() != home[pairs["colmap_id_b"]].to_numpy()).all()
