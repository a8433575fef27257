"""Artifacts that appear whole or not at all, and where they are kept."""

from citysplat_core.storage.artifact import Artifact, ArtifactStore
from citysplat_core.storage.earlier import versions_of, warn_of_damage, whole_file_of
from citysplat_core.storage.failures import (
    Failure,
    clear_failure,
    read_failures,
    record_failure,
)
from citysplat_core.storage.files import published, read_json, sync_directory, write_json
from citysplat_core.storage.fingerprint import digest_of, fingerprint, settings_dict, sha256_of
from citysplat_core.storage.report import Progress, StepReport, no_progress
from citysplat_core.storage.tables import digest_of_frame, digest_of_table, digests_by

__all__ = [
    "Artifact",
    "ArtifactStore",
    "Failure",
    "Progress",
    "StepReport",
    "clear_failure",
    "digest_of",
    "digest_of_frame",
    "digest_of_table",
    "digests_by",
    "fingerprint",
    "no_progress",
    "published",
    "read_failures",
    "read_json",
    "record_failure",
    "settings_dict",
    "sha256_of",
    "sync_directory",
    "versions_of",
    "warn_of_damage",
    "whole_file_of",
    "write_json",
]
