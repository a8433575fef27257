import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from citysplat_core.imagery.panorama import add_views, count_panoramas
from citysplat_core.imagery.panorama.catalog_views import EXCLUDED_BY_SETTING
from citysplat_core.imagery.tables import DESCRIBED_SCHEMA, table_of
from citysplat_core.settings import PanoramaSettings

# The recorded image of the Graph API whose rotation and heading are known to agree.
ROTATION = (1.3642214091955, -0.0019509766093401, 0.035317244081076)
HEADING_DEG = 1.2865829255371


def described(**facts):
    pano = {
        "image_id": "77", "sequence_id": "s", "lon": 8.5, "lat": 47.3, "heading_deg": 350.0,
        "camera_type": "spherical", "is_pano": True, "width": 5760, "height": 2880,
        "source": "mapillary", "make": "GoPro", "model": "Max", "creator": "ada",
        "quality_score": 0.7, "status": "listed",
    }  # fmt: skip
    plain = pano | {"image_id": "5", "camera_type": "perspective", "is_pano": False, "width": 4000}
    return table_of([plain, pano | facts], DESCRIBED_SCHEMA)


def views_of(table):
    return [row for row in table.to_pylist() if row["panorama_id"] is not None]


def test_a_panorama_becomes_six_perspective_views_and_keeps_its_own_row():
    table = add_views(described(), PanoramaSettings())
    assert table.schema.equals(DESCRIBED_SCHEMA)
    plain, own, *views = table.to_pylist()
    assert (plain["status"], plain["panorama_id"]) == ("listed", None)
    assert (own["status"], own["is_pano"], own["camera_type"]) == ("cut", True, "spherical")
    assert [view["image_id"] for view in views] == [f"77~v{k}" for k in range(6)]
    for number, view in enumerate(views):
        assert view["panorama_id"] == "77"
        assert view["sequence_id"] == f"s~v{number}"
        assert (view["camera_type"], view["is_pano"]) == ("perspective", False)
        assert (view["width"], view["height"]) == (1024, 768)
        assert (view["focal_ratio"], view["k1"], view["k2"]) == (pytest.approx(0.5), 0.0, 0.0)
        assert view["heading_deg"] == pytest.approx((350.0 + 60 * number) % 360)
        assert (view["view_yaw_deg"], view["view_pitch_deg"]) == (60.0 * number, 5.0)
        assert (view["lon"], view["creator"], view["status"]) == (8.5, "ada", "listed")
        assert np.isnan(view["rotation_x"])
    assert count_panoramas(table) == {
        "panoramas": 1, "panoramas_cut": 1, "panoramas_excluded": 0, "views": 6
    }  # fmt: skip


def test_rotations_of_views_follow_the_pose_formula():
    said = dict(zip(("rotation_x", "rotation_y", "rotation_z"), ROTATION, strict=True))
    settings = PanoramaSettings(pitch_deg=0.0)
    views = views_of(add_views(described(computed_heading_deg=HEADING_DEG, **said), settings))
    whole = Rotation.from_rotvec(ROTATION).as_matrix()
    down = np.radians([view["view_yaw_deg"] for view in views])
    for view, yaw in zip(views, down, strict=True):
        rotation = Rotation.from_rotvec([view[f"rotation_{a}"] for a in "xyz"]).as_matrix()
        # Turning right about the camera's own down axis, written out.
        right, below, ahead = whole
        np.testing.assert_allclose(
            rotation[2], np.cos(yaw) * ahead + np.sin(yaw) * right, atol=1e-9
        )
        np.testing.assert_allclose(rotation[1], below, atol=1e-9)
        forward = rotation[2]
        heading = np.degrees(np.arctan2(forward[0], forward[1])) % 360
        assert view["computed_heading_deg"] == pytest.approx(heading)
    assert views[0]["computed_heading_deg"] == pytest.approx(HEADING_DEG, abs=1e-9)


def test_a_level_panorama_looks_up_by_the_pitch():
    level = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])  # looks north
    said = dict(zip(("rotation_x", "rotation_y", "rotation_z"),
                    Rotation.from_matrix(level).as_rotvec(), strict=True))  # fmt: skip
    settings = PanoramaSettings(pitch_deg=10.0, yaw_deg=(0.0, 90.0))
    for view in views_of(add_views(described(**said), settings)):
        rotation = Rotation.from_rotvec([view[f"rotation_{a}"] for a in "xyz"]).as_matrix()
        east_north_up = rotation[2]
        assert east_north_up[2] == pytest.approx(np.sin(np.radians(10)))
        assert view["computed_heading_deg"] == pytest.approx(view["view_yaw_deg"])


def test_excluded_panoramas_have_no_views_and_say_why():
    table = add_views(described(), PanoramaSettings(use="exclude"))
    assert [row["status"] for row in table.to_pylist()] == ["listed", "excluded"]
    assert table.column("reason").to_pylist()[1] == EXCLUDED_BY_SETTING
    assert count_panoramas(table)["panoramas_excluded"] == 1


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"width": 4000, "height": 3000}, "4000 x 3000 pixels are no equirectangular picture"),
        ({"width": 8000, "height": 1000}, "shows none of the rig's views whole"),
    ],
)
def test_a_panorama_that_cannot_be_cut_is_excluded_and_never_used_as_an_ordinary_photo(
    facts, reason
):
    table = add_views(described(**facts), PanoramaSettings())
    assert table.num_rows == 2
    assert table.column("status").to_pylist()[1] == "excluded"
    assert reason in table.column("reason").to_pylist()[1]


def test_a_perspective_camera_type_does_not_make_a_panorama_an_ordinary_photo():
    table = add_views(described(camera_type="perspective"), PanoramaSettings())
    assert table.column("status").to_pylist()[:2] == ["listed", "cut"]


def test_a_half_sphere_gives_the_views_that_it_shows():
    crop = {"pano_left": 0.25, "pano_top": 0.0, "pano_width": 0.5, "pano_height": 1.0}
    views = views_of(add_views(described(width=2880, height=2880, **crop), PanoramaSettings()))
    assert [view["view_yaw_deg"] for view in views] == [0.0]
    assert views[0]["pano_width"] == 0.5
    wide = PanoramaSettings(yaw_deg=(0.0, 40.0, 50.0, 320.0))
    views = views_of(add_views(described(width=2880, height=2880, **crop), wide))
    assert [view["view_yaw_deg"] for view in views] == [0.0, 40.0, 320.0]


def test_views_are_as_large_as_the_fetched_panorama_allows():
    views = views_of(add_views(described(), PanoramaSettings(download_px=2048)))
    assert {(view["width"], view["height"]) for view in views} == {(648, 486)}


@pytest.mark.parametrize("status", ["gone", "failed"])
def test_panoramas_that_are_not_there_have_no_views(status):
    table = add_views(described(status=status), PanoramaSettings())
    assert table.column("status").to_pylist() == ["listed", status]
    assert table.column("is_pano").to_pylist() == [False, True]


def test_a_panorama_without_sequence_gives_views_without_sequence():
    views = views_of(add_views(described(sequence_id=None), PanoramaSettings()))
    assert {view["sequence_id"] for view in views} == {None}
