"""What ties the components of a city, and what came of it: the nouns of the pose graph."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_CORRELATED = 4.0
"""So many successive positions share their noise, and count as one."""
_INDEPENDENT = 8.0
"""More seams between two components than this count as this many: models bend, and their errors are
not independent. Else the seams of one bent model scale whole streets."""


@dataclass(frozen=True, kw_only=True)
class Sigmas:
    """Expected errors, one standard deviation each.

    Attributes:
        seam_m: Position of a photo in two models, metres.
        seam_deg: Its rotation, degrees.
        gps_m: Horizontal GPS, metres.
        gps_up_m: GPS height, metres.
        up_deg: Up vector of a component, degrees.
        log_scale: Scale of a component, relative.
        shared_m: Horizontal error that the positions of a drive share, metres.
        shared_up_m: The same of their heights, metres.
        roll_deg: Roll of a drive's camera mount.
        pitch_deg: Its pitch, with the slope of the street.
        shake_deg: Deviation of one photo from the mount.
        turn_deg: Error of the turn between two photos by their matches.
    """

    seam_m: float = 0.1
    seam_deg: float = 0.3
    gps_m: float = 3.0
    gps_up_m: float = 9.0
    up_deg: float = 2.0
    log_scale: float = 0.03
    shared_m: float = 2.0
    shared_up_m: float = 4.0
    roll_deg: float = 1.5
    pitch_deg: float = 4.0
    shake_deg: float = 2.0
    turn_deg: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Cameras:
    """Poses of photos in components, in the city frame before alignment; one row a registration.

    Attributes:
        node: Component index, shape (N,).
        center: Camera centres, metres, shape (N, 3).
        rotation: ``cam_from_world`` rotations, N of them.
        drive: Drive index, -1 where unknown, shape (N,); None: all unknown.
    """

    node: Ints
    center: Floats
    rotation: Rotation
    drive: Ints | None = None

    @property
    def drives(self) -> Ints:
        """Drive index of each row, -1 where unknown."""
        return np.full(len(self.node), -1) if self.drive is None else self.drive

    @property
    def n_drives(self) -> int:
        """Number of drives."""
        return int(self.drives.max(initial=-1)) + 1


@dataclass(frozen=True)
class Nearness:
    """Places of two components that lie near each other, if all is as usual.

    Attributes:
        nodes: The two components, shape (K, 2).
        places: A place of each, city frame before alignment, metres, shape (K, 2, 3).
        sigma_m: Expected distance along east, north and up; infinite: not told, shape (K, 3).
    """

    nodes: Ints
    places: Floats
    sigma_m: Floats

    @classmethod
    def join(cls, parts: "list[Nearness]") -> "Nearness":
        """Put several into one; none gives an empty one."""
        return cls(
            np.concatenate([np.zeros((0, 2), np.int64), *(p.nodes for p in parts)]),
            np.concatenate([np.zeros((0, 2, 3)), *(p.places for p in parts)]),
            np.concatenate([np.zeros((0, 3)), *(p.sigma_m for p in parts)]),
        )


@dataclass(frozen=True)
class Turns:
    """Directions of view that two components tell of one camera.

    Attributes:
        nodes: The two components, shape (K, 2).
        first: ``cam_from_world`` by the first one, before alignment, K of them.
        second: The same by the second one: its own camera, turned as the matches say.
    """

    nodes: Ints
    first: Rotation
    second: Rotation

    @classmethod
    def none(cls) -> "Turns":
        """Give no turn."""
        nothing = Rotation.from_quat(np.zeros((0, 4)))
        return cls(np.zeros((0, 2), np.int64), nothing, nothing)


@dataclass(frozen=True, kw_only=True)
class Graph:
    """What ties the components.

    Attributes:
        n_nodes: Number of components.
        pivots: A point in the middle of each component, metres, shape (n_nodes, 3).
        cameras: All registrations.
        seams: Row pairs of ``cameras`` that are the same photo in two components, shape (S, 2).
        gps_rows: Rows of ``cameras`` that are held by GPS, shape (G,).
        gps: Their positions, metres, NaN height where unknown, shape (G, 3).
        gps_weight: Weights that account for GPS errors shared within a component, shape (G,).
        nearness: Places of two components that lie near each other.
        turns: How cameras turn from one component to another.
        mounts: Expected roll and pitch of each drive, see ``usual_mounts``, shape (n_drives, 2).
    """

    n_nodes: int
    pivots: Floats
    cameras: Cameras
    seams: Ints
    gps_rows: Ints
    gps: Floats
    gps_weight: Floats
    nearness: Nearness = field(default_factory=lambda: Nearness.join([]))
    turns: Turns = field(default_factory=Turns.none)
    mounts: Floats = field(default_factory=lambda: np.zeros((0, 2)))


@dataclass(frozen=True)
class Alignment:
    """``aligned = scale * rotation @ (point - pivot) + pivot + shift``, by component.

    Attributes:
        scale: Shape (n_nodes,).
        rotation: n_nodes rotations.
        shift: Metres, shape (n_nodes, 3).
        pivots: Metres, shape (n_nodes, 3).
    """

    scale: Floats
    rotation: Rotation
    shift: Floats
    pivots: Floats

    def translation(self) -> Floats:
        """Give t of ``aligned = scale * rotation @ point + t``, metres, shape (n_nodes, 3)."""
        turned = self.scale[:, None] * self.rotation.apply(self.pivots)
        return np.asarray(self.pivots + self.shift - turned)

    def centers(self, cameras: Cameras, rows: Ints | slice = slice(None)) -> Floats:
        """Move camera centres, shape (N, 3)."""
        return self.move(cameras.center[rows], cameras.node[rows])

    def move(self, places: Floats, node: Ints) -> Floats:
        """Move places of components, shape (N, 3)."""
        local = places - self.pivots[node]
        moved = self.scale[node, None] * self.rotation[node].apply(local)
        return np.asarray(moved + self.pivots[node] + self.shift[node])

    def rotations(self, cameras: Cameras, rows: Ints | slice = slice(None)) -> Rotation:
        """Turn camera rotations (``cam_from_world``)."""
        return cameras.rotation[rows] * self.rotation[cameras.node[rows]].inv()


def gps_weights(node: Ints, n_known: Ints | None = None) -> Floats:
    """Weigh GPS rows so that a component's many positions do not count as independent ones.

    Args:
        node: Component of each row that takes part.
        n_known: How many positions each component has, drawn or not; None: all take part.

    Returns:
        Weights, shape (len(node),): of rows that were drawn sparsely 1.
    """
    if not len(node):
        return np.zeros(0)
    drawn = np.bincount(node)
    known = drawn if n_known is None else n_known[: len(drawn)]
    return np.asarray(np.sqrt(np.minimum(1.0, known[node] / (_CORRELATED * drawn[node]))))


def seam_weights(nodes: Ints) -> Floats:
    """Weigh ties, given by their two components, shape (S, 2): see ``_INDEPENDENT``."""
    if not len(nodes):
        return np.zeros(0)
    _, pair, counts = np.unique(np.sort(nodes, axis=1), axis=0, return_inverse=True,
                                return_counts=True)  # fmt: skip
    return np.asarray(1 / np.sqrt(np.maximum(1.0, counts[pair.ravel()] / _INDEPENDENT)))
