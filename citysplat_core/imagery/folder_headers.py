"""The headers of a folder's photos, each read once and then remembered."""

import io
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from citysplat_core.errors import ImageError
from citysplat_core.imagery.exif import ExifFacts, read_exif
from citysplat_core.imagery.folder_files import PhotoFile, photo_digest, read_ends
from citysplat_core.imagery.sqlite_file import create_tables, sqlite_file, transaction
from citysplat_core.storage import Progress

UNREADABLE = "no readable photo"
_VERSION = 1
"""Raised when more or other things are read from a header: all are read again then."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS headers (
    path TEXT PRIMARY KEY, size_bytes INTEGER NOT NULL, changed_ns INTEGER NOT NULL,
    version INTEGER NOT NULL, facts BLOB NOT NULL
) WITHOUT ROWID
"""
_AT_ONCE = 100
_THREADS = 4
_NOT_READ = {".heic": "HEIC", ".heif": "HEIC", ".avif": "AVIF", ".insp": "Insta360 raw"}


class PhotoHeaders:
    """Reads headers, and keeps them by path, size and date of the file.

    Args:
        folder: The photos.
        cache: A SQLite file; made when missing, may be deleted. None: nothing is kept.
    """

    def __init__(self, folder: Path, cache: Path | None) -> None:
        """Prepare; nothing is read before the first call."""
        self._folder, self._cache = folder, cache

    def rows(
        self, files: Sequence[PhotoFile], progress: Progress
    ) -> Iterator[tuple[PhotoFile, dict[str, Any]]]:
        """Yield each file with what its header says, in the order given.

        A row has the names of the catalog's columns, ``heading_is_magnetic``, ``time_is_gps`` and
        the ``pano_*`` shares; what is not known is absent. A file that cannot be read has a
        ``reason``.

        Args:
            files: The photos.
            progress: Called with headers done and headers in all.

        Raises:
            StorageError: The disk is full, or the cache is damaged.
        """
        done = 0
        progress(done, len(files), "photo headers")
        with ThreadPoolExecutor(_THREADS) as pool, self._opened() as connection:
            for start in range(0, len(files), _AT_ONCE):
                part = files[start : start + _AT_ONCE]
                known = _known(connection, part) if connection is not None else {}
                new = [file for file in part if file.relative not in known]
                read = dict(zip((f.relative for f in new), pool.map(self._read, new), strict=True))
                if connection is not None:
                    _keep(connection, new, read)
                for file in part:
                    done += 1
                    yield file, known.get(file.relative) or read[file.relative]
                progress(done, len(files), "photo headers")

    def _read(self, file: PhotoFile) -> dict[str, Any]:
        path = self._folder / file.relative
        ending = file.relative.suffix.lower()
        if not file.is_readable:
            kind = _NOT_READ.get(ending, "camera raw")
            return {"reason": f"{ending} ({kind}) is not read: export the photo as JPEG"}
        try:
            head, tail = read_ends(path, file.size_bytes)
            whole = file.size_bytes <= len(head)
            facts = read_exif(io.BytesIO(head)) if whole else read_exif(path)
        except (ImageError, OSError):
            return {"reason": UNREADABLE}
        return _row(facts) | {"photo_digest": photo_digest(head, tail, file.size_bytes)}

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection | None]:
        if self._cache is None:
            yield None
            return
        self._cache.parent.mkdir(parents=True, exist_ok=True)
        fix = "Free some space; if it is damaged, delete it: it is only a cache."
        with ExitStack() as stack:
            opened = sqlite_file(self._cache, purpose="to keep photo headers", fix=fix)
            connection = stack.enter_context(opened)
            create_tables(connection, _SCHEMA)
            yield connection


def _row(facts: ExifFacts) -> dict[str, Any]:
    pano = facts.panorama
    row = {
        "width": facts.width,
        "height": facts.height,
        "exif_orientation": facts.orientation,
        "lon": facts.lon,
        "lat": facts.lat,
        "altitude_m": facts.altitude_m,
        "heading_deg": facts.heading_deg,
        "heading_is_magnetic": facts.heading_is_magnetic or None,
        "captured_at": facts.captured_at,
        "time_is_gps": facts.time_is_gps or None,
        "make": facts.make,
        "model": facts.model,
        "focal_ratio": facts.focal_ratio,
        "pano_left": pano.left,
        "pano_top": pano.top,
        "pano_width": pano.width,
        "pano_height": pano.height,
    }
    return {name: value for name, value in row.items() if value is not None} | _panorama(facts)


def _panorama(facts: ExifFacts) -> dict[str, Any]:
    """Say what kind of panorama a photo is, if its XMP calls it one."""
    projection, heading = facts.panorama.projection, facts.panorama.heading_deg
    if projection is None:
        return {}
    if projection != "equirectangular":
        return {"is_pano": True, "reason": f"a panorama in {projection} projection"}
    turned = {} if heading is None else {"heading_deg": heading, "heading_is_magnetic": None}
    return {"is_pano": True, "camera_type": "spherical"} | turned


def _known(
    connection: sqlite3.Connection, files: Sequence[PhotoFile]
) -> dict[Path, dict[str, Any]]:
    marks = ",".join("?" * len(files))
    query = (
        f"SELECT path, size_bytes, changed_ns, version, facts FROM headers WHERE path IN ({marks})"  # noqa: S608 - marks only
    )
    found = {
        row[0]: row[1:] for row in connection.execute(query, [f.relative.as_posix() for f in files])
    }
    known = {}
    for file in files:
        row = found.get(file.relative.as_posix())
        if row is not None and row[:3] == (file.size_bytes, file.changed_ns, _VERSION):
            known[file.relative] = _loaded(row[3])
    return known


def _loaded(body: bytes) -> dict[str, Any]:
    facts: dict[str, Any] = orjson.loads(body)
    if "captured_at" in facts:
        facts["captured_at"] = datetime.fromisoformat(facts["captured_at"])
    return facts


def _keep(
    connection: sqlite3.Connection, files: Sequence[PhotoFile], read: dict[Path, dict[str, Any]]
) -> None:
    rows = [
        (
            f.relative.as_posix(),
            f.size_bytes,
            f.changed_ns,
            _VERSION,
            orjson.dumps(read[f.relative]),
        )
        for f in files
    ]
    with transaction(connection):
        connection.executemany("INSERT OR REPLACE INTO headers VALUES (?,?,?,?,?)", rows)
