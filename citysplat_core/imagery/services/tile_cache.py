"""Vector tiles on disk, each with its hash and the time it was fetched."""

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

from citysplat_core.errors import StorageError
from citysplat_core.storage import published, read_json, write_json

_CLOCK_SLACK_S = 60.0


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

    def read(self, z: int, x: int, y: int, *, not_before: float, now: float) -> CachedTile | None:
        """Return a tile that was fetched at or after ``not_before`` and is undamaged, or None.

        A tile from the future was kept while the clock was ahead: nobody knows its age.
        """
        note = self._note(z, x, y)
        if note is None or not not_before <= note[0] <= now + _CLOCK_SLACK_S:
            return None
        try:
            body = gzip.decompress(self._path(z, x, y, "pbf.gz").read_bytes())
        except (OSError, EOFError, zlib.error):
            return None  # a damaged cache entry is as good as none: it is fetched again
        if hashlib.sha256(body).hexdigest() != note[1]:
            return None
        return CachedTile(body=body, sha256=note[1], fetched_at=note[0])

    def fetched_at(self, z: int, x: int, y: int) -> float | None:
        """Return when a tile was fetched, seconds since 1970; None if it never was."""
        note = self._note(z, x, y)
        return None if note is None else note[0]

    def doubted_since(self, z: int, x: int, y: int) -> float | None:
        """Return when an answer that was not believed came first, seconds since 1970, or None."""
        try:
            return float(read_json(self._path(z, x, y, "doubt.json"))["since"])
        except (StorageError, KeyError, TypeError, ValueError):
            return None

    def doubt(self, z: int, x: int, y: int, *, since: float) -> None:
        """Remember when an answer that was not believed came first; the last good one stays."""
        write_json(self._path(z, x, y, "doubt.json"), {"since": since})

    def forget_doubt(self, z: int, x: int, y: int) -> None:
        """Forget it: an answer was believed."""
        self._path(z, x, y, "doubt.json").unlink(missing_ok=True)

    def _note(self, z: int, x: int, y: int) -> tuple[float, str] | None:
        try:
            note = read_json(self._path(z, x, y, "json"))
            return float(note["fetched_at"]), str(note["sha256"])
        except (StorageError, KeyError, TypeError, ValueError):
            return None  # absent or damaged

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
