import numpy as np
import pyogrio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from citysplat_core.geography import tile_of
from citysplat_core.simulation.server.mvt import Feature, encode_tile


def tile_at(lon=8.54, lat=47.372):
    x, y = tile_of([lon], [lat], 14)
    return int(x[0]), int(y[0])


def test_an_independent_reader_reads_back_what_was_written():
    features = [
        Feature(number=7, points=[(0, 0)], properties={"id": 2**56 + 1, "b": True, "t": "Zürich"}),
        Feature(number=8, points=[(4095, 4000)], properties={"id": -5, "b": False, "f": 0.25}),
    ]
    body = encode_tile([("image", features)])
    _, table = pyogrio.read_arrow(body, layer="image", X=8580, Y=5737, Z=14)
    assert table.column("id").to_pylist() == [2**56 + 1, -5]
    assert table.column("b").to_pylist() == [True, False]
    assert table.column("t").to_pylist() == ["Zürich", None]
    assert table.column("f").to_pylist() == [None, 0.25]
    assert table.column("mvt_id").to_pylist() == [7, 8]


@given(st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 4095)), min_size=2, max_size=20))
def test_lines_keep_every_corner(points):
    body = encode_tile([("sequence", [Feature(number=0, points=points, properties={"id": "s"})])])
    _, table = pyogrio.read_arrow(body, layer="sequence")
    import shapely

    line = shapely.from_wkb(table.column("wkb_geometry").to_pylist()[0])
    assert shapely.get_num_coordinates(line) == len(points)


def test_a_layer_without_features_is_left_out():
    assert encode_tile([("image", [])]) == b""


def test_a_tile_has_every_image_of_its_square_and_the_buffer(ask):
    x, y = tile_at()
    reply = ask.tile(x, y)
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/x-protobuf"
    _, table = pyogrio.read_arrow(reply.body, layer="image", X=x, Y=y, Z=14, CLIP="NO")
    columns = ask.server.state.world.columns
    xs, ys = tile_of(columns["lon"], columns["lat"], 14)
    inside = {int(i) for i in columns["image_id"][(xs == x) & (ys == y)]}
    assert inside <= set(table.column("id").to_pylist())
    assert {"captured_at", "compass_angle", "creator_id", "foot", "is_pano", "quality_score",
            "sequence_id", "id"} <= set(table.column_names)  # fmt: skip


def test_the_feature_number_is_not_the_image_id(ask):
    _, table = pyogrio.read_arrow(ask.tile(*tile_at()).body, layer="image")
    assert max(table.column("mvt_id").to_pylist()) < 1000 < min(table.column("id").to_pylist())


def test_the_computed_set_lacks_images_without_sfm(ask):
    x, y = tile_at()
    public = pyogrio.read_arrow(ask.tile(x, y).body, layer="image")[1]
    computed = pyogrio.read_arrow(ask.tile(x, y, name="mly1_computed_public").body, layer="image")[
        1
    ]
    world = ask.server.state.world
    unsolved = {int(i) for i in world.columns["image_id"][~world.has_sfm]}
    assert unsolved & set(public.column("id").to_pylist())
    assert not unsolved & set(computed.column("id").to_pylist())


def test_low_zooms_have_lines_or_a_sample_instead_of_images(ask):
    x, y = tile_of([8.54], [47.372], 10)
    layers = pyogrio.list_layers(ask.tile(int(x[0]), int(y[0]), z=10).body)[:, 0]
    assert list(layers) == ["sequence"]
    x, y = tile_of([8.54], [47.372], 3)
    assert list(pyogrio.list_layers(ask.tile(int(x[0]), int(y[0]), z=3).body)[:, 0]) == ["overview"]


def test_an_empty_tile_has_an_empty_body(ask):
    reply = ask.tile(0, 0)
    assert (reply.status, reply.body) == (200, b"")


@pytest.mark.parametrize("path", ["mly1_public/2/15/1/1", "mly1_public/2/14/99999/1", "x/2/14/1/1"])
def test_a_tile_that_cannot_exist_is_404(ask, path):
    assert ask.get(f"/maps/vtp/{path}", {"access_token": ask.token}).status == 404


def test_the_token_in_a_header_is_forbidden(ask):
    x, y = tile_at()
    path = f"/maps/vtp/mly1_public/2/14/{x}/{y}"
    assert ask.get(path, Authorization=f"OAuth {ask.token}").status == 403


def test_gzip_only_for_clients_that_accept_it(ask):
    x, y = tile_at()
    path = f"/maps/vtp/mly1_public/2/14/{x}/{y}"
    packed = ask.get(path, {"access_token": ask.token}, Accept_Encoding="gzip")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(packed.body) < len(ask.tile(x, y).body)


def test_an_etag_spares_the_body_when_it_is_on(ask):
    x, y = tile_at()
    assert ask.tile(x, y).headers["ETag"] is None
    ask.control("config", tile_etag=True)
    tag = ask.tile(x, y).headers["ETag"]
    path = f"/maps/vtp/mly1_public/2/14/{x}/{y}"
    assert ask.get(path, {"access_token": ask.token}, If_None_Match=tag).status == 304


def test_a_fast_client_is_blocked_until_it_was_silent_for_a_day(ask):
    ask.control("config", tiles_ip_per_min=2)
    statuses = [ask.tile(*tile_at()).status for _ in range(4)]
    assert statuses == [200, 200, 302, 302]
    ask.control("clock", advance_s=80_000)
    assert ask.tile(*tile_at()).status == 302  # and the silence starts again
    ask.control("clock", advance_s=80_000)
    assert ask.tile(*tile_at()).status == 302
    ask.control("clock", advance_s=86_401)
    assert ask.tile(*tile_at()).status == 200


def test_the_login_page_carries_the_token_in_its_address(ask):
    ask.control("config", tiles_ip_rolling=1)
    ask.tile(0, 0)
    reply = ask.tile(0, 0)
    assert "MLY%257C" in reply.headers["Location"]
    page = ask.get(reply.headers["Location"])
    assert page.headers["Content-Type"].startswith("text/html")


def test_positions_are_within_a_tile_unit(ask):
    x, y = tile_at()
    _, table = pyogrio.read_arrow(ask.tile(x, y).body, layer="image", X=x, Y=y, Z=14)
    import shapely

    points = shapely.from_wkb(table.column("wkb_geometry").to_numpy(zero_copy_only=False))
    world = ask.server.state.world
    rows = [world.row_of[i] for i in table.column("id").to_pylist()]
    lon = np.degrees(shapely.get_x(points) / 6378137.0)
    assert np.abs(lon - world.columns["lon"][rows]).max() < 360 / 2**14 / 4096 + 1e-9
