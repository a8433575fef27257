"""What phones and Mapillary say about the photos: near the truth, never the truth."""

from collections.abc import Sequence as Items
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from citysplat_core.simulation.captures import Capture, Sequence
from citysplat_core.simulation.town import Town
from citysplat_core.simulation.town_settings import TownSettings

_MEMORY = 0.6
"""How much of one photo's GPS error stays for the next."""


@dataclass(frozen=True, slots=True)
class Readings:
    """Sensor values of N photos, in the order of the captures; NaN where missing.

    Attributes:
        gps_enu: East, north, up in metres by GPS, shape (N, 3); up is NaN without altitude.
        compass_deg: Clockwise from north, shape (N,).
        computed_enu: As structure from motion says, shape (N, 3).
        computed_rotation: Axis-angle, camera from world, radians, shape (N, 3).
        computed_compass_deg: Heading of that rotation, shape (N,).
        camera_parameters: Focal ratio, k1, k2 as estimated, shape (N, 3).
        quality: Mapillary's score, 0 to 1, shape (N,).
    """

    gps_enu: NDArray[np.float64]
    compass_deg: NDArray[np.float64]
    computed_enu: NDArray[np.float64]
    computed_rotation: NDArray[np.float64]
    computed_compass_deg: NDArray[np.float64]
    camera_parameters: NDArray[np.float64]
    quality: NDArray[np.float64]


@dataclass(slots=True)
class _Parts:
    gps: list[NDArray[np.float64]] = field(default_factory=list)
    compass: list[NDArray[np.float64]] = field(default_factory=list)
    computed: list[NDArray[np.float64]] = field(default_factory=list)
    rotation: list[NDArray[np.float64]] = field(default_factory=list)
    parameters: list[NDArray[np.float64]] = field(default_factory=list)
    quality: list[NDArray[np.float64]] = field(default_factory=list)


def readings(town: Town, captures: Items[Capture]) -> Readings:
    """Read the sensors of all photos.

    A sequence's GPS has a bias and an error that changes slowly about it. Computed positions keep
    the bias, because structure from motion rests on the same GPS, with a smaller error about it.

    Args:
        town: The town.
        captures: Its captures, sequence by sequence, as ``plan_captures`` gives them.
    """
    parts = _Parts()
    for _, group in groupby(captures, key=lambda capture: capture.sequence.sequence_id):
        _read_sequence(town.settings, list(group), parts)
    rotation = np.concatenate(parts.rotation)
    forward = _matrices(rotation)[:, 2]
    return Readings(
        gps_enu=np.concatenate(parts.gps),
        compass_deg=np.concatenate(parts.compass),
        computed_enu=np.concatenate(parts.computed),
        computed_rotation=rotation,
        computed_compass_deg=np.degrees(np.arctan2(forward[:, 0], forward[:, 1])) % 360,
        camera_parameters=np.concatenate(parts.parameters),
        quality=np.concatenate(parts.quality),
    )


def _read_sequence(settings: TownSettings, photos: list[Capture], parts: _Parts) -> None:
    sequence = photos[0].sequence
    rng = np.random.default_rng([sequence.seed, 8])
    count = len(photos)
    truth = np.array([photo.centre for photo in photos])
    scale = np.array([1.0, 1.0, 2.0])  # GPS heights are about twice as bad
    bias = settings.gps_bias_m * scale * rng.standard_normal(3)
    gps = truth + bias + settings.gps_noise_m * scale * _drift(rng, count, 3, _MEMORY)
    if not sequence.has_altitude:
        gps[:, 2] = np.nan
    computed = truth + bias + settings.computed_noise_m * scale * _drift(rng, count, 3, 0.8)
    turn = np.radians(rng.normal(0, 0.5, 3) + rng.normal(0, 0.35, (count, 3)))
    rotation = _axis_angles(_matrices(turn) @ np.array([photo.rotation for photo in photos]))
    compass = _compass(settings, rng, sequence, photos)
    camera = sequence.camera
    known = np.array([camera.focal_ratio, camera.k1, camera.k2])
    known = known * np.array([1 + rng.normal(0, 0.008), 1, 1]) + rng.normal(0, [0, 0.006, 0.004])
    missing = rng.random(count) < settings.computed_missing_share
    computed[missing], rotation[missing] = np.nan, np.nan
    quality = rng.beta(6, 2, count) * np.where([photo.is_blurred for photo in photos], 0.55, 1.0)
    parts.gps.append(gps)
    parts.compass.append(compass)
    parts.computed.append(computed)
    parts.rotation.append(rotation)
    parts.parameters.append(np.tile(known, (count, 1)))
    parts.quality.append(quality)


