"""Panoramax alone: what proves that a search was whole, and what its items say."""

import json
import math
import random
from datetime import UTC, datetime

import pytest

from citysplat_core.errors import BlockedError, DiscoveryError
from citysplat_core.geography import Area
from citysplat_core.imagery import PanoramaxSource, PhotoRequest, PhotoStore, open_source
from citysplat_core.imagery.panoramax.items import asset_url, catalog_row, trimmed
from citysplat_core.imagery.tables import DESCRIBED_SCHEMA, table_of
from citysplat_core.settings import SourceSettings
from citysplat_core.simulation.server.stac_items import picture_id
from citysplat_core.storage import no_progress


@pytest.fixture
def api(service):
    """The local server seen as Panoramax."""

    class Api:
        server, control, count, area = service.server, service.control, service.count, service.area
        calls = 0

        def source(self, cache="cache", **settings):
            values = {"kind": "panoramax", "panoramax_url": f"{self.server.url}/api"}
            values |= {"searches_per_min": 600_000} | settings
            return PanoramaxSource(
                SourceSettings(**values), service.folder / cache, patience=service.patience,
                clock=self.server.state.clock.now,
            )  # fmt: skip

        def discover(self, area=None, *, refresh=True, **settings):
            self.calls += 1
            return self.source(**settings).discover(
                area or self.area, work=service.folder / f"w{self.calls}", refresh=refresh,
                progress=no_progress,
            )  # fmt: skip

        def truth(self, area=None):
            world = self.server.state.world
            inside = (area or self.area).contains(world.columns["lon"], world.columns["lat"])
            ids = world.columns["image_id"][inside & world.alive]
            return {picture_id(int(i)) for i in ids}

        def fetch(self, ids, size_px=0, **settings):
            wanted = [PhotoRequest(image_id=image_id) for image_id in ids]
            store = PhotoStore(service.folder / "photos")
            return self.source(**settings).fetch_photos(
                wanted, store, size_px=size_px, n_threads=2, progress=no_progress
            )

    return Api()


def ids(table):
    return set(table.column("image_id").to_pylist())


@pytest.mark.parametrize("page", [0, 7, 50])
@pytest.mark.parametrize("limit", [10, 60, 1000])
def test_nothing_is_missing_with_any_limit_with_and_without_pages(api, page, limit):
    api.control("config", stac_page=page)
    found = api.discover(search_limit=limit).found
    assert ids(found) == api.truth()
    assert found.num_rows == len(api.truth()) > 400


@pytest.mark.parametrize("cap", [100, 250])
def test_a_server_that_lowers_the_limit_without_a_word_is_found_out(api, monkeypatch, cap):
    from citysplat_core.simulation.server import stac

    name = "_limit"
    real = getattr(stac, name)
    monkeypatch.setattr(stac, name, lambda state, text: min(cap, real(state, text)))
    assert ids(api.discover().found) == api.truth()


def test_more_photos_in_one_spot_than_an_answer_holds_are_a_failed_tile(api):
    world = api.server.state.world
    world.columns["lon"][:40], world.columns["lat"][:40] = 8.5495, 47.3725
    said = api.discover(search_limit=30)
    states = dict(zip(said.tiles.column("x").to_pylist(), said.tiles.to_pylist(), strict=True))
    assert states[8581]["state"] == "failed"
    assert states[8581]["reason"] == "more than 30 photos in one spot"
    assert ids(api.discover(search_limit=1000).found) == api.truth()


@pytest.mark.parametrize("fault", ["stac_500", "stac_429", "stac_html", "stac_reset", "stac_cut"])
def test_passing_faults_of_a_search_are_ridden_out(api, fault):
    api.control("config", **{f"p_{fault}": 0.25, "stac_retry_after_s": 0})
    assert ids(api.discover().found) == api.truth()


