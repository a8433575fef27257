import numpy as np
import pyarrow as pa
import pycolmap

from citysplat_core.simulation import truth_table, world_table
from citysplat_core.simulation.server import world_schema


def test_the_world_has_every_column_of_the_server(town, captures):
    table = world_table(town, captures)
    schema = world_schema()
    assert set(schema.names) <= set(table.column_names)
    for field in schema:
        assert table.schema.field(field.name).type == field.type, field.name


def test_ids_are_exact_above_two_to_the_53(town, captures):
    ids = world_table(town, captures)["image_id"]
    assert ids.type == pa.int64()
    assert [str(v) for v in ids.to_pylist()] == [c.image_id for c in captures]
    assert np.mean(ids.to_numpy() > 2**53) > 0.7


def test_sequence_names_have_22_letters(town, captures):
    names = set(world_table(town, captures)["sequence"].to_pylist())
    assert all(len(name) == 22 and name.isalnum() for name in names)


def test_truth_projects_like_colmap(town, captures):
    rows = truth_table(town, captures).to_pylist()
    for row, capture in list(zip(rows, captures, strict=True))[::17]:
        rotation = pycolmap.Rotation3d(np.array([row["qx"], row["qy"], row["qz"], row["qw"]]))
        pose = pycolmap.Rigid3d(rotation, np.array([row["tx"], row["ty"], row["tz"]]))
        centre = np.array([row["east_m"], row["north_m"], row["up_m"]])
        np.testing.assert_allclose(pose * centre, 0, atol=1e-9)
        np.testing.assert_allclose(pose.rotation.matrix(), capture.rotation, atol=1e-9)


def test_missing_values_are_nan_or_null_never_zero(town, captures):
    table = world_table(town, captures).to_pylist()
    for row in table:
        has_sfm = np.isfinite(row["computed_lon"])
        assert (row["rotation"] is not None) == has_sfm
        assert (row["camera_parameters"] is not None) == has_sfm
        assert row["altitude"] != 0


def test_an_owner_of_a_camera_keeps_its_lens(captures):
    lenses = {}
    for capture in captures:
        camera = capture.camera
        key = (capture.sequence.creator_id, camera.make, camera.model)
        assert lenses.setdefault(key, camera) == camera
