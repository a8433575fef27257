"""Cameras: which photos share one, and what is known of its lens beforehand."""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from citysplat_core.errors import ImageError

_DEFAULT_FOCAL_RATIO = 0.85
_MODELS = {"perspective": "RADIAL", "fisheye": "RADIAL_FISHEYE"}
_FOLDER_MODEL = "SIMPLE_RADIAL"
VIEW_MODEL = "SIMPLE_PINHOLE"
"""Model of the views of panoramas only: made by us, exact, never refined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lens:
    """What the catalog says about the lens of a group of photos.

    Attributes:
        focal_ratio: Focal length over the longer side.
        k1: Radial distortion of COLMAP's RADIAL models.
        k2: The same, second term.
        is_solved: Whether it comes from structure from motion; EXIF is only a guess.
    """

    focal_ratio: float
    k1: float
    k2: float
    is_solved: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """A camera as it goes into every database.

    Attributes:
        camera_id: Positive, 31 bits, a hash of the key.
        camera_key: What photos must share to share intrinsics.
        model: COLMAP's name.
        width: Of the files, pixels.
        height: Of the files, pixels.
        params: In COLMAP's order, focal length and centre in pixels.
        has_prior_focal: Whether the focal length is good enough to start from.
    """

    camera_id: int
    camera_key: str
    model: str
    width: int
    height: int
    params: tuple[float, ...]
    has_prior_focal: bool


def device_of(row: Mapping[str, Any]) -> str:
    """Return the name of the device that took a photo.

    A named model is one device of its creator (of its sequence, if the creator is unknown); an
    unnamed one may be any of a creator's devices, so only its sequence is sure to share it.

    Args:
        row: A catalog row.
    """
    named = bool(row["make"] or row["model"])
    creator, sequence = row["creator_id"] or row["creator"], row["sequence_id"]
    if row["source"] == "folder" and named:
        owner = creator or ""
    else:
        owner = creator if named and creator else sequence or creator or ""
    parts = (owner, row["make"] or "", row["model"] or "", row["camera_type"] or "perspective")
    return "|".join(str(part).replace("|", "/") for part in parts)


def lenses_of(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, bool], Lens]:
    """Return one lens for each device and orientation, the median over all its photos.

    It is made from the whole catalog and not from one box, so that a camera has the same
    intrinsics in every box.

    Args:
        rows: All catalog rows that are listed.

    Returns:
        (device, is upright) to lens. The orientation counts because the focal ratio of a
        turned photo is the same but a device may crop it differently.
    """
    seen: dict[tuple[str, bool], list[tuple[float, float, float, bool]]] = {}
    for row in rows:
        focal = row["focal_ratio"]
        if focal is None or not math.isfinite(focal) or focal <= 0:
            continue
        k1, k2 = row["k1"], row["k2"]
        solved = k1 is not None and math.isfinite(k1)
        values = (focal, k1 if solved else 0.0, k2 if solved and math.isfinite(k2) else 0.0, solved)
        seen.setdefault((device_of(row), is_upright(row["width"], row["height"])), []).append(
            values
        )
    return {key: _median_lens(values) for key, values in seen.items()}


def _median_lens(values: list[tuple[float, float, float, bool]]) -> Lens:
    solved = [v for v in values if v[3]]
    used = solved or values
    return Lens(
        focal_ratio=median(v[0] for v in used),
        k1=median(v[1] for v in used),
        k2=median(v[2] for v in used),
        is_solved=bool(solved),
    )


def is_upright(width: int | None, height: int | None) -> bool:
    """Say whether a photo is higher than wide."""
    return bool(width and height and height > width)


def camera_for(
    row: Mapping[str, Any], width: int, height: int, lenses: Mapping[tuple[str, bool], Lens]
) -> Camera:
    """Return the camera of a photo.

    Args:
        row: Its catalog row; a view of a panorama has an exact pinhole camera, one for all views of
            its size and angle.
        width: Of its file, pixels.
        height: Of its file, pixels.
        lenses: What is known beforehand, from ``lenses_of``.
    """
    if row.get("panorama_id") is not None:
        return _view_camera(float(row["focal_ratio"]), width, height)
    device = device_of(row)
    lens = lenses.get((device, is_upright(width, height)))
    focal_px = (lens.focal_ratio if lens else _DEFAULT_FOCAL_RATIO) * max(width, height)
    if row["source"] == "folder":
        model = _FOLDER_MODEL
        distortion: tuple[float, ...] = (0.0,)
    else:
        model = _MODELS.get(row["camera_type"] or "perspective", "RADIAL")
        distortion = (lens.k1, lens.k2) if lens else (0.0, 0.0)
    key = f"{device}|{width}x{height}"
    return Camera(
        camera_id=camera_id_of(key),
        camera_key=key,
        model=model,
        width=width,
        height=height,
        params=(focal_px, width / 2.0, height / 2.0, *distortion),
        has_prior_focal=bool(lens and lens.is_solved),
    )


def _view_camera(focal_ratio: float, width: int, height: int) -> Camera:
    key = f"view of a panorama|{focal_ratio:.9f}|{width}x{height}"
    return Camera(
        camera_id=camera_id_of(key),
        camera_key=key,
        model=VIEW_MODEL,
        width=width,
        height=height,
        params=(focal_ratio * max(width, height), width / 2.0, height / 2.0),
        has_prior_focal=True,
    )


def camera_id_of(key: str) -> int:
    """Return the number of a camera key: positive, 31 bits, the same on every machine."""
    digest = hashlib.sha256(key.encode()).digest()
    return (int.from_bytes(digest[:4], "big") & 0x7FFFFFFF) or 1


def distinct_cameras(cameras: Iterable[Camera]) -> list[Camera]:
    """Return each camera once, sorted by number.

    Raises:
        ImageError: Two different keys have one number.
    """
    by_id: dict[int, Camera] = {}
    for camera in cameras:
        other = by_id.setdefault(camera.camera_id, camera)
        if other.camera_key != camera.camera_key:
            raise ImageError(
                f"the cameras {other.camera_key!r} and {camera.camera_key!r} have one number, "
                f"{camera.camera_id}",
                expected="one number for each camera",
                fix="Give one of the photos' sequences or creators another name.",
            )
    return [by_id[number] for number in sorted(by_id)]
