"""The cameras that people drive and walk with, and where their pixels look."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """A camera with radial distortion, COLMAP's RADIAL model with one focal length.

    A ``spherical`` one makes equirectangular panoramas, all around and from zenith to nadir; its
    ``focal_px`` is pixels a radian, and it has no distortion.

    Attributes:
        name: Unique in a town: a device of one person.
        make: Maker, as in the metadata.
        model: Model, as in the metadata.
        full_width: Width of the original photo, pixels.
        full_height: Height of the original photo, pixels.
        width: Width of the rendered photo, pixels.
        height: Height of the rendered photo, pixels.
        focal_px: Focal length of the rendered photo, pixels.
        k1: First coefficient: distorted = undistorted * (1 + k1 r^2 + k2 r^4), r at z = 1.
        k2: Second coefficient.
        camera_type: As Mapillary says.
    """

    name: str
    make: str
    model: str
    full_width: int
    full_height: int
    width: int
    height: int
    focal_px: float
    k1: float
    k2: float
    camera_type: Literal["perspective", "spherical"] = "perspective"

    @property
    def is_pano(self) -> bool:
        """Whether its photos are panoramas."""
        return self.camera_type == "spherical"

    @property
    def focal_ratio(self) -> float:
        """Focal length over the longer side."""
        return self.focal_px / max(self.width, self.height)


@dataclass(frozen=True, slots=True)
class CameraKind:
    """A kind of camera: what its owners' devices have in common."""

    make: str
    model: str
    full_width: int
    full_height: int
    focal_ratio: float
    k1: float
    k2: float
    on_foot: bool = field(default=False, kw_only=True)


CAMERA_KINDS = (
    CameraKind("Apple", "iPhone 12", 4032, 3024, 0.78, 0.0, 0.0),
    CameraKind("GoPro", "HERO9 Black", 4000, 3000, 0.62, -0.06, 0.012),
    CameraKind("BlackVue", "DR900S-1CH", 3840, 2160, 0.58, -0.11, 0.018),
    CameraKind("samsung", "SM-G981B", 4032, 2268, 0.74, 0.02, -0.01),
    CameraKind("Apple", "iPhone SE", 3024, 4032, 0.81, 0.01, 0.0, on_foot=True),
    CameraKind("Google", "Pixel 5", 4032, 3024, 0.76, 0.015, -0.02, on_foot=True),
)
"""Focal ratios and distortions of the size that such cameras have; not measured on any of them."""


def make_camera(kind: CameraKind, name: str, rng: np.random.Generator, longest_px: int) -> Camera:
    """Make one device of a kind; focal lengths of a kind differ by half a percent.

    Args:
        kind: What it is one of.
        name: Its name.
        rng: Source of chance.
        longest_px: Longest side of its photos, pixels.
    """
    scale = longest_px / max(kind.full_width, kind.full_height)
    focal_ratio = kind.focal_ratio * (1 + 0.005 * float(rng.standard_normal()))
    return Camera(
        name=name,
        make=kind.make,
        model=kind.model,
        full_width=kind.full_width,
        full_height=kind.full_height,
        width=round(kind.full_width * scale),
        height=round(kind.full_height * scale),
        focal_px=focal_ratio * longest_px,
        k1=kind.k1,
        k2=kind.k2,
    )


def make_360_camera(name: str, width_px: int) -> Camera:
    """Make a 360-degree camera, as a GoPro Max (whose own panoramas are 5760 x 2880).

    Args:
        name: Its name.
        width_px: Width of its panoramas, pixels; they are half as high. There is no larger original
            behind them: the size of the views follows from it.
    """
    return Camera(
        name=name,
        make="GoPro",
        model="Max",
        full_width=width_px,
        full_height=width_px // 2,
        width=width_px,
        height=width_px // 2,
        focal_px=width_px / (2 * np.pi),
        k1=0.0,
        k2=0.0,
        camera_type="spherical",
    )


@lru_cache(maxsize=32)
def pixel_rays(camera: Camera) -> NDArray[np.float64]:
    """Give where each pixel's centre looks.

    The distortion is undone by Newton's method on the radius, to 1e-12.

    Args:
        camera: The camera; its principal point is the middle of the photo.

    Returns:
        x and y at z = 1 (x right, y down), read-only, shape (height, width, 2).
    """
    x = (np.arange(camera.width) + 0.5 - camera.width / 2) / camera.focal_px
    y = (np.arange(camera.height) + 0.5 - camera.height / 2) / camera.focal_px
    rays = np.stack(np.meshgrid(x, y), axis=-1)
    bent = np.hypot(rays[..., 0], rays[..., 1])
    radius = bent.copy()
    for _ in range(20):
        r2 = radius * radius
        value = radius * (1 + camera.k1 * r2 + camera.k2 * r2 * r2) - bent
        radius -= value / (1 + 3 * camera.k1 * r2 + 5 * camera.k2 * r2 * r2)
    rays *= np.where(bent > 0, radius / np.maximum(bent, 1e-12), 1.0)[..., None]
    rays.setflags(write=False)
    return rays