@pytest.mark.parametrize("fault", ["stac_500", "stac_html", "stac_reset", "stac_cut"])
def test_a_tile_whose_search_keeps_failing_is_failed_and_the_next_run_asks_it_alone(api, fault):
    api.control("script", kind=fault, match="bbox=8.54736", times=100)
    said = api.discover(refresh=False)
    assert sorted(said.tiles.column("state").to_pylist()) == ["complete", "failed"]
    assert said.stopped is None
    api.control("script", kind=fault, match="none", times=0)
    api.server.state.scripts.clear()
    asked = api.count("stac")
    said = api.discover(refresh=False)
    assert said.tiles.column("state").to_pylist() == ["complete", "complete"]
    assert ids(said.found) == api.truth()
    assert api.count("stac") - asked < asked


@pytest.mark.parametrize("seed", range(4))
def test_whatever_fails_on_the_way_the_end_is_the_truth(api, seed):
    rng = random.Random(seed)
    faults = ("stac_500", "stac_429", "stac_html", "stac_reset", "stac_cut")
    chances = {f"p_{fault}": rng.choice([0.0, 0.1, 0.3]) for fault in faults}
    api.control("config", stac_page=rng.choice([0, 30]), stac_retry_after_s=0, **chances)
    for _ in range(20):
        said = api.discover(refresh=False, search_limit=rng.choice([40, 100]))
        if set(said.tiles.column("state").to_pylist()) <= {"complete", "empty"}:
            break
        assert ids(said.found) < api.truth()
    assert ids(said.found) == api.truth()


def test_a_service_that_is_down_is_not_asked_for_every_tile(api):
    api.control("config", p_stac_500=1.0)
    wide = Area.from_bounds("8.4,47.3,8.7,47.45")
    said = api.discover(wide)
    states = said.tiles.column("state").to_pylist()
    assert set(states) == {"failed", "unknown"}
    assert states.count("unknown") > 50
    assert "does not mean that the area is empty" in str(said.stopped)
    assert api.count("stac") < 100


def test_too_many_requests_for_longer_than_our_patience_stop_the_look(api):
    api.control("config", stac_per_min=1, stac_retry_after_s=0)
    said = api.discover(search_limit=10)
    assert isinstance(said.stopped, BlockedError)
    assert set(said.tiles.column("state").to_pylist()) <= {"failed", "unknown", "complete"}


def test_an_address_that_is_no_panoramax_is_an_error_that_names_it(api):
    with pytest.raises(DiscoveryError, match=r"wrong refused a search \(HTTP 40[014]\)"):
        api.discover(panoramax_url=f"{api.server.url}/wrong")


def test_no_token_is_needed_and_none_is_sent(api, tmp_path):
    settings = SourceSettings(
        kind="panoramax", panoramax_url=f"{api.server.url}/api", searches_per_min=600_000
    )
    source = open_source(settings, tmp_path, token=None, cache_dir=tmp_path / "c")
    source.discover(api.area, work=tmp_path / "w", refresh=False, progress=no_progress)
    assert api.count("stac") > 0
    assert api.count("stac_auth_leak") == 0


def test_describing_asks_for_nothing_that_finding_brought_and_for_what_was_lost(api, tmp_path):
    found = api.discover().found
    asked = api.count("stac")
    work = tmp_path / "describing"
    described = api.source().describe(found, work=work, progress=no_progress)
    assert api.count("stac") == asked
    fresh = api.source(cache="another")
    again = fresh.describe(found, work=work, progress=no_progress)
    assert again.to_pandas().equals(described.to_pandas())


def test_a_photo_is_gone_only_when_the_service_says_so_of_it_alone(api, tmp_path):
    found = api.discover().found
    deleted, silent = found.column("image_id").to_pylist()[:2]
    world = api.server.state.world
    world.delete([str(i) for i in world.row_of if picture_id(int(i)) in {deleted, silent}])
    api.control("script", kind="stac_500", match=f"/pictures/{silent}", times=1000)
    fresh = api.source(cache="another")
    rows = fresh.describe(found, work=tmp_path / "w", progress=no_progress).to_pylist()
    states = {row["image_id"]: row["status"] for row in rows}
    assert states.pop(deleted) == "gone"
    assert states.pop(silent) == "failed"
    assert set(states.values()) == {"listed"}


