"""Files that appear whole or not at all."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from citysplat_core.errors import StorageError


def sync_directory(directory: Path) -> None:
    """Make new names in a directory survive a power cut."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def full_disk_is_clear(path: Path) -> Iterator[None]:
    """Turn the system's "no space left" into an error that says what to do.

    Raises:
        StorageError: The disk or quota is full; names the path.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StorageError(
            f"the disk is full while writing {path}",
            expected="free space for the next file",
            fix="Free some space (the city's cache/ and work/ may be deleted) and run again; "
            "finished artifacts are kept.",
        ) from error


@contextmanager
def published(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes its name only when the block ends well.

    A reader sees the old file or the new one, never a part. If the block raises, the old
    file stays and the part is removed.

    Args:
        path: Final name; its directory must exist.

    Yields:
        A binary stream to write to.

    Raises:
        StorageError: The disk is full.
    """
    part = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        with full_disk_is_clear(path):
            with part.open("xb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_json(path: Path, value: object) -> None:
    """Write sorted, indented JSON atomically; NaN is refused with ``ValueError``."""
    text = json.dumps(value, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False)
    with published(path) as stream:
        stream.write(text.encode() + b"\n")


def read_json(path: Path) -> Any:  # noqa: ANN401 - the shape is the file's
    """Read a JSON file.

    Raises:
        StorageError: The file is missing or is not JSON; names the path.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise StorageError(
            f"{path} does not exist",
            expected="a JSON file written by an earlier step",
            fix="Run the step that makes it.",
        ) from error
    except ValueError as error:
        raise StorageError(
            f"{path} is not JSON ({error})",
            expected="a JSON file written by an earlier step",
            fix="Delete it and run the step that makes it again.",
        ) from error
