import random

import pyarrow.parquet as pq
import pytest

from citysplat_core.errors import StorageError
from citysplat_core.imagery.photo_rows import rows_with_same_cameras
from citysplat_core.imagery.tables import CATALOG_SCHEMA, table_of

CHOICES = {
    "make": ["Apple", "GoPro", None],
    "model": ["one", "two", None],
    "creator": ["anna", "ben", "cleo", None],
    "creator_id": ["1", "2", None],
    "sequence_id": ["s", "t", "u", None],
    "source": ["mapillary", "mapillary", "folder"],
    "status": ["listed", "listed", "gone"],
    "panorama_id": [None, None, "p"],
}


@pytest.fixture
def catalog(tmp_path):
    draws = random.Random(3)
    rows = [
        {name: draws.choice(values) for name, values in CHOICES.items()}
        | {"image_id": f"{number:04d}", "width": number, "focal_ratio": 0.5}
        for number in range(400)
    ]
    path = tmp_path / "catalog.parquet"
    pq.write_table(table_of(rows, CATALOG_SCHEMA), path, row_group_size=64)
    return path, rows


@pytest.mark.parametrize("seed", range(5))
def test_the_rows_of_the_same_devices_and_owners_are_read_and_no_others(catalog, seed):
    path, rows = catalog
    photos = random.Random(seed).sample(rows, 3)
    known = {name: {photo[name] for photo in photos} for name in CHOICES}
    same = [
        row["width"]
        for row in rows
        if row["status"] == "listed"
        and row["panorama_id"] is None
        and all(row[name] in known[name] for name in ("make", "model"))
        and (
            row["source"] == "folder"
            or any(
                row[name] is not None and row[name] in known[name]
                for name in ("creator_id", "creator", "sequence_id")
            )
        )
    ]
    read = rows_with_same_cameras(path, photos)
    assert [row["width"] for row in read] == same
    assert 0 < len(same) < 200
    assert all(isinstance(row["source"], str) for row in read)


def test_a_catalog_that_lacks_a_column_is_one_clear_error(catalog):
    path, rows = catalog
    pq.write_table(pq.read_table(path).drop_columns(["make"]), path)
    with pytest.raises(StorageError, match=r"catalog\.parquet cannot be read.*Run the step"):
        rows_with_same_cameras(path, rows[:3])
