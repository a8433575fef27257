"""The pair graph of a look-alike town beside its truth, for CitySplat and for its peers.

    python benchmarks/matching.py [--quick] [--json] [--photos N] [--only PART ...]

Parts: town (the table of peers), rate, real, plan. A town of 1,000 photos with repeated facades is
made by code and kept in benchmarks/.towns (git-ignored, 1.5 GB with all peers): its photos, depth
and features, and every pair that a peer has asked for, so that a stopped run goes on; --fresh
begins again. The first whole run takes about an hour on two cores, later ones a few minutes:
CitySplat's own row is measured in every run, and --peers without a name measures it alone. The last
line is one JSON object.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pandas as pd
from matching_rate import measure_rate
from matching_real import measure_real
from matching_rows import (
    Row,
    Town,
    log_recipe,
    match_as_a_user,
    match_as_peer,
    sequential_pairs,
    spatial_pairs,
    verified_of,
    vocabulary_pairs,
)
from matching_score import (
    DEFINITIONS,
    Scores,
    matchable_pairs,
    overlapping_pairs,
    score,
    table_of,
    why_missed,
)
from matching_store import PeerStore
from town_box import make_town_box

from citysplat_core.features import extract_box_features
from citysplat_core.settings import FeatureSettings
from citysplat_core.simulation import TownSettings
from citysplat_core.storage import Progress

HERE = Path(__file__).parent
PARTS = ("town", "rate", "real", "plan")
PEERS = ("spatial", "sequential", "vocabulary", "log")
PLAN_KEYS = ("plan_seconds_38k", "plan_rss_mb_38k", "plan_seconds_600k", "plan_rss_mb_600k")
QUICK_POSITIONS = 38_479


def progress_of(what: str) -> Progress:
    """Give a progress callback that writes one line to the terminal's error stream."""

    def say(done: int, total: int, unit: str) -> None:
        end = "\n" if done == total else ""
        sys.stderr.write(f"\r{what}: {done}/{total} {unit}   {end}")
        sys.stderr.flush()

    return say


def prepare(folder: Path, asked: argparse.Namespace) -> Town:
    """Make the town, its features and the store of pairs, or go on with those of an earlier run."""
    settings = TownSettings(
        n_photos=asked.photos, lookalike_share=0.6, seed=11, photo_width_px=asked.width
    )
    box = make_town_box(
        folder, settings, n_threads=asked.threads, progress=progress_of("rendering")
    )
    features = folder / "features"
    if not (features / "features.parquet").exists():
        shutil.rmtree(features, ignore_errors=True)
        for each in (features, folder / "features-work"):
            each.mkdir(exist_ok=True)
        extract_box_features(
            "town", box_images=box.box_images, out=features, work=folder / "features-work",
            settings=FeatureSettings(), n_threads=asked.threads, progress=progress_of("features"),
        )  # fmt: skip
        shutil.rmtree(folder / "features-work")
    return Town(
        folder=folder,
        box_images=box.box_images,
        box_features=features,
        images=box.images,
        sights=box.sights,
        store=PeerStore(folder / "peers", features / "features.db", asked.threads),
    )


def measure_town(town: Town, asked: argparse.Namespace) -> dict[str, object]:
    """Measure the rows; print the table; return the figures of CitySplat's row and the table."""
    sights, n_images = town.sights, len(town.images)
    overlapping = overlapping_pairs(town.folder, sights)
    matchable, right = matchable_pairs(overlapping, town.store, sights, progress_of("truth"))
    all_pairs = n_images * (n_images - 1) // 2
    found = [match_as_a_user(town, asked.threads, progress_of("CitySplat"))]
    found += peers(town, asked)
    found.append(exhaustive(town, matchable, all_pairs, whole=asked.exhaustive))
    rows = [(row, score(row.kept, matchable, sights)) for row in found]
    sys.stdout.write(
        f"{n_images} photos, {all_pairs} pairs, {len(overlapping)} overlap,"
        f" {len(matchable)} of them matchable\n{DEFINITIONS}\n{table_of(rows)}\n"
    )
    ours, scores = rows[0]
    table = pd.read_parquet(town.folder / "citysplat" / "out" / "pairs.parquet")
    missed = why_missed(table, matchable, ours.kept)
    of_right = score(ours.kept, right, sights).recall
    sys.stdout.write(
        f"matchable pairs that CitySplat misses: {missed}\nof the {len(right)} matchable pairs"
        f" whose rotation COLMAP finds too it keeps {of_right:.1%}\n\n"
    )
    return {
        "recall": round(scores.recall, 4),
        "false_share": round(scores.false_share, 5),
        "proposed_share": round(ours.proposed / all_pairs, 5),
        "n_photos": n_images,
        "n_overlapping": len(overlapping),
        "n_matchable": len(matchable),
        "n_matchable_right_turn": len(right),
        "recall_right_turn": round(of_right, 4),
        "missed": missed,
        "rows": {row.name: _values(row, scores) for row, scores in rows},
    }


