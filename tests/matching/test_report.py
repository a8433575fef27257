import json

import cv2
import numpy as np
import pandas as pd
import pytest

from citysplat_core.matching.photos import Photos
from citysplat_core.matching.picture import draw_match_graph
from citysplat_core.matching.report import counts_of, summarize_graph, summarize_pairs
from citysplat_core.settings import MatchingSettings


@pytest.fixture
def photos():
    """Two sequences of four photos, 10 m apart, and one photo of none, all on a line."""
    return Photos(
        colmap_id=np.arange(9) + 11,
        names=tuple(f"p{row}.jpg" for row in range(9)),
        side=np.zeros(9, dtype=np.int64),
        east_north_m=np.c_[np.arange(9) * 10.0, np.arange(9) % 3],
        heading_deg=np.zeros(9),
        sequence=np.array([0, 0, 0, 0, 1, 1, 1, 1, -1]),
        captured_at=np.array([4, 3, 2, 1, 1, 2, 3, 4, 9]) * 1000,
    )


def pairs_of(photos, *rows):
    """Make a table of pairs from (row, row, sources, state, round)."""
    first, second, sources, state, number = zip(*rows, strict=True)
    first, second = np.array(first), np.array(second)
    gap = photos.east_north_m[second] - photos.east_north_m[first]
    is_matched = np.array(state) != "unmatched"
    return pd.DataFrame(
        {
            "colmap_id_a": photos.colmap_id[first],
            "colmap_id_b": photos.colmap_id[second],
            "sources": sources,
            "distance_m": np.hypot(*gap.T),
            "n_matches": np.where(is_matched, 100, 2),
            "n_inliers": np.where(is_matched, 80, 0),
            "state": state,
            "reason": ["" if s == "verified" else f"reason of {s}" for s in state],
            "round": number,
        }
    )


@pytest.fixture
def table(photos):
    return pairs_of(
        photos,
        (0, 1, "sequence|spatial", "verified", 0),
        (1, 2, "sequence", "verified", 0),
        (0, 2, "expansion", "verified", 1),
        (0, 3, "spatial", "refused", 0),
        (2, 4, "spatial", "verified", 0),
        (4, 5, "sequence", "verified", 0),
        (5, 6, "sequence", "verified", 0),
        (4, 6, "expansion", "verified", 1),
        (6, 7, "sequence", "unmatched", 0),
        (1, 3, "expansion", "unmatched", 1),
    )


def test_sources_and_rounds_are_counted_with_their_rates(table):
    told = summarize_pairs(table, MatchingSettings())
    assert told["rounds"]["0"]["proposed"] == 7
    assert told["rounds"]["1"] == {"proposed": 3, "matched": 2, "verified": 2, "refused": 0}
    assert told["rates"]["sources"]["spatial"] == {"matched": 1.0, "verified": 0.6667}
    assert told["rates"]["rounds"]["1"]["verified"] == 0.6667
    assert told["rates"]["total"]["verified"] == 0.7
    assert told["refused"] == {"reason of refused": 1}


def test_spans_are_counted_in_metres_and_in_places_of_a_sequence(photos, table):
    spans = summarize_graph(photos, table)["spans"]
    near = spans["distance_m"]
    at = {edge: near["verified"][place] for place, edge in enumerate(near["edges"])}
    assert (at[10], at[20], at[30]) == (4, 3, 0)
    assert sum(near["proposed"]) == len(table)
    assert spans["rank"]["proposed"][:3] == [5, 3, 1]
    assert spans["rank"]["verified"][:3] == [4, 2, 0]
    assert spans["between_sequences"] == {"proposed": 1, "verified": 1}


def test_components_bridges_and_lonely_photos_are_named(photos, table):
    told = summarize_graph(photos, table)
    assert told["components"] == {"count": 1, "sizes": [6], "largest_share": 0.6667}
    assert told["bridges"]["count"] == 1
    assert told["bridges"]["of_one_photo"] == 0
    assert told["bridges"]["strongest"] == [
        {
            "image_id_a": "p2", "image_id_b": "p4", "joins": [3, 3], "n_inliers": 80,
            "distance_m": 20.0, "sources": "spatial",
        }
    ]  # fmt: skip
    assert told["photos_without_pair"] == {"count": 3, "image_ids": ["p3", "p7", "p8"]}


def test_the_report_is_plain_json_and_its_numbers_stand_on_the_page(photos, table):
    told = summarize_pairs(table, MatchingSettings()) | summarize_graph(photos, table)
    counts = counts_of(json.loads(json.dumps(told)))
    assert counts["pairs_verified"] == 7
    assert counts["largest_component_share"] == 0.6667
    assert (counts["components"], counts["bridges"], counts["photos_without_pair"]) == (1, 1, 3)


def test_no_photo_and_no_pair_make_an_empty_report(photos, table):
    none = summarize_graph(photos.select(np.zeros(0, dtype=np.intp)), table.iloc[:0])
    assert none["components"] == {"count": 0, "sizes": [], "largest_share": 0.0}
    assert none["photos_without_pair"] == {"count": 0, "image_ids": []}
    assert sum(none["spans"]["rank"]["proposed"]) == 0


def colours(path):
    pixels = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2HSV)[:750]  # above the legend
    vivid = pixels[pixels[..., 1] > 60][:, 0].astype(int) * 2
    return {
        "green": int(((vivid > 110) & (vivid < 160)).sum()),
        "violet": int(((vivid > 270) & (vivid < 300)).sum()),
        "red": int(((vivid < 20) | (vivid > 345)).sum()),
    }


def test_the_picture_tells_verified_refused_and_bridges_apart(photos, table, tmp_path):
    draw_match_graph(tmp_path / "all.png", "pairs", photos, table)
    seen = colours(tmp_path / "all.png")
    assert all(count > 20 for count in seen.values()), seen
    plain = table[~table["colmap_id_b"].isin([14, 15])]  # no refused pair, no bridge
    draw_match_graph(tmp_path / "plain.png", "pairs", photos, plain)
    seen = colours(tmp_path / "plain.png")
    assert seen["green"] > 20
    assert not seen["violet"]
    assert not seen["red"]
    draw_match_graph(tmp_path / "none.png", "pairs", photos, table.iloc[:0])
    assert colours(tmp_path / "none.png") == {"green": 0, "violet": 0, "red": 0}
