"""What an earlier version of an artifact is good for: results that need not be computed again.

Such a file only saves work, so one that is missing or damaged is never an error: it is said in the
log, and everything is computed again.
"""

import logging
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from citysplat_core.errors import StorageError
from citysplat_core.storage.files import read_json
from citysplat_core.storage.fingerprint import sha256_of

logger = logging.getLogger(__name__)


def whole_file_of(earlier: Path | None, name: str) -> Path | None:
    """Give a file of an earlier version of an artifact if it is exactly what was written then.

    Args:
        earlier: Folder of the version, with its manifest; None if there is none.
        name: Name of the file inside it.

    Returns:
        Its path, or None: there is no earlier version, it was made before such files existed, or
        it is damaged. A warning names the damage.
    """
    if earlier is None:
        return None
    path = earlier / name
    try:
        files = read_json(earlier / "manifest.json")["files"]
        if name not in files:
            logger.info("%s has no %s: nothing can be taken over", earlier, name)
            return None
        is_whole = sha256_of(path) == files[name]["sha256"]
    except (StorageError, OSError, KeyError, TypeError) as error:
        warn_of_damage(path, f"{type(error).__name__}: {error}")
        return None
    if not is_whole:
        warn_of_damage(path, "its hash is not the one in the manifest")
        return None
    return path


def warn_of_damage(path: Path, reason: str) -> None:
    """Say that an earlier result cannot be used, and what follows."""
    logger.warning(
        "%s is damaged (%s): nothing is taken over from it, all is computed again", path, reason
    )


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """Give the versions of packages; those that are not installed are left out."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
