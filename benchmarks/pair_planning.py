"""Planning the pairs of a whole city at once: seconds and memory.

    python benchmarks/pair_planning.py [--json]

Positions and headings are drives along a grid of streets 90 m apart, a photo every 5 m, about six
drives a street in both directions. Each size is planned in a process of its own, whose peak memory
holds the photos, the pairs and the interpreter with its libraries. Machine code is compiled before
the clock starts, as it is kept on disk between runs.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from citysplat_core.matching import propose_pairs
from citysplat_core.matching.photos import Photos
from citysplat_core.settings import MatchingSettings

SIZES = {"38k": 38_479, "600k": 600_000}
_BLOCK_M, _STEP_M, _DRIVE, _DRIVES = 90.0, 5.0, 100, 6.0


def simulated_drives(n_photos: int, *, seed: int = 0) -> Photos:
    """Make photos of drives along the streets of a grid, with GPS and compass noise.

    Args:
        n_photos: Number of photos; the city grows with it and keeps its density.
        seed: Seed of the drives and of the noise.
    """
    rng = np.random.default_rng(seed)
    n_drives = -(-n_photos // _DRIVE)
    street_m = n_photos * _STEP_M / _DRIVES  # all streets together: two of each block side
    side = max(int(np.sqrt(street_m / (2 * _BLOCK_M))), 1)
    drive = np.arange(n_photos) // _DRIVE
    number = np.arange(n_photos) % _DRIVE
    start, line = rng.uniform(0, side * _BLOCK_M, n_drives), rng.integers(0, side + 1, n_drives)
    way, along_east = rng.choice([-1.0, 1.0], n_drives), rng.random(n_drives) < 0.5
    along = (start[drive] + way[drive] * number * _STEP_M) % (side * _BLOCK_M)
    across = line[drive] * _BLOCK_M + 2.0 * way[drive] + rng.normal(0, 2.0, n_drives)[drive]
    place = np.where(along_east[drive, None], np.c_[along, across], np.c_[across, along])
    heading = np.where(along_east, np.where(way > 0, 90.0, 270.0), np.where(way > 0, 0.0, 180.0))
    return Photos(
        colmap_id=np.arange(n_photos) + 1,
        names=("",) * n_photos,
        side=np.zeros(n_photos, dtype=np.int64),
        east_north_m=place + rng.normal(0, 0.5, (n_photos, 2)),
        heading_deg=(heading[drive] + rng.normal(0, 5, n_photos)) % 360.0,
        sequence=drive,
        captured_at=np.arange(n_photos) * 1000,
    )


def plan(n_photos: int) -> dict[str, float]:
    """Plan pairs in this process: seconds, peak megabytes, photos and pairs."""
    settings, few = MatchingSettings(), simulated_drives(200)
    propose_pairs(few, settings, few.heading_deg, n_threads=2)
    photos = simulated_drives(n_photos)
    start = time.perf_counter()
    proposals = propose_pairs(photos, settings, photos.heading_deg, n_threads=2)
    seconds = time.perf_counter() - start
    rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "seconds": round(seconds, 2),
        "rss_mb": round(rss_mb, 1),
        "photos": n_photos,
        "pairs": len(proposals),
        "judged": len(proposals) + sum(proposals.refused.values()),
    }


def measure_pair_planning(n_photos: int | None = None) -> dict[str, float]:
    """Plan one size, or all of ``SIZES``, each in a process of its own.

    Args:
        n_photos: One size, or None for all.

    Returns:
        ``plan_seconds_38k``, ``plan_rss_mb_38k``, ``plan_seconds_600k`` and ``plan_rss_mb_600k``;
        for one size those of that size, named after its thousands.
    """
    sizes = SIZES if n_photos is None else {f"{n_photos // 1000}k": n_photos}
    told: dict[str, float] = {}
    for name, count in sizes.items():
        command = [sys.executable, str(Path(__file__)), "--one", str(count)]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
        row = json.loads(out.splitlines()[-1])
        told[f"plan_seconds_{name}"] = row["seconds"]
        told[f"plan_rss_mb_{name}"] = row["rss_mb"]
        print(
            f"{count:8,d} photos: {row['judged']:12,d} pairs judged, {row['pairs']:10,d} proposed,"
            f" {row['seconds']:7.2f} s, {row['rss_mb']:7.0f} MB"
        )
    return told


def main() -> None:
    """Print the table, and one JSON line."""
    parser = argparse.ArgumentParser(description="Measure the planning of pairs.")
    parser.add_argument("--one", type=int, help="plan one size in this process")
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(plan(given.one)))
        return
    told = measure_pair_planning()
    if given.json:
        print(json.dumps(told))


if __name__ == "__main__":
    main()
