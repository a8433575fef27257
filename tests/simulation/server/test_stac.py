"""The local Panoramax API: what instances and the catalogue do, and nothing else."""

import json
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from citysplat_core.simulation.server import (
    SyntheticScenes,
    SyntheticSpec,
    run_in_thread,
    synthetic_world,
)
from citysplat_core.simulation.server.stac_items import image_id_of, picture_id

BOX = "8.546,47.371,8.550,47.375"


@pytest.fixture
def api():
    bounds = tuple(float(part) for part in BOX.split(","))
    world = synthetic_world(SyntheticSpec(n_images=120, bbox=bounds))
    with run_in_thread(world, images=SyntheticScenes(size=(320, 240))) as server:
        yield server


def get(server, path):
    try:
        with urlopen(Request(f"{server.url}{path}"), timeout=30) as answer:  # noqa: S310 - our own
            return answer.status, answer.headers, answer.read()
    except HTTPError as error:
        return error.code, error.headers, error.read()


def features(server, path):
    status, _, body = get(server, path)
    assert status == 200, body
    return json.loads(body)


def ids(value):
    return [item["id"] for item in value["features"]]


def test_an_id_is_a_uuid_and_comes_back():
    name = picture_id(98_765_432_109_876_543)
    assert image_id_of(name) == "98765432109876543"
    assert image_id_of("00000000-0000-4000-8000-000000000000") is None
    assert image_id_of("no uuid") is None


def test_a_search_without_limit_answers_ten_the_nearest_to_the_middle_first(api):
    assert len(ids(features(api, f"/api/search?bbox={BOX}"))) == 10
    value = features(api, f"/api/search?bbox={BOX}&limit=10000")
    away = [
        (item["geometry"]["coordinates"][0] - 8.548) ** 2
        + (item["geometry"]["coordinates"][1] - 47.373) ** 2
        for item in value["features"]
    ]
    assert away == sorted(away)
    assert value["links"] == []


def test_an_instance_cuts_at_the_limit_without_a_word_and_the_catalogue_links_the_next(api):
    whole = ids(features(api, f"/api/search?bbox={BOX}&limit=10000"))
    cut = features(api, f"/api/search?bbox={BOX}&limit=50")
    assert (ids(cut), cut["links"]) == (whole[:50], [])
    api.state.config.stac_page = 50
    seen, path = [], f"/api/search?bbox={BOX}&limit=10000"
    while path:
        page = features(api, path)
        seen += ids(page)
        links = [link["href"] for link in page["links"] if link["rel"] == "next"]
        path = links[0].removeprefix(api.url) if links else ""
    assert seen == whole


@pytest.mark.parametrize("query", ["limit=0", "limit=10001", "limit=x", "bbox=1,2,3"])
def test_a_wrong_search_is_refused(api, query):
    status, _, body = get(api, f"/api/search?{query}")
    assert status == 400
    assert json.loads(body)["message"]


def test_absence_is_an_empty_list_in_a_search_and_404_for_a_picture(api):
    one, other = ids(features(api, f"/api/search?bbox={BOX}&limit=2"))
    api.state.world.delete([image_id_of(other)])
    assert ids(features(api, f"/api/search?ids={one},{other}")) == [one]
    assert features(api, f"/api/pictures/{one}")["id"] == one
    assert get(api, f"/api/pictures/{other}")[0] == 404
    assert get(api, f"/api/pictures/{other}/sd.jpg")[0] == 404


@pytest.mark.parametrize(("kind", "width"), [("hd", 320), ("sd", 320), ("thumb", 320)])
def test_files_are_photos(api, kind, width):
    import io

    from PIL import Image

    item = features(api, f"/api/search?bbox={BOX}&limit=1")["features"][0]
    _, headers, body = get(api, item["assets"][kind]["href"].removeprefix(api.url))
    assert headers["Content-Type"] == "image/jpeg"
    assert Image.open(io.BytesIO(body)).width == width


def test_too_many_searches_are_refused_with_the_time_to_wait(api):
    api.state.config.stac_per_min, api.state.config.stac_retry_after_s = 2, 7
    answers = [get(api, f"/api/search?bbox={BOX}") for _ in range(3)]
    assert [status for status, _, _ in answers] == [200, 200, 429]
    assert answers[2][1]["Retry-After"] == "7"


def test_an_item_says_what_the_world_knows_and_leaves_out_the_rest(api):
    world = api.state.world
    world.columns["altitude"][:] = float("nan")
    world.columns["compass_angle"][:] = float("nan")
    for item in features(api, f"/api/search?bbox={BOX}&limit=200")["features"]:
        properties = item["properties"]
        assert properties["license"] == "CC-BY-SA-4.0"
        assert "view:azimuth" not in properties
        assert properties["exif"] == {}
        row = world.row_of[int(image_id_of(item["id"]))]
        angle = properties["pers:interior_orientation"].get("field_of_view")
        assert (angle == 360) == bool(world.columns["is_pano"][row])
