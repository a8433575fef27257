"""One door to everything that a city gives to other programs."""

from pathlib import Path
from typing import Literal, cast, get_args

from citysplat_core.errors import ConfigError
from citysplat_core.imagery.export import Format, export_layer, write_layer
from citysplat_core.imagery.export_layers import What
from citysplat_core.mapping.model_export import ModelFormat, export_model
from citysplat_core.mapping.poses_export import open_poses
from citysplat_core.settings import City
from citysplat_core.storage import Progress

Exported = Literal[What, "poses", ModelFormat]
EXPORTED: tuple[Exported, ...] = get_args(Exported)
"""What can be exported: layers of features, the solved poses, or a box's model."""


def export_part(
    city: City,
    what: Exported,
    out: Path,
    *,
    box: str = "",
    file_format: Format | None = None,
    with_photos: bool = True,
    overwrite: bool = False,
    progress: Progress,
) -> str:
    """Write a part of a city for other programs.

    Args:
        city: The city.
        what: One of ``EXPORTED``.
        out: The file; for a model the folder to make.
        box: Key of a box: its poses only, or its model (which needs one).
        file_format: Format of a layer; None: by the ending of the file's name.
        with_photos: Copy a model's photos along.
        overwrite: Replace a file or an earlier export.
        progress: Called as the work goes on.

    Returns:
        What was written, in words.

    Raises:
        ConfigError: The options do not fit together, or ``out`` cannot be used.
        MappingError: The box has no model.
        StorageError: An artifact is missing, or the disk is full.
    """
    if what in get_args(ModelFormat):
        _refuse(not box, f"--what {what} without a box", "--box KEY, see `citysplat status`")
        _refuse(file_format is not None, f"--format with --what {what}", "no --format")
        note = export_model(
            city,
            box,
            out,
            model_format=cast("ModelFormat", what),
            with_photos=with_photos,
            overwrite=overwrite,
            progress=progress,
        )
        doubt = "" if note["is_aligned"] else f" ({note['note']})"
        return f"{len(note['components'])} components of box {box}{doubt}"
    _refuse(bool(box) and what != "poses", f"--box with --what {what}", "--what poses or a model")
    if what == "poses":
        n_rows = write_layer(
            city,
            open_poses(city, box=box),
            out,
            file_format=file_format,
            overwrite=overwrite,
            progress=progress,
        )
    else:
        n_rows = export_layer(
            city,
            cast("What", what),
            out,
            file_format=file_format,
            overwrite=overwrite,
            progress=progress,
        )
    return f"{n_rows:,} {what}"


def _refuse(is_wrong: bool, seen: str, expected: str) -> None:
    if is_wrong:
        raise ConfigError(seen, expected=expected, fix="Correct the options of the export.")
