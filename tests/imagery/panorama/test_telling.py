import pytest

from citysplat_core.imagery.panorama import Coverage, coverage_of, is_panorama
from citysplat_core.imagery.panorama.telling import WHOLE_SPHERE, fits_picture

PLAIN = {"camera_type": "perspective", "is_pano": False, "source": "mapillary"}
THETA = {"source": "folder", "make": "RICOH", "model": "RICOH THETA V", "width": 5376}


@pytest.mark.parametrize(
    "said",
    [
        {"camera_type": "spherical"},
        {"camera_type": "equirectangular"},
        {"is_pano": True},
        {"is_pano": True, "camera_type": "fisheye"},
        THETA | {"height": 2688},
        {"source": "folder", "make": "GoPro", "model": "GoPro Max", "width": 5760, "height": 2880},
        {"source": "folder", "make": "Insta360", "model": "X3", "width": 5952, "height": 2976},
    ],
)
def test_a_panorama_is_told_by_its_source_or_by_a_360_camera_with_a_2_to_1_picture(said):
    assert is_panorama(PLAIN | said)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"camera_type": "fisheye"},
        {"camera_type": None, "is_pano": None},
        THETA | {"height": 4032},
        {
            "source": "folder",
            "make": "GoPro",
            "model": "HERO9 Black",
            "width": 4000,
            "height": 2000,
        },
        {"make": "RICOH", "model": "RICOH THETA V", "width": 5376, "height": 2688},
    ],
)
def test_an_ordinary_photo_is_none_even_if_it_is_wide(said):
    assert not is_panorama(PLAIN | said)


def test_a_whole_sphere_a_strip_and_a_crop_are_told_apart():
    assert coverage_of({"width": 5760, "height": 2880}) == WHOLE_SPHERE
    assert coverage_of({"width": 5760, "height": 2878}) == WHOLE_SPHERE
    assert coverage_of({"width": None, "height": None}) == WHOLE_SPHERE
    strip = coverage_of({"width": 8000, "height": 2000})
    assert strip == Coverage(top=0.25, height=0.5)
    crop = {"pano_left": 0.25, "pano_top": 0.3, "pano_width": 0.5, "pano_height": 0.4}
    assert coverage_of({"width": 4000, "height": 1600} | crop) == Coverage(
        left=0.25, top=0.3, width=0.5, height=0.4
    )


def test_a_picture_that_is_no_part_of_a_sphere_says_why():
    assert coverage_of({"width": 4000, "height": 3000}) == (
        "panorama: 4000 x 3000 pixels are no equirectangular picture (2:1)"
    )
    crop = {"pano_left": 0.8, "pano_top": 0.0, "pano_width": 0.5, "pano_height": 1.0}
    assert "crop" in str(coverage_of({"width": 4000, "height": 4000} | crop))


def test_a_file_is_compared_with_the_part_that_it_should_show():
    assert fits_picture(WHOLE_SPHERE, 2048, 1024)
    assert not fits_picture(WHOLE_SPHERE, 2048, 1536)
    assert fits_picture(Coverage(top=0.25, height=0.5), 2048, 512)
