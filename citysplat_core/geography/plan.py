"""The box plan: a quadtree of boxes over the photos, and the fringes between them."""

from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from citysplat_core.errors import StorageError
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


@dataclass(frozen=True, kw_only=True)
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
        return [f.key for f in self._fringes_by_box.get(box, ())]

    def neighbours_of(self, box: str) -> list[str]:
        """List the boxes that share a fringe with a box, sorted."""
        around = self._fringes_by_box.get(box, ())
        return sorted((f.b if f.a == box else f.a) for f in around)

    def box(self, key: str) -> Box:
        """Give a box by its key."""
        return self._box_by_key[key]

    @cached_property
    def _fringes_by_box(self) -> dict[str, list[Fringe]]:
        found: dict[str, list[Fringe]] = {}
        for fringe in self.fringes:
            for box in (fringe.a, fringe.b):
                found.setdefault(box, []).append(fringe)
        return found

    @cached_property
    def _box_by_key(self) -> dict[str, Box]:
        return {box.key: box for box in self.boxes}

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
