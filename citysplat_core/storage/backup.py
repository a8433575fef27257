"""Copies of finished artifacts in a bucket; ``restore`` brings them back.

Layout below the bucket's prefix::

    objects/<sha256[:2]>/<sha256>       a file's bytes, stored once whoever has it
    manifests/<digest>.json             the files of one artifact: relative path, sha256, size
    refs/<asset>/<partition or _>.json  the artifact in force, written last

A backup that is killed leaves objects that nobody refers to, and the earlier ref in force.
"""

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from citysplat_core.errors import StorageError
from citysplat_core.storage.artifact import Artifact
from citysplat_core.storage.fingerprint import sha256_of
from citysplat_core.storage.object_store import ObjectStore
from citysplat_core.storage.report import Progress, no_progress

log = logging.getLogger(__name__)

BACKUP_VERSION = 1
Item = TypeVar("Item")
Result = TypeVar("Result")
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupRef:
    """The artifact of one asset and partition that the bucket holds.

    Attributes:
        asset: Name of the asset.
        partition: Box or fringe key; empty for a city-wide asset.
        fingerprint: The artifact's recipe.
        digest: Name of its manifest: sha256 of the manifest's bytes.
        n_files: How many files it has, manifest.json included.
        size_bytes: Their total size.
    """

    asset: str
    partition: str
    fingerprint: str
    digest: str
    n_files: int
    size_bytes: int


@dataclass(slots=True, kw_only=True)
class TransferCounts:
    """What a backup or restore did; ``asdict`` gives metadata.

    Attributes:
        artifacts: Artifacts that are now whole on the other side.
        artifacts_present: Of these, how many were there already and needed nothing.
        objects_moved: Files sent or fetched.
        objects_present: Files that were there already.
        bytes_moved: Size of the files sent or fetched.
    """

    artifacts: int = 0
    artifacts_present: int = 0
    objects_moved: int = 0
    objects_present: int = 0
    bytes_moved: int = 0


def backup_artifacts(
    artifacts: Sequence[Artifact],
    store: ObjectStore,
    *,
    read_back: bool = False,
    n_threads: int = 8,
    progress: Progress = no_progress,
) -> TransferCounts:
    """Copy finished artifacts into the bucket; a second call sends nothing.

    Every file is hashed before it is sent, so an artifact that was changed on disk is refused
    instead of replacing a good copy. An object counts as present when the bucket reports its size
    and the sha256 recorded with it.

    Args:
        artifacts: What to copy.
        store: Where to.
        read_back: Also read every object again, sent now or before, and hash it.
        n_threads: Files at once.
        progress: Called after each artifact.

    Returns:
        What was sent and what was there.

    Raises:
        StorageError: A file is not what its manifest says, an object read back differs, or the
            bucket fails. Artifacts before it are safe in the bucket.
    """
    counts = TransferCounts()
    with ThreadPoolExecutor(n_threads) as pool:
        for done, artifact in enumerate(artifacts):
            progress(done, len(artifacts), f"{artifact.asset} {artifact.partition}".strip())
            _backup_one(artifact, store, pool, counts, read_back=read_back)
    progress(len(artifacts), len(artifacts), "backed up")
    log.info("Backup: %s", asdict(counts))
    return counts


def list_backups(store: ObjectStore) -> list[BackupRef]:
    """List what the bucket holds, sorted by asset and partition.

    Raises:
        StorageError: The bucket fails, or a ref is malformed.
    """
    refs = [_read_ref(store, key) for key in store.keys("refs/")]
    return sorted(refs, key=lambda ref: (ref.asset, ref.partition))


def run_all(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item]
) -> list[Result]:
    """Do all items in a pool; after the first failure start no other, wait, and raise it."""
    futures = [pool.submit(work, item) for item in items]
    try:
        wait(futures, return_when=FIRST_EXCEPTION)
    finally:
        for future in futures:
            future.cancel()
        wait(futures)  # nobody may be writing any more when the caller cleans up
    for future in futures:
        if not future.cancelled():
            future.result()  # raises what the first failed item raised
    return [future.result() for future in futures]


def object_key(sha256: str) -> str:
    """Give the key of a file's bytes."""
    return f"objects/{sha256[:2]}/{sha256}"


