"""The pairs of a box or fringe as Dagster shows and judges them."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import dagster as dg

from citysplat_core.settings.checks import CheckSettings
from citysplat_core.storage import Artifact, read_json

VERIFIED_RATE = "verified_rate"
"""Name of the check that asks whether the proposed pairs are worth their cost."""
PHOTOS_CONNECTED = "photos_connected"
"""Name of the check that asks whether the photos of a box hang together."""

_ONLY_ACROSS = "\n\nBy the pairs across alone; photos also hang together inside their boxes."
_MOST_BRIDGES = 8
_MOST_IDS = 20
_MOST_SIZES = 12

Metadata = dict[str, dg.MetadataValue[Any]]


def pair_tables(made: Artifact) -> Metadata:
    """Show a report: sources and rounds, spans, what hangs together, what is left out."""
    report = read_json(made.path / "report.json")
    rows = [
        *(("source", name, counts) for name, counts in report["sources"].items()),
        *(("round", name, counts) for name, counts in report["rounds"].items()),
    ]
    records = [
        dg.TableRecord(
            {"by": by, "name": name, **counts, "verified share": _rate(report, by, name)}
        )
        for by, name, counts in rows
    ]
    shown: Metadata = {
        "spans": dg.MetadataValue.md(_span_table(report["spans"])),
        "pairs left out": dg.MetadataValue.json(
            {name: report[name] for name in ("refused", "unmatched", "not_proposed")}
        ),
        "what hangs together": dg.MetadataValue.md(
            _graph_text(report) + (_ONLY_ACROSS if made.asset == "fringe_matches" else "")
        ),
    }
    if records:
        shown["pairs by source and round"] = dg.MetadataValue.table(records)
    return shown


def rate_checks(made: Artifact, settings: CheckSettings) -> list[dg.AssetCheckResult]:
    """Warn of each source of which too few pairs were verified.

    Args:
        made: A finished ``box_matches`` or ``fringe_matches``.
        settings: The floors. All sources of a fringe have that of fringes.
    """
    report = read_json(made.path / "report.json")
    judged = {
        name: report["rates"]["sources"][name]["verified"]
        for name, counts in report["sources"].items()
        if counts["proposed"] >= settings.min_pairs_for_rate
    }
    across = made.asset == "fringe_matches"
    floors = {
        name: getattr(settings, f"min_rate_{'fringe' if across else name}") for name in judged
    }
    low = [name for name, rate in judged.items() if rate < floors[name]]
    numbers = {name: f"{rate:.3f} (floor {floors[name]:.3f})" for name, rate in judged.items()}
    return [_result(made, VERIFIED_RATE, passed=not low, is_warning=True, numbers=numbers)]


def connection_checks(made: Artifact, settings: CheckSettings) -> list[dg.AssetCheckResult]:
    """Warn or fail where too few photos of a box hang together.

    Args:
        made: A finished ``box_matches``.
        settings: How many photos together count, and the two shares.
    """
    sizes = read_json(made.path / "report.json")["components"]["sizes"]
    n_images = int(made.counts.get("n_images", 0))
    connected = sum(size for size in sizes if size >= settings.connected_size)
    share = connected / n_images if n_images else 0.0
    numbers = {
        "connected": connected,
        "photos": n_images,
        "share": round(share, 4),
        "components": len(sizes),
        "expected": f"at least {settings.warn_connected_share}; fails below"
        f" {settings.fail_connected_share}",
    }
    return [
        _result(
            made,
            PHOTOS_CONNECTED,
            passed=share >= settings.warn_connected_share,
            is_warning=share >= settings.fail_connected_share,
            numbers=numbers,
        )
    ]


def _result(
    made: Artifact, name: str, *, passed: bool, is_warning: bool, numbers: Mapping[str, Any]
) -> dg.AssetCheckResult:
    """Judge; an artifact that was skipped for a stated reason warns with that reason."""
    skipped = {"skipped": made.skipped} if made.skipped else {}
    warns = is_warning or bool(made.skipped)
    return dg.AssetCheckResult(
        check_name=name,
        passed=passed and not made.skipped,
        severity=dg.AssetCheckSeverity.WARN if warns else dg.AssetCheckSeverity.ERROR,
        metadata={**numbers, **skipped},
    )


def _rate(report: Mapping[str, Any], by: str, name: str) -> float:
    return float(report["rates"][f"{by}s"][name]["verified"])


def _span_table(spans: Mapping[str, Any]) -> str:
    lines = ["| span | proposed | verified |", "|---|---:|---:|"]
    for name, unit, closes in (("distance_m", "metres", 0), ("rank", "places in a sequence", 1)):
        edges = spans[name]["edges"]
        bins = [f"{a} to {b - closes}" if b > a + closes else f"{a}" for a, b in pairwise(edges)]
        bins.append(f"{edges[-1]} and more")
        rows = zip(bins, spans[name]["proposed"], spans[name]["verified"], strict=True)
        lines += [f"| {unit}: {span} | {p:,} | {v:,} |" for span, p, v in rows if p]
    between = spans["between_sequences"]
    lines.append(f"| not of one sequence | {between['proposed']:,} | {between['verified']:,} |")
    return "\n".join(lines)


def _graph_text(report: Mapping[str, Any]) -> str:
    parts, bridges = report["components"], report["bridges"]
    alone = report["photos_without_pair"]
    sizes = ", ".join(f"{size:,}" for size in parts["sizes"][:_MOST_SIZES])
    more = len(parts["sizes"]) - _MOST_SIZES
    lines = [
        f"- components of photos: {parts['count']:,} ({sizes or 'none'}"
        + (f" and {more:,} more" if more > 0 else "")
        + f"); {parts['largest_share']:.1%} of the photos stand in the largest",
        f"- photos without a verified pair: {alone['count']:,}"
        + (": " if alone["count"] else "")
        + ", ".join(alone["image_ids"][:_MOST_IDS])
        + (" ..." if alone["count"] > _MOST_IDS else ""),
        f"- bridges: {bridges['count']:,}; with one photo behind them: {bridges['of_one_photo']:,}",
    ]
    if not bridges["strongest"]:
        return "\n".join(lines)
    lines += ["", "| bridge | joins | inliers | metres | sources |", "|---|---|---:|---:|---|"]
    lines += [
        f"| {row['image_id_a']} - {row['image_id_b']} | {row['joins'][0]:,} and {row['joins'][1]:,}"
        f" | {row['n_inliers']:,} | {row['distance_m']} | {row['sources'].replace('|', ', ')} |"
        for row in bridges["strongest"][:_MOST_BRIDGES]
    ]
    return "\n".join(lines)
