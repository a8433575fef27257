"""The photo files of a folder: which are read, which are named as unreadable, which are ignored."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

READ = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"})
"""Endings of photos that are read."""
_NOT_READ = frozenset(
    {".heic", ".heif", ".avif", ".jxl", ".jp2", ".insp", ".dng", ".cr2", ".cr3", ".nef", ".arw"}
    | {".raf", ".orf", ".rw2"}
)
_EDGE_BYTES = 2**16


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoFile:
    """A file that looks like a photo.

    Attributes:
        relative: Path below the folder.
        size_bytes: Its size.
        changed_ns: When it was last written.
        is_readable: Whether its format is read here.
    """

    relative: Path
    size_bytes: int
    changed_ns: int
    is_readable: bool


def photo_files(folder: Path, *, skip: Collection[Path] = ()) -> list[PhotoFile]:
    """List the photos below a folder, sorted by path.

    Files and folders whose name begins with a dot are left out. A format that is not read (HEIC,
    camera raw) is listed only if the same photo is not there in one that is.

    Args:
        folder: Where.
        skip: Folders below it that hold no photos of the user.
    """
    skipped = {path.resolve() for path in skip}
    found = _walk(folder, folder, skipped)
    stems = {file.relative.with_suffix("") for file in found if file.is_readable}
    listed = [f for f in found if f.is_readable or f.relative.with_suffix("") not in stems]
    return sorted(listed, key=lambda file: file.relative.as_posix())


def _walk(folder: Path, root: Path, skipped: Collection[Path]) -> list[PhotoFile]:
    found: list[PhotoFile] = []
    for entry in sorted(folder.iterdir()):
        ending = entry.suffix.lower()
        if entry.name.startswith("."):
            continue
        if ending in READ or ending in _NOT_READ:
            if entry.is_file():
                found.append(photo_file(root, entry.relative_to(root)))
        elif entry.is_dir() and not entry.is_symlink() and entry.resolve() not in skipped:
            found += _walk(entry, root, skipped)
    return found


def photo_file(root: Path, relative: Path) -> PhotoFile:
    """Return one file below a folder.

    Raises:
        FileNotFoundError: It is not there.
    """
    stat = (root / relative).stat()
    return PhotoFile(
        relative=relative,
        size_bytes=stat.st_size,
        changed_ns=stat.st_mtime_ns,
        is_readable=relative.suffix.lower() in READ,
    )


def photo_digest(head: bytes, tail: bytes, size_bytes: int) -> str:
    """Return a digest that changes when the photo does, from its size and both ends.

    A copy has the digest of its original, whatever its date. Reading the ends suffices: a photo
    that is taken, edited or encoded anew differs in both.
    """
    return hashlib.sha256(b"%d|" % size_bytes + head + tail).hexdigest()[:32]


def read_ends(path: Path, size_bytes: int) -> tuple[bytes, bytes]:
    """Return the first and the last 64 KiB of a file (of a small one, all of it and nothing)."""
    with path.open("rb") as stream:
        head = stream.read(_EDGE_BYTES)
        if size_bytes <= _EDGE_BYTES:
            return head, b""
        stream.seek(max(_EDGE_BYTES, size_bytes - _EDGE_BYTES))
        return head, stream.read(_EDGE_BYTES)