def peers(town: Town, asked: argparse.Namespace) -> list[Row]:
    """Measure the peers that are asked for."""
    few = asked.photos < 500
    neighbours, words = (15, 1024) if few else (30, 4096)
    grow = partial(
        vocabulary_pairs, town, neighbours=neighbours, words=words, n_threads=asked.threads
    )
    proposals = {
        "spatial": (
            "COLMAP spatial", "50 neighbours, 100 m", partial(spatial_pairs, town.store.database)
        ),
        "sequential": ("COLMAP sequential", "overlap 10", partial(sequential_pairs, town)),
        "vocabulary": ("vocabulary tree", f"{neighbours} neighbours, {words} own words", grow),
    }  # fmt: skip
    rows = [
        match_as_peer(town, name, propose, note=note, progress=progress_of(name))
        for key, (name, note, propose) in proposals.items()
        if key in asked.peers
    ]
    if "log" in asked.peers:
        rows += log_recipe(
            town, rounds=asked.rounds, max_pairs=asked.max_pairs, progress=progress_of("log")
        )
    return rows


def exhaustive(town: Town, matchable: set[tuple[int, int]], all_pairs: int, *, whole: bool) -> Row:
    """Give the row of exhaustive matching; unless it is asked for whole, by its definition."""
    ids = town.images["colmap_id"].astype(int).tolist()
    everything = {(a, b) for row, a in enumerate(ids) for b in ids[row + 1 :]}
    if whole:
        return match_as_peer(
            town, "exhaustive", lambda: everything, progress=progress_of("exhaustive")
        )
    known = verified_of(town, everything)
    note = (
        f"kept: of the pairs matched for other rows; all {len(matchable)} matchable by definition"
    )
    return Row(
        name="exhaustive (part)", proposed=all_pairs, kept=known, cpu_s=math.nan, wall_s=math.nan,
        note=note,
    )  # fmt: skip


def _values(row: Row, scores: Scores) -> dict[str, float | str | None]:
    values = {
        "proposed": row.proposed,
        "verified": len(row.kept),
        "cpu_s": round(row.cpu_s, 1),
        "wall_s": round(row.wall_s, 1),
        **{name: round(value, 5) for name, value in asdict(scores).items()},
    }
    clean = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}
    return {**clean, "note": row.note}


def measure_plan(*, quick: bool) -> dict[str, object]:
    """Run the benchmark of pair planning, a process of its own; quick: the smaller city only."""
    script = HERE / "pair_planning.py"
    if not script.exists():
        return dict.fromkeys(PLAN_KEYS)
    options = ["--one", str(QUICK_POSITIONS)] if quick else ["--json"]
    command = [sys.executable, str(script), *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    values = json.loads(done.stdout.strip().splitlines()[-1])
    if quick:
        return {"plan_seconds_38k": values["seconds"], "plan_rss_mb_38k": values["rss_mb"]}
    return {key: value for key, value in values.items() if key.startswith("plan_")}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="100 photos of 480 px")
    parser.add_argument("--json", action="store_true", help="the default; for symmetry")
    parser.add_argument("--photos", type=int)
    parser.add_argument("--width", type=int, help="width of a photo, pixels")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--exhaustive", action="store_true", help="match every pair (many hours)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the log's recipe")
    parser.add_argument("--max-pairs", type=int, default=45_000, help="most pairs of that recipe")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--folder", type=Path, default=HERE / ".towns", help="where towns are kept")
    parser.add_argument("--data", type=Path, help="folder of real photos (../shared/data)")
    parser.add_argument("--fresh", action="store_true", help="begin again")
    asked = parser.parse_args(arguments)
    asked.photos = asked.photos or (100 if asked.quick else 1000)
    asked.width = asked.width or (480 if asked.quick else 640)
    shared = os.environ.get("CITYSPLAT_REAL_DATA") or HERE.parents[1] / "shared" / "data"
    asked.data = asked.data or Path(shared)
    return asked


def main() -> None:
    """Measure, print the tables and, last, the figures as one JSON line."""
    asked = parse()
    folder = asked.folder / f"{asked.photos}-{asked.width}px"
    if asked.fresh:
        shutil.rmtree(folder, ignore_errors=True)
    keys = ("recall", "false_share", "proposed_share", *PLAN_KEYS, "match_rate_ratio")
    figures: dict[str, object] = dict.fromkeys(keys)
    if {"town", "rate"} & set(asked.only):
        town = prepare(folder, asked)
    if "town" in asked.only:
        figures |= measure_town(town, asked)
    if "rate" in asked.only:
        rate = measure_rate(
            folder / "rate", town.box_features / "features.db", town.images,
            n_photos=40 if asked.quick else 120, repeats=3 if asked.quick else 5,
            n_threads=asked.threads,
        )  # fmt: skip
        figures |= rate
        sys.stdout.write("".join(f"{key:20s} {value}\n" for key, value in rate.items()) + "\n")
    if "real" in asked.only:
        real = asked.folder / "real"
        shutil.rmtree(real, ignore_errors=True)
        table, figures["real"] = measure_real(asked.data, real, n_threads=asked.threads)
        sys.stdout.write(table + "\n")
    if "plan" in asked.only:
        figures |= measure_plan(quick=asked.quick)
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
