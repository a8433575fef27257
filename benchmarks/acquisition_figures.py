"""The comparisons: metadata, photos and tile decoding, ours and each peer's."""

import tempfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from acquisition_clients import (
    Figure,
    best_of,
    right_catalog,
    right_csv,
    right_json,
    right_photos,
    run_script,
)
from acquisition_peers import DOWNLOADER, MVT, SDK, ZENSVI, Peer
from acquisition_server import BBOX, Server, make_photos, running

from citysplat_core.geography import Area

OURS = "CitySplat"
SIZE_PX = 1024
PHOTO_WAYS = ("photos by their ends", "photos decoded strictly", "photos decoded and scored")
"""The first is what the peers do at most, and the ratio's; the others do more."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured.

    Attributes:
        images: Images whose metadata every client is asked for.
        photos: Photos that every client is asked for.
        serial_images: Images for the SDK's serial loop, which would take minutes otherwise.
        tile_images: Images of the world whose tiles are decoded.
        repeats: Runs of each client; the one with the least CPU counts.
        latency_ms: Of the server.
        missing: Peer to the reason why it cannot be measured.
        say: Tells progress.
    """

    images: int
    photos: int
    serial_images: int
    tile_images: int
    repeats: int
    latency_ms: float
    missing: dict[str, str]
    say: Say

    def without(self, peer: Peer, client: str) -> Figure | None:
        """Return the figure of a peer that cannot run, None if it can."""
        why = self.missing.get(peer.name, "")
        return Figure(client=client, asked=0, note=f"not installed: {why}") if why else None


def metadata_figures(plan: Plan) -> list[Figure]:
    """Measure from ids to described images."""
    with running(plan.images, latency_ms=plan.latency_ms) as server:
        ids = server.ids
        return [
            _ours_metadata(plan, server, ids, "described"),
            _ours_metadata(plan, server, ids, "whole catalog step"),
            _sdk(plan, server, ids, "32 threads"),
            _sdk(plan, server, ids[: plan.serial_images], "serial"),
            _zensvi_metadata(plan, server, ids),
        ]


def _ours_metadata(plan: Plan, server: Server, ids: list[str], way: str) -> Figure:
    client = f"{OURS}, {way}"
    plan.say(f"{client}: metadata of {len(ids)} images")

    def work(folder: Path) -> tuple[dict[str, Any], str]:
        given = _options(server, ids, folder, way=way, connections=32)
        return run_script("citysplat_client.py", given)

    return best_of(
        plan.repeats, client, len(ids), work, lambda folder: right_catalog(folder, server)
    )


def _sdk(plan: Plan, server: Server, ids: list[str], way: str) -> Figure:
    client = f"{SDK.name} {SDK.version}, {way}"
    absent = plan.without(SDK, client)
    if absent is not None:
        return absent
    plan.say(f"{client}: metadata of {len(ids)} images")

    def work(folder: Path) -> tuple[dict[str, Any], str]:
        given = _options(server, ids, folder, way=way)
        return run_script("mapillary_metadata.py", given, SDK)

    return best_of(plan.repeats, client, len(ids), work, lambda folder: right_json(folder, server))


def _zensvi_metadata(plan: Plan, server: Server, ids: list[str]) -> Figure:
    client = f"{ZENSVI.name} {ZENSVI.version}, metadata_only"
    absent = plan.without(ZENSVI, client)
    if absent is not None:
        return absent
    plan.say(f"{client}: metadata of {len(ids)} images")

    def work(folder: Path) -> tuple[dict[str, Any], str]:
        given = _options(server, ids, folder, way="metadata")
        return run_script("zensvi_download.py", given, ZENSVI)

    return best_of(plan.repeats, client, len(ids), work, lambda folder: right_csv(folder, server))


