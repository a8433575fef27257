"""A town of panoramas behind the local server, through catalog, plan and photos."""

import dataclasses

import numpy as np
import pandas as pd
import pycolmap
import pytest
from scipy.spatial.transform import Rotation

from citysplat_core.features import create_database
from citysplat_core.geography import Area, CityFrame
from citysplat_core.geography.plan_boxes import plan_boxes
from citysplat_core.imagery import (
    IdentityRegistry,
    MapillarySource,
    Token,
    build_catalog,
    discover_images,
    fetch_box_images,
)
from citysplat_core.imagery.panorama import view_from_panorama
from citysplat_core.matching.pairs_plan import propose_pairs
from citysplat_core.matching.photos import read_photos
from citysplat_core.settings import (
    BoxSettings,
    MaskSettings,
    MatchingSettings,
    PanoramaSettings,
    PhotoSettings,
    SourceSettings,
)
from citysplat_core.simulation import TownSettings, write_town
from citysplat_core.simulation.server import LOCAL_TOKEN
from citysplat_core.simulation.town_server import serve_town
from citysplat_core.storage import no_progress

TOWN = TownSettings(
    n_photos=8, panorama_share=1.0, panorama_width_px=256, dusk_share=0.0, computed_noise_m=0.0,
    computed_missing_share=0.0, sideways_share=0.0, pedestrian_share=0.0, blurred_share=0.0,
)  # fmt: skip


@dataclasses.dataclass
class Built:
    catalog: pd.DataFrame
    counts: dict
    plan: pd.DataFrame
    images: pd.DataFrame
    cameras: pd.DataFrame
    folder: object
    truth: pd.DataFrame


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("panoramas")
    write_town(root / "town", TOWN)
    for name in ("ledger", "catalog", "plan", "images", "w"):
        (root / name).mkdir()
    frame = CityFrame(TOWN.origin_lon, TOWN.origin_lat, TOWN.origin_alt_m)
    panoramas = PanoramaSettings()
    run = {"work": root / "w", "progress": no_progress}
    with serve_town(root / "town", port=0) as url:
        settings = SourceSettings(tiles_url=url, graph_url=url, tiles_per_min=60_000)
        source = MapillarySource(settings, Token(LOCAL_TOKEN), root / "cache")
        area = Area.from_geojson(root / "town" / "area.geojson")
        discover_images(area, source=source, out=root / "ledger", **run)
        registry = IdentityRegistry(root / "identity.sqlite")
        report = build_catalog(
            root / "ledger", source=source, registry=registry, panoramas=panoramas,
            out=root / "catalog", **run,
        )  # fmt: skip
        plan_boxes(
            root / "catalog", city="t", frame=frame, out=root / "plan",
            settings=BoxSettings(min_zoom=14, max_zoom=14), progress=no_progress,
        )  # fmt: skip
        plan = pd.read_parquet(root / "plan" / "images.parquet")
        fetch_box_images(
            plan.box.mode()[0], plan_images=root / "plan" / "images.parquet",
            catalog=root / "catalog", source=source, photo_cache=root / "cache" / "photos",
            frame=frame, out=root / "images", settings=PhotoSettings(min_blur_score=None),
            panoramas=panoramas, masks=MaskSettings(), n_threads=2, **run,
        )  # fmt: skip
    return Built(
        catalog=pd.read_parquet(root / "catalog" / "catalog.parquet"), counts=report.counts,
        plan=plan, images=pd.read_parquet(root / "images" / "images.parquet"),
        cameras=pd.read_parquet(root / "images" / "cameras.parquet"), folder=root / "images",
        truth=pd.read_parquet(root / "town" / "truth.parquet").set_index("image_id"),
    )  # fmt: skip


def test_the_server_serves_panoramas_as_mapillary_does(built):
    own = built.catalog[built.catalog.is_pano]
    assert len(own) == built.counts["panoramas"] == built.counts["panoramas_cut"] == 8
    assert set(own.camera_type) == {"spherical"}
    assert own.focal_ratio.isna().all()
    assert (own.width == 2 * own.height).all()
    assert built.counts["views"] == built.counts["listed"] == 48


def test_only_views_are_planned_each_with_its_own_number(built):
    assert len(built.plan) == 48
    assert built.plan.image_id.str.contains("~v").all()
    assert built.catalog.colmap_id.is_unique


def test_views_look_where_the_panorama_and_its_rig_say(built):
    said = built.catalog.set_index("image_id")
    views = said[said.panorama_id.notna()]
    own = said.loc[views.panorama_id]
    names = ["rotation_x", "rotation_y", "rotation_z"]
    turns = [
        view_from_panorama(y, p)
        for y, p in zip(views.view_yaw_deg, views.view_pitch_deg, strict=True)
    ]
    expected = np.stack(turns) @ Rotation.from_rotvec(own[names].to_numpy().copy()).as_matrix()
    seen = Rotation.from_rotvec(views[names].to_numpy().copy()).as_matrix()
    np.testing.assert_allclose(seen, expected, atol=1e-12)
    true = Rotation.from_quat(
        built.truth.loc[views.panorama_id, ["qx", "qy", "qz", "qw"]].to_numpy().copy()
    )
    angle = Rotation.from_matrix(seen @ (np.stack(turns) @ true.as_matrix()).transpose(0, 2, 1))
    assert np.degrees(angle.magnitude()).max() < 3.0  # what the town's own solution errs by


def test_all_views_share_one_exact_camera_that_colmap_takes(built, tmp_path):
    ok = built.images[built.images.status == "ok"]
    assert len(ok) == len(built.images) > 0
    assert ok.panorama_id.notna().all()
    assert ok[["view_yaw_deg", "view_pitch_deg"]].notna().all(axis=None)
    (camera,) = built.cameras.to_dict("records")
    assert camera["model"] == "SIMPLE_PINHOLE"
    assert camera["has_prior_focal"]
    # 256 pixels all around are 81 for 90 degrees: enlarging would add nothing.
    assert (camera["width"], camera["height"]) == (80, 60)
    np.testing.assert_allclose(camera["params"], [40.0, 40.0, 30.0])
    assert set(zip(ok.width, ok.height, strict=True)) == {(80, 60)}
    create_database(tmp_path / "d.db", built.cameras, ok)
    with pycolmap.Database.open(tmp_path / "d.db") as database:
        names = {image.name for image in database.read_all_images()}
    assert names == {path.name for path in (built.folder / "photos").iterdir()}


def test_panoramas_are_credited_once(built):
    n_panoramas = built.images.panorama_id.nunique()
    text = (built.folder / "ATTRIBUTION.md").read_text()
    creators = [line for line in text.splitlines() if line.startswith("- [@")]
    assert sum(int(line.split(": ")[-1].split()[0]) for line in creators) == n_panoramas
    assert "~v" not in text


def test_views_of_one_panorama_are_known_as_such_when_pairs_are_proposed(built):
    photos = read_photos([built.folder])
    sizes = np.unique(photos.panorama, return_counts=True)[1]
    assert set(sizes) == {6}
    proposals = propose_pairs(photos, MatchingSettings(), photos.heading_deg)
    assert proposals.refused["views of one panorama"] == 15 * len(sizes)
