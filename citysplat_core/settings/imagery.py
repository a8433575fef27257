"""Settings of what brings the photos: source, rules, panoramas, masks."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from citysplat_core.settings.base import StepSettings, machine


class SourceSettings(StepSettings):
    """Where the photos come from."""

    kind: Literal["mapillary", "folder", "panoramax"] = "mapillary"
    """``mapillary`` or ``panoramax`` (the service, or a server that speaks its protocol), or
    ``folder``."""
    path: str = ""
    """Folder source: the folder with photos, relative to city.toml."""
    positions_csv: str = ""
    """Folder source: a CSV of positions (id, file, lon, lat, ...) beside city.toml; empty: EXIF."""
    gpx: tuple[str, ...] = ()
    """Folder source: GPX tracks beside city.toml (files or folders of them); photos are placed on
    them by their time."""
    gpx_offset_s: float = 0.0
    """Folder source: what the camera's clock shows minus the true time, seconds; 3600 for a camera
    that was left one hour ahead."""
    gpx_max_gap_s: float = Field(60.0, gt=0)
    """Folder source: photos are not placed in longer gaps between two points of a track,
    seconds."""
    gpx_camera: Literal["forward", "right", "back", "left", "none"] = "forward"
    """Folder source: which way the camera looks, seen from the direction of movement: gives a
    heading to photos on a track that have none; ``none`` gives none."""
    panoramax_url: str = machine("https://api.panoramax.xyz/api")
    """Panoramax source: base address of the catalogue of all instances, or of one instance."""
    searches_per_min: int = machine(120, ge=1)
    """Panoramax source: search requests a minute."""
    search_limit: int = machine(1000, ge=10, le=10_000)
    """Panoramax source: most photos that one search answers; a fuller place is searched in
    parts."""
    tiles_url: str = machine("https://tiles.mapillary.com")
    """Mapillary's vector tile host."""
    graph_url: str = machine("https://graph.mapillary.com")
    """Mapillary's Graph API host."""
    tiles_per_min: int = machine(60, ge=1)
    """Vector tile requests a minute; the host blocks machines that ask much faster."""
    tiles_per_day: int = machine(3500, ge=1)
    """Vector tile requests a day."""
    entities_per_min: int = machine(54_000, ge=1)
    """Metadata requests a minute."""
    connections: int = machine(32, ge=1, le=64)
    """Connections at once for metadata and photos."""
    read_timeout_s: float = machine(20.0, ge=1)
    """A host that is silent for this long is asked again, seconds; a town that is rendered while it
    is photographed, on a busy machine, needs more."""
    max_age_hours: float = machine(72.0, ge=0)
    """Tiles that were asked for within this time are taken from the cache, hours; an image that was
    gone is asked for again after it."""
    metadata_max_age_days: float = machine(90.0, ge=0)
    """Descriptions of images that were asked for within this time are not asked for again, days."""


class PhotoSettings(StepSettings):
    """Which photos are fetched and which are good enough."""

    size_px: Literal[256, 1024, 2048, 0] = 1024
    """Width of the downloaded photo; 0: the original."""
    min_blur_score: float | None = -4.5
    """Photos with a lower sharpness score are rejected; null keeps all."""
    min_luminance: float = Field(12.0, ge=0, le=255)
    """Photos with a darker mean (0 to 255) are rejected."""
    max_dark_share: float = Field(0.9, ge=0, le=1)
    """Photos with a larger share of pixels that are black (8 of 255 or less) are rejected."""
    max_bright_share: float = Field(0.6, ge=0, le=1)
    """Photos with a larger share of pixels that are white (250 of 255 or more) are rejected."""
    min_contrast: float = Field(5.0, ge=0, le=128)
    """Photos whose luminance (0 to 255) spreads less are rejected: covered lens, dense fog."""
    min_sun_deg: float | None = Field(-6.0, ge=-90, le=90)
    """Photos taken with a lower sun are not fetched, degrees above the horizon; -6 is where night
    begins; null fetches all. Folder photos are judged by their luminance only, because EXIF times
    lack their zone."""
    max_jump_m: float | None = Field(40.0, gt=0)
    """Photos whose position lies farther off their sequence's track, where it cannot have got in
    that time, are not fetched, metres; null fetches all."""
    max_bias_m: float | None = Field(60.0, gt=0)
    """Photos placed by GPS whose sequence's GPS is off by more than this against computed positions
    (median) are not fetched, metres; null fetches all."""
    max_speed_m_s: float | None = Field(None, gt=0)
    """Photos taken at a higher speed are not fetched, metres a second; null fetches all."""
    max_stationary: int | None = Field(5, ge=1)
    """Of a camera that stands (below 0.3 m/s, within 3 m) so many photos are fetched, evenly spread
    over its stay; null fetches all."""
    duplicate_bits: int | None = Field(4, ge=0, le=64)
    """Photos whose perceptual hashes differ in at most this many of 64 bits are near-duplicates, of
    which the sharpest is kept; null keeps all. Frames of one moving camera never are."""
    duplicate_within_m: float = Field(3.0, gt=0)
    """Near-duplicates lie within this distance, metres."""
    duplicate_within_s: float = Field(60.0, ge=0)
    """Near-duplicates are taken within this time, seconds."""
    keyframe_distance_m: float = Field(0.0, ge=0)
    """Along straight runs of a sequence the sharpest photo of each such stretch is kept, metres; at
    crossings all are. 0 keeps all."""
    keyframe_turn_deg: float = Field(15.0, gt=0, le=180)
    """A camera that has turned by more than this since the last kept photo begins a new stretch,
    degrees."""


