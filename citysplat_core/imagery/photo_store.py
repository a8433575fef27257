"""The photo cache: checked JPEG files, each remembered with its hash and size.

A photo lies once, at ``<size>/<first byte of the id's SHA-256 in hex>/<id>.jpg``. The place depends
on the id alone: a photo whose position is corrected stays where it is, and no folder of a dense
city grows larger than the others, as folders by map tile would.
"""

import contextlib
import hashlib
import os
import platform
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from citysplat_core.errors import ImageError, StorageError
from citysplat_core.imagery.jpeg_check import check_ends, check_jpeg
from citysplat_core.imagery.sqlite_file import create_tables, sqlite_file, transaction
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
_ROWS_AT_ONCE = 32
_SAMPLE = 500

BodyCheck = Callable[[bytes, str], object]
"""Called with a photo's bytes and their SHA-256 before it is stored; refuses with ImageError."""


def strictly(body: bytes, sha256: str) -> object:
    """Refuse a body that does not decode without a fault; the store's check unless told."""
    del sha256
    return check_jpeg(body)


def by_its_ends(body: bytes, sha256: str) -> object:
    """Refuse a body that is no JPEG or cut off, and trust its middle."""
    del sha256
    return check_ends(body)


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

    A photo is visible only after it was checked and written whole. The files are the truth: a
    photo whose row a killed process could not write is found by its file. The store is a cache:
    deleting it costs a download and nothing else.

    Args:
        folder: Where the files lie; made when missing.
        check: What a body must pass, besides its ends, before it is stored: a strict decode, or a
            scorer that decodes anyway.
    """

    def __init__(self, folder: Path, *, check: BodyCheck = strictly) -> None:
        """Open the store."""
        self.folder = folder
        self._check = check
        self._lock = threading.RLock()
        self._unwritten: dict[str, tuple[object, ...]] = {}
        with full_disk_is_clear(folder):
            (folder / "parts").mkdir(parents=True, exist_ok=True)
        self._remove_old_parts()
        with self._connection() as connection:
            create_tables(connection, _SCHEMA)

    def path_of(self, image_id: str, size_px: int) -> Path:
        """Return where a photo lies or would lie."""
        return self.folder / _key(image_id, size_px)

    def find(self, image_id: str, size_px: int, *, origin: str = "") -> StoredPhoto | None:
        """Return a stored photo, or None.

        Args:
            image_id: The source's id.
            size_px: The size it was asked for in.
            origin: What it was made from; another origin does not count.
        """
        key = _key(image_id, size_px)
        try:
            size_bytes = os.stat(f"{self.folder}/{key}").st_size  # noqa: PTH116 - most are absent
        except FileNotFoundError:
            return None
        path, row = self.folder / key, self._row(key)
        if row is None:
            return None if origin else self._adopted(path, key)
        if row[1] != origin or row[3] != size_bytes:
            return None
        return _stored(path, row)

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
        width, height = check_ends(body)
        sha256 = hashlib.sha256(body).hexdigest()
        self._check(body, sha256)
        key = _key(image_id, size_px)
        path = self.folder / key
        with full_disk_is_clear(path):
            self._write(path, body)
        row = (key, origin, sha256, len(body), width, height)
        self._remember(row, at_once=bool(origin))
        return _stored(path, row)

    def drop(self, image_id: str, size_px: int) -> None:
        """Forget a photo that turned out damaged, so that the next run fetches it again."""
        key = _key(image_id, size_px)
        with self._lock:
            (self.folder / key).unlink(missing_ok=True)
            self._unwritten.pop(key, None)
            with self._connection() as connection:
                connection.execute("DELETE FROM photos WHERE key=?", (key,))

    def flush(self) -> None:
        """Write the rows of the newest photos; without it a later run reads their files."""
        with self._lock:
            rows = list(self._unwritten.values())
            if rows:
                statement = "INSERT OR REPLACE INTO photos VALUES (?,?,?,?,?,?)"
                with self._connection() as connection, transaction(connection):
                    connection.executemany(statement, rows)
            self._unwritten.clear()

    def typical_bytes(self, size_px: int) -> int:
        """Return how large a photo of this size is: the mean of the newest here, else a guess."""
        like = f"{size_px or 'original'}/%"
        newest = "SELECT size_bytes FROM photos WHERE key LIKE ? ORDER BY rowid DESC LIMIT ?"
        query = f"SELECT avg(size_bytes), count(*) FROM ({newest})"  # noqa: S608 - constants
        with self._connection() as connection:
            mean, count = connection.execute(query, (like, _SAMPLE)).fetchone()
        return int(mean) if count >= 20 else _guessed_bytes(size_px)

    def require_space(self, n_photos: int, size_px: int) -> None:
        """Refuse to start a download that cannot fit.

        Raises:
            StorageError: The estimate is larger than the free space; gives both.
        """
        needed = n_photos * self.typical_bytes(size_px) + _RESERVE_BYTES
        free = shutil.disk_usage(self.folder).free
        if n_photos and free < needed:
            raise StorageError(
                f"{n_photos} photos need about {needed / 1e9:.1f} GB and {self.folder} has "
                f"{free / 1e9:.1f} GB free",
                expected="enough free space before the download starts",
                fix="Free some space, choose a smaller photos.size_px, or build a smaller area.",
            )

    def _write(self, path: Path, body: bytes) -> None:
        part = self.folder / "parts" / f"{_writer()}-{threading.get_ident()}.part"
        try:
            part.write_bytes(body)
            try:
                part.replace(path)
            except FileNotFoundError:
                path.parent.mkdir(parents=True, exist_ok=True)
                part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def _remember(self, row: tuple[object, ...], *, at_once: bool) -> None:
        with self._lock:
            self._unwritten[str(row[0])] = row
            if at_once or len(self._unwritten) >= _ROWS_AT_ONCE:
                self.flush()

    def _row(self, key: str) -> tuple[object, ...] | None:
        with self._lock:
            if key in self._unwritten:
                return self._unwritten[key]
            with self._connection() as connection:
                query = "SELECT key, origin, sha256, size_bytes, width, height FROM photos"
                found = connection.execute(f"{query} WHERE key=?", (key,)).fetchone()
        return None if found is None else tuple(found)

    def _adopted(self, path: Path, key: str) -> StoredPhoto | None:
        """Take a file whose row was lost in a kill; files appear whole, yet its ends are looked at.

        Its middle is checked where it is scored, as it has no score yet.
        """
        try:
            body = path.read_bytes()
            width, height = check_ends(body)
        except (ImageError, FileNotFoundError):
            return None
        sha256 = hashlib.sha256(body).hexdigest()
        row = (key, "", sha256, len(body), width, height)
        self._remember(row, at_once=False)
        return _stored(path, row)

    def _remove_old_parts(self) -> None:
        """Remove what killed processes left half written."""
        for part in (self.folder / "parts").glob("*.part"):
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                if not _is_alive(part) or time.time() - part.stat().st_mtime > _STALE_S:
                    part.unlink()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        fix = "Free some space; if it is damaged, delete the photo cache and run again."
        path = self.folder / "photos.sqlite"
        with self._lock, sqlite_file(path, purpose="to keep photos", fix=fix) as connection:
            connection.execute("PRAGMA synchronous=OFF")  # a lost row costs reading one file
            yield connection


def _key(image_id: str, size_px: int) -> str:
    """Give the place of a photo inside the store."""
    shard = hashlib.sha256(image_id.encode()).hexdigest()[:2]
    return f"{size_px or 'original'}/{shard}/{image_id}.jpg"


def _stored(path: Path, row: tuple[object, ...]) -> StoredPhoto:
    _, _, sha256, size_bytes, width, height = row
    return StoredPhoto(
        path=path,
        sha256=str(sha256),
        size_bytes=int(str(size_bytes)),
        width=int(str(width)),
        height=int(str(height)),
    )


def _writer() -> str:
    return f"{platform.node()}:{os.getpid()}"


def _is_alive(part: Path) -> bool:
    """Say whether the process that writes a part may still run; of other machines it may."""
    node, _, rest = part.name.rpartition(":")
    pid = rest.partition("-")[0]
    if node != platform.node() or not pid.isdigit():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _guessed_bytes(size_px: int) -> int:
    return {256: 15_000, 1024: 118_000, 2048: 450_000}.get(size_px, 2_500_000)
