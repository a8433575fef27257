import http.client
import io

import pytest
from PIL import Image

from citysplat_core.simulation.server import FolderImages, SyntheticScenes
from citysplat_core.simulation.server.pictures import thumbnail


def url_of(ask, index=0, kind="1024"):
    name = f"thumb_{kind}_url"
    return ask.graph(f"/{ask.ids[index]}", fields=name).json[name]


def test_a_photo_is_served_with_its_exact_length(ask):
    reply = ask.get(url_of(ask))
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "image/jpeg"
    assert int(reply.headers["Content-Length"]) == len(reply.body)
    assert Image.open(io.BytesIO(reply.body)).size == (320, 240)


def test_thumbnails_are_reduced_and_never_enlarged():
    original = SyntheticScenes(size=(1500, 1000)).jpeg("5")
    assert Image.open(io.BytesIO(thumbnail(original, "1024"))).size == (1024, 683)
    assert thumbnail(original, "2048") == original
    assert thumbnail(original, "original") == original


def test_an_address_expires_and_cannot_be_prolonged(ask):
    url = url_of(ask)
    ask.control("clock", advance_s=6 * 86_400)
    reply = ask.get(url)
    assert (reply.status, reply.body) == (403, b"URL signature expired")
    expiry = url.split("oe=")[1].split("&")[0]
    later = url.replace(f"oe={expiry}", "oe=FFFFFFFF")
    assert ask.get(later).body == b"URL signature mismatch"
    assert ask.get(url_of(ask)).status == 200


def test_a_deleted_photo_is_404_also_at_an_old_address(ask):
    url = url_of(ask)
    ask.control("delete", ids=[ask.ids[0]])
    assert ask.get(url).status == 404


def test_a_token_sent_to_the_photo_host_is_counted_as_a_leak(ask):
    ask.get(url_of(ask), Authorization=f"OAuth {ask.token}")
    assert ask.control("stats").json["cdn_auth_leak"] == 1


def test_a_range_is_answered(ask):
    whole = ask.get(url_of(ask)).body
    part = ask.get(url_of(ask), Range="bytes=100-")
    assert part.status == 206
    assert part.body == whole[100:]


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        ("cdn_500", lambda reply, _: reply.status == 503),
        ("cdn_html", lambda reply, _: reply.headers["Content-Type"].startswith("text/html")),
        ("cdn_truncate", lambda reply, whole: len(reply.body) == len(whole) * 2 // 3),
        ("cdn_corrupt", lambda reply, whole: reply.body != whole and len(reply.body) == len(whole)),
    ],
)
def test_a_scripted_fault_happens_as_often_as_told(ask, kind, check):
    whole = ask.get(url_of(ask)).body
    ask.control("script", kind=kind, match=ask.ids[0], times=1)
    assert check(ask.get(url_of(ask)), whole)
    assert ask.get(url_of(ask)).body == whole


def test_a_short_body_and_a_reset_break_the_connection(ask):
    ask.control("script", kind="cdn_short", match="/m1/", times=1)
    with pytest.raises(http.client.IncompleteRead):
        ask.get(url_of(ask))
    ask.control("script", kind="cdn_reset", match="/m1/", times=1)
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        ask.get(url_of(ask))


def test_a_folder_serves_its_files(tmp_path):
    (tmp_path / "7.jpg").write_bytes(b"bytes")
    images = FolderImages(tmp_path)
    assert images.jpeg("7") == b"bytes"
    with pytest.raises(FileNotFoundError):
        images.jpeg("8")


def test_the_blurred_share_is_known():
    scenes = SyntheticScenes(blurred_share=0.15)
    blurred = sum(scenes.is_blurry(str(i)) for i in range(2000))
    assert 240 < blurred < 360
