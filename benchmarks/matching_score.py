"""How good a graph of pairs is beside the truth, and the table that says so."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matching_rows import Row
from matching_store import Pairs, PeerStore
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from citysplat_core.simulation.overlap import Sight, measure_overlaps, near_pairs
from citysplat_core.storage import Progress, no_progress, published

LEAST_SHARE, MOST_TURN_DEG, LEAST_INLIERS = 0.10, 40.0, 15
WRONG_TURN_DEG = 15.0
DEFINITIONS = f"""\
matchable pair  each photo sees at least {LEAST_SHARE:.0%} of the other's surface within 60 m, by
                depth, from directions less than {MOST_TURN_DEG:.0f} degrees apart; and COLMAP's
                matcher finds at least {LEAST_INLIERS} inliers there, most of them true
true inlier     the depth of one photo puts the keypoint within 12 px of its partner
false pair      fewer than half of its inliers are true
recall          share of the matchable pairs that are kept and not false
wrong turn      kept pairs that are not false but rotate by {WRONG_TURN_DEG:.0f} degrees too much
                or too little, as pairs of one flat facade do
"""


@dataclass(frozen=True)
class Scores:
    """One row's figures.

    Attributes:
        recall: Share of the matchable pairs that are kept and true.
        false_share: Share of the kept pairs that are false; NaN if none is kept.
        false_far: False pairs of photos more than 60 m apart.
        wrong_turn: Kept true pairs whose relative rotation is wrong.
        components: Connected groups of at least two photos.
        largest: Share of the photos in the largest group.
        alone: Photos without a kept pair.
    """

    recall: float
    false_share: float
    false_far: int
    wrong_turn: int
    components: int
    largest: float
    alone: int


def overlapping_pairs(folder: Path, sights: list[Sight]) -> Pairs:
    """Give the pairs of colmap ids that share enough surface; measured once for a folder."""
    path = folder / "overlaps.parquet"
    if not path.exists():
        captures = [sight.capture for sight in sights]
        found = measure_overlaps(sights, near_pairs(captures), max_turn_deg=MOST_TURN_DEG)
        table = pd.DataFrame(found.pairs + 1, columns=["a", "b"])
        table["alike"] = found.alike.min(axis=1)
        with published(path) as stream:
            table.to_parquet(stream, index=False)
    table = pd.read_parquet(path)
    table = table[table["alike"] >= LEAST_SHARE]
    return set(zip(table["a"].tolist(), table["b"].tolist(), strict=True))


def matchable_pairs(
    overlapping: Pairs, store: PeerStore, sights: list[Sight], progress: Progress = no_progress
) -> tuple[Pairs, Pairs]:
    """Give those of the overlapping pairs that COLMAP's exhaustive matching would find.

    Returns:
        The matchable pairs, and those of them whose relative rotation is right as well.
    """
    store.match(overlapping, progress)
    labels = store.labels(sights)
    found = labels[(labels["n"] >= LEAST_INLIERS) & (2 * labels["n_true"] > labels["n"])]
    right = found[found["turn_error_deg"] <= WRONG_TURN_DEG]
    every, turned = (
        overlapping & set(zip(rows["a"].tolist(), rows["b"].tolist(), strict=True))
        for rows in (found, right)
    )
    return every, turned


def score(kept: pd.DataFrame, matchable: Pairs, sights: list[Sight]) -> Scores:
    """Compare kept pairs, with the labels of `label_pairs`, with the truth."""
    false = 2 * kept["n_true"].to_numpy() < kept["n"].to_numpy()
    pairs = kept[["a", "b"]].to_numpy(dtype=np.int64).reshape(-1, 2)
    true = {(int(a), int(b)) for a, b in pairs[~false]}
    centres = np.array([sight.capture.centre for sight in sights])
    apart = np.linalg.norm(centres[pairs[:, 0] - 1] - centres[pairs[:, 1] - 1], axis=1)
    ones = np.ones(len(pairs))
    graph = coo_array((ones, (pairs[:, 0] - 1, pairs[:, 1] - 1)), shape=(len(sights), len(sights)))
    _, group = connected_components(graph, directed=False)
    sizes = np.bincount(group)
    turned = kept["turn_error_deg"].to_numpy(dtype=float) > WRONG_TURN_DEG
    return Scores(
        recall=len(true & matchable) / len(matchable) if matchable else float("nan"),
        false_share=float(false.mean()) if len(kept) else float("nan"),
        false_far=int((false & (apart > 60)).sum()),
        wrong_turn=int((turned & ~false).sum()),
        components=int((sizes > 1).sum()),
        largest=float(sizes.max() / len(sights)),
        alone=int((sizes == 1).sum()),
    )


def why_missed(pairs: pd.DataFrame, matchable: Pairs, kept: pd.DataFrame) -> dict[str, int]:
    """Count why matchable pairs are not kept as true ones.

    Args:
        pairs: The table ``pairs.parquet`` of CitySplat's step.
        matchable: The pairs that should be kept.
        kept: Its verified pairs with their labels.

    Returns:
        By ``not proposed``, ``kept but false``, or the state and reason of the table's row.
    """
    ids = zip(pairs["colmap_id_a"], pairs["colmap_id_b"], strict=True)
    said = dict(zip(ids, pairs["state"] + " " + pairs["reason"].fillna(""), strict=True))
    true = kept[2 * kept["n_true"] >= kept["n"]]
    missed = matchable - set(zip(true["a"].tolist(), true["b"].tolist(), strict=True))
    reasons = [said.get(pair, "not proposed").strip() for pair in missed]
    named = pd.Series(reasons, dtype=str).replace("verified", "kept but false").value_counts()
    return {str(reason): int(count) for reason, count in named.items()}


def table_of(rows: list[tuple[Row, Scores]]) -> str:
    """Give the table of the rows, for a terminal."""
    head = (
        "                      proposed verified  recall   false false   wrong components"
        " largest  no    CPU s  wall s\n"
        "                                                pairs >60 m   turn            "
        " group  pair\n"
    )
    lines = [
        f"{row.name:20s} {row.proposed:9d} {len(row.kept):8d} {s.recall:7.1%} {s.false_share:7.1%}"
        f" {s.false_far:5d} {s.wrong_turn:7d} {s.components:10d} {s.largest:7.0%} {s.alone:4d}"
        f" {row.cpu_s:8.0f} {row.wall_s:7.0f}  {row.note}"
        for row, s in rows
    ]
    return head + "\n".join(lines) + "\n"
