import hashlib

import pytest

from citysplat_core.errors import StorageError, TokenError
from citysplat_core.imagery import PhotoRequest, PhotoStore
from citysplat_core.storage import no_progress


@pytest.fixture
def ids(service):
    return service.discover().found.column("image_id").to_pylist()[:60]


def fetch(service, image_ids, folder="photos"):
    store = PhotoStore(service.folder / folder)
    wanted = [PhotoRequest(image_id=image_id) for image_id in image_ids]
    return service.source().fetch_photos(
        wanted, store, size_px=1024, n_threads=2, progress=no_progress
    )


def test_photos_arrive_whole(service, ids):
    results = fetch(service, ids)
    assert [result.image_id for result in results] == ids
    for result in results:
        body = result.path.read_bytes()
        assert result.state == "ok"
        assert (len(body), hashlib.sha256(body).hexdigest()) == (result.size_bytes, result.sha256)
        assert (result.width, result.height) == (320, 240)
        assert body == service.server.state.images.jpeg(result.image_id)


def test_a_second_run_asks_for_nothing(service, ids):
    first = fetch(service, ids)
    before = service.count("cdn"), service.count("graph")
    assert fetch(service, ids) == first
    assert (service.count("cdn"), service.count("graph")) == before


def test_the_photo_host_never_sees_the_token(service, ids):
    fetch(service, ids[:5])
    assert service.count("cdn_auth_leak") == 0


def test_every_fault_at_once_loses_no_photo(service, ids):
    service.control("config", p_graph_500=0.2, p_cdn_500=0.1, p_cdn_truncate=0.1, p_cdn_reset=0.1,
                    p_cdn_html=0.05, p_cdn_short=0.1)  # fmt: skip
    results = fetch(service, ids)
    assert {result.state for result in results} == {"ok"}
    for result in results:
        assert result.path.read_bytes() == service.server.state.images.jpeg(result.image_id)
    assert not list(service.folder.rglob("*.part"))


@pytest.mark.parametrize("kind", ["cdn_corrupt", "cdn_truncate", "cdn_html", "cdn_short"])
def test_a_photo_that_is_always_bad_fails_with_its_reason_and_leaves_no_file(service, ids, kind):
    service.control("script", kind=kind, match=ids[1], times=1000)
    results = fetch(service, ids[:3])
    assert [result.state for result in results] == ["ok", "failed", "ok"]
    assert results[1].reason
    assert results[1].path is None
    assert len(list(service.folder.rglob("*.jpg"))) == 2


def test_expired_addresses_are_renewed_by_id(service, ids):
    # Addresses live 10 minutes; while photos come, the clock jumps past that.
    service.control("config", url_ttl_s=600.0)
    jumped = []

    def jump(done, total, note):
        del total, note
        if done >= 3 and not jumped:
            jumped.append(service.control("clock", advance_s=900))

    store = PhotoStore(service.folder / "photos")
    service.settings = {"connections": 2}
    results = service.source().fetch_photos(
        [PhotoRequest(image_id=i) for i in ids[:40]], store, size_px=1024, n_threads=1,
        progress=jump,
    )  # fmt: skip
    assert jumped
    assert {result.state for result in results} == {"ok"}


def test_an_address_refused_by_the_host_is_renewed(service, ids):
    # The client's clock is slow by a week, so that it cannot know that addresses are expired.
    from citysplat_core.imagery import MapillarySource, Token
    from citysplat_core.settings import SourceSettings

    service.control("config", url_ttl_s=-1.0)
    settings = SourceSettings(tiles_url=service.server.url, graph_url=service.server.url)
    source = MapillarySource(
        settings, Token(service.server.state.config.token), service.folder / "cache",
        patience=service.patience, clock=lambda: 0.0,
    )  # fmt: skip
    results = source.fetch_photos(
        [PhotoRequest(image_id=i) for i in ids[:2]], PhotoStore(service.folder / "photos"),
        size_px=1024, n_threads=1, progress=no_progress,
    )  # fmt: skip
    assert {(r.state, r.reason) for r in results} == {("failed", "HTTP 403")}
    assert service.count("cdn_expired") == 2 * 4


def test_a_deleted_photo_is_gone_and_not_failed(service, ids):
    service.control("delete", ids=[ids[0]])
    results = fetch(service, ids[:3])
    assert [result.state for result in results] == ["gone", "ok", "ok"]


def test_a_photo_damaged_in_the_store_is_fetched_again(service, ids):
    first = fetch(service, ids[:2])
    first[0].path.write_bytes(b"\xff\xd8 cut")
    assert fetch(service, ids[:2]) == first


def test_a_full_disk_says_how_many_photos_are_kept(service, ids, monkeypatch):
    import errno
    from pathlib import Path

    written = []
    real = Path.write_bytes

    def write(self, body):
        if self.suffix == ".part":
            written.append(self)
            if len(written) > 10:
                raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, body)

    monkeypatch.setattr(Path, "write_bytes", write)
    with pytest.raises(StorageError, match=r"the disk is full.*of 60 photos are kept"):
        fetch(service, ids)
    monkeypatch.undo()
    kept = len(list(service.folder.rglob("*.jpg")))
    assert 5 <= kept <= 10
    before = service.count("cdn")
    assert {result.state for result in fetch(service, ids)} == {"ok"}
    assert service.count("cdn") - before == 60 - kept
    assert not list(service.folder.rglob("*.part"))


def test_what_a_killed_process_left_is_removed_when_it_is_old(service, ids):
    import os

    fetch(service, ids[:1])
    old, new = (service.folder / "photos" / "parts" / f"{n}.part" for n in ("old", "new"))
    old.write_bytes(b"half")
    new.write_bytes(b"being written")
    os.utime(old, (1, 1))
    fetch(service, ids[:1])
    assert not old.exists()
    assert new.exists()


def test_a_download_that_cannot_fit_does_not_start(service, ids, monkeypatch):
    import shutil
    from types import SimpleNamespace

    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=200 * 2**20))
    with pytest.raises(StorageError, match="60 photos need about"):
        fetch(service, ids)
    assert service.count("cdn") == 0


def test_a_wrong_token_stops_the_download(service, ids):
    service.token = "MLY|1|wrong-secret"  # noqa: S105 - nobody's
    with pytest.raises(TokenError, match="refused the token"):
        fetch(service, ids)


def test_it_works_inside_a_running_event_loop(service, ids):
    import asyncio

    async def notebook():
        return fetch(service, ids[:3])

    assert {result.state for result in asyncio.run(notebook())} == {"ok"}
