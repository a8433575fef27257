"""The step that cuts a city into boxes and fringes."""

from dataclasses import asdict, dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from citysplat_core.errors import GeoreferenceError
from citysplat_core.geography.frame import CityFrame
from citysplat_core.geography.plan import Box, BoxPlan, Fringe, assign_boxes, find_fringes
from citysplat_core.geography.plan_map import draw_plan
from citysplat_core.geography.quadkeys import box_bounds
from citysplat_core.settings import BoxSettings
from citysplat_core.storage import Progress, StepReport, write_json


@dataclass(frozen=True, slots=True)
class _Fringes:
    fringes: list[Fringe]
    members: pd.DataFrame


def plan_boxes(
    catalog: Path,
    *,
    city: str,
    frame: CityFrame,
    out: Path,
    settings: BoxSettings,
    progress: Progress,
) -> StepReport:
    """Cut a city into boxes and fringes.

    Args:
        catalog: The ``image_catalog`` artifact.
        city: Name of the city.
        frame: The city frame.
        out: Empty folder; gets plan.json, images.parquet, fringe_images.parquet, plan.geojson and
            map.png as docs/contracts.md lists them.
        settings: How to cut.
        progress: Called as it goes.

    Returns:
        Counts of boxes, fringes and images, and the picture of the plan.

    Raises:
        GeoreferenceError: No photo of the catalog has a position.
    """
    progress(0, 3, "reading the catalog")
    images = choose_positions(pd.read_parquet(catalog / "catalog.parquet"), frame, settings)
    images["box"] = assign_boxes(
        images["lon"].to_numpy(),
        images["lat"].to_numpy(),
        min_zoom=min(settings.min_zoom, settings.max_zoom),
        max_zoom=settings.max_zoom,
        max_images=settings.max_images,
    )
    boxes = _list_boxes(images, frame)
    progress(1, 3, f"{len(boxes)} boxes")
    found = _list_fringes(images, boxes, frame, settings.fringe_width_m)
    plan = BoxPlan(
        city=city,
        boxes=tuple(boxes),
        fringes=tuple(found.fringes),
        estimates=_estimate(len(images), len(found.members)),
    )
    progress(2, 3, f"{len(found.fringes)} fringes")
    write_json(out / "plan.json", plan.to_json())
    images.to_parquet(out / "images.parquet", compression="zstd", index=False)
    found.members.to_parquet(out / "fringe_images.parquet", compression="zstd", index=False)
    shapes = [shapely.box(*box_bounds(b.key)) for b in boxes]
    table = gpd.GeoDataFrame([asdict(b) for b in boxes], geometry=shapes, crs="EPSG:4326")
    table.to_file(out / "plan.geojson", driver="GeoJSON")
    draw_plan(plan, images, out / "map.png")
    return StepReport(
        counts={
            "boxes": len(boxes),
            "fringes": len(found.fringes),
            "images": len(images),
            "smallest_box": min(b.n_images for b in boxes),
            "largest_box": max(b.n_images for b in boxes),
            **plan.estimates,
        },
        previews={"boxes and photos": out / "map.png"},
    )


def choose_positions(
    catalog: pd.DataFrame, frame: CityFrame, settings: BoxSettings
) -> pd.DataFrame:
    """Give every listed photo the one position and heading that the plan uses.

    Args:
        catalog: The catalog table of docs/contracts.md.
        frame: The city frame.
        settings: ``position`` says which is preferred.

    Returns:
        image_id, colmap_id, lon, lat, east_m, north_m, up_m, heading_deg, position_source; sorted
        by colmap_id; photos without any position are left out.

    Raises:
        GeoreferenceError: No photo has a position.
    """
    listed = catalog[catalog["status"] == "listed"].sort_values("colmap_id")
    solved = listed["computed_lon"].notna() & listed["computed_lat"].notna()
    use = solved if settings.position == "computed" else solved & listed["lon"].isna()

    def pick(computed: str, raw: str) -> NDArray[np.float64]:
        return np.where(use, listed[computed], listed[raw]).astype(float)

    lon, lat = pick("computed_lon", "lon"), pick("computed_lat", "lat")
    heading = np.where(
        use & listed["computed_heading_deg"].notna(),
        listed["computed_heading_deg"],
        listed["heading_deg"],
    ).astype(float)
    # A solved height may be missing where the solved place is not: the sensor's beats none.
    computed_alt = listed["computed_altitude_m"].astype(float)
    altitude = np.where(
        use & computed_alt.notna(), computed_alt, listed["altitude_m"].astype(float)
    )
    placed = np.isfinite(lon) & np.isfinite(lat)
    if not placed.any():
        raise GeoreferenceError(
            f"none of {len(listed)} listed photos has a position",
            expected="GPS in the photos, or a table of positions",
            fix="Set `source.positions_csv`, or choose an area with geotagged photos.",
        )
    enu = frame.enu(lon[placed], lat[placed], altitude[placed])
    table = listed.loc[placed, ["image_id", "colmap_id"]].reset_index(drop=True)
    return table.assign(
        lon=lon[placed],
        lat=lat[placed],
        east_m=enu[:, 0],
        north_m=enu[:, 1],
        up_m=enu[:, 2],
        heading_deg=heading[placed],
        position_source=np.where(use[placed], "computed", "gps"),
    )


