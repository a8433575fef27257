"""A folder of photos as an image source."""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from citysplat_core.errors import ConfigError, ImageError
from citysplat_core.geography import DISCOVERY_ZOOM, Area, tile_of
from citysplat_core.imagery.exif import read_exif
from citysplat_core.imagery.photo_store import PhotoStore
from citysplat_core.imagery.positions_csv import read_positions
from citysplat_core.imagery.preparing import prepared_photo
from citysplat_core.imagery.source import Discovery, PhotoRequest, PhotoResult, SourceName, fetched
from citysplat_core.imagery.tables import (
    DESCRIBED_SCHEMA,
    FOUND_SCHEMA,
    TILES_SCHEMA,
    table_of,
)
from citysplat_core.storage import Progress

_LOG = logging.getLogger(__name__)
_ENDINGS = frozenset({".jpg", ".jpeg", ".png"})
_NO_POSITION = "no GPS position"
_UNREADABLE = "no readable photo"


class FolderSource:
    """Photos of a folder, placed by their EXIF or by a CSV.

    Args:
        folder: The photos, in any sub-folders.
        positions_csv: A table of positions, see ``read_positions``; then only the photos that it
            names are used. None: EXIF of every photo.
    """

    name: SourceName = "folder"

    def __init__(self, folder: Path, positions_csv: Path | None = None) -> None:
        """Prepare; nothing is read before the first call.

        Raises:
            ConfigError: The folder does not exist.
        """
        if not folder.is_dir():
            raise ConfigError(
                f"the photo folder {folder} does not exist",
                expected="a folder with photos",
                fix="Check source.path in city.toml; it is relative to that file.",
            )
        self._folder, self._positions_csv = folder, positions_csv

    def discover(self, area: Area, *, work: Path, refresh: bool, progress: Progress) -> Discovery:
        """List every photo of the area; see ``ImageSource.discover``."""
        del work, refresh  # a folder is read anew every time
        rows = self._rows(progress)
        photos = table_of(rows, DESCRIBED_SCHEMA)
        lon, lat = photos.column("lon").to_numpy(), photos.column("lat").to_numpy()
        inside = area.contains(lon, lat)
        found = _found(photos.filter(pa.array(inside)))
        failed = Counter(row["reason"] for row in rows if row["status"] == "failed")
        notes = {
            "photos_without_position": failed[_NO_POSITION],
            "photos_unreadable": failed.total() - failed[_NO_POSITION],
            "photos_outside_area": len(rows) - failed.total() - found.num_rows,
        }
        return Discovery(tiles=_tiles(area, found), found=found, notes=notes)

    def describe(self, found: pa.Table, *, work: Path, progress: Progress) -> pa.Table:
        """Return the metadata of the photos; see ``ImageSource.describe``.

        Photos without a position come too, as ``failed``.
        """
        del work
        rows = {str(row["image_id"]): row for row in self._rows(progress)}
        described = []
        for image_id in found.column("image_id").to_pylist():
            gone = {"image_id": image_id, "status": "gone", "reason": "no longer in the folder"}
            described.append(rows.pop(image_id, gone | {"source": "folder"}))
        described += [row for row in rows.values() if row["status"] == "failed"]
        described.sort(key=lambda row: str(row["image_id"]))
        return table_of(described, DESCRIBED_SCHEMA)

    def fetch_photos(
        self,
        wanted: Sequence[PhotoRequest],
        store: PhotoStore,
        *,
        size_px: int,
        n_threads: int,
        progress: Progress,
    ) -> list[PhotoResult]:
        """Copy photos into the store, scaled and upright; see ``ImageSource.fetch_photos``."""
        missing = sum(store.find(request.image_id, size_px) is None for request in wanted)
        store.require_space(missing, size_px)
        results: list[PhotoResult] = []
        with ThreadPoolExecutor(max_workers=max(1, n_threads)) as pool:
            for result in pool.map(lambda request: self._fetch(request, store, size_px), wanted):
                results.append(result)
                progress(len(results), len(wanted), "photos")
        return results

    def _fetch(self, request: PhotoRequest, store: PhotoStore, size_px: int) -> PhotoResult:
        image_id = request.image_id
        path = self._folder / (request.photo_ref or "")
        try:
            stat = path.stat()
            origin = hashlib.sha256(
                f"{path}|{stat.st_mtime_ns}|{stat.st_size}".encode()
            ).hexdigest()
            photo = store.find(image_id, size_px, origin=origin)
            if photo is None:
                body = prepared_photo(path.read_bytes(), size_px)
                photo = store.save(image_id, size_px, body, origin=origin)
        except FileNotFoundError:
            return PhotoResult(image_id=image_id, state="gone", reason="no longer in the folder")
        except ImageError as error:
            return PhotoResult(image_id=image_id, state="failed", reason=error.seen)
        return fetched(image_id, photo)

    def _rows(self, progress: Progress) -> list[dict[str, Any]]:
        rows = list(self._csv_rows(progress) if self._positions_csv else self._exif_rows(progress))
        _LOG.info("folder %s: %d photos", self._folder, len(rows))
        if not rows:
            raise ConfigError(
                f"the photo folder {self._folder} holds no photo",
                expected=f"files ending in {', '.join(sorted(_ENDINGS))}",
                fix="Check source.path in city.toml; it is relative to that file.",
            )
        _refuse_one_id_for_two(rows)
        return rows

    def _exif_rows(self, progress: Progress) -> Iterator[dict[str, Any]]:
        paths = sorted(p for p in self._folder.rglob("*") if p.suffix.lower() in _ENDINGS)
        for number, path in enumerate(paths, start=1):
            progress(number, len(paths), "photo headers")
            yield _finished(self._from_exif(path), path.relative_to(self._folder))

    def _csv_rows(self, progress: Progress) -> Iterator[dict[str, Any]]:
        listed = read_positions(self._positions_csv) if self._positions_csv else []
        for number, row in enumerate(listed, start=1):
            progress(number, len(listed), "photo headers")
            yield _finished(self._with_exif(row), Path(row["photo_ref"]))

    def _with_exif(self, row: dict[str, Any]) -> dict[str, Any]:
        """Complete a CSV row from the photo's header; the table wins, but sizes are the file's."""
        path = self._folder / row["photo_ref"]
        if not path.is_file():
            return row | {"reason": "the file that the CSV names does not exist"}
        facts = self._from_exif(path)
        told = {key: value for key, value in row.items() if value is not None}
        return facts | told | {k: facts[k] for k in ("width", "height") if facts.get(k)}

    def _from_exif(self, path: Path) -> dict[str, Any]:
        try:
            facts = read_exif(path)
        except ImageError:
            return {"reason": _UNREADABLE}
        return {
            "width": facts.width,
            "height": facts.height,
            "lon": facts.lon,
            "lat": facts.lat,
            "altitude_m": facts.altitude_m,
            "heading_deg": facts.heading_deg,
            "captured_at": facts.captured_at,
            "make": facts.make,
            "model": facts.model,
            "focal_ratio": facts.focal_ratio,
        }


