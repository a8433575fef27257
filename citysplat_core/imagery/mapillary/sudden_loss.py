"""A tile that loses most of its images at once: an outage, until a day later it still says so."""

import math
import time

import pyarrow as pa
import pyarrow.compute as pc

from citysplat_core.errors import DiscoveryError
from citysplat_core.imagery.mapillary.decode import decode_tile
from citysplat_core.imagery.services.tile_cache import TileCache
from citysplat_core.imagery.tile_rows import TileAddress

_FEWEST_IMAGES = 20
_MOST_LOST_SHARE = 0.5
_WAIT_S = 20 * 3600.0


def doubts(cache: TileCache, address: TileAddress, images: pa.Table, *, now: float) -> str:
    """Say why an answer is not believed yet.

    An empty answer with status 200 is what a tile without images looks like, and what a broken
    service looks like. A tile that had at least 20 images and lost more than half is believed when
    an answer at least 20 hours later has lost as much.

    Args:
        cache: Holds the last answer that was believed.
        address: The tile.
        images: ``FOUND_SCHEMA`` of the new answer.
        now: Seconds since 1970.

    Returns:
        The reason, or nothing if the answer is believed.
    """
    lost, n_before = _lost(cache, address, images)
    if n_before < _FEWEST_IMAGES or lost <= _MOST_LOST_SHARE * n_before:
        cache.forget_doubt(*address)
        return ""
    since = cache.doubted_since(*address)
    if since is None or since > now:
        cache.doubt(*address, since=now)
        since = now
    if now - since >= _WAIT_S:
        cache.forget_doubt(*address)
        return ""
    believed_at = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(since + _WAIT_S))
    return (
        f"{lost} of {n_before} images missing at once, as in an outage: believed if the tile still "
        f"says so after {believed_at}"
    )


def _lost(cache: TileCache, address: TileAddress, images: pa.Table) -> tuple[int, int]:
    """Count the images of the last answer that the new one has not, and those of the last."""
    last = cache.read(*address, not_before=0.0, now=math.inf)
    if last is None:
        return 0, 0
    try:
        before = decode_tile(last.body, *address).images.column("image_id")
    except DiscoveryError:
        return 0, 0
    kept = pc.sum(pc.is_in(before, value_set=images.column("image_id"))).as_py() or 0
    return len(before) - int(kept), len(before)
