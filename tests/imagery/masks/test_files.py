import cv2
import numpy as np
import pytest

from citysplat_core.errors import ImageError
from citysplat_core.imagery.masks import mask_path, read_mask
from citysplat_core.imagery.masks.files import MaskWriter


def test_a_mask_has_colmaps_name_and_values_and_is_read_back(tmp_path):
    ignored = np.zeros((30, 40), bool)
    ignored[20:] = True
    MaskWriter(tmp_path).write("17", ignored)
    assert mask_path(tmp_path, "17") == tmp_path / "masks" / "17.jpg.png"
    stored = cv2.imread(str(tmp_path / "masks" / "17.jpg.png"), cv2.IMREAD_UNCHANGED)
    assert stored.shape == (30, 40)
    assert stored.dtype == np.uint8
    assert set(np.unique(stored[:20])) == {255}
    assert set(np.unique(stored[20:])) == {0}
    np.testing.assert_array_equal(read_mask(tmp_path, "17"), ~ignored)


def test_photos_with_one_mask_share_one_file(tmp_path):
    writer, ignored = MaskWriter(tmp_path), np.eye(20, dtype=bool)
    for name in ("a", "b"):
        writer.write(name, ignored)
    writer.write("c", ~ignored)
    inodes = [mask_path(tmp_path, name).stat().st_ino for name in "abc"]
    assert inodes[0] == inodes[1] != inodes[2]


def test_a_photo_without_a_mask_is_used_whole(tmp_path):
    assert read_mask(tmp_path, "17") is None


def test_a_damaged_mask_is_an_error_that_names_the_file(tmp_path):
    path = mask_path(tmp_path, "17")
    path.parent.mkdir()
    path.write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"17\.jpg\.png cannot be read"):
        read_mask(tmp_path, "17")
