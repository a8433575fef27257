"""Reading the area, and what is wrong with areas that cannot be read."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import Polygon, box

from citysplat_core.errors import AreaError, ConfigError
from citysplat_core.geography import Area, tile_bounds, tile_of

LUND = "13.19,55.69,13.21,55.71"


def geojson(tmp_path, value) -> object:
    path = tmp_path / "area.geojson"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def polygon(*ring) -> dict[str, object]:
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


TRIANGLE = polygon([13.19, 55.69], [13.21, 55.69], [13.2, 55.71])


@pytest.mark.parametrize(
    "value",
    [
        TRIANGLE,
        {"type": "Feature", "properties": {}, "geometry": TRIANGLE},
        {
            "type": "FeatureCollection",
            "features": [
                {"type": "Feature", "properties": {}, "geometry": TRIANGLE},
                {"type": "Feature", "properties": {}, "geometry": None},
                {"type": "Feature", "geometry": {"type": "Point", "coordinates": [0, 0]}},
            ],
        },
    ],
    ids=["geometry", "feature", "collection"],
)
def test_a_polygon_is_read_from_any_geojson(tmp_path, value):
    area = Area.from_geojson(geojson(tmp_path, value))
    assert area.polygon.equals(Polygon([(13.19, 55.69), (13.21, 55.69), (13.2, 55.71)]))


def test_several_polygons_are_one_area(tmp_path):
    far = polygon([13.3, 55.69], [13.31, 55.69], [13.3, 55.7])
    features = [{"type": "Feature", "geometry": g, "properties": {}} for g in (TRIANGLE, far)]
    area = Area.from_geojson(geojson(tmp_path, {"type": "FeatureCollection", "features": features}))
    assert list(area.contains([13.2, 13.302, 13.25], [55.7, 55.692, 55.695])) == [True, True, False]


def test_bounds_are_west_south_east_north():
    area = Area.from_bounds(" 13.19, 55.69 ,13.21,55.71")
    assert area.polygon.bounds == (13.19, 55.69, 13.21, 55.71)
    assert area.center() == pytest.approx((13.2, 55.7))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"area ''; expected four numbers"),
        ("1,2,3", r"expected four numbers west,south,east,north"),
        ("1,2,3,4,5", r"expected four numbers"),
        ("a,b,c,d", r"area 'a,b,c,d'; expected four numbers"),
        ("13.21,55.69,13.19,55.71", r"spans nothing; expected west < east"),
        ("13.19,55.71,13.21,55.69", r"spans nothing"),
        ("13.19,55.69,13.19,55.71", r"spans nothing"),
        ("nan,0,1,1", r"spans nothing"),
        ("0,80,1,89", r"reaches from 0.0,80.0 to 1.0,89.0; expected degrees in WGS84"),
        ("379000,6174000,380000,6175000", r"degrees in WGS84, lon before lat"),
    ],
)
def test_bounds_that_are_no_area_are_refused(text, message):
    with pytest.raises(AreaError, match=message):
        Area.from_bounds(text)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", r"is not JSON"),
        ("[]", r"no readable geometry"),
        ("3", r"no readable geometry"),
        ({"type": "FeatureCollection"}, r"no readable geometry"),
        ({"type": "Polygon"}, r"no readable geometry"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}, r"no readable geometry"),
        ({"type": "Point", "coordinates": [1, 2]}, r"holds 1 geometries and no polygon"),
        ({"type": "FeatureCollection", "features": []}, r"holds 0 geometries and no polygon"),
        (polygon([0, 0], [1, 1], [1, 0], [0, 2]), r"not valid \(Self-intersection"),
        (polygon([0, 0], [1, 1], [2, 2]), r"of area 0.0"),
        (polygon([379e3, 6174e3], [380e3, 6174e3], [380e3, 6175e3]), r"degrees in WGS84"),
    ],
)
def test_a_file_without_a_usable_polygon_is_refused(tmp_path, value, message):
    with pytest.raises(AreaError, match=message):
        Area.from_geojson(geojson(tmp_path, value))


def test_a_missing_file_is_named_and_counts_as_a_configuration_error(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere.geojson does not exist"):
        Area.from_geojson(tmp_path / "nowhere.geojson")


@given(st.floats(-179, 178), st.floats(-80, 79), st.floats(0.001, 0.2), st.floats(0.001, 0.2))
def test_every_point_of_the_area_lies_in_a_listed_tile(west, south, width, height):
    area = Area(box(west, south, west + width, south + height))
    tiles = area.tiles()
    assert tiles == sorted(set(tiles))
    rng = np.random.default_rng(0)
    lon, lat = west + width * rng.random(50), south + height * rng.random(50)
    xs, ys = tile_of(lon, lat, 14)
    assert {(14, int(x), int(y)) for x, y in zip(xs, ys, strict=True)} <= set(tiles)
    assert all(area.polygon.intersects(box(*tile_bounds(*tile))) for tile in tiles)


def test_tiles_in_a_gap_of_the_area_are_not_listed(tmp_path):
    ring = [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]
    hole = [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9], [0.1, 0.1]]
    area = Area.from_geojson(geojson(tmp_path, {"type": "Polygon", "coordinates": [ring, hole]}))
    x, y = tile_of([0.5], [0.5], 14)
    assert (14, int(x[0]), int(y[0])) not in area.tiles()
    assert not area.contains([0.5], [0.5])[0]
    assert area.contains([0.05], [0.5])[0]
    assert not area.contains([np.nan], [0.5])[0]


def test_the_area_survives_a_round_trip_as_geojson(tmp_path):
    area = Area.from_bounds(LUND)
    again = Area.from_geojson(geojson(tmp_path, area.to_geojson()))
    assert again.polygon.equals(area.polygon)