def _compass(
    settings: TownSettings, rng: np.random.Generator, sequence: Sequence, photos: list[Capture]
) -> NDArray[np.float64]:
    """Read a compass; of a sideways camera it often says where the car goes."""
    looks = np.array([photo.heading_deg for photo in photos])
    goes = np.array([photo.travel_heading_deg for photo in photos])
    offset = settings.compass_bias_deg * rng.standard_normal()
    if sequence.is_compass_bad:
        offset = rng.uniform(60, 300)
    if sequence.kind == "sideways" and rng.random() < 0.5:
        looks = goes
    noise = settings.compass_noise_deg * rng.standard_normal(len(photos))
    return np.asarray((looks + offset + noise) % 360)


def _drift(rng: np.random.Generator, count: int, width: int, memory: float) -> NDArray[np.float64]:
    """Draw errors of unit deviation of which each keeps a share of the one before."""
    fresh = rng.standard_normal((count, width))
    errors = np.empty_like(fresh)
    last = rng.standard_normal(width)
    for k in range(count):
        last = memory * last + np.sqrt(1 - memory**2) * fresh[k]
        errors[k] = last
    return errors


def _matrices(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn axis-angles, shape (N, 3), into matrices, shape (N, 3, 3)."""
    angle = np.linalg.norm(vectors, axis=1)
    axis = vectors / np.maximum(angle, 1e-12)[:, None]
    zero = np.zeros(len(vectors))
    x, y, z = axis.T
    cross = np.array([[zero, -z, y], [z, zero, -x], [-y, x, zero]]).transpose(2, 0, 1)
    sine, cosine = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    return np.asarray(np.eye(3) + sine * cross + (1 - cosine) * (cross @ cross))


def quaternions(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn rotation matrices, shape (N, 3, 3), into unit quaternions w, x, y, z with w >= 0."""
    m = matrices
    trace = m[:, 0, 0] + m[:, 1, 1] + m[:, 2, 2]
    # The largest of the four squares is well away from zero: divide by that one.
    squares = np.stack([trace, m[:, 0, 0], m[:, 1, 1], m[:, 2, 2]], axis=1)
    table = np.empty((len(m), 4, 4))
    table[:, 0] = np.stack(
        [1 + trace, m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]],
        axis=1,
    )
    for a in range(3):
        b, c = (a + 1) % 3, (a + 2) % 3
        row = np.empty((len(m), 4))
        row[:, 0] = m[:, c, b] - m[:, b, c]
        row[:, 1 + a] = 1 + m[:, a, a] - m[:, b, b] - m[:, c, c]
        row[:, 1 + b] = m[:, a, b] + m[:, b, a]
        row[:, 1 + c] = m[:, a, c] + m[:, c, a]
        table[:, 1 + a] = row
    chosen = table[np.arange(len(m)), np.argmax(squares, axis=1)]
    chosen /= np.linalg.norm(chosen, axis=1, keepdims=True)
    return np.asarray(np.where(chosen[:, :1] < 0, -chosen, chosen))


def _axis_angles(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn rotation matrices, shape (N, 3, 3), into axis-angles, shape (N, 3)."""
    q = quaternions(matrices)
    sine = np.linalg.norm(q[:, 1:], axis=1)
    angle = 2 * np.arctan2(sine, q[:, 0])
    return np.asarray(
        q[:, 1:] * np.where(sine > 1e-9, angle / np.maximum(sine, 1e-12), 2.0)[:, None]
    )