def _backup_one(
    artifact: Artifact,
    store: ObjectStore,
    pool: ThreadPoolExecutor,
    counts: TransferCounts,
    *,
    read_back: bool,
) -> None:
    files = _local_files(artifact)
    by_hash = {entry["sha256"]: (name, int(entry["size"])) for name, entry in files.items()}

    def send(item: tuple[str, tuple[str, int]]) -> bool:
        sha256, (name, size) = item
        return _send(store, artifact.path / name, sha256, size, read_back=read_back)

    sent = dict(zip(by_hash, run_all(pool, send, by_hash.items()), strict=True))
    text = _canonical({"version": BACKUP_VERSION, "files": files})
    digest = hashlib.sha256(text).hexdigest()
    if store.find(f"manifests/{digest}.json") is None:
        store.put_bytes(f"manifests/{digest}.json", text)
    ref = BackupRef(
        asset=artifact.asset,
        partition=artifact.partition,
        fingerprint=artifact.path.name,
        digest=digest,
        n_files=len(files),
        size_bytes=sum(int(entry["size"]) for entry in files.values()),
    )
    _write_ref(store, ref)
    moved = [sha256 for sha256, was_sent in sent.items() if was_sent]
    counts.artifacts += 1
    counts.artifacts_present += not moved
    counts.objects_moved += len(moved)
    counts.objects_present += len(sent) - len(moved)
    counts.bytes_moved += sum(by_hash[sha256][1] for sha256 in moved)


def _local_files(artifact: Artifact) -> dict[str, dict[str, Any]]:
    """List an artifact's files with their hashes, its own manifest.json included."""
    own = artifact.path / "manifest.json"
    listed = {
        name: {"sha256": str(entry["sha256"]), "size": int(entry["size"])}
        for name, entry in artifact.manifest["files"].items()
    }
    listed["manifest.json"] = {"sha256": sha256_of(own), "size": own.stat().st_size}
    return listed


def _send(store: ObjectStore, path: Path, sha256: str, size: int, *, read_back: bool) -> bool:
    """Make sure that the bucket has a file; say whether it had to be sent."""
    key = object_key(sha256)
    found = store.find(key)
    was_there = found is not None and found.size_bytes == size and found.sha256 == sha256
    if not was_there:
        try:
            store.put_file(key, path, sha256=sha256)
        except FileNotFoundError as error:
            raise StorageError(
                f"{path} is missing",
                expected="every file that the artifact's manifest lists",
                fix="Restore the artifact from the backup, or run its step again.",
            ) from error
        found = store.find(key)
        if found is None or found.size_bytes != size or found.sha256 != sha256:
            raise StorageError(
                f"{store!r} reports {found} for {key} right after it was stored",
                expected=f"{size} bytes with sha256 {sha256[:12]}",
                fix="Run the backup again; if it stays so, the service drops metadata.",
            )
    if read_back:
        require_hash(key, sha256, _hash_of_object(store, key))
    return not was_there


def _write_ref(store: ObjectStore, ref: BackupRef) -> None:
    key = f"refs/{ref.asset}/{ref.partition or '_'}.json"
    text = _canonical({"version": BACKUP_VERSION, **asdict(ref)})
    found = store.find(key)
    if found is None or found.sha256 != hashlib.sha256(text).hexdigest():
        store.put_bytes(key, text)


def _read_ref(store: ObjectStore, key: str) -> BackupRef:
    value = parse_object(key, store.get_bytes(key))
    try:
        ref = BackupRef(**{k: value[k] for k in BackupRef.__dataclass_fields__})
        names = [
            ref.asset,
            ref.fingerprint,
            ref.digest,
            *([ref.partition] if ref.partition else []),
        ]
        safe = all(_SAFE_NAME.fullmatch(name) for name in names)
    except (KeyError, TypeError) as error:
        raise malformed(key, repr(error)) from error
    if value.get("version") != BACKUP_VERSION or not safe:
        raise malformed(key, f"version {value.get('version')}, names {names}")
    return ref


def _hash_of_object(store: ObjectStore, key: str) -> str:
    seen = hashlib.sha256()
    for chunk in store.chunks(key):
        seen.update(chunk)
    return seen.hexdigest()


def require_hash(key: str, expected: str, seen: str) -> None:
    """Refuse bytes that do not have the hash of their name.

    Raises:
        StorageError: They differ; names the object.
    """
    if seen != expected:
        raise StorageError(
            f"{key} in the bucket is corrupted: its bytes have sha256 {seen[:12]}",
            expected=f"{expected[:12]}, as its name says",
            fix="Delete that object and back up again from a machine that has the artifact.",
        )


def _canonical(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def parse_object(key: str, text: bytes) -> dict[str, Any]:
    """Read a JSON object of ours.

    Raises:
        StorageError: It is not JSON, or no object.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise malformed(key, str(error)) from error
    if not isinstance(value, dict):
        raise malformed(key, f"a {type(value).__name__}")
    return value


def malformed(key: str, seen: str) -> StorageError:
    """Give the error for an object that is not a backup of ours."""
    return StorageError(
        f"{key} in the bucket is not one of ours ({seen})",
        expected=f"a backup of version {BACKUP_VERSION}",
        fix="Check backup.bucket and backup.prefix in city.toml.",
    )


def lost(store: ObjectStore, key: str) -> StorageError:
    """Give the error for an object that a ref leads to and that is not there."""
    return StorageError(
        f"{store!r} has no {key}",
        expected="every object that a ref leads to",
        fix="Back up again from a machine that has the artifact.",
    )
