"""Planning a city of 1.2 million photos: seconds and memory.

    python benchmarks/planning.py [--rows N] [--json]

Makes a catalog by code (streets of a city of 12 by 10 km, as dense as Zurich's), then plans it in a
process of its own, so that the memory is the step's and not the generator's.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from citysplat_core.imagery.geoparquet import ROWS_AT_ONCE, write_points
from citysplat_core.imagery.metadata_scores import SCORES_SCHEMA
from citysplat_core.imagery.tables import CATALOG_SCHEMA, write_table

WEST, SOUTH, EAST, NORTH = 8.46, 47.33, 8.62, 47.42
_FIRST_ID = 94_399_395_803_743_793
_SEQUENCE = 120


def write_catalog(path: Path, n_rows: int) -> None:
    """Write a synthetic image catalog, walks along streets sorted by image id, and its scores."""
    write_points(_parts(n_rows), CATALOG_SCHEMA, path)
    ids = pq.read_table(path, columns=["image_id"]).column("image_id")
    rng = np.random.default_rng(7)
    columns = [ids, *(_noise(rng, field.type, n_rows) for field in list(SCORES_SCHEMA)[1:])]
    write_table(pa.table(columns, schema=SCORES_SCHEMA), path.with_name("scores.parquet"))


def _noise(rng: np.random.Generator, kind: pa.DataType, n_rows: int) -> pa.Array:
    if pa.types.is_floating(kind):
        return pa.array(rng.normal(size=n_rows)).cast(kind)
    return pa.array(rng.integers(0, 2, n_rows)).cast(kind)


def _parts(n_rows: int) -> Iterator[pa.Table]:
    rng = np.random.default_rng(7)
    for start in range(0, n_rows, ROWS_AT_ONCE):
        yield _part(rng, start, min(ROWS_AT_ONCE, n_rows - start))


def _part(rng: np.random.Generator, start: int, n: int) -> pa.Table:
    number = np.arange(start, start + n)
    sequence = number // _SEQUENCE
    n_sequences = int(sequence[-1] - sequence[0]) + 1
    of = sequence - sequence[0]
    # Denser towards the middle, on a grid of streets 90 m apart.
    middle = rng.normal(0.5, 0.17, (n_sequences, 2)).clip(0.0, 1.0)
    lon = WEST + (EAST - WEST) * np.round(middle[of, 0] * 133) / 133
    lat = SOUTH + (NORTH - SOUTH) * middle[of, 1] + (number % _SEQUENCE) * 3.6e-5
    turned = (of % 2).astype(bool)
    lon = np.where(turned, WEST + (EAST - WEST) * middle[of, 0] + (number % _SEQUENCE) * 5e-5, lon)
    lat = np.where(turned, SOUTH + (NORTH - SOUTH) * np.round(middle[of, 1] * 111) / 111, lat)
    heading = np.where(turned, 90.0, 0.0)
    solved = rng.random(n) > 0.08
    floats = {
        "lon": lon + rng.normal(0, 4e-5, n),
        "lat": lat + rng.normal(0, 3e-5, n),
        "altitude_m": rng.normal(410, 3, n),
        "computed_lon": np.where(solved, lon, np.nan),
        "computed_lat": np.where(solved, lat, np.nan),
        "computed_altitude_m": np.where(solved, rng.normal(410, 1, n), np.nan),
        "heading_deg": (heading + rng.normal(0, 6, n)) % 360,
        "computed_heading_deg": np.where(solved, heading, np.nan),
        **{f"rotation_{axis}": np.where(solved, rng.normal(0, 1, n), np.nan) for axis in "xyz"},
        "focal_ratio": np.full(n, 0.85),
        "k1": np.full(n, -0.02),
        "k2": np.full(n, 0.003),
        "quality_score": rng.beta(6, 2, n).round(4),
        "atomic_scale": np.full(n, 0.98),
    }
    texts = {
        "image_id": [str(_FIRST_ID + 37 * i) for i in number.tolist()],
        "sequence_id": [f"{s:022d}" for s in sequence.tolist()],
        "creator": [f"user{s % 997:03d}" for s in sequence.tolist()],
        "creator_id": [str(10**14 + s % 997) for s in sequence.tolist()],
        "organization_id": pa.nulls(n, pa.string()),
        "licence": ["CC-BY-SA-4.0"] * n,
        "camera_type": ["perspective"] * n,
        "make": ["Apple"] * n,
        "model": [f"iPhone {10 + s % 7}" for s in sequence.tolist()],
        "merge_cc": [str(4_546_427_159_383_000_000 + s) for s in sequence.tolist()],
        "source": ["mapillary"] * n,
        "status": ["listed"] * n,
    }
    others = {
        "colmap_id": number + 1,
        "captured_at": 1_700_000_000_000 + number * 1000,
        "width": np.full(n, 4032),
        "height": np.full(n, 3024),
        "is_pano": np.zeros(n, bool),
        "exif_orientation": np.ones(n, int),
    }
    values = floats | texts | others
    columns = [
        pa.array(values[f.name]).cast(f.type) if f.name in values else pa.nulls(n, f.type)
        for f in CATALOG_SCHEMA
    ]
    return pa.table(columns, schema=CATALOG_SCHEMA)


def measure_plan(n_rows: int = 1_200_000) -> dict[str, float]:
    """Plan a synthetic catalog in a process of its own.

    Returns:
        ``plan_seconds_1200k`` (wall), ``plan_cpu_seconds_1200k``, ``plan_rss_mb_1200k`` (peak of
        the process), and of reading one box's rows ``plan_slice_seconds``; the keys keep their
        names for other numbers of rows.
    """
    with tempfile.TemporaryDirectory() as folder:
        catalog, out = Path(folder, "catalog"), Path(folder, "plan")
        catalog.mkdir()
        out.mkdir()
        write_catalog(catalog / "catalog.parquet", n_rows)
        command = [sys.executable, __file__, "--plan", str(catalog), str(out)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _plan(catalog: Path, out: Path) -> dict[str, float]:
    from citysplat_core.geography import CityFrame, load_plan
    from citysplat_core.geography.plan_boxes import plan_boxes
    from citysplat_core.settings import BoxSettings
    from citysplat_core.storage import digest_of_table, no_progress

    started, cpu = time.perf_counter(), time.process_time()
    report = plan_boxes(
        catalog,
        city="benchmark",
        frame=CityFrame((WEST + EAST) / 2, (SOUTH + NORTH) / 2, 400.0),
        out=out,
        settings=BoxSettings(),
        progress=no_progress,
    )
    for name in ("images.parquet", "fringe_images.parquet"):
        digest_of_table(out / name)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    box = load_plan(out / "plan.json").boxes[0].key
    started = time.perf_counter()
    digest_of_table(out / "catalog_by_box.parquet", where=[("box", "==", box)])
    return {
        "plan_seconds_1200k": round(seconds, 2),
        "plan_cpu_seconds_1200k": round(cpu_seconds, 2),
        "plan_rss_mb_1200k": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "plan_slice_seconds": round(time.perf_counter() - started, 3),
        "plan_boxes": float(report.counts["boxes"]),
        "plan_fringes": float(report.counts["fringes"]),
    }


def main() -> None:
    """Print the numbers as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_200_000)
    parser.add_argument("--json", action="store_true", help="the default; for symmetry")
    parser.add_argument("--plan", nargs=2, metavar=("CATALOG", "OUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plan:
        numbers = _plan(Path(arguments.plan[0]), Path(arguments.plan[1]))
    else:
        numbers = measure_plan(arguments.rows)
    sys.stdout.write(json.dumps(numbers) + "\n")


if __name__ == "__main__":
    main()
