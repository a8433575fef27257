import json

import dagster as dg
import pytest

from citysplat_core.settings.checks import CheckSettings
from citysplat_core.storage import Artifact, write_json
from citysplat_dagster.match_report import connection_checks, pair_tables, rate_checks

COUNTS = {"proposed": 100, "matched": 60, "verified": 50, "refused": 5}


def made(tmp_path, *, asset="box_matches", rates=None, sizes=(6, 2), skipped="", proposed=100):
    rates = rates if rates is not None else {"sequence": 0.8, "spatial": 0.5}
    of_all = {name: {"matched": 0.9, "verified": rate} for name, rate in rates.items()}
    spans = {"edges": [0, 10, 20], "proposed": [70, 0, 30], "verified": [45, 0, 5]}
    ranks = {"edges": [1, 2, 5], "proposed": [70, 20, 10], "verified": [45, 5, 0]}
    bridge = {
        "image_id_a": "a1", "image_id_b": "b2", "joins": [3, 5], "n_inliers": 31,
        "distance_m": 12.3, "sources": "sequence|spatial",
    }  # fmt: skip
    report = {
        "sources": {name: COUNTS | {"proposed": proposed} for name in rates},
        "rounds": {"0": COUNTS},
        "rates": {"sources": of_all, "rounds": {"0": {"matched": 0.6, "verified": 0.5}}},
        "refused": {"heading": 5},
        "unmatched": {"too few matches": 40},
        "not_proposed": {"view cone": 700},
        "spans": {
            "distance_m": spans, "rank": ranks, "between_sequences": {"proposed": 9, "verified": 2},
        },
        "components": {"count": len(sizes), "sizes": list(sizes), "largest_share": 0.6},
        "bridges": {"count": 4, "of_one_photo": 1, "strongest": [bridge]},
        "photos_without_pair": {"count": 2, "image_ids": ["lone", "lost"]},
    }  # fmt: skip
    write_json(tmp_path / "report.json", report)
    counts = {"n_images": 10}
    write_json(tmp_path / "manifest.json", {"skipped": skipped, "counts": counts})
    return Artifact(asset, "0213", tmp_path)


def test_what_people_ask_of_the_pairs_is_shown(tmp_path):
    shown = pair_tables(made(tmp_path))
    table = shown["pairs by source and round"]
    rows = {(row.data["by"], row.data["name"]): row.data for row in table.records}
    assert rows["source", "spatial"]["verified share"] == 0.5
    assert rows["round", "0"]["proposed"] == 100
    assert "| metres: 20 and more | 30 | 5 |" in shown["spans"].value
    assert "| places in a sequence: 1 | 70 | 45 |" in shown["spans"].value
    assert "| places in a sequence: 2 to 4 | 20 | 5 |" in shown["spans"].value
    assert "10 to 20" not in shown["spans"].value  # no pair there
    graph = shown["what hangs together"].value
    assert "components of photos: 2 (6, 2); 60.0% of the photos" in graph
    assert "photos without a verified pair: 2: lone, lost" in graph
    assert "bridges: 4; with one photo behind them: 1" in graph
    assert "| a1 - b2 | 3 and 5 | 31 | 12.3 | sequence, spatial |" in graph
    assert json.loads(json.dumps(shown["pairs left out"].value))["refused"] == {"heading": 5}


def test_of_a_fringe_is_said_that_only_pairs_across_are_counted(tmp_path):
    of_fringe = pair_tables(made(tmp_path, asset="fringe_matches"))["what hangs together"].value
    assert "photos also hang together inside their boxes" in of_fringe
    assert "inside their boxes" not in pair_tables(made(tmp_path))["what hangs together"].value


def test_a_box_without_pairs_is_shown_too(tmp_path):
    shown = pair_tables(made(tmp_path, rates={}, sizes=()))
    assert "components of photos: 0 (none)" in shown["what hangs together"].value


@pytest.mark.parametrize(
    ("asset", "rates", "passes"),
    [
        ("box_matches", {"sequence": 0.8, "spatial": 0.5, "expansion": 0.1}, True),
        ("box_matches", {"sequence": 0.3, "spatial": 0.5}, False),
        ("box_matches", {"spatial": 0.1}, False),
        ("fringe_matches", {"sequence": 0.05, "fringe": 0.02}, True),
        ("fringe_matches", {"sequence": 0.05, "fringe": 0.0}, False),
    ],
)
def test_a_source_of_which_little_is_verified_warns(tmp_path, asset, rates, passes):
    (check,) = rate_checks(made(tmp_path, asset=asset, rates=rates), CheckSettings())
    assert check.passed == passes
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert set(check.metadata) == set(rates)


def test_a_source_with_few_pairs_is_not_judged(tmp_path):
    artifact = made(tmp_path, rates={"spatial": 0.0}, proposed=19)
    (check,) = rate_checks(artifact, CheckSettings())
    assert check.passed
    assert not check.metadata
    (check,) = rate_checks(artifact, CheckSettings(min_pairs_for_rate=10))
    assert not check.passed
    assert check.metadata["spatial"].value == "0.000 (floor 0.150)"


@pytest.mark.parametrize(
    ("sizes", "passes", "severity"),
    [
        ((9,), True, "WARN"),
        ((6, 2), False, "WARN"),
        ((2, 2, 2, 2), False, "ERROR"),
        ((), False, "ERROR"),
    ],
)
def test_photos_that_do_not_hang_together_warn_or_fail(tmp_path, sizes, passes, severity):
    (check,) = connection_checks(made(tmp_path, sizes=sizes), CheckSettings())
    assert check.passed == passes
    assert check.severity.value == severity
    assert check.metadata["photos"].value == 10


def test_the_shares_are_settings(tmp_path):
    pairs = made(tmp_path, sizes=(2, 2, 2, 2))
    (check,) = connection_checks(pairs, CheckSettings(connected_size=2))
    assert check.passed


def test_a_box_that_was_skipped_warns_with_its_reason(tmp_path):
    (check,) = connection_checks(made(tmp_path, sizes=(), skipped="one photo"), CheckSettings())
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert check.metadata["skipped"].value == "one photo"
