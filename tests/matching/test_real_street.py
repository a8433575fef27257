"""A real walk whose compass lies: photos, features, pairs; about a minute of CPU time."""

import json

import numpy as np
import pandas as pd
import pytest

from citysplat_core.features import extract_box_features
from citysplat_core.matching import match_box
from citysplat_core.matching.gates import judge_pairs
from citysplat_core.matching.headings import compass_that_follows_motion
from citysplat_core.matching.pairs import wrap_deg
from citysplat_core.matching.photos import read_photos
from citysplat_core.matching.verify import read_edges
from citysplat_core.settings import FeatureSettings, MatchingSettings
from citysplat_core.storage import no_progress

M_PER_DEGREE = 111_320.0


def write_box_images(street, folder):
    table = pd.read_csv(street / "metadata.csv")
    (folder / "photos").mkdir(parents=True)
    for image_id, file in zip(table["id"], table["file"], strict=True):
        (folder / "photos" / f"{image_id}.jpg").symlink_to(street / file)
    east_scale = M_PER_DEGREE * np.cos(np.radians(table["lat"].mean()))
    pd.DataFrame(
        {
            "image_id": table["id"],
            "colmap_id": np.arange(len(table)) + 1,
            "camera_id": 1,
            "status": "ok",
            "sequence_id": table["sequence_id"],
            "captured_at": pd.to_datetime(table["captured_at"], unit="ms", utc=True),
            "east_m": (table["lon"] - table["lon"].mean()) * east_scale,
            "north_m": (table["lat"] - table["lat"].mean()) * M_PER_DEGREE,
            "up_m": table["altitude"],
            "heading_deg": table["compass_angle"],
        }
    ).to_parquet(folder / "images.parquet")
    pd.DataFrame(
        {
            "camera_id": [1],
            "camera_key": "phone",
            "model": "SIMPLE_RADIAL",
            "width": 1024,
            "height": 768,
            "params": [[995.0, 512.0, 384.0, 0.0]],
            "has_prior_focal": True,
        }
    ).to_parquet(folder / "cameras.parquet")


@pytest.mark.slow
def test_a_lying_compass_does_not_cost_the_pairs_of_a_real_street(real_data, tmp_path):
    images, features, out = tmp_path / "images", tmp_path / "features", tmp_path / "out"
    write_box_images(real_data / "lund_street", images)
    works = [tmp_path / "work-features", tmp_path / "work-matches"]
    for folder in (features, out, *works):
        folder.mkdir()
    common = {"box_images": images, "n_threads": 2, "progress": no_progress}
    extract_box_features("lund", out=features, work=works[0], settings=FeatureSettings(), **common)
    settings = MatchingSettings()
    report = match_box(
        "lund", box_features=features, out=out, work=works[1], settings=settings, **common
    )
    assert report.counts["pairs_verified"] >= 85  # of 126; more before pairs were judged strictly
    table = pd.read_parquet(out / "pairs.parquet")
    verified = table[table["state"] == "verified"]
    assert len(set(verified["colmap_id_a"]) | set(verified["colmap_id_b"])) == 29
    refused = json.loads((out / "report.json").read_text())["refused"]
    assert refused.get("heading", 0) <= 3
    photos = read_photos([images])
    assert np.isnan(compass_that_follows_motion(photos)).all()
    edges = read_edges(works[1] / "matches.db", photos.colmap_id)
    solved = judge_pairs(photos, edges, settings).headings.heading_deg
    error = np.abs(wrap_deg(solved - 347.0))  # the street runs north-north-west
    assert np.nanmedian(error) < 15
    assert np.nanmax(error) < 50
