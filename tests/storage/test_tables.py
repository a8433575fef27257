"""Content digests of tables: the same rows, the same digest."""

import numpy as np
import pandas as pd
import pytest

from citysplat_core.storage import digest_of_frame, digest_of_table

TABLE = pd.DataFrame(
    {
        "image_id": ["a", "b", "c"],
        "lon": [1.0, np.nan, 3.0],
        "n": [1, 2, 3],
        "note": ["x", None, "z"],
    }
)


def test_the_order_of_rows_and_columns_does_not_matter():
    assert digest_of_frame(TABLE.iloc[::-1]) == digest_of_frame(TABLE)
    assert digest_of_frame(TABLE[["n", "lon", "note", "image_id"]]) == digest_of_frame(TABLE)


@pytest.mark.parametrize(
    "other",
    [
        TABLE.assign(lon=[1.0, np.nan, 3.0000001]),
        TABLE.assign(lon=[1.0, 0.0, 3.0]),
        TABLE.assign(note=["x", "", "z"]),
        TABLE.rename(columns={"n": "m"}),
        TABLE[:2],
        pd.concat([TABLE, TABLE[:1]]),
    ],
    ids=["value", "missing is not zero", "missing is not empty", "name", "fewer", "twice"],
)
def test_any_other_content_has_another_digest(other):
    assert digest_of_frame(other) != digest_of_frame(TABLE)


def test_a_table_comes_back_from_disk_with_its_digest(tmp_path):
    path = tmp_path / "t.parquet"
    TABLE.to_parquet(path)
    assert digest_of_table(path) == digest_of_frame(pd.read_parquet(path))


def test_columns_that_say_when_can_be_left_out(tmp_path):
    digests = []
    for name, time in (("a", 1), ("b", 2)):
        TABLE.assign(fetched_at=time).to_parquet(tmp_path / name)
        digests.append(digest_of_table(tmp_path / name, without=("fetched_at", "not_there")))
    assert digests[0] == digests[1]
