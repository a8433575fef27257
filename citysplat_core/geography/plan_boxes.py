"""The step that cuts a city into boxes and fringes."""

from dataclasses import asdict, dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from citysplat_core.errors import GeoreferenceError
from citysplat_core.geography.cutting import cut_boxes, find_fringes
from citysplat_core.geography.frame import CityFrame
from citysplat_core.geography.plan import Box, BoxPlan, Fringe
from citysplat_core.geography.plan_map import draw_plan
from citysplat_core.geography.plan_slices import slice_by_box, write_in_groups
from citysplat_core.geography.quadkeys import box_bounds
from citysplat_core.settings import BoxSettings
from citysplat_core.storage import Progress, StepReport, write_json

_READ = (
    *("image_id", "colmap_id", "status", "lon", "lat", "altitude_m", "heading_deg"),
    *("computed_lon", "computed_lat", "computed_altitude_m", "computed_heading_deg"),
)
_TABLES_BY_BOX = ("catalog", "scores")
"""City-wide tables, one row an image, that a box reads a slice of."""


@dataclass(frozen=True, slots=True)
class _Cut:
    """Photos in the order of their boxes.

    Attributes:
        keys: Keys of the boxes, sorted.
        box: Number of each photo's box, ascending, shape (N,).
        images: Their positions, sorted by box and then colmap_id.
        bounds: West, south, east, north of the boxes in the city frame, metres, shape (K, 4).
    """

    keys: list[str]
    box: NDArray[np.int64]
    images: pd.DataFrame
    bounds: NDArray[np.float64]

    def names(self) -> pa.DictionaryArray:
        """Give the key of each photo's box."""
        return pa.DictionaryArray.from_arrays(
            pa.array(self.box, pa.int32()), pa.array(self.keys, pa.string())
        )


