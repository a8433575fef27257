"""Artifact directories: whole or not there, named by their recipe.

Layout below the city's root::

    artifacts/<asset>/<partition or _>/<fingerprint>/...   one version, with manifest.json
    artifacts/<asset>/<partition or _>/current             the fingerprint in force
    work/<asset>/<partition or _>/<fingerprint>/           a step's unfinished state

A version is written to a hidden sibling, synced, renamed; ``current`` is replaced last.
"""

import logging
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock

from citysplat_core.errors import StorageError
from citysplat_core.storage.earlier import versions_of
from citysplat_core.storage.files import (
    full_disk_is_clear,
    published,
    read_json,
    sync_directory,
    write_json,
)
from citysplat_core.storage.fingerprint import fingerprint, sha256_of
from citysplat_core.storage.report import StepReport
from citysplat_core.storage.usage import Usage

log = logging.getLogger(__name__)

_LIBRARIES = (
    "citysplat",
    "pycolmap",
    "torch",
    "numpy",
    "numba",
    "gsplat",
    "opencv-python-headless",
)
_KEPT_VERSIONS = 2


@dataclass(frozen=True)
class Artifact:
    """A finished artifact.

    Attributes:
        asset: Name of the asset.
        partition: Box or fringe key; empty for a city-wide asset.
        path: Its directory.
        was_made: Whether this call made it; False if it was already there.
    """

    asset: str
    partition: str
    path: Path
    was_made: bool = False

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The manifest: recipe, files, seconds, memory, counts, skipped."""
        return dict(read_json(self.path / "manifest.json"))

    @property
    def fingerprint(self) -> str:
        """Hash of the recipe."""
        return self.path.name

    @property
    def version(self) -> str:
        """What is in it: the step's ``content_digest`` if it gives one, else the fingerprint.

        A step that reads the outside world (tiles, metadata) gives a digest of what it found, so
        that finding the same again leaves everything after it as it is.
        """
        return str(self.counts.get("content_digest") or self.fingerprint)

    @property
    def skipped(self) -> str:
        """Why the step had nothing to give; empty if it had."""
        return str(self.manifest["skipped"])

    @property
    def counts(self) -> dict[str, Any]:
        """The step's own numbers."""
        return dict(self.manifest["counts"])


