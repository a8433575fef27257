"""Real photos: what CitySplat registers beside COLMAP's own mappers, with GPS residual and time."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pycolmap
from mapping_city import Cost, digest_of, forget_if_changed, make
from mapping_peers import GPS_SIGMA_M, run_peer
from mapping_photos import write_box
from matching_store import colmap_defaults

from citysplat_core.features import (
    colmap_device,
    copy_database,
    extract_box_features,
    quiet_colmap,
    strip_database,
)
from citysplat_core.mapping import read_components, read_registered, solve_box
from citysplat_core.mapping.georegister import georegister
from citysplat_core.matching import match_box
from citysplat_core.settings import FeatureSettings, MappingSettings, MatchingSettings
from citysplat_core.storage import Progress, StepReport

SETS = ("lund_street", "mapillary_floripa", "gopro_walkway", "caliterra_aerial")
QUICK = ("lund_street", "mapillary_floripa")
DEFINITIONS = """\
registered     photos with a pose; of CitySplat in accepted components, of a peer in any model
GPS residual   median horizontal distance from GPS, every model placed by CitySplat's robust gravity
               similarity; a photo of two models counts once, in the larger
pairs          exhaustive: COLMAP's matcher and verification with its defaults on every pair;
               gated: the pairs that CitySplat keeps
best stock     of all rows that are not CitySplat's: most photos, then the least residual
time ratio     CPU seconds of CitySplat's mapping over those of the best stock mapper; "with pairs":
               matching and mapping of both
Nothing is told: focal length, compass and GPS are those of the files and of the photo service.
"""


def measure_real(
    data: Path,
    folder: Path,
    *,
    sets: tuple[str, ...],
    peers: list[str],
    n_threads: int,
    limit_s: int,
    tell: Callable[[str], Progress],
) -> tuple[str, dict[str, Any]]:
    """Map the real photos that are there.

    Args:
        data: Folder of the real photos.
        folder: For what is made; what is finished there is used.
        sets: Names of folders of photos.
        peers: Of `mapping_peers.PEERS`.
        n_threads: Threads of all.
        limit_s: Time limit of a peer.
        tell: Where progress goes.

    Returns:
        A table for people, and the same as values by set; a set that is not there says so.
    """
    head = (
        "real photos        mapper                    photos registered models GPS residual"
        "   CPU s  wall s\n"
    )
    lines, values = [], {}
    for name in sets:
        if not (data / name).is_dir():
            lines.append(f"{name:18s} skipped: {data / name} is not there")
            values[name] = {"skipped": "the photos are not there"}
            continue
        values[name] = _measure_set(data / name, folder / name, peers, n_threads, limit_s, tell)
        lines += _lines(name, values[name])
    return DEFINITIONS + "\n" + head + "\n".join(lines) + "\n", values


def _lines(name: str, found: dict[str, Any]) -> list[str]:
    lines = [
        f"{name:18s} {row['mapper']:24s} {found['n_photos']:7d} {row['registered']:10d}"
        f" {row['models']:6d} {_known(row['gps_residual_m']):12.2f} {_known(row['cpu_s']):7.1f}"
        f" {_known(row['wall_s']):7.1f}  {row['note']}"
        for row in found["rows"]
    ]
    if found["best_stock"]:
        lines.append(
            f"{name:18s} best stock: {found['best_stock']}; time ratio {found['time_ratio']},"
            f" with pairs {found['time_ratio_with_pairs']}"
        )
    return lines


def _known(value: float | None) -> float:
    return math.nan if value is None else value


def _measure_set(
    source: Path, folder: Path, peers: list[str], n_threads: int, limit_s: int,
    tell: Callable[[str], Progress],
) -> dict[str, Any]:  # fmt: skip
    box = folder / "box"
    if not (box / "cameras.parquet").exists():
        write_box(source, box)
    images = pd.read_parquet(box / "images.parquet")
    gps = dict(
        zip(
            images["colmap_id"].tolist(),
            images[["east_m", "north_m", "up_m"]].to_numpy(float),
            strict=True,
        )
    )
    matching, mapping = _ours(source.name, folder, n_threads, tell)
    pairs = _exhaustive(folder, n_threads) if peers else Cost(cpu_s=math.nan, wall_s=math.nan)
    rows = [_our_row(folder / "model" / "out", mapping)]
    for kind in ("exhaustive", "gated"):
        database = folder / (
            "exhaustive/pairs.db" if kind == "exhaustive" else "pairs/run/out/matches.db"
        )
        place = folder / ("exhaustive" if kind == "exhaustive" else "pairs")
        for peer in peers:
            out = place / "peers" / peer
            tell(f"{source.name}: {peer}, {kind}")(0, 1, "models")
            done = run_peer(peer, database, out, n_threads=n_threads, limit_s=limit_s)
            cost = Cost(cpu_s=done.cpu_s, wall_s=done.wall_s)
            rows.append(_row(f"{peer}, {kind}", done.models, gps, cost, done.note))
    return {"n_photos": len(images), "rows": rows, **compare(rows, matching, pairs)}


def compare(rows: list[dict[str, Any]], matching: Cost, pairs: Cost) -> dict[str, Any]:
    """Name the best stock mapper and compare the time."""
    ours, stock = rows[0], rows[1:]
    known = {
        "registered": ours["registered"],
        "gps_residual_m": ours["gps_residual_m"],
        "pairs_cpu_s": round(matching.cpu_s, 2),
        "exhaustive_cpu_s": None if math.isnan(pairs.cpu_s) else round(pairs.cpu_s, 2),
    }
    if not stock:
        return {**known, "best_stock": None}
    best = min(stock, key=lambda row: (-row["registered"], _worst(row["gps_residual_m"])))
    theirs = pairs.cpu_s if "exhaustive" in best["mapper"] else matching.cpu_s
    cpu_s = _known(best["cpu_s"])
    return {
        **known,
        "best_stock": best["mapper"],
        "best_stock_registered": best["registered"],
        "best_stock_gps_residual_m": best["gps_residual_m"],
        "time_ratio": _rounded(ours["cpu_s"] / cpu_s),
        "time_ratio_with_pairs": _rounded((ours["cpu_s"] + matching.cpu_s) / (cpu_s + theirs)),
    }


def _worst(value: float | None) -> float:
    return math.inf if value is None else value


def _rounded(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None


def _ours(
    name: str, folder: Path, n_threads: int, tell: Callable[[str], Progress]
) -> tuple[Cost, Cost]:
    """Run CitySplat's steps; give the cost of pairs and of mapping."""
    box, matching, mapping = folder / "box", MatchingSettings(), MappingSettings()
    fringes = folder / "fringe_images.parquet"
    columns = ["fringe", "box", "image_id", "colmap_id"]
    pd.DataFrame(columns=columns).to_parquet(fringes)
    common: dict[str, Any] = {"n_threads": n_threads, "progress": tell(name)}
    features = digest_of(FeatureSettings())
    forget_if_changed(folder, "features", features)
    forget_if_changed(folder, "pairs", digest_of(matching, features, "matching"))
    made = (folder / "pairs" / "digest").read_text()
    forget_if_changed(folder, "model", digest_of(mapping, made, "mapping"))
    make(
        folder / "features" / "run",
        lambda out, work: extract_box_features(
            name, box_images=box, out=out, work=work, settings=FeatureSettings(), **common
        ),
    )
    pairs = make(
        folder / "pairs" / "run",
        lambda out, work: match_box(
            name, box_images=box, box_features=folder / "features" / "run" / "out", out=out,
            work=work, settings=matching, **common,
        ),
    )  # fmt: skip

    def solve(out: Path, work: Path) -> StepReport:
        return solve_box(
            name, box_images={name: box}, box_matches=folder / "pairs" / "run" / "out",
            fringe_matches={}, fringe_images=fringes, out=out, work=work, settings=mapping,
            **common,
        )  # fmt: skip

    return pairs, make(folder / "model", solve)


