"""Names of recipes: what an artifact was made from, as one short hash."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel


def settings_dict(settings: BaseModel | Mapping[str, Any] | None) -> dict[str, Any]:
    """Give settings as plain JSON values, only those that change results.

    A field declared with ``json_schema_extra={"machine": True}`` (threads, rates, addresses) is
    left out: it changes how fast a result comes, not the result.
    """
    if settings is None:
        return {}
    if isinstance(settings, Mapping):
        return dict(settings)
    machine = {
        name
        for name, info in type(settings).model_fields.items()
        if isinstance(info.json_schema_extra, dict) and info.json_schema_extra.get("machine")
    }
    return settings.model_dump(mode="json", exclude=machine)


def digest_of(value: object) -> str:
    """Hash any JSON value: 16 hex digits of SHA-256 over its sorted, compact form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def fingerprint(
    step: str, version: str, settings: Mapping[str, Any], inputs: Mapping[str, str]
) -> str:
    """Name the recipe of an artifact.

    Args:
        step: Name of the asset.
        version: Version of the step's code; raised when its results change.
        settings: The settings that the step reads, as plain JSON values.
        inputs: Fingerprints of what it reads, by name.

    Returns:
        16 hex digits.
    """
    return digest_of(
        {"step": step, "version": version, "settings": dict(settings), "inputs": dict(inputs)}
    )


def sha256_of(path: Path) -> str:
    """Hash a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
