"""Artifacts that appear whole or not at all, and where they are kept."""

from citysplat_core.storage.artifact import Artifact, ArtifactStore
from citysplat_core.storage.files import published, read_json, sync_directory, write_json
from citysplat_core.storage.fingerprint import digest_of, fingerprint, settings_dict, sha256_of
from citysplat_core.storage.report import Progress, StepReport, no_progress

__all__ = [
    "Artifact",
    "ArtifactStore",
    "Progress",
    "StepReport",
    "digest_of",
    "fingerprint",
    "no_progress",
    "published",
    "read_json",
    "settings_dict",
    "sha256_of",
    "sync_directory",
    "write_json",
]
