"""The rig: the perspective views that a panorama is cut into, and where each of them looks.

The axes of a panorama are those of a camera that looks at the middle of the picture: x right,
y down, z forward. A view is turned by its yaw (clockwise seen from above), then by its pitch (up).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from citysplat_core.imagery.panorama.telling import Coverage
from citysplat_core.settings import PanoramaSettings

_STEP_PX: Final = 8
"""Widths of reduced views are multiples of this, so that few cameras come of many sizes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One perspective view of a panorama: a pinhole camera without distortion.

    Attributes:
        yaw_deg: Turn to the right from the panorama's middle, degrees.
        pitch_deg: Turn upwards, degrees.
        width: Pixels.
        height: Pixels.
        focal_ratio: Focal length over the longer side.
    """

    yaw_deg: float
    pitch_deg: float
    width: int
    height: int
    focal_ratio: float

    @property
    def focal_px(self) -> float:
        """Focal length, pixels; the principal point is the middle."""
        return self.focal_ratio * max(self.width, self.height)

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> "View":
        """Read a view from its catalog row."""
        return cls(
            yaw_deg=float(row["view_yaw_deg"]),
            pitch_deg=float(row["view_pitch_deg"]),
            width=int(row["width"]),
            height=int(row["height"]),
            focal_ratio=float(row["focal_ratio"]),
        )


def views_of_rig(settings: PanoramaSettings, panorama_px: float | None) -> list[View]:
    """Return the views of a panorama, in the order of their numbers.

    All have one size: the one of the settings, or less for a panorama with fewer pixels a degree
    than the view would have in its middle, since enlarging adds nothing.

    Args:
        settings: Directions, field of view and size.
        panorama_px: Width that 360 degrees have in the file that will be fetched, pixels; None if
            unknown.
    """
    half = math.tan(math.radians(settings.field_of_view_deg) / 2.0)
    width, height = settings.view_width_px, settings.view_height_px
    if panorama_px is not None:
        natural = panorama_px / math.pi * half
        if natural < width:
            reduced = max(_STEP_PX, int(natural / _STEP_PX) * _STEP_PX)
            width, height = reduced, max(2, round(reduced * height / width))
    focal_ratio = width / (2.0 * half) / max(width, height)
    return [
        View(
            yaw_deg=yaw,
            pitch_deg=settings.pitch_deg,
            width=width,
            height=height,
            focal_ratio=focal_ratio,
        )
        for yaw in settings.yaw_deg
    ]


def view_id_of(panorama_id: str, number: int) -> str:
    """Return the image id of a view. It is never taken apart: ``panorama_id`` is a column."""
    return f"{panorama_id}~v{number}"


def taken_sequence_of(row: Mapping[str, Any]) -> str | None:
    """Return the sequence that somebody took: that of its panorama for a view's row."""
    sequence: str | None = row["sequence_id"]
    if sequence is None or row["panorama_id"] is None:
        return sequence
    return sequence.rpartition("~v")[0]


def view_from_panorama(yaw_deg: float, pitch_deg: float) -> NDArray[np.float64]:
    """Return the rotation from a panorama's axes to those of a view, shape (3, 3)."""
    turn = Rotation.from_euler("YX", [yaw_deg, pitch_deg], degrees=True)
    return np.asarray(turn.as_matrix().T)


def view_rays(view: View, x_px: NDArray[np.float64], y_px: NDArray[np.float64]) -> NDArray[Any]:
    """Return where places of a view look, in the panorama's axes; not of unit length.

    Args:
        view: The view.
        x_px: Columns, pixel centres at +0.5, any shape.
        y_px: Rows, the same shape.

    Returns:
        Directions, shape (..., 3).
    """
    x = (x_px - view.width / 2.0) / view.focal_px
    y = (y_px - view.height / 2.0) / view.focal_px
    rays = np.stack([x, y, np.ones_like(x)], axis=-1)
    return np.asarray(rays @ view_from_panorama(view.yaw_deg, view.pitch_deg))


def sphere_shares(rays: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where directions fall in a whole 2:1 picture.

    Args:
        rays: Directions in the panorama's axes, shape (..., 3).

    Returns:
        Share of the width from the left (0 to 1, 0.5 is straight ahead) and of the height from the
        top (0 zenith, 1 nadir), shape (..., 2).
    """
    x, y, z = rays[..., 0], rays[..., 1], rays[..., 2]
    across = np.arctan2(x, z) / (2.0 * np.pi) + 0.5
    down = np.arctan2(y, np.hypot(x, z)) / np.pi + 0.5
    return np.stack([across, down], axis=-1)


def is_covered(view: View, coverage: Coverage) -> bool:
    """Say whether a panorama shows all that a view would see.

    The border decides, to a sixteenth of a side.
    """
    if coverage.goes_round and coverage.height > 1.0 - 1e-6:
        return True
    steps = np.linspace(0.0, 1.0, 17)
    sides = [(steps, 0 * steps), (steps, 0 * steps + 1), (0 * steps, steps), (0 * steps + 1, steps)]
    x, y = np.concatenate([np.stack(side) for side in sides], axis=1)
    across, down = sphere_shares(view_rays(view, x * view.width, y * view.height)).T
    if (down < coverage.top).any() or (down > coverage.top + coverage.height).any():
        return False
    return coverage.goes_round or bool((np.mod(across - coverage.left, 1) <= coverage.width).all())
