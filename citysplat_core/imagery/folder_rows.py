"""Catalog rows of a folder's photos, joined from the CSV, GPX tracks and their own headers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from citysplat_core.errors import ImageError
from citysplat_core.imagery.folder_files import PhotoFile, photo_file, photo_files
from citysplat_core.imagery.folder_headers import PhotoHeaders
from citysplat_core.imagery.gpx import Segment, place_on_tracks, read_tracks
from citysplat_core.imagery.panorama.telling import is_panorama
from citysplat_core.imagery.positions_csv import read_positions
from citysplat_core.storage import Progress

NO_POSITION = "no GPS position"
OFF_TRACK = "no GPS position, and the GPX tracks do not cover its time"
LOST = "the file that the CSV names does not exist"
_TURNS_DEG = {"forward": 0.0, "right": 90.0, "back": 180.0, "left": 270.0}

Facing = Literal["forward", "right", "back", "left", "none"]
"""Which way a camera looks, seen from the direction of movement; none: nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackOptions:
    """GPX tracks and how photos are placed on them.

    Attributes:
        paths: GPX files, or folders of them.
        offset_s: What the camera's clock shows minus the true time, seconds.
        max_gap_s: Longest gap between two points that is bridged, seconds.
        facing: Which way the camera looks.
    """

    paths: tuple[Path, ...] = ()
    offset_s: float = 0.0
    max_gap_s: float = 60.0
    facing: Facing = "forward"


NO_TRACKS = TrackOptions()


def folder_rows(
    folder: Path,
    *,
    positions_csv: Path | None = None,
    tracks: TrackOptions = NO_TRACKS,
    cache: Path | None = None,
    skip: Sequence[Path] = (),
    progress: Progress,
) -> list[dict[str, Any]]:
    """Return one row a photo, with the names of the catalog's columns.

    For the position, and for the altitude, the CSV wins over the tracks, and those over the header;
    for the time and the heading the CSV wins over the header, and a track gives a heading only to
    photos that have none.

    Args:
        folder: The photos.
        positions_csv: See ``read_positions``; then only the photos that it names are used.
        tracks: GPX tracks.
        cache: SQLite file for headers.
        skip: Folders below ``folder`` that hold no photos of the user.
        progress: Called with headers done and headers in all.

    Returns:
        Rows with status ``listed``, or ``failed`` with a reason and without a position; also
        ``placed_by`` (``csv``, ``gpx``, ``exif``).

    Raises:
        ImageError: The CSV or a track cannot be read, or two photos would have one id.
        StorageError: The disk is full.
    """
    segments = read_tracks(tracks.paths)
    files, told, lost = _listed(folder, positions_csv, skip)
    headers = PhotoHeaders(folder, cache).rows(files, progress)
    rows = [
        _finished(_joined(csv_row, facts, segments, tracks), file.relative)
        for (file, facts), csv_row in zip(headers, told, strict=True)
    ]
    rows += [_finished(row | {"reason": LOST}, Path(row["photo_ref"])) for row in lost]
    _refuse_one_id_for_two(rows)
    return rows


def safe_id(text: str) -> str:
    """Return an image id that is a file name: ``/`` becomes ``~``, control characters ``_``."""
    return "".join("_" if ord(c) < 32 or c == "\\" else c for c in text.replace("/", "~"))


def _listed(
    folder: Path, positions_csv: Path | None, skip: Sequence[Path]
) -> tuple[list[PhotoFile], list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the files, what the CSV says of each, and the CSV's rows without a file."""
    if positions_csv is None:
        files = photo_files(folder, skip=skip)
        return files, [{} for _ in files], []
    files, told, lost = [], [], []
    for row in read_positions(positions_csv):
        try:
            files.append(photo_file(folder, Path(row["photo_ref"])))
            told.append(row)
        except (FileNotFoundError, NotADirectoryError):
            lost.append(row)
    return files, told, lost


def _joined(
    csv_row: dict[str, Any],
    facts: dict[str, Any],
    segments: Sequence[Segment],
    tracks: TrackOptions,
) -> dict[str, Any]:
    """Join what the CSV, the tracks and the header say of a photo; sizes are the file's."""
    told = {name: value for name, value in csv_row.items() if value is not None}
    row = facts | told | {k: facts[k] for k in ("width", "height") if facts.get(k)}
    if told.get("is_pano") is False and facts.get("is_pano"):
        row["is_pano"] = True  # an empty cell of the CSV reads as 0
    row["time_is_gps"] = facts.get("time_is_gps") and "captured_at" not in told
    if told.get("lon") is not None and told.get("lat") is not None:
        row["placed_by"] = "csv"
    elif facts.get("lon") is not None:
        row["placed_by"] = "exif"
    if segments and row.get("captured_at") is not None:
        _place(row, told, segments, tracks)
    if segments and row.get("lon") is None:
        row.setdefault("reason", OFF_TRACK)
    return row


def _place(
    row: dict[str, Any], told: dict[str, Any], segments: Sequence[Segment], tracks: TrackOptions
) -> None:
    """Correct a photo's time, and place it on the tracks unless the CSV does."""
    if not row.get("time_is_gps"):
        row["captured_at"] -= timedelta(seconds=tracks.offset_s)
    place = place_on_tracks(segments, row["captured_at"].timestamp(), max_gap_s=tracks.max_gap_s)
    if place is None:
        return
    if row.get("placed_by") != "csv":
        row |= {"lon": place.lon, "lat": place.lat, "placed_by": "gpx"}
    if "altitude_m" not in told and place.altitude_m is not None:
        row["altitude_m"] = place.altitude_m
    turn_deg = _TURNS_DEG.get(tracks.facing)
    if row.get("heading_deg") is None and place.motion_deg is not None and turn_deg is not None:
        row["heading_deg"] = (place.motion_deg + turn_deg) % 360.0


def _finished(row: dict[str, Any], relative: Path) -> dict[str, Any]:
    """Complete a row: id, status, defaults."""
    row["photo_ref"] = relative.as_posix()
    row["image_id"] = safe_id(row.get("image_id") or relative.with_suffix("").as_posix())
    row["source"] = "folder"
    row["camera_type"] = row.get("camera_type") or "perspective"
    row["is_pano"] = is_panorama(row)
    if row.get("lon") is None or row.get("lat") is None:
        row.setdefault("reason", NO_POSITION)
    row["status"] = "failed" if row.get("reason") else "listed"
    if row["status"] == "failed":
        row["lon"] = row["lat"] = None  # so that it is never taken for a usable photo
    return row


def _refuse_one_id_for_two(rows: list[dict[str, Any]]) -> None:
    seen: dict[str, str] = {}
    for row in rows:
        image_id, photo = str(row["image_id"]), str(row["photo_ref"])
        if image_id in seen:
            raise ImageError(
                f"{seen[image_id]} and {photo} would both be image {image_id!r}",
                expected="a different name or id for each photo, endings apart",
                fix="Rename one of them, or correct the CSV's column `id`.",
            )
        seen[image_id] = photo