def photo_figures(plan: Plan) -> list[Figure]:
    """Measure from ids (mapillary-downloader: from user names) to files on disk."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "photos"
        with running(plan.photos, latency_ms=0.0) as server:
            ids = server.ids
        digests = make_photos(folder, ids)
        with running(plan.photos, latency_ms=plan.latency_ms, photos=folder) as server:
            return [
                *(
                    _photos(plan, server, digests, f"{OURS}, {way}", "citysplat_client.py", None)
                    for way in PHOTO_WAYS
                ),
                _photos(plan, server, digests, "", "mapillary_downloader_photos.py", DOWNLOADER),
                _photos(plan, server, digests, "", "zensvi_download.py", ZENSVI),
            ]


def _photos(
    plan: Plan,
    server: Server,
    digests: dict[str, str],
    client: str,
    script: str,
    peer: Peer | None,
) -> Figure:
    if peer is not None:
        client = f"{peer.name} {peer.version}"
        absent = plan.without(peer, client)
        if absent is not None:
            return absent
    plan.say(f"{client}: {len(digests)} photos")

    way = client.removeprefix(f"{OURS}, ") if peer is None else "photos"

    def work(folder: Path) -> tuple[dict[str, Any], str]:
        connections = 32 if peer is None else 16
        given = _options(server, list(digests), folder, way=way, connections=connections)
        return run_script(script, given | {"users": server.users}, peer)

    def right(folder: Path) -> int:
        return right_photos(folder, digests, rewritten=peer is DOWNLOADER)

    return best_of(plan.repeats, client, len(digests), work, right)


def tile_figures(plan: Plan) -> list[Figure]:
    """Measure the decoding of zoom-14 tiles, bytes in memory."""
    with tempfile.TemporaryDirectory() as scratch:
        addresses, files = _tiles(plan, Path(scratch))
        given = {"tiles": files, "addresses": addresses, "repeats": 10}
        figures = []
        for client, script, peer in (
            (f"{OURS}, to an Arrow table in degrees", "citysplat_tiles.py", None),
            (f"{MVT.name} {MVT.version}, to dictionaries", "mapbox_tiles.py", MVT),
        ):
            figure = plan.without(peer, client) if peer is not None else None
            figures.append(figure or _decoding(plan, client, script, peer, given))
        return figures


def _tiles(plan: Plan, scratch: Path) -> tuple[list[tuple[int, int]], list[str]]:
    plan.say(f"making the tiles of {plan.tile_images} images")
    addresses, files = [], []
    with running(plan.tile_images, latency_ms=0.0) as server:
        for _, x, y in Area.from_bounds(",".join(map(str, BBOX))).tiles():
            address = f"{server.url}/maps/vtp/mly1_public/2/14/{x}/{y}"
            query = f"?access_token={quote(server.token, safe='')}"
            with urllib.request.urlopen(address + query) as answer:  # noqa: S310
                body = answer.read()
            if body:
                (scratch / f"{x}-{y}").write_bytes(body)
                addresses.append((x, y))
                files.append(str(scratch / f"{x}-{y}"))
    return addresses, files


def _decoding(
    plan: Plan, client: str, script: str, peer: Peer | None, given: dict[str, Any]
) -> Figure:
    plan.say(f"{client}: {len(given['tiles'])} tiles")
    best: Figure | None = None
    for _ in range(plan.repeats):
        said, complaint = run_script(script, given, peer)
        if complaint:
            return Figure(client=client, asked=0, note=complaint[:120])
        tiles = len(given["tiles"])
        times = tiles * given["repeats"]
        cpu_ms, rate = 1e3 * said["pass_cpu_s"] / tiles, times / said["wall_s"]
        if best is None or cpu_ms < best.cpu_ms:
            note = f"{said['points']} points"
            best = Figure(
                client=client, asked=tiles, right=tiles, cpu_ms=cpu_ms, rate=rate, note=note
            )
    return best or Figure(client=client, asked=0)


def _options(
    server: Server, ids: list[str], folder: Path, *, way: str, connections: int = 1
) -> dict[str, Any]:
    return {
        "url": server.url,
        "token": server.token,
        "ids": ids,
        "out": str(folder),
        "way": way,
        "size_px": SIZE_PX,
        "connections": connections,
    }
