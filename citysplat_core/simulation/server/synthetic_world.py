"""A world made by code: dash-cam walks over a street grid, with the noise of real metadata."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from citysplat_core.simulation.server.world import World

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_METRES_PER_DEG = 111_320.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticSpec:
    """How a synthetic world is made; the same spec gives the same world."""

    n_images: int = 20_000
    """Number of images."""
    bbox: tuple[float, float, float, float] = (8.530, 47.365, 8.550, 47.385)
    """West, south, east, north, degrees."""
    seed: int = 7
    """Seed of everything."""
    sequence_length: int = 120
    """Images a sequence."""
    step_m: float = 4.0
    """Metres between images of a sequence."""
    block_m: float = 90.0
    """Metres between streets."""
    captured_from_ms: int = 1_600_000_000_000
    """Earliest start of a sequence, milliseconds since 1970."""
    captured_until_ms: int = 1_760_000_000_000
    """Latest start of a sequence, milliseconds since 1970."""


def synthetic_world(spec: SyntheticSpec | None = None) -> World:
    """Make a world from a spec."""
    return World(synthetic_columns(spec or SyntheticSpec()))


def synthetic_columns(
    spec: SyntheticSpec, *, taken: frozenset[int] = frozenset()
) -> dict[str, NDArray[Any]]:
    """Make the columns of a world.

    Args:
        spec: What to make.
        taken: Image ids that must not be used again.

    Returns:
        The columns of ``world_schema`` as arrays, rows in sequence and capture order.
    """
    rng = np.random.default_rng(spec.seed)
    n = spec.n_images
    n_sequences = max(1, -(-n // spec.sequence_length))
    sequence_of = np.minimum(np.arange(n) // spec.sequence_length, n_sequences - 1)
    walks = [_walk(spec, rng, int((sequence_of == s).sum())) for s in range(n_sequences)]
    east_north = np.concatenate([walk[0] for walk in walks])
    heading = np.concatenate([walk[1] for walk in walks])
    columns = _positions(spec, rng, east_north, heading)
    columns |= _per_sequence(spec, rng, sequence_of, n_sequences)
    columns["image_id"] = _ids(rng, n, taken)
    columns["quality_score"] = np.round(rng.beta(6, 2, n), 4)
    columns["exif_orientation"] = np.ones(n, dtype=np.int64)
    _without_sfm(columns, rng.random(n) < 0.08)
    return columns


def _ids(rng: np.random.Generator, n: int, taken: frozenset[int]) -> NDArray[np.int64]:
    ids: list[int] = []
    seen = set(taken)
    while len(ids) < n:
        value = int(rng.integers(10**14, 10**17))
        if value not in seen:
            seen.add(value)
            ids.append(value)
    return np.array(ids, dtype=np.int64)


def _walk(
    spec: SyntheticSpec, rng: np.random.Generator, n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Walk along streets, turning at some crossings; metres east and north of the south-west."""
    west, south, east, north = spec.bbox
    size = np.array([(east - west) * np.cos(np.radians(south)), north - south]) * _METRES_PER_DEG
    crossings = np.maximum(1, (size // spec.block_m).astype(int))
    at = rng.integers(0, crossings + 1) * spec.block_m
    direction = int(rng.integers(0, 4))
    steps = np.array([[0, 1], [1, 0], [0, -1], [-1, 0]], dtype=np.float64)
    places, headings, since = np.empty((n, 2)), np.empty(n), 0.0
    for index in range(n):
        places[index], headings[index] = at, direction * 90.0
        ahead = at + steps[direction] * spec.step_m
        since += spec.step_m
        outside = bool(((ahead < 0) | (ahead > size)).any())
        if outside or (since >= spec.block_m and rng.random() < 0.35):
            direction = (direction + int(rng.choice([1, 2, 3] if outside else [1, 3]))) % 4
            ahead, since = np.clip(at + steps[direction] * spec.step_m, 0, size), 0.0
        at = ahead
    return places, headings


def _positions(
    spec: SyntheticSpec,
    rng: np.random.Generator,
    east_north: NDArray[np.float64],
    heading: NDArray[np.float64],
) -> dict[str, NDArray[Any]]:
    n = len(heading)
    west, south = spec.bbox[:2]
    metres = np.array([_METRES_PER_DEG * np.cos(np.radians(south)), _METRES_PER_DEG])
    true = east_north / metres + np.array([west, south])
    noisy = (east_north + rng.normal(0, 3.0, (n, 2))) / metres + np.array([west, south])
    altitude = rng.normal(410.0, 3.0, n)
    angle = np.radians(heading)
    return {
        "lon": noisy[:, 0],
        "lat": noisy[:, 1],
        "altitude": altitude,
        "computed_lon": true[:, 0],
        "computed_lat": true[:, 1],
        "computed_altitude": altitude + rng.normal(0, 1.0, n),
        "compass_angle": (heading + rng.normal(0, 6.0, n)) % 360.0,
        "computed_compass_angle": heading % 360.0,
        "rotation": np.array([level_rotation(float(a)) for a in angle]).reshape(n, 3),
    }


def level_rotation(heading_rad: float) -> NDArray[np.float64]:
    """Return the axis-angle of a level camera, camera from local East-North-Up, shape (3,)."""
    cos, sin = np.cos(heading_rad), np.sin(heading_rad)
    matrix = np.array([[cos, -sin, 0.0], [0.0, 0.0, -1.0], [sin, cos, 0.0]])
    # The trace is cos(a), so the angle stays within 60..180 degrees, and sin is zero only at 180.
    turn = np.arccos(np.clip((np.trace(matrix) - 1.0) / 2.0, -1.0, 1.0))
    skew = np.array(
        [matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]]
    )
    if np.sin(turn) < 1e-6:
        axis = np.array([0.0, -np.sqrt(0.5), np.sqrt(0.5)])
        return np.asarray(axis * turn)
    return np.asarray(skew / (2.0 * np.sin(turn)) * turn)


def _per_sequence(
    spec: SyntheticSpec,
    rng: np.random.Generator,
    sequence_of: NDArray[np.int64],
    n_sequences: int,
) -> dict[str, NDArray[Any]]:
    n_creators = max(3, n_sequences // 12)
    names = np.array(["".join(rng.choice(list(_BASE62), 22)) for _ in range(n_sequences)])
    creator_ids = rng.integers(10**14, 10**15, n_creators)
    creator = creator_ids[rng.integers(0, n_creators, n_sequences)]
    organizations = rng.integers(10**14, 10**15, 4)
    member = rng.random(n_sequences) < 0.3
    organization = np.where(member, organizations[rng.integers(0, 4, n_sequences)], 0)
    is_pano = (rng.random(n_sequences) < 0.15)[sequence_of]
    start = rng.integers(spec.captured_from_ms, spec.captured_until_ms, n_sequences)
    step = rng.uniform(800.0, 2500.0, n_sequences)
    place = np.arange(len(sequence_of)) - np.searchsorted(sequence_of, sequence_of)
    parameters = np.tile([0.85, -0.02, 0.003], (len(sequence_of), 1))
    parameters[is_pano] = np.nan
    usernames = np.array([f"user{int(c) % 1000:03d}" for c in creator], dtype=object)
    return {
        "sequence": names.astype(object)[sequence_of],
        "creator_id": creator[sequence_of],
        "creator_username": usernames[sequence_of],
        "organization_id": organization[sequence_of],
        "captured_at": start[sequence_of] + (place * step[sequence_of]).astype(np.int64),
        "is_pano": is_pano,
        "foot": (rng.random(n_sequences) < 0.2)[sequence_of],
        "camera_type": np.where(is_pano, "spherical", "perspective").astype(object),
        "camera_parameters": parameters,
        "width": np.where(is_pano, 5760, 4032),
        "height": np.where(is_pano, 2880, 3024),
        "make": np.where(is_pano, "GoPro", "Apple").astype(object),
        "model": np.where(is_pano, "GoPro Max", "iPhone 12").astype(object),
    }


def _without_sfm(columns: dict[str, NDArray[Any]], failed: NDArray[np.bool_]) -> None:
    for name in ("computed_lon", "computed_lat", "computed_altitude", "computed_compass_angle"):
        columns[name][failed] = np.nan
    columns["rotation"][failed] = np.nan
