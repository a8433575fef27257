"""Sparse models of a look-alike town beside its truth, and of real photos, with COLMAP's mappers.

    python benchmarks/mapping.py [--quick] [--json] [--photos N] [--only PART ...]

Parts: town (figures of accuracy, and the table of mappers), growth (time and memory from 500 to
4,000 photos), real (photos of ../shared/data), update (new photos in a finished box).

The town is cut into boxes with fringes and goes through the real steps; peers get all its photos at
once. Photos, features, pairs, models and peers are kept in benchmarks/.towns (git-ignored) as long
as settings and code stay, so that a stopped run goes on; --fresh begins again. The last line is one
JSON object.
"""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

from mapping_growth import measure_growth
from mapping_peers import PEERS
from mapping_real import QUICK, SETS, measure_real
from mapping_score import DEFINITIONS
from mapping_town import (
    KEYS,
    MARKS,
    judge_pairs,
    known,
    measure_ours,
    measure_peer,
    prepare,
    table_of,
    town_settings,
    values_of,
)
from mapping_update import measure_update
from matching import progress_of

HERE = Path(__file__).parent
PARTS = ("town", "growth", "real", "update")
STRATEGIES = ("auto", "incremental", "geographic", "global", "hierarchical")
STAGES = {
    "town": ("*",),
    "matches": ("city/matches", "city/models-*", "*/pairs", "*/model"),
    "models": ("city/models-*", "*/city/models-*", "*/model"),
}
"""What --fresh deletes in the folders of the parts that are run."""


def measure_town(folder: Path, asked: argparse.Namespace) -> dict[str, object]:
    """Measure CitySplat and the peers on the town; print definitions and table."""
    settings = town_settings(asked.photos, asked.width, computed=asked.positions == "computed")
    run = prepare(folder, settings, asked.zoom, asked.threads, progress_of, keep=asked.keep_pairs)
    rows, seams = [], {}
    for strategy in asked.strategies:
        row, extra = measure_ours(run, strategy)
        rows.append(row)
        seams = seams or extra
    for kind in asked.pairs:
        for peer in asked.peers:
            sys.stderr.write(f"{peer} on {kind} pairs\n")
            rows.append(measure_peer(run, peer, kind, asked.threads, asked.limit))
    ours = values_of(rows[0]) | {key: known(value) for key, value in seams.items()}
    sys.stdout.write(
        f"{asked.photos} photos in {len(run.city.boxes)} boxes, positions by {asked.positions},"
        f" {len(run.wanted)} connectable; a peer's time limit is {asked.limit} s\n"
        f"{DEFINITIONS}\n{table_of(rows)}\n"
    )
    pairs = judge_pairs(run)
    for kind, counts in pairs.items():
        told = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
        sys.stdout.write(f"{kind} pairs: {told}\n")
    sys.stdout.write("".join(f"{k:18s} {ours[k]!s:>8}  mark {MARKS[k]}\n" for k in KEYS) + "\n")
    return {
        **{key: ours[key] for key in KEYS},
        "seam_p95_m": ours["seam_p95_m"],
        "n_seams": ours["n_seams"],
        "n_photos": asked.photos,
        "n_boxes": len(run.city.boxes),
        "n_connectable": len(run.wanted),
        "positions": asked.positions,
        "peer_limit_s": asked.limit,
        "pairs": pairs,
        "rows": {row.name: values_of(row) for row in rows},
    }


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a town of 100 photos of 480 px")
    parser.add_argument("--json", action="store_true", help="the default; for symmetry")
    parser.add_argument("--photos", type=int)
    parser.add_argument("--width", type=int, help="width of a photo, pixels")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--positions", choices=("gps", "computed"), default="gps",
        help="gps: only GPS and compass; computed: 92 %% solved by the photo service",
    )  # fmt: skip
    parser.add_argument("--zoom", type=int, default=16, help="of the town's boxes (16: four boxes)")
    parser.add_argument(
        "--strategies", nargs="+", choices=STRATEGIES, default=["auto"],
        help="of CitySplat's mapping; the first gives the figures",
    )  # fmt: skip
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument(
        "--pairs", nargs="*", choices=("gated", "ungated"), default=["gated", "ungated"],
        help="that the peers get: those that CitySplat keeps, those before its gates",
    )  # fmt: skip
    parser.add_argument("--sets", nargs="+", choices=SETS, help="of real photos")
    parser.add_argument("--limit", type=int, default=600, help="time limit of a peer, seconds")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--folder", type=Path, default=HERE / ".towns", help="where towns are kept")
    parser.add_argument("--data", type=Path, help="folder of real photos (../shared/data)")
    parser.add_argument(
        "--fresh", nargs="?", choices=tuple(STAGES), const="town",
        help="begin again: all, from the pairs on, or from the models on",
    )  # fmt: skip
    parser.add_argument(
        "--keep-pairs", action="store_true", help="use finished pairs though matching has changed"
    )
    asked = parser.parse_args(arguments)
    asked.photos = asked.photos or (100 if asked.quick else 1000)
    asked.width = asked.width or (480 if asked.quick else 640)
    asked.sets = asked.sets or (QUICK if asked.quick else SETS)
    shared = os.environ.get("CITYSPLAT_REAL_DATA") or HERE.parents[1] / "shared" / "data"
    asked.data = asked.data or Path(shared)
    return asked


def _forget(place: Path | None, patterns: tuple[str, ...]) -> None:
    for pattern in patterns if place else ():
        for each in list(place.glob(pattern)):
            shutil.rmtree(each) if each.is_dir() else each.unlink()


def main() -> None:
    """Measure, print the tables and, last, the figures as one JSON line."""
    asked = parse()
    folder = asked.folder / f"map-{asked.photos}-{asked.width}px-{asked.positions}-z{asked.zoom}"
    places = {"town": folder, "growth": asked.folder / "map-growth"}
    places["real"] = asked.folder / "map-real"
    places["update"] = folder / "update"
    for part in asked.only if asked.fresh else ():
        _forget(places.get(part), STAGES[asked.fresh])
    names = (*KEYS, "growth_ratio", "rss_growth_ratio", "real", "update_cost_share")
    figures: dict[str, object] = dict.fromkeys(names)
    if "town" in asked.only:
        figures |= measure_town(folder, asked)
    if "growth" in asked.only:
        table, growth = measure_growth(places["growth"], n_threads=asked.threads, quick=asked.quick)
        sys.stdout.write(table + "\n")
        figures |= growth
    if "real" in asked.only:
        table, figures["real"] = measure_real(
            asked.data, places["real"], sets=tuple(asked.sets), peers=asked.peers,
            n_threads=asked.threads, limit_s=asked.limit, tell=progress_of,
        )  # fmt: skip
        sys.stdout.write(table + "\n")
    if "update" in asked.only:
        settings = town_settings(asked.photos, asked.width, computed=asked.positions == "computed")
        table, update = measure_update(folder, settings, asked.zoom, asked.threads, progress_of)
        sys.stdout.write(table + "\n")
        figures |= update
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
