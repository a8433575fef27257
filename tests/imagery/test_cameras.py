import pytest
from hypothesis import given
from hypothesis import strategies as st

from citysplat_core.errors import ImageError
from citysplat_core.imagery.cameras import (
    Camera,
    camera_for,
    camera_id_of,
    distinct_cameras,
    lenses_of,
)

NAN = float("nan")


def row(**values):
    base = {
        "source": "mapillary", "creator": "ann", "creator_id": "7", "sequence_id": "s1",
        "make": "Apple", "model": "iPhone", "camera_type": "perspective", "width": 4000,
        "height": 3000, "focal_ratio": 0.8, "k1": -0.1, "k2": 0.02,
    }  # fmt: skip
    return base | values


def camera(values, size=(1024, 768), catalog=None):
    return camera_for(values, *size, lenses_of(catalog or [values]))


@given(st.text(max_size=40))
def test_a_camera_number_is_positive_and_fits_31_bits(key):
    assert 1 <= camera_id_of(key) < 2**31
    assert camera_id_of(key) == camera_id_of(key)


def test_a_solved_perspective_camera_is_radial_in_pixels_of_the_file():
    made = camera(row())
    assert made.model == "RADIAL"
    assert made.params == pytest.approx((0.8 * 1024, 512, 384, -0.1, 0.02))
    assert made.has_prior_focal


def test_a_fisheye_has_its_own_model():
    assert camera(row(camera_type="fisheye")).model == "RADIAL_FISHEYE"


def test_the_lens_is_the_median_of_all_photos_of_the_device():
    catalog = [row(focal_ratio=f, sequence_id=str(f)) for f in (0.7, 0.8, 2.0)]
    catalog.append(row(creator_id="8", focal_ratio=5.0))
    made = [camera(r, catalog=catalog) for r in catalog[:3]]
    assert {m.params[0] for m in made} == {0.8 * 1024}
    assert len({m.camera_id for m in made}) == 1


def test_solved_values_win_over_exif():
    catalog = [row(focal_ratio=0.5, k1=NAN, k2=NAN)] * 5 + [row()]
    assert camera(catalog[0], catalog=catalog).params[0] == pytest.approx(0.8 * 1024)


def test_without_any_knowledge_the_focal_length_is_a_guess_and_says_so():
    made = camera(row(focal_ratio=NAN, k1=NAN, k2=NAN))
    assert made.params == pytest.approx((0.85 * 1024, 512, 384, 0, 0))
    assert not made.has_prior_focal


def test_exif_of_a_folder_is_never_a_prior():
    made = camera(row(source="folder", focal_ratio=35 / 36, k1=NAN, k2=NAN))
    assert made.model == "SIMPLE_RADIAL"
    assert made.params == pytest.approx((35 / 36 * 1024, 512, 384, 0))
    assert not made.has_prior_focal


def test_who_shares_a_camera_and_who_does_not():
    def same(a, b, size=(1024, 768)):
        return camera(a).camera_id == camera(b, size).camera_id

    assert same(row(sequence_id="s1"), row(sequence_id="s2"))
    assert not same(row(), row(creator_id="8"))
    assert not same(row(), row(model="Pixel"))
    assert not same(row(), row(), size=(1024, 576))
    assert not same(row(), row(), size=(768, 1024))
    unnamed = {"make": None, "model": None}
    assert not same(row(**unnamed), row(**unnamed, sequence_id="s2"))
    folder = {"source": "folder", "creator": None, "creator_id": None}
    assert same(row(**folder), row(**folder, sequence_id="s2"))
    assert not same(row(**folder, **unnamed), row(**folder, **unnamed, sequence_id="s2"))


def test_two_cameras_with_one_number_are_refused():
    made = camera(row())
    other = Camera(
        camera_id=made.camera_id, camera_key="other", model="RADIAL", width=1, height=1,
        params=(1.0,), has_prior_focal=False,
    )  # fmt: skip
    assert distinct_cameras([made, made]) == [made]
    with pytest.raises(ImageError, match="have one number"):
        distinct_cameras([made, other])
