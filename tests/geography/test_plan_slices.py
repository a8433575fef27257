"""Tables in the order of the boxes: a box reads its own rows and no others."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from citysplat_core.geography.plan_slices import slice_by_box, write_in_groups


def sliced(tmp_path, n=30_000, n_boxes=40):
    rng = np.random.default_rng(2)
    ids = pa.array([f"{i:06d}" for i in range(n)])
    table = pa.table({"image_id": ids, "creator": pa.array([f"u{i % 9}" for i in range(n)])})
    pq.write_table(table.append_column("geometry", ids.cast(pa.binary())), tmp_path / "in.parquet")
    number = np.sort(rng.integers(0, n_boxes, n))
    rows = rng.permutation(n)
    keys = pa.array([f"{k:04d}" for k in range(n_boxes)])
    boxes = pa.DictionaryArray.from_arrays(pa.array(number, pa.int32()), keys)
    slice_by_box(tmp_path / "in.parquet", rows, boxes, tmp_path / "out.parquet")
    return number, rows, tmp_path / "out.parquet"


def test_a_box_reads_its_rows_and_few_row_groups(tmp_path):
    number, rows, path = sliced(tmp_path)
    part = pq.read_table(path, filters=[("box", "==", "0007")])
    assert part.column("image_id").to_pylist() == [f"{i:06d}" for i in rows[number == 7]]
    metadata = pq.read_metadata(path)
    place = metadata.schema.to_arrow_schema().get_field_index("box")
    groups = [
        metadata.row_group(i).column(place).statistics for i in range(metadata.num_row_groups)
    ]
    assert sum(g.min <= "0007" <= g.max for g in groups) == 1
    assert len(groups) > 4


def test_columns_stay_plain_and_the_geometry_stays_behind(tmp_path):
    _, _, path = sliced(tmp_path, n=500)
    schema = pq.read_schema(path)
    assert schema.names == ["box", "image_id", "creator"]
    assert all(pa.types.is_string(kind) for kind in schema.types)


def test_a_table_without_rows_is_written(tmp_path):
    empty = pa.table({"image_id": pa.array([], pa.string())})
    write_in_groups(empty, np.array([], np.int64), tmp_path / "none.parquet")
    assert pq.read_table(tmp_path / "none.parquet").num_rows == 0
