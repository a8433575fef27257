"""Compare the accuracy that exported camera poses claim with where the photos really were taken.

Needs a finished city with a table of true poses, as `citysplat demo` makes one:

    python benchmarks/pose_accuracy.py demo-city --json

An honest claim holds about two thirds of the errors or more, also in the worst component.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from citysplat_core.mapping.poses_export import read_poses
from citysplat_core.settings import City, load_city
from citysplat_core.storage import ArtifactStore


def measure(city: City) -> dict[str, float | int]:
    """Give errors, claims and the share of errors within their claims."""
    store = ArtifactStore(city.root)
    poses = read_poses(
        store.need("city_alignment").path,
        plan_images=store.need("box_plan").path / "images.parquet",
        catalog=store.need("image_catalog").path / "catalog.parquet",
        frame=city.frame(),
        settings=city.settings.align,
    )
    truth = pd.read_parquet(city.root / city.settings.truth)
    both = poses.merge(truth, on="image_id", suffixes=("", "_true"))
    solved = city.frame().enu(both["lon"], both["lat"], both["height_m"])
    off = solved - both[["east_m", "north_m", "up_m"]].to_numpy(float)
    flat, high = np.hypot(off[:, 0], off[:, 1]), np.abs(off[:, 2])
    claimed, claimed_up = both["accuracy_horizontal_m"], both["accuracy_vertical_m"]
    within = pd.Series(flat <= claimed).groupby([both["solved_in"], both["component"]]).mean()
    return {
        "poses": len(both),
        "components": len(within),
        "error_median_m": round(float(np.median(flat)), 3),
        "error_p95_m": round(float(np.percentile(flat, 95)), 3),
        "claim_median_m": round(float(claimed.median()), 3),
        "within_claim": round(float((flat <= claimed).mean()), 4),
        "within_claim_worst_component": round(float(within.min()), 4),
        "error_up_median_m": round(float(np.median(high)), 3),
        "claim_up_median_m": round(float(claimed_up.median()), 3),
        "within_claim_up": round(float((high <= claimed_up).mean()), 4),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("city", type=Path)
    parser.add_argument("--json", action="store_true", help="End with one JSON line.")
    options = parser.parse_args()
    values = measure(load_city(options.city))
    for name, value in values.items():
        print(f"{name:<32}{value}")
    if options.json:
        print(json.dumps(values))


if __name__ == "__main__":
    main()
