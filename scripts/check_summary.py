"""Refuse a demo whose summary.json is incomplete or does not add up.

Usage: ``python check_summary.py CITY/summary.json [--min-boxes N] [--min-fringes N]``

It needs only the standard library, so it judges an installed package from outside.
"""

import argparse
import json
import math
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

COUNTS = ("images_true", "images_found", "images_used", "boxes", "fringes", "registered", "splats")
NUMBERS = ("psnr_db", "ssim", "total_seconds")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _numbers_problems(summary: dict[str, Any]) -> list[str]:
    problems = [
        f"{name} is {summary.get(name)!r}; expected a positive whole number"
        for name in COUNTS
        if not isinstance(summary.get(name), int) or summary[name] <= 0
    ]
    problems += [
        f"{name} is {summary.get(name)!r}; expected a finite number"
        for name in NUMBERS
        if not _is_number(summary.get(name))
    ]
    error = summary.get("position_error_m")
    if not isinstance(error, dict) or not all(_is_number(error.get(k)) for k in ("median", "p90")):
        problems.append(f"position_error_m is {error!r}; expected finite median and p90")
    if "gps_residual_m" not in summary:
        problems.append("gps_residual_m is missing")
    if not summary.get("components"):
        problems.append(f"components is {summary.get('components')!r}; expected at least one")
    return problems


def _parts_problems(summary: dict[str, Any]) -> list[str]:
    problems = []
    pairs = summary.get("pairs")
    if not isinstance(pairs, dict) or not pairs:
        problems.append(f"pairs is {pairs!r}; expected counts per source")
    else:
        for source, counts in pairs.items():
            if not {"proposed", "verified"} <= set(counts):
                problems.append(f"pairs.{source} is {counts!r}; expected proposed and verified")
            elif counts["verified"] > counts["proposed"]:
                problems.append(f"pairs.{source}: more verified than proposed: {counts!r}")
    stages = summary.get("stages")
    if not isinstance(stages, list) or not stages:
        problems.append(f"stages is {stages!r}; expected a list")
    else:
        problems += [
            f"stage {stage!r} lacks name, seconds or peak_rss_mb"
            for stage in stages
            if not {"name", "seconds", "peak_rss_mb"} <= set(stage)
        ]
    return problems


def find_problems(summary: dict[str, Any], *, min_boxes: int, min_fringes: int) -> list[str]:
    """List what is missing or impossible in a summary, one sentence each.

    Args:
        summary: The parsed ``summary.json`` of a demo city.
        min_boxes: Fewest boxes that the run must have had.
        min_fringes: Fewest fringes that the run must have had.

    Returns:
        Sentences; an empty list means that the summary holds together.
    """
    problems = _numbers_problems(summary) + _parts_problems(summary)
    if problems:
        return problems
    if summary["boxes"] < min_boxes or summary["fringes"] < min_fringes:
        problems.append(
            f"{summary['boxes']} boxes and {summary['fringes']} fringes; "
            f"expected at least {min_boxes} and {min_fringes}"
        )
    order = ("images_true", "images_found", "images_used", "registered")
    for more, fewer in pairwise(order):
        if summary[fewer] > summary[more]:
            problems.append(f"{fewer} ({summary[fewer]}) is above {more} ({summary[more]})")
    return problems


def main() -> int:
    """Check the file named on the command line; return the exit status."""
    parser = argparse.ArgumentParser(description="Check the summary of a demo city.")
    parser.add_argument("summary", type=Path)
    parser.add_argument("--min-boxes", type=int, default=1)
    parser.add_argument("--min-fringes", type=int, default=0)
    args = parser.parse_args()
    summary = json.loads(args.summary.read_text())
    problems = find_problems(summary, min_boxes=args.min_boxes, min_fringes=args.min_fringes)
    for problem in problems:
        print(f"{args.summary}: {problem}", file=sys.stderr)
    if not problems:
        print(f"{args.summary}: complete, {summary['registered']} photos registered")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
