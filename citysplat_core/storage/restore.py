"""Artifacts brought back from a bucket, byte for byte."""

import hashlib
import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

from filelock import FileLock

from citysplat_core.storage.artifact import ArtifactStore, remove_leftovers, set_current
from citysplat_core.storage.backup import (
    BackupRef,
    TransferCounts,
    lost,
    malformed,
    object_key,
    parse_object,
    require_hash,
    run_all,
)
from citysplat_core.storage.files import full_disk_is_clear, published, sync_directory
from citysplat_core.storage.fingerprint import sha256_of
from citysplat_core.storage.object_store import ObjectStore
from citysplat_core.storage.report import Progress, no_progress

log = logging.getLogger(__name__)


def restore_artifacts(
    refs: Iterable[BackupRef],
    store: ObjectStore,
    artifacts: ArtifactStore,
    *,
    n_threads: int = 8,
    progress: Progress = no_progress,
) -> TransferCounts:
    """Bring artifacts back byte for byte and put them in force.

    A version that is already whole on disk is only checked; a damaged one is replaced. An artifact
    appears whole or not at all.

    Args:
        refs: What to bring back, from ``list_backups``.
        store: Where from.
        artifacts: Where to.
        n_threads: Files at once.
        progress: Called after each artifact.

    Returns:
        What was fetched and what was there.

    Raises:
        StorageError: An object is missing or its bytes do not have the hash of its name, the disk
            is full, or the bucket fails. Nothing of that artifact is left on disk.
    """
    wanted = list(refs)
    counts = TransferCounts()
    with ThreadPoolExecutor(n_threads) as pool:
        for done, ref in enumerate(wanted):
            progress(done, len(wanted), f"{ref.asset} {ref.partition}".strip())
            _restore_one(ref, store, artifacts, pool, counts)
    progress(len(wanted), len(wanted), "restored")
    log.info("Restore: %s", asdict(counts))
    return counts


def _restore_one(
    ref: BackupRef,
    store: ObjectStore,
    artifacts: ArtifactStore,
    pool: ThreadPoolExecutor,
    counts: TransferCounts,
) -> None:
    files = _read_files(store, ref)
    home = artifacts.home(ref.asset, ref.partition)
    home.mkdir(parents=True, exist_ok=True)
    final = home / ref.fingerprint
    with FileLock(home / ".lock"):
        remove_leftovers(home)
        if _is_whole(final, files):
            counts.artifacts_present += 1
            counts.objects_present += len(files)
        else:
            _fetch_all(ref, store, files, final, pool)
            counts.objects_moved += len(files)
            counts.bytes_moved += sum(int(entry["size"]) for entry in files.values())
        set_current(home, ref.fingerprint)
    counts.artifacts += 1


def _fetch_all(
    ref: BackupRef,
    store: ObjectStore,
    files: Mapping[str, Mapping[str, Any]],
    final: Path,
    pool: ThreadPoolExecutor,
) -> None:
    """Fetch into a hidden sibling, then rename it over what is there."""
    part = final.with_name(f".{final.name}.{uuid4().hex[:8]}.part")
    try:
        with full_disk_is_clear(part):
            for folder in {(part / name).parent for name in files}:
                folder.mkdir(parents=True, exist_ok=True)

            def fetch(item: tuple[str, Mapping[str, Any]]) -> None:
                _fetch(store, item[1]["sha256"], part / item[0])

            run_all(pool, fetch, files.items())
            for folder in {(part / name).parent for name in files}:
                sync_directory(folder)
            if final.exists():  # damaged: it was checked before
                log.warning("Replacing a damaged version of %s %s", ref.asset, ref.partition)
                final.rename(final.with_name(f".{final.name}.{uuid4().hex[:8]}.old.part"))
            part.rename(final)
        sync_directory(final.parent)
    finally:
        remove_leftovers(final.parent)


def _fetch(store: ObjectStore, sha256: str, path: Path) -> None:
    key = object_key(sha256)
    seen = hashlib.sha256()
    try:
        with published(path) as stream:
            for chunk in store.chunks(key):
                seen.update(chunk)
                stream.write(chunk)
            require_hash(key, sha256, seen.hexdigest())
    except FileNotFoundError as error:
        raise lost(store, key) from error


def _read_files(store: ObjectStore, ref: BackupRef) -> dict[str, dict[str, Any]]:
    key = f"manifests/{ref.digest}.json"
    try:
        text = store.get_bytes(key)
    except FileNotFoundError as error:
        raise lost(store, key) from error
    require_hash(key, ref.digest, hashlib.sha256(text).hexdigest())
    files: dict[str, dict[str, Any]] = parse_object(key, text)["files"]
    outside = [n for n in files if n.startswith("/") or ".." in PurePosixPath(n).parts]
    if outside or "manifest.json" not in files:
        raise malformed(key, f"paths {outside[:3]}, {len(files)} files")
    return files


def _is_whole(final: Path, files: Mapping[str, Mapping[str, Any]]) -> bool:
    return all(
        (final / name).is_file()
        and (final / name).stat().st_size == entry["size"]
        and sha256_of(final / name) == entry["sha256"]
        for name, entry in files.items()
    )
