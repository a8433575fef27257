import numpy as np
import pycolmap
import pytest

from citysplat_core.mapping.extend import leave_model
from citysplat_core.mapping.merged_model import merge_models, read_sights


def part_of(model, photos):
    """A model of some photos of a model, with points of its own numbers."""
    part = pycolmap.Reconstruction(model)
    leave_model(part, set(model.reg_image_ids()) - set(photos))
    return part


@pytest.fixture
def halves(solved_street):
    """Two halves of a street that share six photos, and the whole."""
    _, model, _ = solved_street
    ids = sorted(model.reg_image_ids())
    return part_of(model, ids[:23]), part_of(model, ids[17:]), model


def merge(models, poses=None):
    sights = [read_sights(m, m.reg_image_ids()) for m in models]
    if poses is None:
        poses = {i: m.image(i).cam_from_world() for m in models for i in m.reg_image_ids()}
    return merge_models(sights, poses), sights


def test_photos_that_two_models_hold_stand_once_with_all_that_they_see(halves):
    first, second, whole = halves
    merged, _ = merge([first, second])
    assert sorted(merged.model.reg_image_ids()) == sorted(whole.reg_image_ids())
    assert merged.model.compute_num_observations() == pytest.approx(
        whole.compute_num_observations(), rel=0.01
    )
    assert merged.model.num_points3D() == pytest.approx(whole.num_points3D(), rel=0.01)


def test_one_model_stays_what_it_was(solved_street):
    _, model, _ = solved_street
    merged, (sights,) = merge([model])
    became = dict(zip(sights.point_ids.tolist(), merged.points_of[0].tolist(), strict=True))
    assert len(became) == model.num_points3D()
    for point_id in sorted(model.point3D_ids())[::50]:
        if became[point_id] < 0:  # it was seen twice in a photo
            continue
        here, there = model.point3D(point_id), merged.model.point3D(became[point_id])
        assert there.xyz == pytest.approx(here.xyz)
        seen = {e.image_id: model.image(e.image_id).point2D(e.point2D_idx).xy
                for e in here.track.elements}  # fmt: skip
        assert len(seen) == there.track.length()
        for e in there.track.elements:
            xy = merged.model.image(e.image_id).point2D(e.point2D_idx).xy
            assert xy == pytest.approx(seen[e.image_id])
    assert (merged.points_of[0] >= 0).mean() > 0.98


def test_a_shared_point_lies_between_its_two_places(halves):
    first, second, _ = halves
    second.transform(pycolmap.Sim3d(1.0, pycolmap.Rotation3d(), np.array([0.0, 0.0, 0.4])))
    merged, sights = merge([first, second])
    shared = sorted(set(merged.points_of[0].tolist()) & set(merged.points_of[1].tolist()) - {-1})
    assert len(shared) > 20
    rows = [np.flatnonzero(of == shared[0])[0] for of in merged.points_of]
    places = [each.xyz[row] for each, row in zip(sights, rows, strict=True)]
    assert merged.model.point3D(shared[0]).xyz == pytest.approx(np.mean(places, axis=0))


def test_photos_without_a_pose_and_what_only_they_see_take_no_part(halves):
    first, _, _ = halves
    ids = sorted(first.reg_image_ids())
    poses = {i: first.image(i).cam_from_world() for i in ids[:10]}
    sights = read_sights(first, ids[:10])
    merged = merge_models([sights], poses)
    assert sorted(merged.model.reg_image_ids()) == ids[:10]
    assert all(p.track.length() >= 2 for p in merged.model.points3D.values())
    assert len(sights.point_ids) < first.num_points3D()


def test_a_camera_has_the_lens_of_the_model_that_tells_it_best(solved_street):
    _, model, _ = solved_street
    ids = sorted(model.reg_image_ids())
    small, large = part_of(model, ids[:12]), part_of(model, ids[6:])
    for each, focal in ((small, 400.0), (large, 451.0)):
        for camera in each.cameras.values():
            each.camera(camera.camera_id).focal_length = focal
    for order in ([small, large], [large, small]):
        merged, _ = merge(order)
        assert {camera.focal_length for camera in merged.model.cameras.values()} == {451.0}
        assert sorted(merged.model.reg_image_ids()) == ids
