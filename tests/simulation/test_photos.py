from concurrent.futures import ThreadPoolExecutor

import pyarrow.parquet as pq
import pytest
import simplejpeg

from citysplat_core.simulation import PhotoMaker, TownSettings, write_town


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("town")
    write_town(folder, TownSettings(n_photos=40, photo_width_px=128))
    return folder


@pytest.fixture(scope="module")
def ids(folder):
    return [str(v) for v in pq.read_table(folder / "world.parquet")["image_id"].to_pylist()]


def test_only_what_is_asked_for_is_rendered(folder, ids):
    content = PhotoMaker(folder).jpeg(ids[3])
    assert [path.name for path in (folder / "photos").iterdir()] == [f"{ids[3]}.jpg"]
    assert (folder / "photos" / f"{ids[3]}.jpg").read_bytes() == content
    assert max(simplejpeg.decode_jpeg(content).shape) == 128


def test_a_kept_photo_is_not_rendered_again(folder, ids):
    PhotoMaker(folder).jpeg(ids[3])
    (folder / "photos" / f"{ids[3]}.jpg").write_bytes(b"kept")
    assert PhotoMaker(folder).jpeg(ids[3]) == b"kept"
    (folder / "photos" / f"{ids[3]}.jpg").unlink()


def test_threads_get_whole_and_equal_photos(folder, ids):
    maker = PhotoMaker(folder)
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(maker.jpeg, [ids[4], ids[5]] * 4))
    assert len(set(got)) == 2
    assert not [path for path in (folder / "photos").iterdir() if path.suffix != ".jpg"]


def test_an_unknown_photo_is_not_found(folder):
    with pytest.raises(FileNotFoundError, match="has no photo 12"):
        PhotoMaker(folder).jpeg("12")
