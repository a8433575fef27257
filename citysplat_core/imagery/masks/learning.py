"""Learning the static region of every sequence that a box has photos of."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from citysplat_core.imagery.box_photo import BoxPhoto
from citysplat_core.imagery.masks.sequence import (
    WIDTH_PX,
    Gray,
    Mask,
    chosen_photos,
    static_region,
)

_Group = tuple[str, int, int, float, float]


def learn_sequences(
    photos: Sequence[BoxPhoto], *, min_photos: int, n_threads: int
) -> dict[str, Mask | str]:
    """Learn what stays in place, for each sequence, picture size and view of a panorama.

    Args:
        photos: Usable photos of a box.
        min_photos: Fewest photos that must have moved.
        n_threads: Sequences that are worked on at once; the result does not depend on it.

    Returns:
        For each photo True where its sequence shows static things, ``WIDTH_PX`` wide (one array
        for all photos of a group), or the reason why that is not known.
    """
    groups: dict[_Group, list[BoxPhoto]] = defaultdict(list)
    found: dict[str, Mask | str] = {}
    for photo in photos:
        group = _group_of(photo)
        if group is None:
            found[photo.image_id] = "no sequence"
        else:
            groups[group].append(photo)

    def learn(members: list[BoxPhoto]) -> Mask | str:
        return _learn(members, min_photos)

    with ThreadPoolExecutor(max_workers=max(1, n_threads)) as pool:
        for members, said in zip(groups.values(), pool.map(learn, groups.values()), strict=True):
            found |= dict.fromkeys((photo.image_id for photo in members), said)
    return found


def _group_of(photo: BoxPhoto) -> _Group | None:
    """Name the photos that a static thing covers alike; the views of a panorama differ."""
    row, result = photo.row, photo.result
    if not row["sequence_id"] or result is None:
        return None
    yaw, pitch = (row.get(f"view_{name}_deg") for name in ("yaw", "pitch"))
    angles = [0.0 if v is None or not np.isfinite(v) else float(v) for v in (yaw, pitch)]
    return (str(row["sequence_id"]), result.width, result.height, angles[0], angles[1])


def _learn(members: list[BoxPhoto], min_photos: int) -> Mask | str:
    ordered = sorted(members, key=_time_of)
    places = np.array([[p.row["east_m"], p.row["north_m"]] for p in ordered], np.float64)
    chosen = chosen_photos(places, min_photos=min_photos)
    if isinstance(chosen, str):
        return chosen
    return static_region(_grays([ordered[row] for row in chosen.rows]), chosen.groups)


def _time_of(photo: BoxPhoto) -> tuple[bool, float, str]:
    taken = photo.row["captured_at"]
    return taken is None, taken.timestamp() if taken is not None else 0.0, photo.image_id


def _grays(photos: Sequence[BoxPhoto]) -> Iterator[Gray]:
    for photo in photos:
        if photo.result is not None and photo.result.path is not None:
            yield small_gray(photo.result.path.read_bytes())


def small_gray(body: bytes) -> NDArray[np.uint8]:
    """Decode the luminance of a JPEG, ``WIDTH_PX`` wide, shape (H, W).

    The decoder scales down while it decodes; about 2 CPU-ms for a photo of 1024x768.
    """
    height, width, _, _ = simplejpeg.decode_jpeg_header(body)
    least = min(width, WIDTH_PX)
    gray = simplejpeg.decode_jpeg(
        body, colorspace="GRAY", min_height=1, min_width=least, min_factor=1, strict=False
    )[:, :, 0]
    size = (WIDTH_PX, max(1, round(height * WIDTH_PX / width)))
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)
