"""The photo cache: checked JPEG files, each remembered with its hash and size."""

import contextlib
import hashlib
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import simplejpeg

from citysplat_core.errors import ImageError, StorageError
from citysplat_core.imagery.sqlite_file import create_tables, sqlite_file
from citysplat_core.storage.files import full_disk_is_clear

_SCHEMA = """
CREATE TABLE IF NOT EXISTS photos (
    key TEXT PRIMARY KEY, origin TEXT NOT NULL, sha256 TEXT NOT NULL,
    size_bytes INTEGER NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL
)
"""
_STALE_S = 3600.0
_RESERVE_BYTES = 256 * 2**20
"""Space that is left free for databases and logs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPhoto:
    """A photo in the store.

    Attributes:
        path: The file.
        sha256: Of the file, hex.
        size_bytes: Of the file.
        width: Pixels.
        height: Pixels.
    """

    path: Path
    sha256: str
    size_bytes: int
    width: int
    height: int


class PhotoStore:
    """Photos by id and size; safe for several processes and threads.

    A photo is visible only after it was written whole and decoded without a fault. The store is a
    cache: deleting it costs a download and nothing else.

    Args:
        folder: Where the files lie; made when missing.
    """

    def __init__(self, folder: Path) -> None:
        """Open the store."""
        self.folder = folder
        self._lock = threading.Lock()
        with full_disk_is_clear(folder):
            (folder / "parts").mkdir(parents=True, exist_ok=True)
        self._remove_old_parts()
        with self._connection() as connection:
            create_tables(connection, _SCHEMA)

    def path_of(self, image_id: str, size_px: int) -> Path:
        """Return where a photo lies or would lie; folders are sharded by a hash of the id."""
        shard = hashlib.sha256(image_id.encode()).hexdigest()[:2]
        return self.folder / str(size_px or "original") / shard / f"{image_id}.jpg"

    def find(self, image_id: str, size_px: int, *, origin: str = "") -> StoredPhoto | None:
        """Return a stored photo, or None.

        Args:
            image_id: The source's id.
            size_px: The size it was asked for in.
            origin: What it was made from; another origin does not count.
        """
        path = self.path_of(image_id, size_px)
        query = "SELECT sha256, size_bytes, width, height FROM photos WHERE key=? AND origin=?"
        with self._connection() as connection:
            row = connection.execute(query, (self._key(path), origin)).fetchone()
        if row is None or not path.is_file() or path.stat().st_size != row[1]:
            return None
        return StoredPhoto(path=path, sha256=row[0], size_bytes=row[1], width=row[2], height=row[3])

    def save(self, image_id: str, size_px: int, body: bytes, *, origin: str = "") -> StoredPhoto:
        """Check a photo and store it.

        Args:
            image_id: The source's id.
            size_px: The size it was asked for in.
            body: JPEG bytes.
            origin: What it was made from.

        Raises:
            ImageError: The bytes are no whole, undamaged JPEG; nothing is stored.
            StorageError: The disk is full; the store is as before.
        """
        width, height = check_jpeg(body)
        path = self.path_of(image_id, size_px)
        part = self.folder / "parts" / f"{os.getpid()}-{threading.get_ident()}.part"
        with full_disk_is_clear(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                part.write_bytes(body)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
        photo = StoredPhoto(
            path=path,
            sha256=hashlib.sha256(body).hexdigest(),
            size_bytes=len(body),
            width=width,
            height=height,
        )
        values = (self._key(path), origin, photo.sha256, len(body), width, height)
        with self._connection() as connection:
            connection.execute("INSERT OR REPLACE INTO photos VALUES (?,?,?,?,?,?)", values)
        return photo

    def drop(self, image_id: str, size_px: int) -> None:
        """Forget a photo that turned out damaged, so that the next run fetches it again."""
        path = self.path_of(image_id, size_px)
        with self._connection() as connection:
            connection.execute("DELETE FROM photos WHERE key=?", (self._key(path),))
        path.unlink(missing_ok=True)

    def require_space(self, n_photos: int, size_px: int) -> None:
        """Refuse to start a download that cannot fit.

        Raises:
            StorageError: The estimate is larger than the free space; gives both.
        """
        needed = n_photos * _typical_bytes(size_px) + _RESERVE_BYTES
        free = shutil.disk_usage(self.folder).free
        if n_photos and free < needed:
            raise StorageError(
                f"{n_photos} photos need about {needed / 1e9:.1f} GB and {self.folder} has "
                f"{free / 1e9:.1f} GB free",
                expected="enough free space before the download starts",
                fix="Free some space, choose a smaller photos.size_px, or build a smaller area.",
            )

    def _remove_old_parts(self) -> None:
        """Remove what killed processes left half written."""
        for part in (self.folder / "parts").glob("*.part"):
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                if time.time() - part.stat().st_mtime > _STALE_S:
                    part.unlink()

    def _key(self, path: Path) -> str:
        return str(path.relative_to(self.folder))

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        fix = "Free some space; if it is damaged, delete the photo cache and run again."
        path = self.folder / "photos.sqlite"
        with self._lock, sqlite_file(path, purpose="to keep photos", fix=fix) as connection:
            connection.execute("PRAGMA synchronous=OFF")  # a lost row costs one download
            yield connection


def check_jpeg(body: bytes) -> tuple[int, int]:
    """Return width and height of a JPEG that decodes without any fault, in pixels.

    A file that is cut off is always found. Of files with 200 foreign bytes inside, a strict decoder
    finds about nine in ten: the entropy code falls back into step now and then.

    Raises:
        ImageError: No JPEG, cut off, or damaged inside; says which.
    """
    if body[:2] != b"\xff\xd8":
        raise _bad_photo(f"{len(body)} bytes that do not begin like a JPEG")
    if body.rstrip(b"\x00")[-2:] != b"\xff\xd9":
        raise _bad_photo(f"a JPEG of {len(body)} bytes that is cut off")
    try:
        gray = simplejpeg.decode_jpeg(
            body, colorspace="GRAY", min_height=1, min_width=1, min_factor=8
        )
    except (ValueError, RuntimeError) as error:
        raise _bad_photo(f"a damaged JPEG of {len(body)} bytes ({error})") from error
    del gray
    height, width, _, _ = simplejpeg.decode_jpeg_header(body)
    return int(width), int(height)


def _bad_photo(seen: str) -> ImageError:
    return ImageError(seen, expected="a whole JPEG photo", fix="Fetch or export the photo again.")


def _typical_bytes(size_px: int) -> int:
    return {256: 15_000, 1024: 118_000, 2048: 450_000}.get(size_px, 2_500_000)
