"""The photos of a training run: undistorted pinhole pictures with poses, at several sizes."""

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pycolmap
import torch
from numpy.typing import NDArray
from torch import Tensor

from citysplat_core.errors import SplatError

_WHOLE = 0.9999  # a pixel is used if all that it was made of is, but for rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One photo, ready to be compared with a rendering.

    Attributes:
        image_id: Id of the photo.
        sequence_id: Id of its sequence; photos of one sequence share an exposure.
        is_home: Whether the photo belongs to the box itself, not to a neighbour.
        camera_from_local: Pose in the box's local frame, shape (4, 4).
        intrinsics: Pinhole matrix, pixels, centres at +0.5, shape (3, 3).
        photo: RGB, uint8, shape (H, W, 3).
        points: SfM points that the photo observes, local frame, metres, shape (P, 3).
        point_rows: Their rows in the scene's points, shape (P,).
        mask: True where the photo may be believed, shape (H, W), or None.
    """

    image_id: str
    sequence_id: str
    is_home: bool
    camera_from_local: NDArray[np.float64]
    intrinsics: NDArray[np.float64]
    photo: NDArray[np.uint8]
    points: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 3)))
    point_rows: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    mask: NDArray[np.bool_] | None = None

    @property
    def centre_m(self) -> NDArray[np.float64]:
        """Camera centre in the local frame, metres, shape (3,)."""
        rotation, shift = self.camera_from_local[:3, :3], self.camera_from_local[:3, 3]
        centre: NDArray[np.float64] = -rotation.T @ shift
        return centre

    def project(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Give pixels (P, 2), depths in metres (P,) and rows (P,) of the points in the picture.

        Points in the masked part are left out.
        """
        seen = self.points @ self.camera_from_local[:3, :3].T + self.camera_from_local[:3, 3]
        front = seen[:, 2] > 0.1
        flat = seen[front] @ self.intrinsics.T
        pixels = flat[:, :2] / flat[:, 2:]
        height, width = self.photo.shape[:2]
        inside = np.asarray(((pixels >= 0) & (pixels < (width, height))).all(axis=1))
        if self.mask is not None:
            x, y = pixels[inside].astype(np.int64).T
            inside[inside] = self.mask[y, x]
        return pixels[inside], flat[inside, 2], self.point_rows[front][inside]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A view at one size, as tensors on the training device.

    Attributes:
        photo: 0 to 1, shape (H, W, 3).
        mask: True where the photo may be believed, shape (H, W), or None.
        viewmat: ``camera_from_local``, shape (4, 4).
        intrinsics: Shape (3, 3).
        pixels: Pixels of observed SfM points, shape (P, 2).
        depths_m: Their depths, metres, shape (P,).
    """

    photo: Tensor
    mask: Tensor | None
    viewmat: Tensor
    intrinsics: Tensor
    pixels: Tensor
    depths_m: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.photo.shape[1], self.photo.shape[0]


def shot_of(view: View, *, shrink: int, device: torch.device) -> Shot:
    """Scale a view down by averaging, and bring it to the device.

    Args:
        view: The view.
        shrink: 1, 2, 4, ...: the sides are divided by this and rounded.
        device: Where the tensors go.

    Returns:
        The view at that size.
    """
    height, width = view.photo.shape[:2]
    small = (max(1, round(width / shrink)), max(1, round(height / shrink)))
    factor = np.array([small[0] / width, small[1] / height])
    photo = (
        view.photo if shrink == 1 else cv2.resize(view.photo, small, interpolation=cv2.INTER_AREA)
    )
    mask = None
    if view.mask is not None:
        share = cv2.resize(view.mask.astype(np.float32), small, interpolation=cv2.INTER_AREA)
        mask = torch.from_numpy(np.asarray(share) > _WHOLE).to(device)
    intrinsics = np.diag([*factor, 1.0]) @ view.intrinsics
    pixels, depths, _ = view.project()

    def floats(array: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(np.asarray(array, np.float32)).to(device)

    return Shot(
        photo=torch.from_numpy(np.asarray(photo)).to(device).float() / 255.0,
        mask=mask,
        viewmat=floats(view.camera_from_local),
        intrinsics=floats(intrinsics),
        pixels=floats(pixels * factor),
        depths_m=floats(depths),
    )


class Undistorter:
    """Turns photos of one camera into pinhole pictures of a given width.

    Args:
        camera: The camera as the mapper solved it, of any COLMAP model.
        width_px: Width of the result; never larger than the undistorted photo.
    """

    def __init__(self, camera: pycolmap.Camera, *, width_px: int) -> None:
        """Compute where every pixel comes from, once."""
        pinhole = pycolmap.undistort_camera(pycolmap.UndistortCameraOptions(), camera)
        self._source = (camera.width, camera.height)
        self._map = None if camera.is_undistorted() else _pixel_map(camera, pinhole)
        scale = min(1.0, width_px / pinhole.width)
        self._size = (max(1, round(pinhole.width * scale)), max(1, round(pinhole.height * scale)))
        stretch = [self._size[0] / pinhole.width, self._size[1] / pinhole.height, 1.0]
        self.intrinsics: NDArray[np.float64] = np.diag(stretch) @ pinhole.calibration_matrix()

    def read(self, path: Path) -> NDArray[np.uint8]:
        """Read a photo and give the pinhole picture, RGB uint8, shape (H, W, 3).

        Raises:
            SplatError: The photo is missing or cannot be decoded; names the file.
        """
        data = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if data is None:
            raise SplatError(
                f"the photo {path} cannot be read",
                expected="a JPEG that the box's photo step has checked",
                fix="Materialize box_images of its home box again.",
            )
        if (data.shape[1], data.shape[0]) != self._source:
            data = cv2.resize(data, self._source, interpolation=cv2.INTER_AREA)
        if self._map is not None:
            data = cv2.remap(data, *self._map, interpolation=cv2.INTER_LINEAR)
        data = cv2.resize(data, self._size, interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(data[..., ::-1], dtype=np.uint8)

    def mask(self, used: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Turn a photo's mask into that of its pinhole picture.

        Args:
            used: True where the photo is used, shape (H, W) of the photo.

        Returns:
            True where every pixel that a pixel of the picture is made of is used.
        """
        data = used.astype(np.float32)
        if (data.shape[1], data.shape[0]) != self._source:
            data = np.asarray(cv2.resize(data, self._source, interpolation=cv2.INTER_AREA))
        if self._map is not None:
            # What lies outside the photo is not looked at here: the photo decides on its border.
            data = np.asarray(
                cv2.remap(
                    data,
                    *self._map,
                    interpolation=cv2.INTER_LINEAR,
                    borderMode=cv2.BORDER_REPLICATE,
                )
            )
        return np.asarray(cv2.resize(data, self._size, interpolation=cv2.INTER_AREA) > _WHOLE)


def _pixel_map(
    camera: pycolmap.Camera, pinhole: pycolmap.Camera
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """For every pixel of the pinhole picture, where it lies in the photo (OpenCV's convention)."""
    x, y = np.meshgrid(np.arange(pinhole.width) + 0.5, np.arange(pinhole.height) + 0.5)
    rays = np.stack([x.ravel(), y.ravel(), np.ones(x.size)], 1)
    rays = rays @ np.linalg.inv(pinhole.calibration_matrix()).T
    found = np.asarray(camera.img_from_cam(rays), np.float32) - np.float32(0.5)
    grid = found.reshape(pinhole.height, pinhole.width, 2)
    return np.ascontiguousarray(grid[..., 0]), np.ascontiguousarray(grid[..., 1])