def bounds_enu(key: str, frame: CityFrame) -> tuple[float, float, float, float]:
    """Give a box's west, south, east, north in city-frame metres.

    The box is a rectangle in web mercator; in the city frame its sides are curved by millimetres,
    and the rectangle through the middles of its sides is used.
    """
    west, south, east, north = box_bounds(key)
    lon, lat = (west + east) / 2, (south + north) / 2
    sides = frame.enu([west, lon, east, lon], [lat, south, lat, north])
    return (
        float(sides[0, 0]),
        float(sides[1, 1]),
        float(sides[2, 0]),
        float(sides[3, 1]),
    )


def _list_boxes(images: pd.DataFrame, frame: CityFrame) -> list[Box]:
    boxes = []
    for key, count in images.groupby("box").size().sort_index().items():
        west, south, east, north = box_bounds(str(key))
        e0, n0, e1, n1 = bounds_enu(str(key), frame)
        boxes.append(
            Box(
                key=str(key),
                zoom=len(str(key)),
                n_images=int(count),
                west=west,
                south=south,
                east=east,
                north=north,
                center_east_m=(e0 + e1) / 2,
                center_north_m=(n0 + n1) / 2,
            )
        )
    return boxes


def _list_fringes(
    images: pd.DataFrame, boxes: list[Box], frame: CityFrame, width_m: float
) -> _Fringes:
    bounds = {b.key: bounds_enu(b.key, frame) for b in boxes}
    rows = {str(key): group for key, group in images.groupby("box")}
    fringes, members = [], []
    for a, b, kind in find_fringes(bounds):
        key = f"{a}--{b}"
        sides = [
            _within(rows[here], bounds[there], width_m).assign(fringe=key)
            for here, there in ((a, b), (b, a))
        ]
        both = pd.concat(sides)
        if min(len(side) for side in sides) == 0:
            continue  # nobody stands near this border: there is nothing to match across it
        members.append(both)
        fringes.append(Fringe(key=key, a=a, b=b, kind=kind, n_images=len(both)))
    columns = ["fringe", "box", "image_id", "colmap_id"]
    table = pd.concat(members)[columns] if members else images.assign(fringe="")[:0][columns]
    return _Fringes(fringes, table.reset_index(drop=True))


def _within(
    images: pd.DataFrame, other: tuple[float, float, float, float], width_m: float
) -> pd.DataFrame:
    west, south, east, north = other
    dx = np.maximum(np.maximum(west - images["east_m"], images["east_m"] - east), 0)
    dy = np.maximum(np.maximum(south - images["north_m"], images["north_m"] - north), 0)
    return images[np.hypot(dx, dy) <= width_m]


def _estimate(n_images: int, n_members: int) -> dict[str, float]:
    """Estimate what the plan costs, from the rates of docs/numbers.md (one CPU core, 1024 px)."""
    pairs = 16.0 * n_images + 6.0 * n_members
    cpu_h = (n_images * (1.2 + 1.5) + pairs / 12.0) / 3600.0
    return {
        "estimated_pairs": round(pairs),
        "estimated_photos_gb": round(n_images * 118e3 / 1e9, 3),
        "estimated_cpu_hours_without_splats": round(cpu_h, 2),
    }
