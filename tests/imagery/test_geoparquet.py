"""GeoParquet that other readers read, with columns that are what they were declared to be."""

import json

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from citysplat_core.errors import StorageError
from citysplat_core.imagery.geoparquet import points_of, require_points, write_points
from citysplat_core.imagery.tables import CATALOG_SCHEMA, table_of

SCHEMA = pa.schema([("image_id", pa.string()), ("lon", pa.float64()), ("lat", pa.float64())])


def table(n=5, **changes):
    rng = np.random.default_rng(n)
    values = {
        "image_id": [str(2**60 + i) for i in range(n)],
        "lon": rng.uniform(-180, 180, n),
        "lat": rng.uniform(-90, 90, n),
    }
    return pa.table(values | changes, schema=SCHEMA)


coordinate = st.floats(-180, 180) | st.just(float("nan"))


@given(st.lists(st.tuples(coordinate, coordinate), max_size=20))
def test_points_are_those_that_another_library_reads(places):
    lon, lat = np.array(places, float).reshape(-1, 2).T
    points = shapely.from_wkb(points_of(lon, lat).to_numpy(zero_copy_only=False))
    placed = np.isfinite(lon) & np.isfinite(lat)
    assert [p is not None for p in points] == placed.tolist()
    np.testing.assert_array_equal(shapely.get_x(points[placed]), lon[placed])
    np.testing.assert_array_equal(shapely.get_y(points[placed]), lat[placed])


def test_parts_make_one_file_that_says_what_geoparquet_must_say(tmp_path):
    path = tmp_path / "p.parquet"
    parts = [table(4), table(7), table(1, lon=[float("nan")])]
    assert write_points(iter(parts), SCHEMA, path) == 12
    frame = gpd.read_parquet(path)
    assert len(frame) == 12
    assert frame.crs.to_epsg() == 4326
    assert frame.geometry.isna().sum() == 1
    geo = json.loads(pq.read_metadata(path).metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    column = geo["columns"][geo["primary_column"]]
    assert column["encoding"] == "WKB"
    assert column["geometry_types"] == ["Point"]
    np.testing.assert_allclose(column["bbox"], frame.geometry.total_bounds)
    assert require_points(path, SCHEMA) == 12


def test_a_table_without_any_position_has_no_bounds(tmp_path):
    nan = [float("nan")] * 2
    write_points([table(2, lon=nan, lat=nan)], SCHEMA, tmp_path / "p.parquet")
    assert require_points(tmp_path / "p.parquet", SCHEMA) == 2
    assert gpd.read_parquet(tmp_path / "p.parquet").geometry.isna().all()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (table().drop_columns(["image_id"]), "image_id is missing"),
        (table().append_column("more", pa.array(range(5))), "more is unknown"),
        (
            table().set_column(0, "image_id", pa.array(range(5), pa.int64())),
            "image_id is int64, not string",
        ),
        (table().select(["lon", "image_id", "lat"]), "other order"),
    ],
)
def test_other_columns_than_declared_are_never_written(tmp_path, wrong, said):
    with pytest.raises(StorageError, match=said):
        write_points([table(), wrong], SCHEMA, tmp_path / "p.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_file_with_other_columns_is_refused_with_every_difference(tmp_path):
    path = tmp_path / "p.parquet"
    write_points([table()], SCHEMA, path)
    other = pa.schema([("image_id", pa.int64()), ("lon", pa.float64()), ("alt", pa.float64())])
    with pytest.raises(StorageError, match=r"alt is missing; lat is unknown; image_id is string"):
        require_points(path, other)


@pytest.mark.parametrize("content", [b"no parquet", None])
def test_what_is_no_geoparquet_is_refused(tmp_path, content):
    path = tmp_path / "p.parquet"
    if content is None:
        pq.write_table(table(), path)
    else:
        path.write_bytes(content)
    with pytest.raises(StorageError, match="cannot be read as GeoParquet"):
        require_points(path, SCHEMA)


def test_ids_and_times_of_a_catalog_come_back_exactly(tmp_path):
    rows = [{"image_id": str(2**60 + 1), "merge_cc": "4546427159383000001", "status": "listed"}]
    path = tmp_path / "catalog.parquet"
    write_points([table_of(rows, CATALOG_SCHEMA)], CATALOG_SCHEMA, path)
    frame = gpd.read_parquet(path)
    assert frame["image_id"].tolist() == [str(2**60 + 1)]
    assert frame["merge_cc"].tolist() == ["4546427159383000001"]
    assert frame["width"].isna().all()
