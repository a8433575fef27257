"""The town of the matching benchmark is shaped like what the photo steps leave."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from citysplat_core.errors import ConfigError
from citysplat_core.simulation import TownSettings

SETTINGS = TownSettings(n_photos=12, photo_width_px=96, seed=3)


@pytest.fixture(scope="module")
def maker():
    sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
    import town_box

    yield town_box
    sys.path.pop(0)


@pytest.fixture(scope="module")
def town(maker, tmp_path_factory):
    return maker.make_town_box(tmp_path_factory.mktemp("town"), SETTINGS)


def test_every_row_has_its_photo_its_camera_and_its_depth(town):
    images = town.images
    assert images["colmap_id"].tolist() == list(range(1, 13))
    cameras = pd.read_parquet(town.box_images / "cameras.parquet").set_index("camera_id")
    assert set(images["camera_id"]) == set(cameras.index)
    for row, sight in zip(images.itertuples(), town.sights, strict=True):
        assert (town.box_images / "photos" / f"{row.image_id}.jpg").stat().st_size > 500
        assert sight.capture.image_id == row.image_id
        assert cameras.loc[row.camera_id, "width"] == sight.capture.camera.width
        assert sight.depth_m.shape == (len(range(4, row.height, 8)), len(range(4, row.width, 8)))


def test_positions_and_headings_are_near_the_truth_and_never_it(town):
    centres = np.array([sight.capture.centre for sight in town.sights])
    error = np.linalg.norm(town.images[["east_m", "north_m"]] - centres[:, :2], axis=1)
    assert 0 < error.min() <= error.max() < 15
    assert np.isfinite(town.images["heading_deg"]).all()


def test_a_town_goes_on_where_it_was_stopped(town, maker):
    image_id = town.images["image_id"][0]
    photo = town.box_images / "photos" / f"{image_id}.jpg"
    other = town.box_images / "photos" / f"{town.images['image_id'][1]}.jpg"
    before, kept = photo.read_bytes(), other.stat().st_mtime_ns
    photo.unlink()
    maker.make_town_box(town.folder, SETTINGS)
    assert photo.read_bytes() == before
    assert other.stat().st_mtime_ns == kept


def test_a_folder_of_another_town_is_refused(town, maker):
    with pytest.raises(ConfigError, match="other settings"):
        maker.make_town_box(town.folder, SETTINGS.model_copy(update={"seed": 4}))
