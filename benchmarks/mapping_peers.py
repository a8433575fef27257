"""COLMAP's own mappers, each in a process of its own, with what they cost.

    python benchmarks/mapping_peers.py MAPPER DATABASE OUT --threads N --limit SECONDS

Runs one mapper with COLMAP's defaults (fixed seed, no colours) and writes its models as OUT/0,
OUT/1, ... and then OUT/cost.json.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pycolmap
from mapping_score import Solved
from numpy.typing import NDArray

from citysplat_core.features import quiet_colmap
from citysplat_core.mapping.georegister import georegister

PEERS: Final = ("incremental", "priors", "global", "hierarchical")
GPS_SIGMA_M: Final = 4.0
_GRACE: Final = 1.25
Places = Mapping[int, NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class PeerRun:
    """What a mapper made.

    Attributes:
        models: The largest first, in whatever frame the mapper left them.
        cpu_s: CPU seconds; NaN if it was stopped.
        wall_s: Seconds on the clock, with reading the database.
        note: Why there is less than a whole result.
    """

    models: list[pycolmap.Reconstruction]
    cpu_s: float
    wall_s: float
    note: str = ""


def run_peer(mapper: str, database: Path, out: Path, *, n_threads: int, limit_s: int) -> PeerRun:
    """Run a mapper of COLMAP, or read what it made before.

    Args:
        mapper: One of `PEERS`.
        database: Keypoints, priors and verified pairs; the mapper gets a copy.
        out: Folder for its models.
        n_threads: Threads of the mapper.
        limit_s: The incremental ones stop by themselves after this time with what they have; any
            that takes a quarter longer is ended and has nothing.
    """
    if not (out / "cost.json").exists():
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        copy = out / "input.db"
        shutil.copy2(database, copy)
        command = [sys.executable, __file__, mapper, str(copy), str(out)]
        command += ["--threads", str(n_threads), "--limit", str(limit_s)]
        said: dict[str, object] = {}
        try:
            done = subprocess.run(  # noqa: S603 - this file
                command, timeout=limit_s * _GRACE, check=False, capture_output=True, text=True
            )
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                said = {"note": f"failed ({done.returncode}): {last[:120]}"}
        except subprocess.TimeoutExpired:
            said = {"note": f"ended after {limit_s * _GRACE:.0f} s", "wall_s": limit_s * _GRACE}
        copy.unlink()
        if said:
            (out / "cost.json").write_text(json.dumps(said))
    said = json.loads((out / "cost.json").read_text())
    folders = sorted((f for f in out.iterdir() if f.is_dir() and f.name.isdigit()), key=_number)
    models = [pycolmap.Reconstruction(folder) for folder in folders]
    return PeerRun(
        models=sorted(models, key=lambda model: -model.num_reg_images()),
        cpu_s=float(said.get("cpu_s", np.nan)),
        wall_s=float(said.get("wall_s", np.nan)),
        note=str(said.get("note", "")),
    )


def _number(folder: Path) -> int:
    return int(folder.name)


def cameras_of(models: list[pycolmap.Reconstruction]) -> Solved:
    """List all cameras of all models as they are."""
    rows = [
        (image_id, number, model.image(image_id).projection_center())
        for number, model in enumerate(models)
        for image_id in sorted(model.reg_image_ids())
    ]
    return Solved(
        colmap_id=np.array([row[0] for row in rows], dtype=np.int64),
        component=np.array([row[1] for row in rows], dtype=np.int64),
        centre=np.array([row[2] for row in rows], dtype=float).reshape(-1, 3),
    )


def by_gravity(model: pycolmap.Reconstruction, gps: Places) -> pycolmap.Sim3d | None:
    """Give CitySplat's robust similarity: up from the cameras, the rest from GPS in the plane."""
    found = georegister(model, gps, sigma_m=GPS_SIGMA_M, seed=0)
    return None if found is None else found.city_from_model


def by_colmap(model: pycolmap.Reconstruction, gps: Places) -> pycolmap.Sim3d | None:
    """Give COLMAP's own robust similarity on positions; an unknown height is the median one."""
    ids = sorted(model.reg_image_ids())
    places = np.array([gps[k] for k in ids]).reshape(-1, 3)
    heights = [place[2] for place in gps.values() if np.isfinite(place[2])]
    level = float(np.median(heights)) if heights else 0.0
    places[:, 2] = np.where(np.isfinite(places[:, 2]), places[:, 2], level)
    names = [model.image(k).name for k in ids]
    options = pycolmap.RANSACOptions(max_error=3 * GPS_SIGMA_M, random_seed=0)
    with quiet_colmap():
        return pycolmap.align_reconstruction_to_locations(model, names, places, 3, options)


def placed(
    models: list[pycolmap.Reconstruction],
    gps: Places,
    place: Callable[[pycolmap.Reconstruction, Places], pycolmap.Sim3d | None],
) -> list[pycolmap.Reconstruction]:
    """Copy the models into the city frame; those that cannot be placed stay as they are."""
    moved = []
    for model in models:
        copy = pycolmap.Reconstruction(model)
        similarity = place(copy, gps)
        if similarity is not None:
            copy.transform(similarity)
        moved.append(copy)
    return moved


def _map(mapper: str, database: Path, out: Path, n_threads: int, limit_s: int) -> int:
    """Run one mapper; return how many models it made."""
    photos = out / "photos"
    photos.mkdir()
    sparse = out / "sparse"
    sparse.mkdir()
    common = {"num_threads": n_threads, "random_seed": 0}
    incremental = pycolmap.IncrementalPipelineOptions(
        extract_colors=False, max_runtime_seconds=limit_s, **common
    )
    with quiet_colmap():
        if mapper == "global":
            options = pycolmap.GlobalPipelineOptions(**common)
            models = pycolmap.global_mapping(database, photos, sparse, options)
        elif mapper == "hierarchical":
            options = pycolmap.HierarchicalPipelineOptions(num_threads=n_threads)
            options.incremental_options = incremental
            models = pycolmap.hierarchical_mapping(database, photos, sparse, options)
        else:
            incremental.use_prior_position = mapper == "priors"
            incremental.use_robust_loss_on_prior_position = mapper == "priors"
            models = pycolmap.incremental_mapping(database, photos, sparse, incremental)
    for number, model in enumerate(models.values()):
        (out / str(number)).mkdir()
        model.write(out / str(number))
    shutil.rmtree(sparse)
    return len(models)


def main() -> None:
    """Run one mapper as a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mapper", choices=PEERS)
    parser.add_argument("database", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit", type=int, default=600)
    asked = parser.parse_args()
    wall, cpu = time.perf_counter(), time.process_time()
    n_models = _map(asked.mapper, asked.database, asked.out, asked.threads, asked.limit)
    wall_s = time.perf_counter() - wall
    is_cut = wall_s > asked.limit and asked.mapper in {"incremental", "priors"}
    cost = {
        "cpu_s": time.process_time() - cpu,
        "wall_s": wall_s,
        "note": f"stopped itself after {asked.limit} s" if is_cut else "",
    }
    (asked.out / "cost.json").write_text(json.dumps(cost))
    sys.stdout.write(f"{n_models} models\n")


if __name__ == "__main__":
    main()
