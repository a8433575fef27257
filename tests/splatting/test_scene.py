import json

import numpy as np

from citysplat_core.splatting.scene import load_scene

from .street import BOX, CENTRE
from .test_seeds import load


def test_poses_and_points_meet_in_the_local_frame(street):
    scene = load(street)
    assert scene.origin_enu_m == (*CENTRE, 42.0)
    assert abs(scene.train[0].centre_m[2]) < 1
    for view in scene.train:
        _, depths, rows = view.project()
        assert len(rows) > 0.9 * len(view.point_rows)
        assert (depths > 0).all()
    assert np.isfinite(scene.points).all()


def test_the_alignments_transform_moves_cameras_and_points_together(street, tmp_path):
    value = json.loads((street.alignment / "transforms.json").read_text())
    value["components"][0]["translation_m"] = [3.0, -2.0, 0.0]
    (tmp_path / "transforms.json").write_text(json.dumps(value))
    before, after = load(street), load(street, alignment=tmp_path)
    assert np.allclose(after.points - before.points, [3, -2, 0])
    assert np.allclose(after.train[0].centre_m - before.train[0].centre_m, [3, -2, 0])
    a, b = before.train[0].project()[0], after.train[0].project()[0]
    assert np.allclose(a, b, atol=1e-6)


def test_a_component_that_the_alignment_leaves_out_is_not_trained(street, tmp_path):
    (tmp_path / "transforms.json").write_text('{"version": 1, "components": []}')
    reason = load_scene(
        BOX,
        sparse_model=street.sparse_model,
        alignment=tmp_path,
        box_images=street.box_images,
        centre_enu_m=CENTRE,
        width_px=160,
        holdout_every=8,
        min_images=6,
    )
    assert reason == "0 registered and aligned photos; a splat needs 6"


def test_every_nth_home_photo_in_sequence_order_is_held_out(street):
    scene = load(street)
    sequences = [view.sequence_id for view in scene.held_out]
    ids = [view.image_id for view in scene.held_out]
    # s0 holds photos 0, 2, ..., 20 at home, s1 the odd ones: the 8th and the 16th of 21
    assert list(zip(sequences, ids, strict=True)) == [("s0", "photo14"), ("s1", "photo09")]
    assert all(view.is_home for view in scene.held_out)
