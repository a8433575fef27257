"""A crossing photographed by 360-degree cameras only, from the local server to a solved box."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation

from citysplat_core.features import extract_box_features
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
from citysplat_core.mapping import solve_box
from citysplat_core.matching import match_box
from citysplat_core.settings import (
    BoxSettings,
    FeatureSettings,
    MappingSettings,
    MaskSettings,
    MatchingSettings,
    PhotoSettings,
    SourceSettings,
)
from citysplat_core.simulation import TownSettings, write_town
from citysplat_core.simulation.server import LOCAL_TOKEN
from citysplat_core.simulation.town_server import serve_town
from citysplat_core.storage import no_progress

TOWN = TownSettings(
    n_photos=16, n_streets_east=1, n_streets_north=1, block_m=40.0, panorama_share=1.0,
    panorama_width_px=1280, sideways_share=0.0, pedestrian_share=0.0, dusk_share=0.0,
    blurred_share=0.0, gps_bias_m=0.0, gps_noise_m=0.3, computed_noise_m=0.3,
)  # fmt: skip
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
FRINGE_COLUMNS = ["fringe", "box", "image_id", "colmap_id"]


@pytest.fixture(scope="module")
def crossing(tmp_path_factory):
    """The box's photos and its solved poses."""
    root = tmp_path_factory.mktemp("crossing")
    write_town(root / "town", TOWN)
    for name in ("ledger", "catalog", "plan", "images", "features", "matches", "model", "w"):
        (root / name).mkdir()
    run = {"work": root / "w", "progress": no_progress}
    one = run | {"n_threads": 2}
    frame = CityFrame(TOWN.origin_lon, TOWN.origin_lat, TOWN.origin_alt_m)
    with serve_town(root / "town", port=0) as url:
        settings = SourceSettings(
            tiles_url=url, graph_url=url, tiles_per_min=60_000, read_timeout_s=300
        )
        source = MapillarySource(settings, Token(LOCAL_TOKEN), root / "cache")
        area = Area.from_geojson(root / "town" / "area.geojson")
        discover_images(area, source=source, out=root / "ledger", **run)
        registry = IdentityRegistry(root / "identity.sqlite")
        catalog = root / "catalog"
        build_catalog(root / "ledger", source=source, registry=registry, out=catalog, **run)
        # The town's middle is a corner of tiles: one coarse box of all that lies in one tile.
        plan_boxes(
            catalog, city="t", frame=frame, out=root / "plan",
            settings=BoxSettings(min_zoom=14, max_zoom=14), progress=no_progress,
        )  # fmt: skip
        plan = pd.read_parquet(root / "plan" / "images.parquet")
        box = plan.box.mode()[0]
        fetch_box_images(
            box, plan_images=root / "plan" / "images.parquet", catalog=catalog, source=source,
            photo_cache=root / "cache" / "photos", frame=frame, out=root / "images",
            settings=PhotoSettings(), masks=MaskSettings(), **one,
        )  # fmt: skip
    extract_box_features(
        box, box_images=root / "images", out=root / "features",
        settings=FeatureSettings(max_features=1000), **one,
    )  # fmt: skip
    match_box(
        box, box_images=root / "images", box_features=root / "features", out=root / "matches",
        settings=MatchingSettings(max_neighbours=10), **one,
    )  # fmt: skip
    pd.DataFrame({name: pd.Series(dtype="str") for name in FRINGE_COLUMNS}).to_parquet(
        root / "fringe.parquet"
    )
    solve_box(
        box, box_images={box: root / "images"}, box_matches=root / "matches", fringe_matches={},
        fringe_images=root / "fringe.parquet", out=root / "model", settings=MappingSettings(),
        **one,
    )  # fmt: skip
    solved = pd.read_parquet(root / "model" / "images.parquet")
    images = pd.read_parquet(root / "images" / "images.parquet")
    rig = images[["image_id", "panorama_id", "view_yaw_deg", "view_pitch_deg"]]
    truth = pd.read_parquet(root / "town" / "truth.parquet").set_index("image_id")
    return solved.merge(rig, on="image_id"), truth


def test_views_of_panoramas_are_registered_at_the_truth(crossing):
    solved, truth = crossing
    registered = solved[solved.component == 0]
    assert len(registered) >= 0.95 * len(solved) > 0
    true = truth.loc[registered.panorama_id]
    place = ["east_m", "north_m", "up_m"]
    apart_m = np.median(np.abs(registered[place].to_numpy() - true[place].to_numpy()), axis=0)
    assert np.hypot(*apart_m[:2]) < 0.6
    assert apart_m[2] < 1.2  # heights are twice as bad
    turns = [
        view_from_panorama(yaw, pitch)
        for yaw, pitch in zip(registered.view_yaw_deg, registered.view_pitch_deg, strict=True)
    ]
    quaternion = ["qx", "qy", "qz", "qw"]
    expected = np.stack(turns) @ Rotation.from_quat(true[quaternion].to_numpy().copy()).as_matrix()
    seen = Rotation.from_quat(registered[quaternion].to_numpy().copy()).as_matrix()
    error = Rotation.from_matrix(seen @ expected.transpose(0, 2, 1)).magnitude()
    assert np.degrees(np.median(error)) < 2.0


def test_the_views_of_a_panorama_stand_at_one_place_without_being_told(crossing):
    solved, _ = crossing
    registered = solved[solved.component == 0]
    place = registered[["east_m", "north_m", "up_m"]]
    middle = registered.groupby("panorama_id")[list(place.columns)].transform("mean")
    apart_m = np.linalg.norm(place.to_numpy() - middle.to_numpy(), axis=1)
    assert np.median(apart_m) < 0.1
    assert np.quantile(apart_m, 0.9) < 0.3
