"""What each source of pairs adds: spatial alone, with sequences, fringes, expansion, retrieval.

    python benchmarks/pair_sources.py [--quick] [--photos N] [--threads N]

In the look-alike town of `benchmarks/matching.py`, whose folder it shares: run that first (`--only
town --peers`). Each way of proposing goes through the step ``box_matches`` and then, as one box,
through ``sparse_model`` with default settings; pairs that an earlier way has compared are not
compared again. "4 boxes without fringes" is the default way with every pair across two lines
through the middle of the town taken away. The last line is one JSON object.
"""

import argparse
import json
import os
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from mapping_score import MapScores, Solved, connectable
from mapping_score import score as score_map
from matching import prepare, progress_of
from matching_rows import Town
from matching_score import Scores, matchable_pairs, overlapping_pairs, score
from matching_store import Pairs, label_pairs

from citysplat_core.features import copy_database
from citysplat_core.mapping import read_registered, solve_box
from citysplat_core.matching import match_box
from citysplat_core.matching.geometries import forget_geometries
from citysplat_core.settings import MappingSettings, MatchingSettings
from citysplat_core.storage import no_progress, sha256_of, write_json
from citysplat_core.storage.usage import cpu_seconds

HERE = Path(__file__).parent
ALONE = {"sequence_steps": (), "expansion_rounds": 0}
WAYS: dict[str, dict[str, object]] = {
    "spatial alone": ALONE,
    "spatial, sequence": {"expansion_rounds": 0},
    "spatial, sequence, expansion (default)": {},
    "the same and retrieval": {"retrieval": "vlad"},
}
DEFAULT = "spatial, sequence, expansion (default)"
WITHOUT = "4 boxes without fringes"


def known(town: Town) -> Path:
    """Give the pairs that the user's way has compared as a finished artifact has them."""
    folder = town.folder / "sources" / "known"
    folder.mkdir(parents=True, exist_ok=True)
    tried = Path(shutil.copy(town.folder / "citysplat" / "out" / "tried.parquet", folder))
    write_json(folder / "manifest.json", {"files": {"tried.parquet": {"sha256": sha256_of(tried)}}})
    return folder


def match(town: Town, name: str, changes: dict[str, object], n_threads: int) -> Path:
    """Match the town in one way; pairs of the user's way are known."""
    folder = town.folder / "sources" / name.replace(" ", "-").replace(",", "")
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("out", "work"):
        (folder / part).mkdir(parents=True)
    match_box(
        "town", box_images=town.box_images, box_features=town.box_features, out=folder / "out",
        work=folder / "work", settings=MatchingSettings(**changes), n_threads=n_threads,
        progress=progress_of(name), earlier=known(town),
    )  # fmt: skip
    shutil.rmtree(folder / "work")
    return folder


def without_fringes(town: Town, default: Path) -> Path:
    """Take the default way's pairs across the middle lines of the town away."""
    folder = town.folder / "sources" / WITHOUT.replace(" ", "-")
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "out").mkdir(parents=True)
    database = folder / "out" / "matches.db"
    copy_database(default / "out" / "matches.db", database)
    places = town.images[["east_m", "north_m"]].to_numpy(float)
    quarter = (places > np.median(places, axis=0)) @ [1, 2]
    of = dict(zip(town.images["colmap_id"].tolist(), quarter.tolist(), strict=True))
    labels = label_pairs(database, town.sights)
    pairs = [(a, b) for a, b in zip(labels["a"], labels["b"], strict=True) if of[a] != of[b]]
    forget_geometries(database, pairs)
    return folder


def solve(town: Town, folder: Path, wanted: Pairs, n_threads: int) -> tuple[MapScores, float]:
    """Map the pairs of a way as one box; return its scores and CPU seconds."""
    for part in ("model", "model-work"):
        shutil.rmtree(folder / part, ignore_errors=True)
        (folder / part).mkdir()
    fringe = folder / "fringe_images.parquet"
    names = ["fringe", "box", "image_id", "colmap_id"]
    pd.DataFrame(columns=names).to_parquet(fringe)
    started = cpu_seconds()
    solve_box(
        "town", box_images={"town": town.box_images}, box_matches=folder / "out",
        fringe_matches={}, fringe_images=fringe, out=folder / "model",
        work=folder / "model-work", settings=MappingSettings(), n_threads=n_threads,
        progress=no_progress,
    )  # fmt: skip
    cpu_s = cpu_seconds() - started
    shutil.rmtree(folder / "model-work")
    rows = read_registered(folder / "model")
    solved = Solved(
        colmap_id=rows["colmap_id"].to_numpy(np.int64),
        component=rows["component"].to_numpy(np.int64),
        centre=rows[["east_m", "north_m", "up_m"]].to_numpy(float),
    )
    truth = {row + 1: sight.capture.centre for row, sight in enumerate(town.sights)}
    return score_map(solved, solved, truth, connectable(wanted)), cpu_s


def row_of(
    town: Town, name: str, folder: Path, matchable: Pairs, n_threads: int
) -> dict[str, object]:
    """Score the pairs of a way and what the mapper makes of them."""
    kept = label_pairs(folder / "out" / "matches.db", town.sights)
    pairs: Scores = score(kept, matchable, town.sights)
    table = folder / "out" / "pairs.parquet"
    tried = None
    if table.exists():
        found = pd.read_parquet(table)
        tried = int(((found["state"] != "refused") | (found["n_matches"] > 0)).sum())
    model, cpu_s = solve(town, folder, matchable, n_threads)
    return {
        "way": name, "tried": tried, "kept": len(kept), **asdict(pairs),
        **{f"map_{key}": value for key, value in asdict(model).items()}, "map_cpu_s": cpu_s,
    }  # fmt: skip


def main() -> None:
    """Measure all ways, print the table and, last, its rows as one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="100 photos of 480 px")
    parser.add_argument("--photos", type=int)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--folder", type=Path, default=HERE / ".towns", help="where towns are kept")
    asked = parser.parse_args()
    asked.photos = asked.photos or (100 if asked.quick else 1000)
    asked.width = 480 if asked.quick else 640
    town = prepare(asked.folder / f"{asked.photos}-{asked.width}px", asked)
    overlapping = overlapping_pairs(town.folder, town.sights)
    matchable, _ = matchable_pairs(overlapping, town.store, town.sights, progress_of("truth"))
    folders = {name: match(town, name, changes, asked.threads) for name, changes in WAYS.items()}
    folders[WITHOUT] = without_fringes(town, folders[DEFAULT])
    rows = []
    for name, folder in folders.items():
        rows.append(row_of(town, name, folder, matchable, asked.threads))
        sys.stderr.write(f"{name}: {rows[-1]}\n")
    sys.stdout.write(pd.DataFrame(rows).round(4).T.to_string(header=False) + "\n")
    sys.stdout.write(json.dumps({"rows": rows}, default=float) + "\n")


if __name__ == "__main__":
    main()
