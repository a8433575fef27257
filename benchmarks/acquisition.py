"""Measure CitySplat's acquisition against its peers, all in one run against a local server.

Each client runs in a process of its own. CPU is that of the client's process and its children,
without imports and without the server. The peers are installed into benchmarks/.peers, each in an
environment of its own, on the first run. Tables go to stdout, progress to stderr; with --json the
last line is one JSON object. A ratio is against the best of the peers that ran; it is null when
none did.
"""

import argparse
import json
import math
import os
import platform
import sys
from dataclasses import asdict
from typing import Any

from acquisition_clients import Figure
from acquisition_figures import OURS, Plan, metadata_figures, photo_figures, tile_figures
from acquisition_peers import PEERS, install
from planning import measure_plan
from quality import measure_quality

TITLES = {
    "metadata": "Metadata: from ids to described images",
    "photos": "Photos: from ids to files on disk",
    "tiles": "Tile decoding",
}
PARTS = (*TITLES, "quality", "planning")
PLAN_ROWS = 1_200_000


def main() -> None:
    """Measure and print."""
    options = _parser().parse_args()
    if options.quick:
        options.images, options.photos, options.tile_images = 120, 60, 500
        options.repeats = 1
        options.only = [part for part in options.only if part != "planning"]
    plan = Plan(
        images=options.images,
        photos=options.photos,
        serial_images=max(20, options.images // 25),
        tile_images=options.tile_images,
        repeats=options.repeats,
        latency_ms=options.latency_ms,
        missing=_missing(without_peers=options.no_peers),
        say=_say,
    )
    measures = {"metadata": metadata_figures, "photos": photo_figures, "tiles": tile_figures}
    tables = {name: measures[name](plan) for name in options.only if name in measures}
    for name, figures in tables.items():
        _print_table(TITLES[name], figures)
    values = _ratios(tables)
    values |= _quality(wanted="quality" in options.only)
    values |= _planning(wanted="planning" in options.only)
    for name, value in values.items():
        print(f"{name:26}{_shown(value)}")
    if options.json:
        values |= _facts(plan, tables)
        print(json.dumps(_without_nan(values)))


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    add = parser.add_argument
    add("--images", type=int, default=10_000, help="images whose metadata is asked for (10000)")
    add("--photos", type=int, default=1000, help="photos that are asked for (1000)")
    add("--tile-images", type=int, default=20_000, help="images in the decoded tiles (20000)")
    add("--repeats", type=int, default=2, help="runs of each client; the least CPU counts (2)")
    add("--latency-ms", type=float, default=50.0, help="of the local server (50)")
    add("--quick", action="store_true", help="tiny sizes, one run: shows that it works, no more")
    add("--no-peers", action="store_true", help="install and run no peer; the ratios are null")
    add("--only", nargs="+", choices=PARTS, default=PARTS, help="what to measure; default: all")
    add("--json", action="store_true", help="end with one line of JSON")
    return parser


def _missing(*, without_peers: bool) -> dict[str, str]:
    missing = {}
    for peer in PEERS:
        if without_peers:
            missing[peer.name] = "left out"
            continue
        _say(f"environment of {peer.name} {peer.version}")
        missing[peer.name] = install(peer)
        if missing[peer.name]:
            _say(f"  cannot be installed: {missing[peer.name]}")
        elif peer.needs:
            _say("  without its full list of dependencies: only what its downloader imports")
    return missing


def _print_table(title: str, figures: list[Figure]) -> None:
    print(f"\n{title}")
    width = max(len(figure.client) for figure in figures) + 2
    print(f"{'':{width}}{'asked':>8}{'right':>8}{'CPU ms each':>14}{'a second':>12}  note")
    for f in figures:
        times = f"{_shown(f.cpu_ms):>14}{_shown(f.rate):>12}"
        print(f"{f.client:{width}}{f.asked:8}{f.right:8}{times}  {f.note}")


def _ratios(tables: dict[str, list[Figure]]) -> dict[str, float | None]:
    print()
    metadata, photos = tables.get("metadata", []), tables.get("photos", [])
    return {
        "metadata_cpu_ratio": _cpu_ratio(metadata),
        "metadata_rate_ratio": _rate_ratio(metadata),
        "photo_cpu_ratio": _cpu_ratio(photos),
        "tile_decode_ratio": _cpu_ratio(tables.get("tiles", [])),
    }


def _cpu_ratio(figures: list[Figure]) -> float | None:
    """Divide the best peer's CPU by ours: by the first of our rows, the others are told only."""
    ours = [f.cpu_ms for f in figures if f.right and f.client.startswith(OURS)]
    peers = [f.cpu_ms for f in figures if f.right and not f.client.startswith(OURS)]
    return min(peers) / ours[0] if peers and ours else None


def _rate_ratio(figures: list[Figure]) -> float | None:
    ours = [f.rate for f in figures if f.right and f.client.startswith(OURS)]
    peers = [f.rate for f in figures if f.right and not f.client.startswith(OURS)]
    return ours[0] / max(peers) if peers and ours else None


def _quality(*, wanted: bool) -> dict[str, float | None]:
    if not wanted:
        return {"quality_images_per_cpu_s": None}
    _say("quality scores")
    return {"quality_images_per_cpu_s": float(measure_quality()["quality_images_per_cpu_s"])}


def _planning(*, wanted: bool) -> dict[str, float | None]:
    names = ("plan_seconds_1200k", "plan_rss_mb_1200k")
    if not wanted:
        return dict.fromkeys(names)
    _say(f"planning {PLAN_ROWS} images, in a process of its own")
    values = measure_plan(PLAN_ROWS)
    return {name: float(values[name]) for name in names}


def _facts(plan: Plan, tables: dict[str, list[Figure]]) -> dict[str, Any]:
    return {
        "machine": {
            "processors": os.cpu_count(),
            "load": os.getloadavg()[0],
            "system": platform.platform(),
            "python": platform.python_version(),
        },
        "sizes": {
            "images": plan.images,
            "photos": plan.photos,
            "tile_images": plan.tile_images,
            "repeats": plan.repeats,
            "latency_ms": plan.latency_ms,
        },
        "figures": {name: [asdict(f) for f in figures] for name, figures in tables.items()},
        "not_installed": {name: why for name, why in plan.missing.items() if why},
        "client": OURS,
    }


def _without_nan(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return value


def _shown(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.4g}"


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