def _exhaustive(folder: Path, n_threads: int) -> Cost:
    """Match every pair with COLMAP's defaults."""
    place = folder / "exhaustive"
    if not (place / "cost.json").exists():
        place.mkdir(exist_ok=True)
        part = place / "part.db"
        part.unlink(missing_ok=True)
        copy_database(folder / "features" / "run" / "out" / "features.db", part)
        wall, cpu = time.perf_counter(), time.process_time()
        matching, verification = colmap_defaults(n_threads)
        with quiet_colmap():
            pycolmap.match_exhaustive(
                part, matching, pycolmap.ExhaustivePairingOptions(), verification, colmap_device()
            )
        cost = Cost(cpu_s=time.process_time() - cpu, wall_s=time.perf_counter() - wall)
        strip_database(part)
        copy_database(part, place / "pairs.db")
        part.unlink()
        (place / "cost.json").write_text(json.dumps(asdict(cost)))
    return Cost(**json.loads((place / "cost.json").read_text()))


def _our_row(out: Path, cost: Cost) -> dict[str, Any]:
    rows, components = read_registered(out), read_components(out)
    reasons = components["reason"][components["reason"].astype(bool)].tolist()
    residual = float(rows["gps_residual_m"].median()) if len(rows) else math.nan
    return _values("CitySplat", len(rows), int(components["accepted"].sum()), residual, cost,
                   "; ".join(map(str, reasons)))  # fmt: skip


def _row(
    name: str, models: list[pycolmap.Reconstruction], gps: dict[int, Any], cost: Cost, note: str
) -> dict[str, Any]:
    """Measure a peer's models."""
    residual: dict[int, float] = {}
    registered: set[int] = set()
    for model in models:
        registered |= set(model.reg_image_ids())
        placed = georegister(model, gps, sigma_m=GPS_SIGMA_M, seed=0)
        for image_id, metres in (placed.residual_m if placed else {}).items():
            residual.setdefault(image_id, metres)
    median = float(np.median(list(residual.values()))) if residual else math.nan
    return _values(name, len(registered), len(models), median, cost, note)


def _values(
    name: str, registered: int, models: int, residual_m: float, cost: Cost, note: str
) -> dict[str, Any]:
    return {
        "mapper": name,
        "registered": registered,
        "models": models,
        "gps_residual_m": _rounded(residual_m),
        "cpu_s": _rounded(cost.cpu_s),
        "wall_s": _rounded(cost.wall_s),
        "note": note,
    }
