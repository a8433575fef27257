"""What is to be matched, and from its pairs to an artifact: the same for a box and a fringe."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from citysplat_core.features import (
    copy_database,
    finish_database,
    remove_pairs,
    strip_database,
)
from citysplat_core.matching.budget import Proposals, nothing
from citysplat_core.matching.expansion import expand_in_rounds, join_round
from citysplat_core.matching.gates import Verdict
from citysplat_core.matching.inliers import Graph, read_graph
from citysplat_core.matching.judging import Judgement, judge_matches, write_kept_matches
from citysplat_core.matching.photos import Photos
from citysplat_core.matching.picture import draw_match_graph
from citysplat_core.matching.placed_pairs import propose_from_places
from citysplat_core.matching.report import counts_of, summarize_graph, summarize_pairs
from citysplat_core.matching.retrieval import retrieved_among
from citysplat_core.matching.table import (
    enter_judgement,
    enter_results,
    pairs_to_try,
    tabulate_proposals,
)
from citysplat_core.matching.tried import FILE as TRIED
from citysplat_core.matching.tried import TriedPairs, read_tried, write_tried
from citysplat_core.matching.verify import match_pairs
from citysplat_core.settings import MatchingSettings
from citysplat_core.storage import Progress, StepReport, published, write_json

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is to be matched, and where: the same for a box and a fringe."""

    key: str
    photos: Photos
    heading_deg: NDArray[np.float64]
    across: bool
    proposals: Proposals
    database: Path
    out: Path
    empty_reason: str
    earlier: Path | None
    judged: tuple[Path, ...] = ()
    witnesses: Photos | None = None
    """The photos and those around them, whose pairs were judged before; None: the photos alone."""


def match_and_write(
    task: Task, settings: MatchingSettings, n_threads: int, progress: Progress
) -> StepReport:
    """Compare what is proposed, judge it, and write the files of `match_box`."""
    photos, database = task.photos, task.database
    known = TriedPairs.none()
    if len(task.proposals):
        known = read_tried(task.earlier, database, settings)

    def verified_inliers(proposals: Proposals) -> NDArray[np.int64]:
        found = _compare(task, proposals, known, settings, n_threads, progress)
        verified = found["state"].to_numpy() == "verified"
        return np.where(verified, found["n_inliers"].to_numpy(dtype=np.int64), 0)

    proposals = expand_in_rounds(
        photos, task.heading_deg, task.proposals, verified_inliers, settings, across=task.across
    )
    table = _compare(task, proposals, known, settings, n_threads, progress)
    graph, judgement = _judge(task, proposals, settings)
    hidden = _hidden(task, judgement, proposals, settings, n_threads)
    if len(hidden):
        proposals = join_round(proposals, hidden, int(proposals.round.max()) + 1, len(photos))
        table = _compare(task, proposals, known, settings, n_threads, progress)
        graph, judgement = _judge(task, proposals, settings)
    n_reused = known.count(pairs_to_try(table))
    n_tried = write_tried(task.out / TRIED, database, known)
    asked = task.witnesses or photos
    table = enter_judgement(table, asked, graph, judgement)
    _write_database(database, task.out / "matches.db", table)
    write_kept_matches(task.out / "matches.db", asked.colmap_id, graph, judgement)
    finish_database(task.out / "matches.db")
    with published(task.out / "pairs.parquet") as stream:
        table.to_parquet(stream, compression="zstd", index=False)
    counts = _write_report(task, proposals, table, judgement.verdict, settings)
    skipped = task.empty_reason
    if not skipped and not counts["pairs_verified"]:
        skipped = f"none of {counts['pairs_proposed']} proposed pairs could be verified"
    return StepReport(
        counts=counts | {"pairs_reused": n_reused, "pairs_compared": n_tried - n_reused},
        skipped=skipped,
        previews={"match graph": task.out / "graph.png"},
    )


def _hidden(
    task: Task,
    judgement: Judgement,
    proposals: Proposals,
    settings: MatchingSettings,
    n_threads: int,
) -> Proposals:
    """Propose what GPS hid inside a box; the sides of a fringe are small and wait for no more."""
    if task.across:
        return nothing()
    return propose_from_places(
        task.photos, judgement.evidence, proposals, settings, n_threads=n_threads
    )


def _judge(task: Task, proposals: Proposals, settings: MatchingSettings) -> tuple[Graph, Judgement]:
    """Judge all verified pairs, together with those that were judged before."""
    asked = task.witnesses or task.photos
    graph = read_graph([task.database, *task.judged], asked.colmap_id)
    at = np.searchsorted(asked.colmap_id, task.photos.colmap_id).astype(np.int32)
    alike = retrieved_among(replace(proposals, pairs=at[proposals.pairs]), graph.edges)
    judgement = judge_matches(
        asked, graph.edges, graph.inliers, settings, far=alike, accepted=graph.source > 0
    )
    return graph, judgement


def _compare(
    task: Task,
    proposals: Proposals,
    known: TriedPairs,
    settings: MatchingSettings,
    n_threads: int,
    progress: Progress,
) -> pd.DataFrame:
    """Match and verify what is not matched yet; tabulate what came of all pairs."""
    photos = task.photos
    table = tabulate_proposals(photos, proposals, settings)
    logger.info("%s: %d photos, %d pairs proposed", task.key, len(photos), len(table))
    pairs = pairs_to_try(table)
    names = dict(zip(photos.colmap_id.tolist(), photos.names, strict=True))
    if pairs:
        known.enter(task.database, pairs)
        match_pairs(
            task.database, pairs, names, settings=settings, n_threads=n_threads, progress=progress
        )
    return enter_results(table, task.database, settings)


def _write_report(
    task: Task,
    proposals: Proposals,
    table: pd.DataFrame,
    verdict: Verdict,
    settings: MatchingSettings,
) -> dict[str, int | float]:
    """Write the report and the picture; return the numbers that stand for it."""
    report = summarize_pairs(table, settings) | summarize_graph(task.photos, table)
    report["headings"] = {
        "solved_from_pairs": verdict.headings.n_visual,
        "compass": verdict.headings.n_compass,
        "unknown": verdict.headings.n_unknown,
    }
    report["not_proposed"] = dict(sorted(proposals.refused.items()))
    report["notes"] = list(verdict.notes)
    write_json(task.out / "report.json", report)
    draw_match_graph(task.out / "graph.png", f"pairs of {task.key}", task.photos, table)
    logger.info("%s: %s, refused %s", task.key, report["total"], report["refused"])
    return {"n_images": len(task.photos)} | counts_of(report)


def _write_database(database: Path, out: Path, table: pd.DataFrame) -> None:
    """Copy the database without refused pairs, descriptors and raw matches."""
    copy_database(database, out)
    keys = zip(table["colmap_id_a"].tolist(), table["colmap_id_b"].tolist(), strict=True)
    dropped = [
        pair for pair, kept in zip(keys, table["state"] == "verified", strict=True) if not kept
    ]
    remove_pairs(out, dropped)
    strip_database(out)
