"""What is told of the aligned city beside its seams: share, size and place."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from citysplat_core.mapping.gps_stats import contradicts, measure_gps, residuals

_DRIVE = ("sequence_id", "captured_at")
_PLACE = ("east_m", "north_m", "up_m")


def count_city(cameras: pd.DataFrame, plan: pd.DataFrame) -> dict[str, int | float | str]:
    """Give the flat numbers of the city; one that is not known is left out.

    Args:
        cameras: The rows of the alignment's ``cameras.parquet``.
        plan: ``images.parquet`` of the plan.
    """
    gps = measure_gps(cameras, plan).known()
    far = contradicts(residuals(cameras, plan)["residual_m"].to_numpy(float))
    return {
        "n_planned": len(plan),
        "registered_share": round(len(cameras) / len(plan), 4) if len(plan) else 0.0,
        **gps,
        "n_position_contradicted": int(far.sum()),
    }


def describe_city(cameras: pd.DataFrame, plan: pd.DataFrame) -> dict[str, Any]:
    """Tell of each box, and name the photos that stand far from their positions.

    Args:
        cameras: The rows of the alignment's ``cameras.parquet``.
        plan: ``images.parquet`` of the plan.

    Returns:
        ``boxes``: registered share, residuals and extents of each; ``position_contradicted``.
    """
    boxes = [
        {"box": str(box), **count_city(cameras[cameras["box"] == box], planned)}
        for box, planned in plan.groupby("box", sort=True)
    ]
    both = residuals(cameras, plan)
    far: pd.DataFrame = both[contradicts(both["residual_m"].to_numpy(float))]
    named = [
        {"image_id": str(name), "gps_residual_m": round(float(off), 2)}
        for name, off in zip(far["image_id"], far["residual_m"], strict=True)
    ]
    return {"boxes": boxes, "position_contradicted": named}


def read_planned(plan_images: Path) -> pd.DataFrame:
    """Read the photos of a plan, with their drives if the plan knows them.

    Args:
        plan_images: ``images.parquet`` of the plan; ``catalog_by_box.parquet`` lies beside it.

    Returns:
        Its columns; positions that are not finite are NaN. sequence_id and captured_at are added
        from the catalog's rows.
    """
    plan = pd.read_parquet(plan_images)
    places = plan[list(_PLACE)].astype(float)
    plan[list(_PLACE)] = places.where(np.isfinite(places))
    beside = plan_images.with_name("catalog_by_box.parquet")
    if not beside.is_file() or not set(_DRIVE) <= set(pq.read_schema(beside).names):
        return plan
    told = pd.read_parquet(beside, columns=["colmap_id", *_DRIVE]).drop_duplicates("colmap_id")
    joined: pd.DataFrame = plan.merge(told, on="colmap_id", how="left")
    return joined
