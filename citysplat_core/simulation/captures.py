"""Which photos of a town exist: where, when, by whom and how each is taken."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from citysplat_core.geography.sun import sun_elevation_deg
from citysplat_core.simulation.cameras import (
    CAMERA_KINDS,
    Camera,
    make_360_camera,
    make_camera,
)
from citysplat_core.simulation.routes import Kind, Route, drives, sideways_drives, walks
from citysplat_core.simulation.town import Town

Overlay = Literal["none", "bonnet", "banner"]
_MAX_SEQUENCE = 120
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_HOME_LON = 8.547  # the hours below are UTC there
_DUSK_DEG = (-4.0, 1.0)  # height of the sun
_FIRST_DAY, _N_DAYS = 18_519, 1_700  # days since 1970: autumn of 2020, and four and a half years
_SIDE_LOOKS_DEG = (90.0, -90.0, 90.0, -90.0, 50.0, -50.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """One drive or walk of one person with one camera.

    Attributes:
        sequence_id: 22 base-62 characters.
        kind: ``drive``, ``sideways`` or ``walk``.
        camera: The camera.
        creator_id: Number of the person.
        creator_username: Name of the person.
        organization_id: Number of an organisation, or None.
        is_dusk: Whether it is taken at dusk.
        has_altitude: Whether its GPS gives altitudes.
        is_compass_bad: Whether its compass is grossly wrong.
        overlay: What covers a part of every photo.
        exposure: Factor of brightness.
        white_balance: Factors of red, green and blue.
        look_deg: Turn of the camera against the way, counter-clockwise, degrees.
        seed: Seed of its traffic, clouds and sensors.
    """

    sequence_id: str
    kind: Kind
    camera: Camera
    creator_id: int
    creator_username: str
    organization_id: int | None
    is_dusk: bool
    has_altitude: bool
    is_compass_bad: bool
    overlay: Overlay
    exposure: float
    white_balance: tuple[float, float, float]
    look_deg: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """One photo and its truth.

    Attributes:
        image_id: A 64-bit integer in decimal; most exceed 2^53.
        sequence: The sequence that it belongs to.
        index: Its place in the sequence, from 0.
        rotation: ``cam_from_world`` (x right, y down, z forward; world = city frame), (3, 3).
        centre: Camera centre, East-North-Up metres, (3,).
        travel_heading_deg: Direction of travel, clockwise from north.
        captured_at_ms: Milliseconds since 1970, UTC.
        elapsed_s: Seconds since the sequence began.
        is_blurred: Whether it is shaken or out of focus.
    """

    image_id: str
    sequence: Sequence
    index: int
    rotation: NDArray[np.float64]
    centre: NDArray[np.float64]
    travel_heading_deg: float
    captured_at_ms: int
    elapsed_s: float
    is_blurred: bool

    @property
    def camera(self) -> Camera:
        """The camera that took it."""
        return self.sequence.camera

    @property
    def translation(self) -> NDArray[np.float64]:
        """``cam_from_world`` translation, metres, shape (3,)."""
        return np.asarray(-self.rotation @ self.centre)

    @property
    def has_overlay(self) -> bool:
        """Whether a bonnet or a banner covers a part of it."""
        return self.sequence.overlay != "none"

    @property
    def seed(self) -> int:
        """Seed of what is particular to this photo."""
        return int(self.image_id) % 2**31

    @property
    def heading_deg(self) -> float:
        """Where the camera looks, degrees clockwise from north."""
        forward = self.rotation[2]
        return math.degrees(math.atan2(forward[0], forward[1])) % 360


def plan_captures(town: Town) -> list[Capture]:
    """Plan all photos of a town; nothing is rendered.

    Args:
        town: The town.

    Returns:
        ``settings.n_photos`` captures, sequence by sequence in order of capture. 20,000 take
        some seconds. The same town gives the same captures.
    """
    settings = town.settings
    rng = np.random.default_rng([settings.seed, 4])
    n_side = round(settings.n_photos * settings.sideways_share)
    n_walk = round(settings.n_photos * settings.pedestrian_share)
    placed = _spread(drives(rng, town.grid), settings.n_photos - n_side - n_walk)
    placed += _spread(_enough(rng, town, "sideways", n_side), n_side)
    placed += _spread(_enough(rng, town, "walk", n_walk), n_walk)
    ids = _image_ids(rng, settings.n_photos)
    people = _People(rng, town, len(placed))
    captures: list[Capture] = []
    for route, costs in placed:
        sequence = people.sequence(route.kind)
        first = len(captures)
        captures += _along(
            np.random.default_rng(sequence.seed), town, sequence, route, costs,
            ids[first : first + len(costs)],
        )  # fmt: skip
    return captures


def _enough(rng: np.random.Generator, town: Town, kind: Kind, n_photos: int) -> list[Route]:
    """Collect routes until they need as many photos as there are."""
    make, spacing = (sideways_drives, 1.0) if kind == "sideways" else (walks, 0.5)
    routes: list[Route] = []
    need = n_photos * town.grid.spacing_m * spacing
    while n_photos and sum(route.cost[-1] for route in routes) < need:
        for route in make(rng, town.grid):
            if sum(known.cost[-1] for known in routes) < need:
                routes.append(route)
    return routes


def _spread(routes: list[Route], n_photos: int) -> list[tuple[Route, NDArray[np.float64]]]:
    """Put photos evenly over the routes; a route of many photos becomes several sequences."""
    if n_photos == 0:
        return []
    ends = np.cumsum([route.cost[-1] for route in routes])
    places = (np.arange(n_photos) + 0.5) * ends[-1] / n_photos
    owner = np.searchsorted(ends, places)
    placed = []
    for index, route in enumerate(routes):
        mine = places[owner == index] - (ends[index] - route.cost[-1])
        parts = range(0, len(mine), _MAX_SEQUENCE)
        placed += [(route, mine[part : part + _MAX_SEQUENCE]) for part in parts]
    return placed


def _image_ids(rng: np.random.Generator, count: int) -> list[str]:
    ids: dict[int, None] = {}
    while len(ids) < count:
        ids.update(dict.fromkeys(rng.integers(10**14, 10**17, count - len(ids)).tolist()))
    return [str(number) for number in ids]


class _People:
    """Draws who takes a sequence, with what, and in what light."""

    def __init__(self, rng: np.random.Generator, town: Town, n_sequences: int) -> None:
        self._rng, self._settings = rng, town.settings
        self._creators = [int(v) for v in rng.integers(10**14, 10**15, max(3, n_sequences // 3))]
        self._organizations = [int(v) for v in rng.integers(10**14, 10**15, 4)]
        self._count = self._n_overlays = 0
        self._cameras: dict[tuple[int, bool], Camera] = {}

    def _camera(self, person: int, *, on_foot: bool, is_pano: bool) -> Camera:
        """Give the one device that a person drives or walks with, or the one on the car's roof."""
        key = (person, on_foot)
        if key not in self._cameras:
            kinds = [kind for kind in CAMERA_KINDS if kind.on_foot == on_foot]
            kind = kinds[int(self._rng.integers(len(kinds)))]
            name = f"{kind.make} {kind.model} {person}"
            self._cameras[key] = make_camera(kind, name, self._rng, self._settings.photo_width_px)
        if is_pano:  # only now, so that panoramas change nothing else that is drawn by chance
            return make_360_camera(f"GoPro Max {person}", self._settings.panorama_width_px)
        return self._cameras[key]

    def sequence(self, kind: Kind) -> Sequence:
        rng, settings = self._rng, self._settings
        person = int(rng.integers(len(self._creators)))
        creator = self._creators[person]
        number, self._count = self._count, self._count + 1
        overlay: Overlay = "none"
        is_pano = kind == "drive" and _is_due(number, settings.panorama_share, 0.5)
        if kind == "drive" and not is_pano and _is_due(number, settings.overlay_share, 0.8):
            overlay = "banner" if self._n_overlays % 2 else "bonnet"
            self._n_overlays += 1
        look = 0.0
        if kind == "sideways":
            look = float(rng.choice(_SIDE_LOOKS_DEG)) + 2 * float(rng.standard_normal())
        tone = 1 + 0.025 * rng.standard_normal(3)
        organization = self._organizations[creator % 4] if creator % 10 < 3 else None
        return Sequence(
            sequence_id="".join(_BASE62[k] for k in rng.integers(62, size=22)),
            kind=kind,
            camera=self._camera(person, on_foot=kind == "walk", is_pano=is_pano),
            creator_id=creator,
            creator_username=f"user{creator % 1000:03d}",
            organization_id=organization,
            is_dusk=_is_due(number, settings.dusk_share, 0.5),
            has_altitude=not _is_due(number, settings.missing_altitude_share, 0.3),
            is_compass_bad=_is_due(number, settings.bad_compass_share, 0.6),
            overlay=overlay,
            exposure=float(np.exp(0.09 * rng.standard_normal())),
            white_balance=(float(tone[0]), float(tone[1]), float(tone[2])),
            look_deg=look,
            seed=int(rng.integers(2**31)),
        )