def test_photos_behind_redirects_come_and_other_addresses_are_not_followed_for_ever(api):
    api.control("config", stac_photo_redirect=True)
    wanted = sorted(ids(api.discover().found))[:4]
    assert {r.state for r in api.fetch(wanted)} == {"ok"}


@pytest.mark.parametrize("fault", ["cdn_500", "cdn_html", "cdn_reset", "cdn_truncate", "cdn_short"])
def test_passing_faults_of_photos_are_ridden_out(api, fault):
    wanted = sorted(ids(api.discover().found))[:15]
    api.control("config", **{f"p_{fault}": 0.3})
    assert {r.state for r in api.fetch(wanted)} == {"ok"}


def item(**changes):
    base = {
        "id": "2ad2b303-59f5-4f8b-a7c1-ccfaef465fbe",
        "collection": "9802529e-5ec8-433a-95ac-e9d37bf3be7e",
        "geometry": {"type": "Point", "coordinates": [2.3425668, 48.8582587]},
        "providers": [
            {"name": "an app", "roles": ["host"]},
            {"name": "ann", "roles": ["producer"], "id": "7"},
        ],
        "properties": {
            "datetime": "2024-10-05T16:24:57.500000+02:00", "license": "etalab-2.0",
            "view:azimuth": 280, "geovisio:producer": "ann",
            "exif": {"Exif.GPSInfo.GPSAltitude": "355/10", "Exif.GPSInfo.GPSAltitudeRef": "1"},
            "pers:interior_orientation": {
                "camera_manufacturer": "Sony", "camera_model": "A", "field_of_view": 90,
                "sensor_array_dimensions": [6000, 4000],
            },
        },
        "assets": {k: {"href": f"https://a.example/{k}.jpg"} for k in ("hd", "sd", "thumb")},
    }  # fmt: skip
    base["properties"] |= changes.pop("properties", {})
    return base | changes


def row_of(**changes):
    return catalog_row(trimmed(item(**changes)))


def lens(**values):
    return {"properties": {"pers:interior_orientation": values}}


def test_an_item_becomes_a_row():
    row = row_of()
    assert row["captured_at"] == datetime(2024, 10, 5, 14, 24, 57, 500_000, UTC)
    assert (row["lon"], row["lat"], row["altitude_m"]) == (2.3425668, 48.8582587, -35.5)
    assert (row["creator"], row["creator_id"], row["licence"]) == ("ann", "7", "etalab-2.0")
    assert row["sequence_id"] == "9802529e-5ec8-433a-95ac-e9d37bf3be7e"
    assert row["focal_ratio"] == pytest.approx(0.5)
    assert (row["width"], row["height"], row["heading_deg"]) == (6000, 4000, 280.0)
    assert not row["is_pano"]


def test_the_film_equivalent_wins_over_the_rounded_angle():
    exif = {"Exif.Photo.FocalLengthIn35mmFilm": "27"}
    assert row_of(properties={"exif": exif})["focal_ratio"] == pytest.approx(0.75)


@pytest.mark.parametrize("angle", [180, 360])
def test_what_sees_too_wide_for_a_perspective_picture_is_a_panorama(angle):
    row = row_of(**lens(field_of_view=angle, sensor_array_dimensions=[5760, 2880]))
    assert row["is_pano"]
    assert row["camera_type"] == "spherical"
    assert row["focal_ratio"] is None


def test_a_cropped_panorama_tells_its_part_of_the_sphere():
    values = {
        "field_of_view": 360, "sensor_array_dimensions": [4000, 2000],
        "visible_area": [0, 500, 0, 300],
    }  # fmt: skip
    row = row_of(**lens(**values))
    assert (row["width"], row["height"]) == (4000, 1200)
    shares = [row[f"pano_{name}"] for name in ("left", "top", "width", "height")]
    assert shares == pytest.approx([0.0, 0.25, 1.0, 0.6])


