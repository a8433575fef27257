"""Every setting of the local server, each with the basis of its default.

A basis is *documented* (Mapillary's API documentation), *observed* (seen by public clients),
*assumed* (nobody knows; a client must work with other values too) or *ours* (project choice).
"""

from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args, get_origin

LOCAL_TOKEN = "MLY|0000000000000000|localserverlocalserverlocalserver1"  # noqa: S105  # not a secret
"""The token that the server accepts unless told otherwise; public on purpose."""


@dataclass(slots=True, kw_only=True)
class ServerConfig:
    """Settings of the local Mapillary-compatible server; all can be changed while it runs."""

    token: str = LOCAL_TOKEN
    """The one token that is accepted (ours)."""
    seed: int = 7
    """Seed of every random fault and of the URL signatures (ours)."""
    latency_ms: float = 0.0
    """Wait before any other work on a request, milliseconds (ours)."""
    cdn_latency_ms: float | None = None
    """The same for photos; None takes ``latency_ms`` (ours)."""
    latency_jitter: float = 0.0
    """Relative spread of the wait, 0 to 1 (ours)."""

    entity_per_min: int = 60_000
    """Entity calls a minute, 0 for no limit (documented)."""
    search_per_min: int = 10_000
    """Search calls a minute, 0 for no limit (documented)."""
    batch_bucket: Literal["entity", "search"] = "entity"
    """Which bucket ``/images?image_ids=`` counts in (assumed)."""
    graph_limit_status: int = 403
    """HTTP status over the limit (assumed; 429 is seen too)."""
    graph_retry_after_s: int = 0
    """Retry-After over the limit, seconds; 0 sends none (assumed)."""
    graph_limit_format: Literal["json", "xml"] = "json"
    """Body over the limit; ``xml`` answers 429 with XML (observed)."""
    usage_key: Literal["call_count", "call_volume"] = "call_count"
    """Name of the percentage in ``X-App-Usage`` (both observed)."""
    max_ids: int = 50
    """Most ids in one call (assumed; 50 is in use)."""
    ids_all_or_nothing: bool = True
    """Whether one dead id fails a whole ``/?ids=`` call (assumed)."""
    bbox_max_area: float = 0.01
    """Largest search box, square degrees or degrees a side (documented)."""
    bbox_rule: Literal["area", "side"] = "area"
    """How ``bbox_max_area`` is read (assumed)."""
    search_density_gate: int = 20_000
    """More rows than this in a search box are refused (observed; number assumed)."""
    search_thin: float = 0.8
    """Share of the limit that a dense search box returns (observed; number assumed)."""
    search_cells: int = 8
    """Cells a side of the thinning grid, 0 for no thinning (assumed)."""
    search_limit_max: int = 2000
    """Most rows of one search (documented)."""

    tiles_per_day: int = 50_000
    """Tiles a day for the application, 0 for no limit (documented)."""
    tiles_ip_per_min: int = 0
    """Tiles a minute from one address before it is blocked, 0 for off (observed about 360)."""
    tiles_ip_rolling: int = 0
    """Tiles in the rolling window before a block, 0 for off (observed about 10,000)."""
    tiles_ip_window_s: float = 172_800.0
    """Length of the rolling window, seconds (observed)."""
    block_status: int = 302
    """Answer to a blocked address: 302 to a login page (observed)."""
    block_silence_s: float = 86_400.0
    """Silence that ends a block, seconds (observed)."""
    tile_gzip: bool = True
    """Compress tiles for clients that accept it (observed)."""
    tile_etag: bool = False
    """Send ETag and answer 304 (assumed off: unknown)."""
    empty_tile_status: int = 200
    """Status of a tile without images; its body is empty (assumed)."""
    tile_buffer: int = 64
    """Points are drawn this many tile units beyond the edge (observed; size assumed)."""
    ids_as_double: bool = False
    """Write image ids as doubles, which rounds those above 2^53 (an unconfirmed report)."""
    url_ttl_s: float = 388_800.0
    """Life of a photo address, seconds (observed: 4.5 days)."""

    stac_limit_max: int = 10_000
    """Most photos of one Panoramax search; more is refused with 400 (documented)."""
    stac_page: int = 0
    """Photos on a page of a Panoramax search with a link to the next; 0: one page, cut at the limit
    (an instance has no pages, the catalogue of all has them; both observed)."""
    stac_per_min: int = 0
    """Panoramax searches a minute before 429, 0 for no limit (assumed; none is known)."""
    stac_retry_after_s: int = 1
    """Retry-After over the limit, seconds; 0 sends none (assumed)."""
    stac_photo_redirect: bool = False
    """Whether photos are answered with a redirect to a store (observed for some instances)."""
    stac_licence: str = "CC-BY-SA-4.0"
    """Licence that every photo names (ours)."""

    p_stac_500: float = 0.0
    """Chance of a 500 of a Panoramax search."""
    p_stac_429: float = 0.0
    """Chance of "too many requests" for a Panoramax search."""
    p_stac_html: float = 0.0
    """Chance of a web page with status 200 in place of a search's answer."""
    p_stac_reset: float = 0.0
    """Chance of a connection that breaks before a search's answer."""
    p_stac_cut: float = 0.0
    """Chance of a search's answer that ends in the middle, with a matching length."""
    p_graph_500: float = 0.0
    """Chance of a transient error of the graph."""
    p_graph_timeout_400: float = 0.0
    """Chance of the "Query Timeout" that comes with HTTP 400."""
    p_graph_drop_id: float = 0.0
    """Chance that a live id is missing from a batch."""
    p_graph_429: float = 0.0
    """Chance of "too many requests" of the graph, with Retry-After if ``graph_retry_after_s``."""
    p_graph_302: float = 0.0
    """Chance that the graph redirects to a login page."""
    p_graph_html: float = 0.0
    """Chance of a login page with status 200 in place of the graph's answer."""
    p_graph_reset: float = 0.0
    """Chance that the graph's connection breaks in the middle of the answer."""
    sick_ids: list[str] = field(default_factory=list)
    """Ids that make every call naming them fail with 500."""
    p_tile_404: float = 0.0
    """Chance of a 404 for a tile that exists."""
    p_tile_html: float = 0.0
    """Chance of a login page with status 200 in place of a tile."""
    p_tile_500: float = 0.0
    """Chance of a 500 for a tile."""
    p_tile_429: float = 0.0
    """Chance of "too many requests" for a tile, whatever the counts."""
    p_tile_302: float = 0.0
    """Chance of a redirect to the login page for one tile request."""
    p_tile_reset: float = 0.0
    """Chance of a connection that breaks before the tile."""
    p_tile_garbage: float = 0.0
    """Chance of bytes that are no vector tile, with a tile's own status and type."""
    p_tile_cut: float = 0.0
    """Chance of two thirds of a tile with a matching length."""
    tile_retry_after: str = "60"
    """Retry-After of a tile's 429: seconds, an HTTP date, or empty for none (all observed)."""
    p_cdn_500: float = 0.0
    """Chance of a 503 for a photo."""
    p_cdn_html: float = 0.0
    """Chance of a web page in place of a photo."""
    p_cdn_reset: float = 0.0
    """Chance of a connection that breaks before the answer."""
    p_cdn_truncate: float = 0.0
    """Chance of two thirds of the photo with a matching length."""
    p_cdn_short: float = 0.0
    """Chance of a connection that closes before the announced length."""
    p_cdn_corrupt: float = 0.0
    """Chance of 200 zero bytes in the middle of a photo."""
    p_cdn_429: float = 0.0
    """Chance of "too many requests" for a photo, with Retry-After of one second."""
    p_cdn_break: float = 0.0
    """Chance of a connection that is reset in the middle of the body."""
    p_cdn_slow: float = 0.0
    """Chance of three seconds before the body."""

    def change(self, values: dict[str, Any]) -> None:
        """Change settings by name.

        Args:
            values: Setting name to new value; numbers may come as int or float.

        Raises:
            ValueError: A name is unknown or a value has the wrong type; nothing is changed then.
        """
        known = {f.name: f.type for f in fields(self)}
        for name, value in values.items():
            if name not in known:
                raise ValueError(f"unknown setting {name!r}; known: {', '.join(sorted(known))}")
            if not _fits(value, known[name]):
                raise ValueError(f"setting {name!r} cannot be {value!r}; it is {known[name]}")
        for name, value in values.items():
            setattr(self, name, value)


def _fits(value: object, kind: Any) -> bool:  # noqa: ANN401
    """Say whether a JSON value can stand in a field of this type."""
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if kind == list[str]:
        return isinstance(value, list) and all(isinstance(v, str) for v in value)
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, int | float)
    if kind == float | None:
        return value is None or isinstance(value, int | float)
    return isinstance(value, kind)
