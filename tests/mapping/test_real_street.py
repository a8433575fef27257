"""The smallest real street: pure forward motion, a wrong focal length, a stuck GPS."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from citysplat_core.features import extract_box_features
from citysplat_core.geography import CityFrame
from citysplat_core.mapping import read_components, read_registered, solve_box
from citysplat_core.matching.steps import match_box
from citysplat_core.settings import FeatureSettings, MappingSettings, MatchingSettings
from citysplat_core.storage import no_progress

REPOSITORY = Path(__file__).parents[2]
DATA = Path(os.environ.get("CITYSPLAT_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
STREET = DATA / "lund_street"
BOX = "120201"


@pytest.fixture(scope="module")
def street(tmp_path_factory) -> Path:
    """The photos as the artifact ``box_images``, with the focal length that EXIF claims."""
    if not STREET.is_dir():
        pytest.skip(f"no real photos at {STREET} (set CITYSPLAT_REAL_DATA)")
    folder = tmp_path_factory.mktemp("lund")
    rows = pd.read_csv(STREET / "metadata.csv")
    frame = CityFrame(float(rows["lon"][0]), float(rows["lat"][0]), 0.0)
    enu = frame.enu(rows["lon"], rows["lat"], rows["altitude"].astype(float))
    (folder / "photos").mkdir()
    for image_id, file in zip(rows["id"], rows["file"], strict=True):
        (folder / "photos" / f"{image_id}.jpg").symlink_to(STREET / file)
    table = pd.DataFrame(
        {
            "image_id": rows["id"],
            "colmap_id": np.arange(len(rows)) + 1,
            "camera_id": 9,
            "status": "ok",
            "sequence_id": rows["sequence_id"],
            "captured_at": pd.to_datetime(rows["captured_at"], unit="ms", utc=True),
            "heading_deg": rows["compass_angle"].astype(float),
            "east_m": enu[:, 0],
            "north_m": enu[:, 1],
            "up_m": enu[:, 2],
        }
    )
    table.to_parquet(folder / "images.parquet")
    camera = {
        "camera_id": 9,
        "camera_key": "iPhone4,1",
        "model": "SIMPLE_RADIAL",
        "width": 1024,
        "height": 768,
        "params": [1035.0, 512.0, 384.0, 0.0],
        "has_prior_focal": False,
    }
    pd.DataFrame([camera]).to_parquet(folder / "cameras.parquet")
    columns = ["fringe", "box", "image_id", "colmap_id"]
    pd.DataFrame(columns=columns).to_parquet(folder / "fringe_images.parquet")
    return folder


@pytest.mark.slow
def test_all_photos_of_a_walk_along_a_street_are_registered(street, fresh):
    shared = {"n_threads": 2, "progress": no_progress}
    features, matches, out = fresh("features"), fresh("matches"), fresh("out")
    extract_box_features(
        BOX, box_images=street, out=features, work=fresh("w1"), settings=FeatureSettings(), **shared
    )
    match_box(
        BOX,
        box_images=street,
        box_features=features,
        out=matches,
        work=fresh("w2"),
        settings=MatchingSettings(),
        **shared,
    )
    report = solve_box(
        BOX,
        box_images={BOX: street},
        box_matches=matches,
        fringe_matches={},
        fringe_images=street / "fringe_images.parquet",
        out=out,
        work=fresh("w3"),
        settings=MappingSettings(),
        **shared,
    )
    component = read_components(out).iloc[0]
    assert report.counts["n_registered"] >= 28  # stock incremental mapping: 2 to 21 of 29
    assert report.counts["n_components"] == 1
    assert component["gps_residual_median_m"] < 4.0
    assert component["extent_m"] == pytest.approx(195, rel=0.06)  # the walk is 197 m long
    heights = read_registered(out)["up_m"]
    assert np.ptp(heights) < 12  # the street is level; a rolled model is not
