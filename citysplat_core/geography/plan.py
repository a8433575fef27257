"""The box plan: a quadtree of boxes over the photos, and the fringes between them."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from citysplat_core.errors import StorageError
from citysplat_core.geography.quadkeys import neighbours, quadkey_of, tile_of, tile_of_quadkey
from citysplat_core.storage import digest_of, read_json

PLAN_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A leaf of the quadtree.

    Attributes:
        key: Its quadkey.
        zoom: Its zoom level.
        n_images: Photos whose position falls in it.
        west: Western border, degrees.
        south: Southern border, degrees.
        east: Eastern border, degrees.
        north: Northern border, degrees.
        center_east_m: East of its middle in the city frame, metres.
        center_north_m: North of its middle, metres.
    """

    key: str
    zoom: int
    n_images: int
    west: float
    south: float
    east: float
    north: float
    center_east_m: float
    center_north_m: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fringe:
    """Two neighbouring boxes and the photos near their common border.

    Attributes:
        key: ``A--B``, the box keys sorted.
        a: First box key.
        b: Second box key.
        kind: ``edge`` or ``corner``.
        n_images: Photos of both sides within the fringe.
    """

    key: str
    a: str
    b: str
    kind: Literal["edge", "corner"]
    n_images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxPlan:
    """All boxes and fringes of a city; its file is the partition definition.

    Attributes:
        city: Name of the city.
        boxes: Sorted by key.
        fringes: Sorted by key.
        estimates: What the plan will cost, by name with the unit.
    """

    city: str
    boxes: tuple[Box, ...]
    fringes: tuple[Fringe, ...]
    estimates: dict[str, float] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Hash of the keys: changes when a box or fringe comes or goes."""
        return digest_of([[b.key for b in self.boxes], [f.key for f in self.fringes]])

    def fringes_of(self, box: str) -> list[str]:
        """List the fringes of a box, sorted."""
        return [f.key for f in self.fringes if box in (f.a, f.b)]

    def neighbours_of(self, box: str) -> list[str]:
        """List the boxes that share a fringe with a box, sorted."""
        return sorted((f.b if f.a == box else f.a) for f in self.fringes if box in (f.a, f.b))

    def box(self, key: str) -> Box:
        """Give a box by its key."""
        return next(b for b in self.boxes if b.key == key)

    def to_json(self) -> dict[str, Any]:
        """Give the plan as JSON values."""
        return {
            "version": PLAN_VERSION,
            "city": self.city,
            "digest": self.digest,
            "boxes": [asdict(b) for b in self.boxes],
            "fringes": [asdict(f) for f in self.fringes],
            "estimates": self.estimates,
        }


def load_plan(path: Path) -> BoxPlan:
    """Read a plan file.

    Raises:
        StorageError: It is missing, malformed, or of another version.
    """
    value = read_json(path)
    try:
        if value["version"] != PLAN_VERSION:
            raise StorageError(
                f"{path} is a plan of version {value['version']}",
                expected=f"version {PLAN_VERSION}",
                fix="Materialize box_plan again.",
            )
        return BoxPlan(
            city=value["city"],
            boxes=tuple(Box(**b) for b in value["boxes"]),
            fringes=tuple(Fringe(**f) for f in value["fringes"]),
            estimates=dict(value["estimates"]),
        )
    except (KeyError, TypeError) as error:
        raise StorageError(
            f"{path} is not a box plan ({error!r})",
            expected="the plan that box_plan wrote",
            fix="Materialize box_plan again.",
        ) from error


def assign_boxes(
    lon: NDArray[np.float64],
    lat: NDArray[np.float64],
    *,
    min_zoom: int,
    max_zoom: int,
    max_images: int,
) -> NDArray[np.str_]:
    """Give each position its box: leaves of a quadtree that splits where photos are many.

    Args:
        lon: Longitudes, degrees, shape (N,).
        lat: Latitudes, degrees, shape (N,).
        min_zoom: Zoom of the coarsest box.
        max_zoom: Zoom of the finest box; it may hold more than ``max_images``.
        max_images: Most photos of a coarser box.

    Returns:
        Quadkeys, shape (N,). The same photos give the same boxes, in any order; O(N log N).
    """
    keys = np.empty(len(lon), dtype=f"<U{max_zoom}")
    open_rows = np.arange(len(lon))
    for zoom in range(min_zoom, max_zoom + 1):
        x, y = tile_of(lon[open_rows], lat[open_rows], zoom)
        tiles, inverse, counts = np.unique(
            np.stack([x, y], axis=1), axis=0, return_inverse=True, return_counts=True
        )
        names = np.array([quadkey_of(zoom, int(a), int(b)) for a, b in tiles], dtype=keys.dtype)
        keys[open_rows] = names[inverse.ravel()]
        open_rows = open_rows[(counts > max_images)[inverse.ravel()]]
        if not open_rows.size:
            break
    return keys


def find_fringes(keys: Iterable[str]) -> list[tuple[str, str, Literal["edge", "corner"]]]:
    """List the pairs of boxes that touch, sorted, as (a, b, kind) with a < b.

    Boxes of different zooms touch where their squares do. Cost grows with the number of boxes and
    with how many share a coarsest tile's surroundings, not with its square.
    """
    ordered = sorted(set(keys))
    if not ordered:
        return []
    coarsest = min(len(k) for k in ordered)
    parents: dict[tuple[int, int], list[str]] = {}
    for key in ordered:
        _, x, y = tile_of_quadkey(key[:coarsest])
        parents.setdefault((x, y), []).append(key)
    found: set[tuple[str, str, Literal["edge", "corner"]]] = set()
    for (x, y), inside in parents.items():
        around = [
            k
            for dx, dy in ((1, 0), (0, 1), (1, 1), (1, -1))
            for k in parents.get((x + dx, y + dy), [])
        ]
        candidates = [*combinations(inside, 2), *((a, b) for a in inside for b in around)]
        for a, b in candidates:
            kind = neighbours(a, b)
            if kind:
                found.add((min(a, b), max(a, b), "edge" if kind == "edge" else "corner"))
    return sorted(found)