class PanoramaSettings(StepSettings):
    """What becomes of 360-degree photos; they are never used as ordinary photos."""

    use: Literal["cut", "exclude"] = "cut"
    """``cut`` them into perspective views that take part in everything, or ``exclude`` them."""
    yaw_deg: tuple[Annotated[float, Field(ge=-360, le=360)], ...] = Field(
        (0.0, 60.0, 120.0, 180.0, 240.0, 300.0), min_length=1, max_length=16
    )
    """Where the views look: one each, clockwise from the panorama's heading, degrees."""
    pitch_deg: float = Field(5.0, ge=-45, le=45)
    """How far all views look up, degrees; the rider or the car's roof is below."""
    field_of_view_deg: float = Field(90.0, ge=30, le=120)
    """Horizontal field of view of a view, degrees."""
    view_width_px: int = Field(1024, ge=64, le=4096)
    """Width of a view, pixels; less where the panorama has fewer pixels a degree."""
    view_height_px: int = Field(768, ge=48, le=4096)
    """Height of a view of full width, pixels."""
    download_px: Literal[1024, 2048, 0] = 0
    """Width of the downloaded panorama; 0: the original. 2048 gives views of 648 pixels."""
    keep_downloads: bool = machine(True)  # noqa: FBT003 - the default
    """Keep panoramas in the photo cache after they are cut (about 6 MB each in full size), so that
    other views can be cut without fetching them again."""


class MaskSettings(StepSettings):
    """What features and splats ignore in the photos: what moves, or travels with the camera."""

    sources: tuple[Literal["sequence", "detections", "model"], ...] = ("sequence",)
    """Who says what is ignored, in any order; regions are united. ``sequence`` finds what stays in
    place while the camera moves (bonnet, banner, rider, watermark); ``detections`` asks Mapillary;
    ``model`` runs a network from ``model_file``. Empty: no masks."""
    min_sequence_photos: int = Field(10, ge=8)
    """``sequence``: fewest photos of a sequence in a box, at least 3 m apart, that show what stays
    in place."""
    detections: tuple[str, ...] = (
        "human",
        "object--vehicle",
        "void--car-mount",
        "void--ego-vehicle",
    )
    """``detections``: values that are ignored; ``object--vehicle`` stands for all that begin with
    ``object--vehicle--`` too. ``nature--sky`` is possible."""
    model_file: str = ""
    """``model``: an ONNX file of semantic segmentation, relative to city.toml. None is shipped;
    mind the licence of its weights."""
    model_classes: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """``model``: numbers of the classes that are ignored, as the file counts them (Cityscapes'
    training ids: 11 to 18 are persons and vehicles, 10 is sky)."""
    model_width_px: int = Field(1024, ge=32, le=4096)
    """``model``: width of the network's input, pixels."""
    model_height_px: int = Field(512, ge=32, le=4096)
    """``model``: height of the network's input, pixels."""
    model_mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """``model``: taken from red, green and blue (0 to 1) before the network; ImageNet's."""
    model_std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """``model``: what red, green and blue are then divided by; ImageNet's."""

    @field_validator("sources", "detections", "model_classes")
    @classmethod
    def _in_one_order(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Sort: the order does not count, so it must not make anything stale."""
        return tuple(sorted(set(values)))