@pytest.mark.parametrize(
    "properties",
    [
        {"datetime": "yesterday", "view:azimuth": None, "exif": None, "license": None,
         "pers:interior_orientation": None},
        {"datetime": None, "view:azimuth": "north", "exif": {"Exif.GPSInfo.GPSAltitude": "1/0"},
         "license": "", "pers:interior_orientation": {
             "field_of_view": "wide", "sensor_array_dimensions": [0, 0], "visible_area": [None]}},
        {"datetime": 7, "view:azimuth": math.inf, "exif": [], "license": None,
         "pers:interior_orientation": {"sensor_array_dimensions": ["a", 3]}},
    ],
)  # fmt: skip
def test_missing_and_nonsensical_values_are_missing(properties):
    row = row_of(properties=properties, providers=None, collection=None)
    for name in ("captured_at", "heading_deg", "altitude_m", "licence", "width", "focal_ratio"):
        assert row[name] is None, name
    assert row["creator"] == "ann"
    assert not row["is_pano"]


@pytest.mark.parametrize("seed", range(3))
def test_no_value_of_a_wrong_type_stops_a_look(seed):
    rng = random.Random(seed)
    odd = [None, 0, -1, 7.5, "", "x", [], [1], ["a", "b"], {}, {"a": 1}, True]

    def spoilt(value):
        if rng.random() < 0.15:
            return rng.choice(odd)
        if isinstance(value, dict):
            return {name: spoilt(inner) for name, inner in value.items()}
        return [spoilt(inner) for inner in value] if isinstance(value, list) else value

    whole = item(
        **lens(field_of_view=360, sensor_array_dimensions=[4, 2], visible_area=[0, 1, 0, 0])
    )
    kept = [trimmed(spoilt(whole)) for _ in range(2000)]
    rows = [catalog_row(one) for one in kept if one is not None]
    assert len(rows) > 300
    table = table_of(rows, DESCRIBED_SCHEMA)
    assert not table.column("lon").null_count
    assert {asset_url(one, 1024) for one in kept if one is not None} > {None}


@pytest.mark.parametrize(
    "broken",
    [
        None, [], {"id": ""}, item(id=7), item(geometry=None),
        item(geometry={"type": "Point", "coordinates": [200, 0]}),
        item(geometry={"type": "LineString", "coordinates": [[1, 2]]}),
    ],
)  # fmt: skip
def test_an_item_without_id_or_position_is_none(broken):
    assert trimmed(broken) is None


def test_items_that_cannot_be_read_are_counted_and_the_others_kept(api, monkeypatch):
    from citysplat_core.simulation.server import stac

    real = stac.stac_item

    def sometimes_broken(state, row):
        made = real(state, row)
        return made | {"geometry": None} if row == 3 else made

    monkeypatch.setattr(stac, "stac_item", sometimes_broken)
    said = api.discover()
    assert said.notes["items_unreadable"] >= 1
    assert len(ids(said.found)) == len(api.truth()) - 1


@pytest.mark.parametrize(
    ("size_px", "width", "kind"),
    [(256, 6000, "thumb"), (500, 6000, "thumb"), (1024, 6000, "sd"), (2048, 6000, "sd"),
     (4096, 6000, "hd"), (0, 6000, "hd"), (1024, 1600, "hd"), (256, 1600, "thumb")],
)  # fmt: skip
def test_the_smallest_file_that_is_wide_enough_and_not_enlarged_is_taken(size_px, width, kind):
    kept = trimmed(item(**lens(sensor_array_dimensions=[width, width * 3 // 4])))
    assert asset_url(kept, size_px) == f"https://a.example/{kind}.jpg"
    assert json.loads(json.dumps(kept)) == kept


def test_a_photo_without_any_file_has_no_address():
    assert asset_url(trimmed(item(assets={})), 1024) is None
