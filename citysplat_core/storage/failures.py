"""What failed last, a file each: read by `citysplat status`, cleared by the next success."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from citysplat_core.storage.files import read_json, write_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The last failure of an artifact that has not succeeded since.

    Attributes:
        asset: Name of the asset.
        partition: Box or fringe key, or empty.
        message: The error, with what to do next.
        failed_at: When, UTC, ISO 8601.
    """

    asset: str
    partition: str
    message: str
    failed_at: str


def record_failure(root: Path, asset: str, partition: str, error: BaseException) -> None:
    """Write down a failure, replacing an earlier one of the same artifact."""
    failure = Failure(
        asset=asset,
        partition=partition,
        message=str(error) or type(error).__name__,
        failed_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    file = _file(root, asset, partition)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, asdict(failure))


def clear_failure(root: Path, asset: str, partition: str) -> None:
    """Forget a failure, because the artifact was made."""
    _file(root, asset, partition).unlink(missing_ok=True)


def read_failures(root: Path) -> list[Failure]:
    """List the failures that stand, sorted by asset and partition."""
    return [Failure(**read_json(file)) for file in sorted((root / "failures").glob("*/*.json"))]


def _file(root: Path, asset: str, partition: str) -> Path:
    return root / "failures" / asset / f"{partition or '_'}.json"