class ArtifactStore:
    """The artifacts of one city, below one local folder."""

    def __init__(self, root: Path) -> None:
        """Use ``root``; folders are made when they are needed."""
        self.root = root

    def home(self, asset: str, partition: str = "") -> Path:
        """Give the folder of all versions of an artifact."""
        return self.root / "artifacts" / asset / (partition or "_")

    def find(self, asset: str, partition: str = "") -> Artifact | None:
        """Give the version in force, or None if there is none.

        Raises:
            StorageError: ``current`` names a version that is not there or has no manifest.
        """
        home = self.home(asset, partition)
        try:
            name = (home / "current").read_text().strip()
        except FileNotFoundError:
            return None
        if not name or not (home / name / "manifest.json").is_file():
            raise StorageError(
                f"{home / 'current'} names version {name!r}, which is not whole",
                expected="a folder with a manifest.json",
                fix=f"Delete {home} and run again, or restore it from the backup.",
            )
        return Artifact(asset, partition, home / name)

    def need(self, asset: str, partition: str = "") -> Artifact:
        """Give the version in force.

        Raises:
            StorageError: There is none; names the asset to materialize.
        """
        found = self.find(asset, partition)
        if found is None:
            raise StorageError(
                f"there is no {asset} yet",
                expected="a finished artifact",
                fix=f"Materialize {asset} first (`citysplat run`).",
                box=partition or None,
            )
        return found

    def partitions(self, asset: str) -> list[str]:
        """List the partitions of an asset that have a version in force, sorted."""
        home = self.root / "artifacts" / asset
        return sorted(p.parent.name for p in home.glob("*/current") if p.parent.name != "_")

    def produce(
        self,
        asset: str,
        partition: str = "",
        *,
        step_version: str,
        settings: Mapping[str, Any],
        inputs: Mapping[str, str],
        build: Callable[[Path, Path], StepReport],
    ) -> Artifact:
        """Make an artifact unless the same recipe already made it.

        Args:
            asset: Name of the asset.
            partition: Box or fringe key, or empty.
            step_version: Version of the step's code.
            settings: The settings that the step reads, as plain JSON values.
            inputs: Fingerprints of what it reads, by name.
            build: Called with (out, work): fills the empty folder ``out`` and may keep unfinished
                state in ``work``, which outlives a kill and is removed on success.

        Returns:
            The artifact in force; ``was_made`` tells whether it was made now.

        Raises:
            StorageError: The disk is full. What ``build`` raises passes through; nothing that
                looks finished is left then.
        """
        name = fingerprint(asset, step_version, settings, inputs)
        home = self.home(asset, partition)
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(home / ".lock"):
            remove_leftovers(home)
            final = home / name
            if (final / "manifest.json").is_file():
                set_current(home, name)
                return Artifact(asset, partition, final)
            work = self.root / "work" / asset / (partition or "_") / name
            work.mkdir(parents=True, exist_ok=True)
            part = home / f".{name}.{uuid4().hex[:8]}.part"
            recipe = {
                "asset": asset,
                "partition": partition,
                "fingerprint": name,
                "step_version": step_version,
                "settings": dict(settings),
                "inputs": dict(inputs),
            }
            try:
                with full_disk_is_clear(part):
                    part.mkdir()
                    _fill(part, work, recipe, build)
                    if final.exists():  # somebody took its manifest away
                        shutil.rmtree(final)
                    part.rename(final)
                    sync_directory(home)
            except BaseException:
                shutil.rmtree(part, ignore_errors=True)
                raise
            set_current(home, name)
            shutil.rmtree(work, ignore_errors=True)
            _prune(home, name)
            return Artifact(asset, partition, final, was_made=True)


def _fill(
    part: Path, work: Path, recipe: dict[str, Any], build: Callable[[Path, Path], StepReport]
) -> None:
    started = datetime.now(UTC)
    with Usage() as usage:
        report = build(part, work)
    manifest = {
        **recipe,
        "versions": versions_of(_LIBRARIES),
        "counts": dict(report.counts),
        "skipped": report.skipped,
        "previews": {k: _inside(part, v) for k, v in report.previews.items()},
        "started_at": started.isoformat(),
        "seconds": round(usage.seconds, 3),
        "cpu_seconds": round(usage.cpu_seconds, 3),
        "peak_rss_mb": round(usage.peak_rss_mb, 1),
        "files": _list_files(part),
    }
    write_json(part / "manifest.json", manifest)


def _inside(part: Path, preview: Path) -> str:
    return preview.relative_to(part).as_posix() if preview.is_absolute() else preview.as_posix()


def _list_files(part: Path) -> dict[str, dict[str, Any]]:
    files = {}
    for path in sorted(p for p in part.rglob("*") if p.is_file()):
        with path.open("rb+") as stream:
            os.fsync(stream.fileno())
        name = path.relative_to(part).as_posix()
        files[name] = {"size": path.stat().st_size, "sha256": sha256_of(path)}
    for folder in sorted(p for p in part.rglob("*") if p.is_dir()):
        sync_directory(folder)
    return files


def set_current(home: Path, name: str) -> None:
    """Put a whole version in force."""
    pointer = home / "current"
    if pointer.is_file() and pointer.read_text().strip() == name:
        return
    with published(pointer) as stream:
        stream.write(name.encode() + b"\n")


def remove_leftovers(home: Path) -> None:
    """Remove what a killed step left; the lock is held, so nobody is writing here."""
    for part in home.glob(".*.part"):
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink()


def _prune(home: Path, current: str) -> None:
    """Keep the version in force and the newest before it, so that a setting can be put back."""
    others = [p for p in home.iterdir() if p.is_dir() and p.name != current]
    others.sort(key=lambda p: p.stat().st_mtime, reverse=True)
    for old in others[_KEPT_VERSIONS - 1 :]:
        log.info("Removing an old version: %s", old)
        shutil.rmtree(old)
