"""One digest a photo of everything that a comparison with another photo reads."""

import sqlite3
from hashlib import blake2b
from pathlib import Path

from citysplat_core.features.database import connected
from citysplat_core.features.learned_store import TABLE, has_table

_CAMERA = (
    "SELECT i.image_id, c.model, c.width, c.height, c.params, c.prior_focal_length"
    " FROM images i JOIN cameras c ON i.camera_id = c.camera_id ORDER BY i.image_id"
)


def digest_features(database: Path) -> dict[int, str]:
    """Digest the keypoints, descriptors of all kinds and camera of every photo.

    Two photos with the digests of then give the result of then when they are compared by the same
    means: that is how results are taken over from an earlier version.

    Args:
        database: Feature database with descriptors; it is only read, about 1 ms a photo.

    Returns:
        32 hex digits for every colmap id.

    Raises:
        StorageError: The database is damaged.
    """
    with connected(database, read_only=True) as connection:
        tables = ["keypoints", "descriptors", *([TABLE] if has_table(connection) else [])]
        found = {}
        for image_id, *camera in connection.execute(_CAMERA).fetchall():
            digest = blake2b(digest_size=16)
            _add(digest, camera)
            for table in tables:
                _add(digest, _row(connection, table, image_id))
            found[int(image_id)] = digest.hexdigest()
    return found


def _row(connection: sqlite3.Connection, table: str, image_id: int) -> tuple[object, ...]:
    query = f"SELECT * FROM {table} WHERE image_id = ?"  # noqa: S608 - own names
    row: tuple[object, ...] | None = connection.execute(query, (image_id,)).fetchone()
    return row or ()


def _add(digest: blake2b, values: tuple[object, ...] | list[object]) -> None:
    """Add values so that no two lists of values look alike."""
    for value in values:
        data = value if isinstance(value, bytes) else repr(value).encode()
        digest.update(f"{type(value).__name__} {len(data)}:".encode())
        digest.update(data)
    digest.update(b"end")
