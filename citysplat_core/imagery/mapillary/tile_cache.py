"""Vector tiles on disk, each with its hash and the time it was fetched."""

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

from citysplat_core.errors import StorageError
from citysplat_core.storage import published, read_json, write_json


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedTile:
    """A tile as it was answered.

    Attributes:
        body: The vector tile; empty if the tile has no images.
        sha256: Of the body, hex.
        fetched_at: Seconds since 1970.
    """

    body: bytes
    sha256: str
    fetched_at: float


class TileCache:
    """Tiles of one set.

    Args:
        folder: Where the files lie, ``z/x/y.pbf.gz`` and ``z/x/y.json``.
    """

    def __init__(self, folder: Path) -> None:
        """Use a folder."""
        self._folder = folder

    def read(self, z: int, x: int, y: int, *, not_before: float) -> CachedTile | None:
        """Return a tile that was fetched at or after ``not_before`` and is undamaged, or None."""
        note_path = self._path(z, x, y, "json")
        if not note_path.is_file():
            return None
        try:
            note = read_json(note_path)
            body = gzip.decompress(self._path(z, x, y, "pbf.gz").read_bytes())
        except (StorageError, OSError, EOFError, gzip.BadGzipFile):
            return None  # a damaged cache entry is as good as none: it is fetched again
        fetched_at, sha256 = float(note["fetched_at"]), str(note["sha256"])
        if fetched_at < not_before or hashlib.sha256(body).hexdigest() != sha256:
            return None
        return CachedTile(body=body, sha256=sha256, fetched_at=fetched_at)

    def write(self, z: int, x: int, y: int, body: bytes, *, fetched_at: float) -> CachedTile:
        """Store a tile.

        Raises:
            StorageError: The disk is full.
        """
        path = self._path(z, x, y, "pbf.gz")
        path.parent.mkdir(parents=True, exist_ok=True)
        sha256 = hashlib.sha256(body).hexdigest()
        with published(path) as stream:
            stream.write(gzip.compress(body, 6, mtime=0))
        note = {"fetched_at": fetched_at, "sha256": sha256, "size_bytes": len(body)}
        write_json(self._path(z, x, y, "json"), note)
        return CachedTile(body=body, sha256=sha256, fetched_at=fetched_at)

    def _path(self, z: int, x: int, y: int, ending: str) -> Path:
        return self._folder / str(z) / str(x) / f"{y}.{ending}"