def _finished(row: dict[str, Any], relative: Path) -> dict[str, Any]:
    """Complete a row: id, status, defaults."""
    row["photo_ref"] = relative.as_posix()
    row["image_id"] = safe_id(row.get("image_id") or relative.with_suffix("").as_posix())
    row["source"] = "folder"
    row["camera_type"] = row.get("camera_type") or "perspective"
    row["is_pano"] = bool(row.get("is_pano")) or row["camera_type"] == "spherical"
    if row.get("lon") is None or row.get("lat") is None:
        row["lon"] = row["lat"] = None
        row.setdefault("reason", _NO_POSITION)
    row["status"] = "failed" if row.get("reason") else "listed"
    if row["status"] == "failed":
        row["lon"] = row["lat"] = None  # so that it is never taken for a usable photo
    return row


def safe_id(text: str) -> str:
    """Return an image id that is a file name: ``/`` becomes ``~``, control characters ``_``."""
    return "".join("_" if ord(c) < 32 or c == "\\" else c for c in text.replace("/", "~"))


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


def _found(photos: pa.Table) -> pa.Table:
    lon, lat = photos.column("lon").to_numpy(), photos.column("lat").to_numpy()
    x, y = tile_of(lon, lat, DISCOVERY_ZOOM)
    names = [f"{DISCOVERY_ZOOM}/{a}/{b}" for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    columns = {name: photos.column(name) for name in FOUND_SCHEMA.names if name != "tile"}
    table = pa.table({**columns, "tile": pa.array(names, pa.string())}, schema=FOUND_SCHEMA)
    return table.take(pc.sort_indices(table, [("image_id", "ascending")]))


def _tiles(area: Area, found: pa.Table) -> pa.Table:
    """Say for each tile of the area how many photos the folder has there."""
    counts = Counter(found.column("tile").to_pylist())
    rows: list[dict[str, object]] = []
    for z, x, y in area.tiles():
        n_images = counts[f"{z}/{x}/{y}"]
        state = "complete" if n_images else "empty"
        rows.append({"z": z, "x": x, "y": y, "state": state, "n_images": n_images})
    return table_of(rows, TILES_SCHEMA)
