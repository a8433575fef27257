"""The files of weights of a city: the artifact ``model_weights``."""

import os
import shutil
from pathlib import Path

from citysplat_core.errors import ConfigError
from citysplat_core.settings import WeightSettings
from citysplat_core.storage import Progress, StepReport, write_json
from citysplat_core.storage.model_weights import fetch_model


def collect_weights(
    *,
    root: Path,
    folder: Path,
    out: Path,
    work: Path,
    settings: WeightSettings,
    n_threads: int,
    progress: Progress,
) -> StepReport:
    """Bring the models that the settings name, verified: the artifact ``model_weights``.

    Args:
        root: The city's folder; an offline folder is relative to it.
        folder: Where downloads are kept, whole and half; shared by all versions of the artifact.
        out: Empty folder; receives ``models.json`` and ``hub/checkpoints/FILE``: torch's own
            layout, so that ``TORCH_HOME`` may point at the artifact.
        work: Not used: an unfinished download waits in ``folder``.
        settings: Names, descriptions, licences.
        n_threads: Not used.
        progress: Called with bytes done of each file.

    Returns:
        Counts n_models and size_bytes. Skipped if no model is named.

    Raises:
        ConfigError: A licence is refused, or two models have one file name.
        StorageError: A file cannot be had or has another hash.
    """
    del work, n_threads
    checkpoints = out / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    offline = root / settings.offline_folder if settings.offline_folder else None
    rows, size_bytes = [], 0
    for model in settings.files():
        target = checkpoints / model.file_name
        if target.exists():
            raise ConfigError(
                f"two models have the file name {model.file_name}",
                expected="one file a name",
                fix="Name one of them in weights.use.",
            )
        file = fetch_model(
            model,
            folder / model.sha256[:12],
            offline=offline,
            allow_noncommercial=settings.allow_noncommercial,
            progress=progress,
        )
        _link(file, target)
        size_bytes += target.stat().st_size
        rows.append(
            {
                "name": model.name,
                "file": target.relative_to(out).as_posix(),
                "url": model.url,
                "sha256": model.sha256,
                "size_bytes": target.stat().st_size,
                "licence": model.licence,
                "is_commercial": model.is_commercial,
            }
        )
    write_json(out / "models.json", {"version": 1, "models": rows})
    skipped = "" if rows else "weights.use names no model"
    return StepReport(counts={"n_models": len(rows), "size_bytes": size_bytes}, skipped=skipped)


def _link(source: Path, target: Path) -> None:
    """Share the bytes where the disk can, else copy them."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