@dataclass(frozen=True, slots=True)
class _Fringes:
    """Fringes, and their photos as (number of the fringe, row of the photo), shape (M,) each."""

    fringes: list[Fringe]
    fringe: NDArray[np.int64]
    row: NDArray[np.int64]


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
        out: Empty folder; gets plan.json, images.parquet, fringe_images.parquet,
            catalog_by_box.parquet, plan.geojson and map.png as docs/contracts.md lists them.
        settings: How to cut.
        progress: Called as it goes.

    Returns:
        Counts of boxes, fringes and images, and the picture of the plan.

    Raises:
        GeoreferenceError: No photo of the catalog has a position.
    """
    progress(0, 4, "reading the catalog")
    listed = pq.read_table(catalog / "catalog.parquet", columns=list(_READ)).to_pandas()
    cut = _cut(choose_positions(listed, frame, settings), frame, settings)
    del listed
    progress(1, 4, f"{len(cut.keys)} boxes")
    found = _list_fringes(cut, settings.fringe_width_m)
    counts = np.bincount(cut.box, minlength=len(cut.keys))
    plan = BoxPlan(
        city=city,
        boxes=tuple(_list_boxes(cut, counts)),
        fringes=tuple(found.fringes),
        estimates=_estimate(len(cut.images), len(found.row)),
    )
    progress(2, 4, f"{len(found.fringes)} fringes")
    _write_tables(cut, found, out)
    progress(3, 4, "what the catalog says of each box")
    for name in _TABLES_BY_BOX:
        if (catalog / f"{name}.parquet").is_file():
            _slice(catalog / f"{name}.parquet", cut, out / f"{name}_by_box.parquet")
    _draw(plan, cut, out)
    write_json(out / "plan.json", plan.to_json())
    return StepReport(
        counts={
            "boxes": len(plan.boxes),
            "fringes": len(plan.fringes),
            "images": len(cut.images),
            "smallest_box": int(counts.min()),
            "largest_box": int(counts.max()),
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
    west, south, east, north = _bounds_of([key], frame)[0].tolist()
    return west, south, east, north


def _bounds_of(keys: list[str], frame: CityFrame) -> NDArray[np.float64]:
    """Give the bounds of boxes as ``bounds_enu`` does, shape (K, 4)."""
    west, south, east, north = np.array([box_bounds(key) for key in keys]).T
    lon, lat = (west + east) / 2, (south + north) / 2
    sides = frame.enu(np.stack([west, lon, east, lon]), np.stack([lat, south, lat, north]))
    return np.stack([sides[0, :, 0], sides[1, :, 1], sides[2, :, 0], sides[3, :, 1]], axis=1)


def _cut(images: pd.DataFrame, frame: CityFrame, settings: BoxSettings) -> _Cut:
    keys, number = cut_boxes(
        images["lon"].to_numpy(),
        images["lat"].to_numpy(),
        min_zoom=min(settings.min_zoom, settings.max_zoom),
        max_zoom=settings.max_zoom,
        max_images=settings.max_images,
    )
    order = np.argsort(number, kind="stable")
    return _Cut(keys, number[order], images.take(order), _bounds_of(keys, frame))


def _list_boxes(cut: _Cut, counts: NDArray[np.int64]) -> list[Box]:
    boxes = []
    for key, count, bounds in zip(cut.keys, counts.tolist(), cut.bounds.tolist(), strict=True):
        west, south, east, north = box_bounds(key)
        boxes.append(
            Box(
                key=key,
                zoom=len(key),
                n_images=count,
                west=west,
                south=south,
                east=east,
                north=north,
                center_east_m=(bounds[0] + bounds[2]) / 2,
                center_north_m=(bounds[1] + bounds[3]) / 2,
            )
        )
    return boxes


def _list_fringes(cut: _Cut, width_m: float) -> _Fringes:
    number_of = {key: number for number, key in enumerate(cut.keys)}
    starts = np.searchsorted(cut.box, np.arange(len(cut.keys) + 1)).tolist()
    east_north = cut.images[["east_m", "north_m"]].to_numpy()
    fringes: list[Fringe] = []
    rows: list[NDArray[np.int64]] = []
    for a, b, kind in find_fringes(cut.keys):
        sides = []
        for here, there in ((number_of[a], number_of[b]), (number_of[b], number_of[a])):
            own = east_north[starts[here] : starts[here + 1]]
            sides.append(starts[here] + _within(own, cut.bounds[there], width_m))
        if min(len(side) for side in sides) == 0:
            continue  # nobody stands near this border: there is nothing to match across it
        rows.append(np.concatenate(sides))
        fringes.append(Fringe(key=f"{a}--{b}", a=a, b=b, kind=kind, n_images=len(rows[-1])))
    numbers = np.repeat(np.arange(len(fringes)), [len(r) for r in rows])
    return _Fringes(fringes, numbers, np.concatenate([np.empty(0, np.int64), *rows]))


def _within(
    east_north: NDArray[np.float64], other: NDArray[np.float64], width_m: float
) -> NDArray[np.int64]:
    """Give the rows that stand within ``width_m`` of a box."""
    outside = np.maximum(other[:2] - east_north, east_north - other[2:])
    np.maximum(outside, 0.0, out=outside)
    return np.flatnonzero(np.hypot(outside[:, 0], outside[:, 1]) <= width_m)


def _write_tables(cut: _Cut, found: _Fringes, out: Path) -> None:
    images = pa.Table.from_pandas(cut.images, preserve_index=False)
    images = images.add_column(images.num_columns, "box", cut.names())
    write_in_groups(images, cut.box, out / "images.parquet")
    rows = pa.array(found.row)
    keys = pa.array([fringe.key for fringe in found.fringes], pa.string())
    names = pa.DictionaryArray.from_arrays(pa.array(found.fringe, pa.int32()), keys)
    members = images.select(["box", "image_id", "colmap_id"]).take(rows)
    members = members.add_column(0, "fringe", names)
    write_in_groups(members, found.fringe, out / "fringe_images.parquet")


def _slice(table: Path, cut: _Cut, path: Path) -> None:
    """Copy what a city-wide table says of the planned photos, box by box."""
    ids = pq.read_table(table, columns=["image_id"]).column("image_id").combine_chunks()
    rows = pc.index_in(pa.array(cut.images["image_id"], pa.string()), ids)
    known = np.asarray(rows.is_valid())
    boxes = cut.names().filter(pa.array(known))
    slice_by_box(table, rows.drop_null().to_numpy().astype(np.int64), boxes, path)


def _draw(plan: BoxPlan, cut: _Cut, out: Path) -> None:
    shapes = [shapely.box(b.west, b.south, b.east, b.north) for b in plan.boxes]
    table = gpd.GeoDataFrame([asdict(b) for b in plan.boxes], geometry=shapes, crs="EPSG:4326")
    table.to_file(out / "plan.geojson", driver="GeoJSON")
    lon, lat = cut.images["lon"].to_numpy(), cut.images["lat"].to_numpy()
    draw_plan(plan, lon, lat, cut.box, out / "map.png")


def _estimate(n_images: int, n_members: int) -> dict[str, float]:
    """Estimate what the plan costs, from the rates of docs/numbers.md (one CPU core, 1024 px)."""
    pairs = 16.0 * n_images + 6.0 * n_members
    cpu_h = (n_images * (1.2 + 1.5) + pairs / 12.0) / 3600.0
    return {
        "estimated_pairs": round(pairs),
        "estimated_photos_gb": round(n_images * 118e3 / 1e9, 3),
        "estimated_cpu_hours_without_splats": round(cpu_h, 2),
    }
