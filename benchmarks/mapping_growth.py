"""What mapping costs as a city grows: time a photo, and the peak of memory.

    python benchmarks/mapping_growth.py --one EASTxNORTH --folder FOLDER --threads N

maps one city of known points in a process of its own, box after box and then the alignment, and
prints one JSON line.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
from mapping_city import City
from mapping_models import map_city

from citysplat_core.geography import CityFrame
from citysplat_core.settings import AlignSettings, MappingSettings

SIZES = ((2, 2), (4, 2), (4, 4), (8, 4), (8, 8))
"""Boxes from west to east and from south to north: 248 to 3,968 photos, 62 a box on average."""
QUICK = ((2, 2), (4, 2), (4, 4))
_LIMIT_S = 3600
DEFINITIONS = """\
growth_ratio      CPU seconds a photo of solving all boxes and aligning them, of the largest city
                  over that of 8 boxes (500 photos); on the clock beside it. Making and matching the
                  features is printed and not in it: they are simulated here (point_town.py)
rss_growth_ratio  peak resident memory of the process that maps a whole city, box after box, of the
                  largest city over that of 4 boxes
"""


def measure_growth(
    folder: Path, *, n_threads: int, quick: bool
) -> tuple[str, dict[str, float | list[dict[str, float]] | None]]:
    """Map cities of growing size, each in a process of its own.

    Args:
        folder: Where the cities are kept; finished ones of the same code are not mapped again.
        n_threads: Threads of the mapper.
        quick: Up to 16 boxes instead of 64.

    Returns:
        A table for people, and the figures.
    """
    rows = []
    for east, north in QUICK if quick else SIZES:
        sys.stderr.write(f"growth: {east * north} boxes\n")
        place = folder / f"{east}x{north}"
        made = _call(f"{east}x{north}", place, n_threads, "--make")
        rows.append(_call(f"{east}x{north}", place, n_threads) | made)
    lines = [
        f"{row['n_boxes']:5.0f} {row['n_photos']:7.0f} {row['registered']:10.0f}"
        f" {row['components']:10.0f} {1000 * row['cpu_s'] / row['n_photos']:8.1f}"
        f" {1000 * row['wall_s'] / row['n_photos']:8.1f}"
        f" {1000 * row['align_cpu_s'] / row['n_photos']:8.2f} {row['rss_mb']:7.0f}"
        f" {row['start_mb']:8.0f}"
        f" {1000 * row['make_cpu_s'] / row['n_photos']:9.1f}"
        for row in rows
    ]
    head = (
        "boxes  photos registered components   CPU ms  wall ms align ms  RSS MB   RSS MB   making\n"
        "                                     a photo  a photo  a photo    peak at start   CPU ms\n"
    )
    first, middle, last = rows[0], rows[1], rows[-1]
    figures: dict[str, float | list[dict[str, float]] | None] = {
        "growth_ratio": growth_of(last, middle, "cpu_s"),
        "growth_ratio_wall": growth_of(last, middle, "wall_s"),
        "rss_growth_ratio": round(last["rss_mb"] / first["rss_mb"], 3),
        "growth": rows,
    }
    return DEFINITIONS + "\n" + head + "\n".join(lines) + "\n", figures


def growth_of(large: dict[str, float], small: dict[str, float], name: str) -> float:
    """Divide what a photo costs in the large city by what it costs in the small one."""
    return round(large[name] / large["n_photos"] / (small[name] / small["n_photos"]), 3)


def _call(size: str, folder: Path, n_threads: int, *options: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", size, "--folder", str(folder), *options]
    command += ["--threads", str(n_threads)]
    done = subprocess.run(  # noqa: S603 - this file
        command, check=True, stdout=subprocess.PIPE, text=True, timeout=_LIMIT_S
    )
    values: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return values


def _make(folder: Path, size: tuple[int, int]) -> dict[str, float]:
    """Make the features and pairs; remember what that took."""
    from point_town import make_point_city, point_settings  # not in the process that is measured

    kept = folder / "made.json"
    if not kept.exists():
        started = time.process_time()
        city = make_point_city(folder, point_settings(*size))
        (folder / "frame.json").write_text(
            json.dumps([city.frame.origin_lon, city.frame.origin_lat, city.frame.origin_alt_m])
        )
        kept.write_text(json.dumps({"make_cpu_s": time.process_time() - started}))
    values: dict[str, float] = json.loads(kept.read_text())
    return values


def _map(folder: Path, n_threads: int) -> dict[str, float]:
    """Map a city and say what it took; a finished one of the same code is not mapped again."""
    start_mb = peak_mb()
    frame = CityFrame(*json.loads((folder / "frame.json").read_text()))
    city = City(folder / "city", frame, n_threads)
    models = folder / "city" / "models-auto"
    if not (models / "memory.json").exists():
        shutil.rmtree(models, ignore_errors=True)  # the peak is that of all boxes
    mapped = map_city(city, MappingSettings(), AlignSettings())
    if not (models / "memory.json").exists():
        memory = {"rss_mb": peak_mb(), "start_mb": start_mb}
        (models / "memory.json").write_text(json.dumps(memory))
    cameras = mapped.cameras()
    parts = pd.Series(list(zip(cameras["solved_in"], cameras["component"], strict=True)))
    done = json.loads((models / "alignment" / "done.json").read_text())
    return {
        "n_boxes": len(city.boxes),
        "n_photos": sum(box.n_images for box in city.plan.boxes),
        "registered": len(cameras),
        "components": int(parts.nunique()),
        "cpu_s": mapped.cost.cpu_s,
        "wall_s": mapped.cost.wall_s,
        "align_cpu_s": done["cpu_s"],
        **json.loads((models / "memory.json").read_text()),
    }


def peak_mb() -> float:
    """Give the peak resident memory of this process since it began.

    Not from ``getrusage``: that remembers the parent process's size from before the start.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def main() -> None:
    """Make or map one city."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one", required=True, help="boxes east x north, for example 4x4")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--make", action="store_true", help="make the city only")
    asked = parser.parse_args()
    east, north = (int(part) for part in asked.one.split("x"))
    folder = asked.folder
    values = _make(folder, (east, north)) if asked.make else _map(folder, asked.threads)
    sys.stdout.write(json.dumps(values) + "\n")


if __name__ == "__main__":
    main()
