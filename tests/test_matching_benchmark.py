"""The matching benchmark counts right, and runs on a tiny town."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
KEYS = {
    *("recall", "false_share", "proposed_share", "match_rate_ratio"),
    *("plan_seconds_38k", "plan_rss_mb_38k", "plan_seconds_600k", "plan_rss_mb_600k"),
}


@pytest.fixture(scope="module")
def modules():
    sys.path.insert(0, str(BENCHMARKS))
    import matching_rows
    import matching_score
    import matching_store

    yield SimpleNamespace(rows=matching_rows, score=matching_score, store=matching_store)
    sys.path.pop(0)


def sights_at(*east_m):
    return [SimpleNamespace(capture=SimpleNamespace(centre=np.array([e, 0, 0]))) for e in east_m]


def labels(*rows):
    return pd.DataFrame(rows, columns=["a", "b", "n", "n_true", "turn_error_deg"])


def test_false_pairs_are_those_with_fewer_than_half_true_inliers(modules):
    kept = labels((1, 2, 40, 39, 1.0), (1, 3, 40, 19, 90.0), (2, 3, 40, 20, 50.0))
    scores = modules.score.score(kept, {(1, 2), (2, 4)}, sights_at(0, 5, 100, 9, 7))
    assert scores.false_share == pytest.approx(1 / 3)
    assert (scores.false_far, scores.wrong_turn) == (1, 1)
    assert (scores.components, scores.largest, scores.alone) == (1, 0.6, 2)


def test_a_false_pair_is_not_found_even_if_it_was_matchable(modules):
    sights = sights_at(0, 5, 9)
    scores = modules.score.score(labels((1, 2, 40, 0, 90.0)), {(1, 2)}, sights)
    assert scores.recall == 0.0
    nothing = modules.score.score(labels(), {(1, 2)}, sights)
    assert nothing.recall == 0.0
    assert np.isnan(nothing.false_share)


def test_every_missed_pair_has_a_reason(modules):
    pairs = pd.DataFrame(
        [(1, 2, "verified", ""), (1, 3, "verified", ""), (2, 3, "refused", "weak")],
        columns=["colmap_id_a", "colmap_id_b", "state", "reason"],
    )
    kept = labels((1, 2, 40, 40, 1.0), (1, 3, 40, 2, 90.0))
    missed = modules.score.why_missed(pairs, {(1, 2), (1, 3), (2, 3), (3, 4)}, kept)
    assert missed == {"kept but false": 1, "refused weak": 1, "not proposed": 1}


def test_pairs_are_counted_once_in_whatever_order(modules):
    assert modules.store.unordered([(3, 1), (1, 3), (2, 2), (1, 2)]) == {(1, 3), (1, 2)}


def test_a_round_of_the_log_proposes_the_partners_of_partners(modules):
    strong = labels((1, 2, 40, 40, 0.0), (2, 3, 40, 40, 0.0), (3, 4, 40, 40, 0.0))
    assert modules.rows.partners_of_partners(strong, 5) == {(1, 3), (2, 4)}


@pytest.mark.slow
def test_the_whole_benchmark_runs_on_a_tiny_town(tmp_path):
    command = [
        *(sys.executable, str(BENCHMARKS / "matching.py"), "--quick", "--json", "--photos", "30"),
        *("--only", "town", "rate", "--rounds", "1", "--folder", str(tmp_path)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout.strip().splitlines()[-1])
    assert set(values) >= KEYS
    assert values["n_matchable"] > 20
    assert values["recall"] > 0.3
    assert values["match_rate_ratio"] > 0
    names = [name.split(":")[0] for name in values["rows"]]
    assert {"CitySplat", "COLMAP spatial", "vocabulary tree", "log"} <= set(names)
