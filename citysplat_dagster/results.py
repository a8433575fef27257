"""An artifact as Dagster shows it: version, numbers, pictures, checks."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import dagster as dg

from citysplat_core.storage import Artifact

_PREVIEW_PX = 720

# Dagster reads the annotation of an asset's body when the assets are built, and refuses
# ``MaterializeResult[...]`` where there are checks; mypy wants the parameter.
if TYPE_CHECKING:
    Result: TypeAlias = dg.MaterializeResult[None]
else:
    Result = dg.MaterializeResult


def result_of(
    artifact: Artifact,
    checks: Sequence[dg.AssetCheckResult] = (),
    more: Mapping[str, Any] | None = None,
) -> Result:
    """Report a finished artifact to Dagster.

    The data version is the artifact's own, so that a step which gives the same again leaves what
    hangs on it fresh.

    Args:
        artifact: What was made, or was there already.
        checks: Its gates.
        more: Further metadata.
    """
    metadata: dict[str, Any] = {
        "path": dg.MetadataValue.path(str(artifact.path)),
        "fingerprint": artifact.fingerprint,
        "seconds": float(artifact.manifest["seconds"]),
        "peak_rss_mb": float(artifact.manifest["peak_rss_mb"]),
        "files": len(artifact.manifest["files"]),
        "size_mb": sum(f["size"] for f in artifact.manifest["files"].values()) / 2**20,
        **_pixels_last(artifact.counts),
        **(more or {}),
    }
    if artifact.skipped:
        metadata["skipped"] = artifact.skipped
    for title, name in artifact.manifest["previews"].items():
        metadata[title] = dg.MetadataValue.md(picture(title, artifact.path / name))
    return dg.MaterializeResult(
        data_version=dg.DataVersion(artifact.version),
        metadata=metadata,
        check_results=list(checks),
    )


def _pixels_last(counts: Mapping[str, Any]) -> dict[str, Any]:
    """Put pixel errors behind all else: they flatter, and nobody should read them first."""
    return dict(sorted(counts.items(), key=lambda item: item[0].endswith("_px")))


def picture(title: str, file: Path) -> str:
    """Embed a picture in Markdown, scaled down: it lives in Dagster's event log."""
    pixels = cv2.imread(str(file))
    if pixels is None:
        return f"{title}: {file} cannot be read"
    scale = min(1.0, _PREVIEW_PX / pixels.shape[1])
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    done, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])
    if not done:
        return f"{title}: {file} cannot be encoded"
    return f"![{title}](data:image/jpeg;base64,{base64.b64encode(jpeg.tobytes()).decode()})"
