import numpy as np

from citysplat_core.simulation.server import SyntheticSpec, synthetic_world


def test_a_wrong_token_is_401_with_the_recorded_body(ask):
    reply = ask.get("/images", {"image_ids": ask.ids[0], "access_token": "MLY|wrong"})
    assert reply.status == 401
    error = reply.json["error"]
    assert error["code"] == 190
    assert error["message"] == "Invalid OAuth 2.0 Access Token"
    assert error["error_data"] == {}


def test_the_token_is_taken_from_header_or_query(ask):
    assert ask.graph(f"/{ask.ids[0]}").json == {"id": ask.ids[0]}
    assert ask.get(f"/{ask.ids[0]}", {"access_token": ask.token}).status == 200


def test_a_deleted_image_is_gone_from_every_call(ask):
    first, second = ask.ids[:2]
    ask.control("delete", ids=[first])
    error = ask.graph(f"/{first}").json["error"]
    assert (error["code"], error["error_subcode"]) == (100, 33)
    assert first in error["message"]
    batch = ask.graph("/images", image_ids=f"{first},{second}").json["data"]
    assert [entity["id"] for entity in batch] == [second]
    assert ask.graph("/", ids=f"{first},{second}").status == 400
    ask.control("config", ids_all_or_nothing=False)
    assert list(ask.graph("/", ids=f"{first},{second}").json) == [second]


def test_a_batch_with_7_deleted_of_48_ids_gives_41_in_the_order_of_the_request(ask):
    ids = ask.ids[:48][::-1]
    ask.control("delete", ids=ids[3:10])
    answer = ask.graph("/images", image_ids=",".join(ids)).json["data"]
    assert [entity["id"] for entity in answer] == ids[:3] + ids[10:]


def test_more_ids_than_allowed_are_refused(ask):
    reply = ask.graph("/images", image_ids=",".join(ask.ids[:51]))
    assert reply.status == 500
    assert "reduce the amount" in reply.json["error"]["message"]


def test_an_unknown_field_is_named(ask):
    reply = ask.graph(f"/{ask.ids[0]}", fields="id,shoe_size")
    assert reply.status == 400
    assert "nonexisting field (shoe_size)" in reply.json["error"]["message"]


def test_values_that_do_not_exist_are_left_out_and_not_null(ask):
    world = ask.server.state.world
    without = int(np.flatnonzero(~world.has_sfm)[0])
    fields = "geometry,computed_geometry,computed_rotation,merge_cc,captured_at,creator"
    entity = ask.graph(f"/{ask.ids[without]}", fields=fields).json
    assert set(entity) == {"id", "geometry", "captured_at", "creator"}
    assert isinstance(entity["captured_at"], int)
    assert isinstance(entity["id"], str)


def test_the_limit_answers_code_4_and_the_used_share(ask):
    ask.control("config", entity_per_min=3)
    replies = [ask.graph(f"/{ask.ids[0]}") for _ in range(4)]
    assert [reply.status for reply in replies] == [200, 200, 200, 403]
    error = replies[3].json["error"]
    assert error["code"] == 4
    assert error["message"] == "Application request limit reached"
    assert '"call_count": 133' in replies[3].headers["x-app-usage"]
    ask.control("clock", advance_s=61)
    assert ask.graph(f"/{ask.ids[0]}").status == 200


def test_the_limit_can_answer_xml(ask):
    ask.control("config", entity_per_min=1, graph_limit_format="xml")
    ask.graph(f"/{ask.ids[0]}")
    reply = ask.graph(f"/{ask.ids[0]}")
    assert reply.status == 429
    assert reply.headers["Content-Type"].startswith("text/xml")


def test_a_box_search_is_incomplete_below_its_own_limit(ask):
    ask.server.state.config.search_cells = 4
    reply = ask.graph("/images", bbox="8.538,47.370,8.542,47.374", limit="200", fields="id")
    assert 0 < len(reply.json["data"]) < 200 < len(ask.ids)


def test_a_box_that_is_too_large_or_malformed_is_refused(ask):
    assert "0.01 degrees" in ask.graph("/images", bbox="8,47,9,48").json["error"]["message"]
    assert "left,bottom" in ask.graph("/images", bbox="8,47").json["error"]["message"]


def test_a_creator_is_the_only_search_with_pages(ask):
    world = ask.server.state.world
    name = str(world.columns["creator_username"][0])
    rows = world.creator_rows(name)
    seen, query = [], {"creator_username": name, "limit": "50", "fields": "id"}
    while True:
        answer = ask.graph("/images", **query).json
        seen += [entity["id"] for entity in answer["data"]]
        if "paging" not in answer:
            break
        query["after"] = answer["paging"]["cursors"]["after"]
    assert seen == [ask.ids[row] for row in rows]


def test_a_sequence_lists_its_images_in_capture_order(ask):
    world = ask.server.state.world
    name = world.sequence_names()[0]
    listed = [e["id"] for e in ask.graph("/image_ids", sequence_id=name).json["data"]]
    times = [int(world.columns["captured_at"][world.row_of[int(i)]]) for i in listed]
    assert times == sorted(times)
    assert len(listed) == len(world.sequence_rows(name))


def test_the_rotation_agrees_with_the_heading():
    world = synthetic_world(SyntheticSpec(n_images=300, bbox=(8.538, 47.370, 8.542, 47.374)))
    from scipy.spatial.transform import Rotation

    good = world.has_sfm
    forward = Rotation.from_rotvec(world.columns["rotation"][good]).as_matrix()[:, 2]
    heading = np.degrees(np.arctan2(forward[:, 0], forward[:, 1])) % 360
    stated = world.columns["computed_compass_angle"][good]
    assert np.abs((heading - stated + 180) % 360 - 180).max() < 1e-6