def _is_due(number: int, share: float, phase: float) -> bool:
    """Say whether a sequence is one of the given share: evenly, so that small towns have some."""
    return math.floor((number + 1) * share + phase) > math.floor(number * share + phase)


def _along(
    rng: np.random.Generator,
    town: Town,
    sequence: Sequence,
    route: Route,
    costs: NDArray[np.float64],
    ids: list[str],
) -> list[Capture]:
    """Take the photos of one sequence."""
    at = np.interp(costs, route.cost, np.arange(len(route.cost)))
    line = np.arange(len(route.cost))
    x, y = np.interp(at, line, route.xy[:, 0]), np.interp(at, line, route.xy[:, 1])
    heading = np.interp(at, line, route.heading)
    on_foot = sequence.kind == "walk"
    sway = float(rng.normal(0, 0.25)) + _wander(rng, len(ids), 0.08)
    x, y = x - sway * np.sin(heading), y + sway * np.cos(heading)
    base = float(rng.normal(1.66, 0.06) if on_foot else rng.normal(1.5, 0.1))
    z = base + rng.normal(0, 0.03 if on_foot else 0.012, len(ids))
    enu_from_town = np.linalg.inv(town.town_from_enu)
    centres = np.stack([x, y, z], axis=1) @ enu_from_town.T
    yaw = heading + np.radians(town.settings.turn_deg)
    shake = 2.0 if on_foot else 0.7
    look = yaw + np.radians(sequence.look_deg + _wander(rng, len(ids), shake) + rng.normal(0, 1.2))
    pitch = np.radians(rng.normal(1.0, 1.5) + rng.normal(0, shake * 0.6, len(ids)))
    roll = np.radians(rng.normal(0, 1.0) + rng.normal(0, shake * 0.5, len(ids)))
    way = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    elapsed = way / (1.3 if on_foot else 8.0) + 0.4 * np.arange(len(ids))
    axes = _camera_axes(look, pitch, roll)
    start = _start_ms(rng, town, is_dusk=sequence.is_dusk)
    blurred = rng.random(len(ids)) < town.settings.blurred_share
    return [
        Capture(
            image_id=ids[k],
            sequence=sequence,
            index=k,
            rotation=axes[k],
            centre=centres[k],
            travel_heading_deg=float((90 - np.degrees(yaw[k])) % 360),
            captured_at_ms=start + round(1000 * elapsed[k]),
            elapsed_s=float(elapsed[k]),
            is_blurred=bool(blurred[k]),
        )
        for k in range(len(ids))
    ]


