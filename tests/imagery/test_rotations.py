import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from citysplat_core.geography import CityFrame
from citysplat_core.imagery.mapillary.entities import catalog_row
from citysplat_core.imagery.rotations import rotations_in_city_frame

RECORDED = {
    "id": "135511895288847",
    "computed_rotation": [1.3642214091955, -0.0019509766093401, 0.035317244081076],
    "computed_compass_angle": 1.2865829255371,
    "geometry": {"type": "Point", "coordinates": [-108.57081597222, 39.068354972222]},
    "camera_parameters": [0.85136388143343, -6.6499673206348e-05, -3.8067681992196e-05],
    "camera_type": "perspective",
    "captured_at": 1563721072184,
}


def test_the_recorded_rotation_looks_where_its_compass_says():
    row = catalog_row(RECORDED)
    rotation = Rotation.from_rotvec([row["rotation_x"], row["rotation_y"], row["rotation_z"]])
    east, north, _ = rotation.as_matrix()[2]
    assert np.degrees(np.arctan2(east, north)) == pytest.approx(1.28658292553709, abs=1e-9)


def test_at_the_origin_nothing_turns():
    frame = CityFrame(8.5, 47.4, 400.0)
    local = np.array([[1.2, 0.3, -0.4]])
    turned = rotations_in_city_frame(local, np.array([8.5]), np.array([47.4]), frame)
    np.testing.assert_allclose(turned, local, atol=1e-8)


def test_away_from_the_origin_directions_agree_with_the_frame():
    frame = CityFrame(8.5, 47.4, 400.0)
    lon, lat = np.array([8.7]), np.array([47.5])
    level_north = Rotation.from_matrix([[1, 0, 0], [0, 0, -1], [0, 1, 0]])  # right, down, ahead
    turned = rotations_in_city_frame(level_north.as_rotvec()[None], lon, lat, frame)
    ahead = Rotation.from_rotvec(turned[0]).as_matrix()[2]
    step = frame.enu(lon, lat + 1e-4, [400.0]) - frame.enu(lon, lat, [400.0])
    np.testing.assert_allclose(ahead, step[0] / np.linalg.norm(step), atol=2e-5)
    assert abs(np.degrees(np.arctan2(ahead[0], ahead[1]))) == pytest.approx(
        0.2 * np.sin(np.radians(47.5)), abs=0.01
    )


def test_unknown_rotations_stay_unknown():
    frame = CityFrame(8.5, 47.4, 400.0)
    local = np.array([[np.nan] * 3, [0.1, 0.2, 0.3]])
    turned = rotations_in_city_frame(local, np.array([8.5, 8.5]), np.array([47.4, 47.4]), frame)
    assert np.isnan(turned[0]).all()
    assert np.isfinite(turned[1]).all()
