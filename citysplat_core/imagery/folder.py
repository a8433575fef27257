"""A folder of photos as an image source."""

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from citysplat_core.errors import ConfigError, ImageError
from citysplat_core.geography import DISCOVERY_ZOOM, Area, tile_of
from citysplat_core.imagery.folder_files import READ
from citysplat_core.imagery.folder_rows import (
    NO_POSITION,
    NO_TRACKS,
    OFF_TRACK,
    TrackOptions,
    folder_rows,
)
from citysplat_core.imagery.photo_store import PhotoStore
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


class FolderSource:
    """Photos of a folder, placed by a CSV, by GPX tracks or by their own headers.

    Args:
        folder: The photos, in any sub-folders.
        positions_csv: A table of positions, see ``read_positions``; then only the photos that it
            names are used. None: every photo.
        tracks: GPX tracks; by default none.
        cache_dir: For what the photos' headers say; may be deleted. None: they are read anew.
        skip: Folders below ``folder`` that hold no photos of the user.
    """

    name: SourceName = "folder"

    def __init__(
        self,
        folder: Path,
        positions_csv: Path | None = None,
        *,
        tracks: TrackOptions = NO_TRACKS,
        cache_dir: Path | None = None,
        skip: Sequence[Path] = (),
    ) -> None:
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
        self._tracks, self._skip = tracks, tuple(skip)
        place = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]
        self._cache = cache_dir / "folder" / place / "headers.sqlite" if cache_dir else None

    def discover(self, area: Area, *, work: Path, refresh: bool, progress: Progress) -> Discovery:
        """List every photo of the area; see ``ImageSource.discover``."""
        del work, refresh  # a folder is looked through every time
        rows = self._rows(progress)
        photos = table_of(rows, DESCRIBED_SCHEMA)
        lon, lat = photos.column("lon").to_numpy(), photos.column("lat").to_numpy()
        inside = area.contains(lon, lat)
        found = _found(photos.filter(pa.array(inside)))
        return Discovery(tiles=_tiles(area, found), found=found, notes=_notes(rows, found.num_rows))

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
        except OSError as error:
            reason = f"cannot be read ({error.strerror})"
            return PhotoResult(image_id=image_id, state="failed", reason=reason)
        return fetched(image_id, photo)

    def _rows(self, progress: Progress) -> list[dict[str, Any]]:
        rows = folder_rows(
            self._folder,
            positions_csv=self._positions_csv,
            tracks=self._tracks,
            cache=self._cache,
            skip=self._skip,
            progress=progress,
        )
        _LOG.info("folder %s: %d photos", self._folder, len(rows))
        if not rows:
            raise ConfigError(
                f"the photo folder {self._folder} holds no photo",
                expected=f"files ending in {', '.join(sorted(READ))}",
                fix="Check source.path in city.toml; it is relative to that file.",
            )
        return rows


def _notes(rows: list[dict[str, Any]], n_found: int) -> dict[str, int]:
    """Count what a user wants to know of a folder; the last ones only if there are any."""
    failed = Counter(str(row["reason"]) for row in rows if row["status"] == "failed")
    unplaced = failed[NO_POSITION] + failed[OFF_TRACK]
    placed = Counter(row.get("placed_by") for row in rows if row["status"] == "listed")
    magnetic = sum(bool(row.get("heading_is_magnetic")) for row in rows)
    more = {"photos_placed_by_gpx": placed["gpx"], "headings_magnetic": magnetic}
    return {
        "photos_without_position": unplaced,
        "photos_unreadable": failed.total() - unplaced,
        "photos_outside_area": len(rows) - failed.total() - n_found,
        **{name: count for name, count in more.items() if count},
    }


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
