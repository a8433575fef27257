import numpy as np
import pandas as pd

from citysplat_core.matching.budget import Candidates, unite
from citysplat_core.matching.photos import read_photos
from citysplat_core.matching.report import summarize_pairs
from citysplat_core.matching.table import COLUMNS, tabulate_proposals
from citysplat_core.settings import MatchingSettings


def test_a_pair_of_two_sources_is_one_row_that_names_both(town):
    share = np.array([0.4, 0.2], dtype=np.float32)
    pairs = np.array([[0, 1], [3, 4]], dtype=np.int32)
    found = [
        Candidates(source="spatial", pairs=pairs, overlap=share, worth=share),
        Candidates(source="sequence", pairs=pairs[:1], overlap=share[:1], worth=share[:1]),
    ]
    proposals = unite(found, len(town.photos), budget=9, refused={})
    table = tabulate_proposals(town.photos, proposals, MatchingSettings())
    assert tuple(table.columns) == COLUMNS
    assert table["sources"].tolist() == ["sequence|spatial", "spatial"]
    assert table[["colmap_id_a", "colmap_id_b"]].to_numpy().tolist() == [[1, 2], [4, 5]]
    np.testing.assert_allclose(table["distance_m"], 5.0, atol=1.5)
    np.testing.assert_allclose(table["predicted_overlap"], [0.4, 0.2])
    assert table["round"].tolist() == [0, 0]


def test_the_summary_counts_a_pair_in_each_source_and_once_in_total():
    table = pd.DataFrame(
        {
            "sources": ["sequence|spatial", "spatial", "spatial"],
            "n_matches": [200, 90, 3],
            "state": ["verified", "refused", "unmatched"],
            "reason": ["", "heading", "too few matches"],
            "round": [0, 0, 1],
        }
    )
    told = summarize_pairs(table, MatchingSettings())
    assert told["sources"]["sequence"] == {
        "proposed": 1, "matched": 1, "verified": 1, "refused": 0,
    }  # fmt: skip
    assert told["sources"]["spatial"]["proposed"] == 3
    assert told["total"] == {"proposed": 3, "matched": 2, "verified": 1, "refused": 1}
    assert told["refused"] == {"heading": 1}
    assert told["unmatched"] == {"too few matches": 1}


def test_photos_of_two_boxes_share_sequence_numbers(street, box_of):
    table = street.cameras()
    table["sequence_id"] = ["x"] * 6 + ["y", None] * 3
    south, _ = box_of("a", table.iloc[6:], street)
    north, _ = box_of("b", table.iloc[:6].assign(status=["ok"] * 5 + ["failed"]), street)
    photos = read_photos([south, north])
    assert photos.colmap_id.tolist() == [101, 102, 103, 104, 105, 107, 108, 109, 110, 111, 112]
    assert photos.side.tolist() == [1] * 5 + [0] * 6
    assert photos.sequence.tolist() == [0] * 5 + [1, -1] * 3
    assert photos.names[0] == "s00.jpg"
    assert np.diff(photos.captured_at)[:4].tolist() == [1000] * 4
