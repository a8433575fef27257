"""Building the catalog of a city of 1.2 million photos: seconds and memory.

    python benchmarks/cataloguing.py [--rows N] [--json]

Fills the ledger of metadata by code, as a finished download would have, then describes and
catalogues all of it in a process of its own, without any request.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from citysplat_core.imagery.services.metadata_store import MetadataStore
from citysplat_core.imagery.tables import FOUND_SCHEMA, write_table

_FIRST_ID = 94_399_395_803_743_793
_AT_ONCE = 10_000


def write_city(root: Path, n_rows: int) -> None:
    """Write a ledger of metadata and the discovery's list of a city."""
    rng = np.random.default_rng(7)
    now = time.time()
    lon, lat = rng.uniform(8.46, 8.62, n_rows), rng.uniform(47.33, 47.42, n_rows)
    ids = [str(_FIRST_ID + 37 * i) for i in range(n_rows)]
    ledger = root / "cache" / "mapillary" / "graph.mapillary.com" / "metadata.sqlite"
    with MetadataStore(ledger) as store:
        for start in range(0, n_rows, _AT_ONCE):
            rows = range(start, min(n_rows, start + _AT_ONCE))
            store.save({ids[i]: _entity(ids[i], i, lon[i], lat[i]) for i in rows}, at=now)
    sequences = [f"{i // 120:022d}" for i in range(n_rows)]
    values = {
        "image_id": ids,
        "lon": lon,
        "lat": lat,
        "sequence_id": sequences,
        "is_pano": np.zeros(n_rows, bool),
        "tile": ["14/8581/5737"] * n_rows,
    }
    columns = [
        pa.array(values[f.name], f.type) if f.name in values else pa.nulls(n_rows, f.type)
        for f in FOUND_SCHEMA
    ]
    (root / "tile_ledger").mkdir()
    write_table(pa.table(columns, schema=FOUND_SCHEMA), root / "tile_ledger" / "found.parquet")


def _entity(image_id: str, number: int, lon: float, lat: float) -> dict[str, Any]:
    point = {"type": "Point", "coordinates": [float(lon), float(lat)]}
    return {
        "id": image_id,
        "geometry": point,
        "computed_geometry": point,
        "altitude": 410.25,
        "computed_altitude": 411.5043095825,
        "compass_angle": 336.74,
        "computed_compass_angle": 1.2865829255371,
        "computed_rotation": [1.3642214091955, -0.0019509766093401, 0.035317244081076],
        "camera_type": "perspective",
        "camera_parameters": [0.85136388143343, -6.6499673206348e-05, -3.8067681992196e-05],
        "captured_at": 1_563_721_072_184 + number * 1000,
        "sequence": f"{number // 120:022d}",
        "creator": {"username": f"user{number // 120 % 997}", "id": str(10**14 + number % 997)},
        "make": "Apple",
        "model": "iPhone 12",
        "width": 4160,
        "height": 3120,
        "is_pano": False,
        "quality_score": 0.7561310782241,
        "exif_orientation": 1,
        "merge_cc": 4.546427159383e18,
        "atomic_scale": 0.97891115347587,
    }


def measure_catalog(n_rows: int = 1_200_000) -> dict[str, float]:
    """Describe and catalogue a synthetic city in a process of its own.

    Returns:
        ``catalog_seconds_1200k`` (wall), ``catalog_cpu_seconds_1200k`` and
        ``catalog_rss_mb_1200k`` (peak of the process); the keys keep their names for other numbers.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_city(Path(folder), n_rows)
        command = [sys.executable, __file__, "--build", folder]
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _build(root: Path) -> dict[str, float]:
    from citysplat_core.imagery import IdentityRegistry, MapillarySource, Token, build_catalog
    from citysplat_core.settings import SourceSettings
    from citysplat_core.storage import digest_of_table, no_progress

    started, cpu = time.perf_counter(), time.process_time()
    out = root / "image_catalog"
    out.mkdir()
    report = build_catalog(
        root / "tile_ledger",
        source=MapillarySource(SourceSettings(), Token("MLY|unused"), root / "cache"),
        registry=IdentityRegistry(root / "identity.sqlite"),
        out=out,
        work=root / "work",
        progress=no_progress,
    )
    digest_of_table(out / "catalog.parquet", without=("geometry",))
    return {
        "catalog_seconds_1200k": round(time.perf_counter() - started, 2),
        "catalog_cpu_seconds_1200k": round(time.process_time() - cpu, 2),
        "catalog_rss_mb_1200k": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "catalog_images": float(report.counts["listed"]),
    }


def main() -> None:
    """Print the numbers as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_200_000)
    parser.add_argument("--json", action="store_true", help="the default; for symmetry")
    parser.add_argument("--build", metavar="FOLDER", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    numbers = _build(Path(arguments.build)) if arguments.build else measure_catalog(arguments.rows)
    sys.stdout.write(json.dumps(numbers) + "\n")


if __name__ == "__main__":
    main()
