"""The picture of a box's photos: the worst that were kept beside the best that were refused."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from citysplat_core.imagery import rules
from citysplat_core.imagery.box_photo import BoxPhoto
from citysplat_core.imagery.quality import Quality
from citysplat_core.storage import published

_WIDTH, _HEIGHT, _GAP, _LINE = 176, 132, 4, 20
_COLUMNS = 4
_INK, _PAPER = (40, 40, 40), (250, 250, 250)
_GOODNESS: dict[str, Callable[[Quality], float]] = {
    rules.DARK: lambda quality: quality.luminance_mean,
    rules.BRIGHT: lambda quality: -quality.bright_share,
    rules.FLAT: lambda quality: quality.luminance_std,
}
"""What the best of the photos refused for a reason has most of; sharpness for other reasons."""

Picture = NDArray[np.uint8]


def write_contact_sheet(photos: Sequence[BoxPhoto], path: Path) -> Path | None:
    """Draw the least sharp kept photos, then for each reason the refused ones that came closest.

    Photos that were refused before download have no picture and are only counted.

    Args:
        photos: The judged photos of a box.
        path: The JPEG to write.

    Returns:
        The path, or None if there is no photo to show.

    Raises:
        StorageError: The disk is full.
    """
    kept = [photo for photo in photos if photo.status == "ok" and photo.quality is not None]
    rows = [_row("kept, least sharp first", _best_first(kept, None)[::-1])]
    reasons = Counter(photo.reason for photo in photos if photo.status == "rejected")
    for reason, count in reasons.most_common():
        of_reason = [photo for photo in photos if photo.reason == reason]
        shown = _best_first([photo for photo in of_reason if photo.quality is not None], reason)
        rows.append(_row(f"refused, {reason}: {count} of {len(photos)}", shown))
    if not any(row.shape[0] > _LINE for row in rows):
        return None
    body = simplejpeg.encode_jpeg(np.ascontiguousarray(np.vstack(rows)), quality=80)
    with published(path) as stream:
        stream.write(body)
    return path


def _best_first(photos: list[BoxPhoto], reason: str | None) -> list[BoxPhoto]:
    goodness = _GOODNESS.get(str(reason), _blur_score)
    return sorted(photos, key=lambda photo: -goodness(_quality_of(photo)))


def _blur_score(quality: Quality) -> float:
    return quality.blur_score


def _quality_of(photo: BoxPhoto) -> Quality:
    if photo.quality is None:
        raise ValueError(f"photo {photo.image_id} is not scored")
    return photo.quality


def _row(title: str, photos: Sequence[BoxPhoto]) -> Picture:
    """Draw a line of text and up to four photos with their scores."""
    tall = _LINE + (_HEIGHT + _LINE if photos else 0)
    row = np.full((tall, _COLUMNS * (_WIDTH + _GAP), 3), _PAPER, np.uint8)
    _write(row, title, (2, 14), 0.45)
    for column, photo in enumerate(photos[:_COLUMNS]):
        left = column * (_WIDTH + _GAP)
        thumbnail = _thumbnail(photo)
        high, wide = thumbnail.shape[:2]
        row[_LINE : _LINE + high, left : left + wide] = thumbnail
        quality = _quality_of(photo)
        text = f"sharp {quality.blur_score:.1f}  mean {quality.luminance_mean:.0f}"
        _write(row, text, (left + 2, _LINE + _HEIGHT + 14), 0.38)
    return row


def _thumbnail(photo: BoxPhoto) -> Picture:
    """Decode a photo small; grey where its file is gone."""
    path = photo.result.path if photo.result is not None else None
    if path is None or not path.is_file():
        return np.full((_HEIGHT, _WIDTH, 3), 200, np.uint8)
    body = path.read_bytes()
    pixels = simplejpeg.decode_jpeg(body, min_width=_WIDTH, min_height=1, strict=False)
    scale = min(_WIDTH / pixels.shape[1], _HEIGHT / pixels.shape[0])
    size = max(1, int(pixels.shape[1] * scale)), max(1, int(pixels.shape[0] * scale))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _write(picture: Picture, text: str, at: tuple[int, int], size: float) -> None:
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, _INK, 1, cv2.LINE_AA)