def _wander(rng: np.random.Generator, count: int, deviation: float) -> NDArray[np.float64]:
    """Draw a slowly changing error of a given deviation."""
    steps = rng.standard_normal(count)
    values = np.empty(count)
    last = float(rng.standard_normal())
    for k in range(count):
        last = 0.7 * last + math.sqrt(1 - 0.49) * steps[k]
        values[k] = last
    return np.asarray(deviation * values)


def _start_ms(rng: np.random.Generator, town: Town, *, is_dusk: bool) -> int:
    """Draw when a sequence begins: by day, or when the sun of that day and place is about to set.

    The default town keeps its hours; towns elsewhere have theirs by their own sun.
    """
    hour = rng.uniform(18.6, 19.4) if is_dusk else rng.uniform(8.0, 15.5)
    day = _FIRST_DAY + int(rng.integers(_N_DAYS))
    lon, lat = town.settings.origin_lon, town.settings.origin_lat
    if is_dusk:
        sun_deg = _DUSK_DEG[0] + (hour - 18.6) / 0.8 * (_DUSK_DEG[1] - _DUSK_DEG[0])
        hour = _hour_of_sun(sun_deg, day, lon, lat)
    else:
        hour -= (lon - _HOME_LON) / 15.0
    return int((day * 24 + hour) * 3_600_000)


def _hour_of_sun(sun_deg: float, day: int, lon: float, lat: float) -> float:
    """Return the hour (UTC) between noon and midnight when the sun stands nearest to a height."""
    hours = 12.0 - lon / 15.0 + np.arange(0, 12, 1 / 60)
    times_ms = (day * 24 + hours) * 3_600_000.0
    height = sun_elevation_deg(times_ms, np.full(len(hours), lon), np.full(len(hours), lat))
    return float(hours[np.argmin(np.abs(height - sun_deg))])


def _camera_axes(
    yaw: NDArray[np.float64], pitch: NDArray[np.float64], roll: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Give ``cam_from_world`` of N looks: yaw from east to north, pitch up, roll clockwise."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    forward = np.stack([cos * np.cos(pitch), sin * np.cos(pitch), np.sin(pitch)], axis=1)
    level = np.stack([sin, -cos, np.zeros(len(yaw))], axis=1)
    down = np.cross(forward, level)
    right = np.cos(roll)[:, None] * level + np.sin(roll)[:, None] * down
    return np.stack([right, np.cross(forward, right), forward], axis=1)
