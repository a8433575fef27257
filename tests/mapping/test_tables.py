import numpy as np
import pandas as pd
import pycolmap
import pytest

from citysplat_core.errors import MappingError
from citysplat_core.mapping import read_registered
from citysplat_core.mapping.tables import (
    COMPONENT_SCHEMA,
    IMAGE_SCHEMA,
    missing_pose_row,
    pose_of,
    pose_row,
    write_table,
)


def test_a_pose_survives_its_row():
    rotation = pycolmap.Rotation3d(np.array([0.1, -0.5, 0.2, 0.8]) / np.sqrt(0.94))
    pose = pycolmap.Rigid3d(rotation, np.array([1.0, 2.0, 3.0]))
    row = pose_row(pose)
    back = pose_of(pd.Series(row))
    assert back.matrix() == pytest.approx(pose.matrix())
    center = [row["east_m"], row["north_m"], row["up_m"]]
    assert pose.rotation.matrix() @ center + pose.translation == pytest.approx([0, 0, 0], abs=1e-12)


def test_no_rows_give_a_whole_empty_table(tmp_path):
    write_table(tmp_path / "components.parquet", [], COMPONENT_SCHEMA)
    table = pd.read_parquet(tmp_path / "components.parquet")
    assert list(table.columns) == COMPONENT_SCHEMA.names
    assert len(table) == 0
    assert table["accepted"].dtype == bool


def test_only_photos_with_a_component_are_registered(tmp_path):
    common = {
        "is_home": True,
        **missing_pose_row(),
        "gps_residual_m": float("nan"),
        "n_observations": 0,
    }
    rows = [
        {"image_id": "a", "colmap_id": 1, "component": 0, "state": "registered", **common},
        {"image_id": "b", "colmap_id": 2, "component": -1, "state": "pruned", **common},
    ]
    write_table(tmp_path / "images.parquet", rows, IMAGE_SCHEMA)
    assert read_registered(tmp_path)["image_id"].tolist() == ["a"]
    assert np.isnan(read_registered(tmp_path)["qw"][0])


def test_a_missing_table_is_an_error_that_names_it(tmp_path):
    with pytest.raises(MappingError, match=r"images\.parquet does not exist"):
        read_registered(tmp_path)
