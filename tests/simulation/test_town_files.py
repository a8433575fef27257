import json

import pyarrow.parquet as pq
import pytest
from shapely.geometry import Point, shape

from citysplat_core.errors import ConfigError
from citysplat_core.simulation import TownSettings, load_town, write_town


def test_a_written_town_loads_as_itself_and_renders_nothing(tmp_path):
    settings = TownSettings(n_photos=40, seed=5)
    write_town(tmp_path, settings)
    assert load_town(tmp_path).settings == settings
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["area.geojson", "town.json", "truth.parquet", "world.parquet"]


def test_the_same_settings_write_the_same_files(tmp_path):
    for name in ("a", "b"):
        write_town(tmp_path / name, TownSettings(n_photos=40))
    for name in ("area.geojson", "town.json", "truth.parquet", "world.parquet"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_all_true_positions_lie_in_the_area(tmp_path):
    write_town(tmp_path, TownSettings(n_photos=100))
    collection = json.loads((tmp_path / "area.geojson").read_bytes())
    area = shape(collection["features"][0]["geometry"])
    truth = pq.read_table(tmp_path / "truth.parquet").to_pylist()
    assert all(area.contains(Point(row["lon"], row["lat"])) for row in truth)


def test_a_folder_without_a_town_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"holds no town\.json"):
        load_town(tmp_path)


def test_a_malformed_town_is_refused(tmp_path):
    (tmp_path / "town.json").write_text('{"n_photos": "many"}')
    with pytest.raises(ConfigError, match="is malformed"):
        load_town(tmp_path)
