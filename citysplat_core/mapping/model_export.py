"""A box's components as other programs read them: COLMAP's formats, or nerfstudio's."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import numpy as np
import pandas as pd
import pycolmap
from numpy.typing import NDArray

from citysplat_core.errors import ConfigError, MappingError
from citysplat_core.features import image_name
from citysplat_core.mapping.adjusted import load_city_models
from citysplat_core.mapping.nerfstudio import write_nerfstudio
from citysplat_core.mapping.tables import read_components, read_images
from citysplat_core.settings import City
from citysplat_core.storage import Artifact, ArtifactStore, Progress, write_json
from citysplat_core.storage.files import full_disk_is_clear

ModelFormat = Literal["colmap", "colmap-text", "nerfstudio"]
"""Binary and text models of COLMAP with a PLY of the points, and nerfstudio's transforms.json."""

_NOTE = "export.json"


@dataclass(frozen=True)
class PlacedModel:
    """A component as it is exported.

    Attributes:
        component: Its number in the box.
        model: In the city frame, after alignment if there is one.
    """

    component: int
    model: pycolmap.Reconstruction


@dataclass(frozen=True)
class _Source:
    """What an export reads of a city."""

    sparse_model: Artifact
    alignment: Artifact | None
    note: str


def export_model(
    city: City,
    box: str,
    out: Path,
    *,
    model_format: ModelFormat,
    with_photos: bool = True,
    overwrite: bool = False,
    progress: Progress,
) -> dict[str, Any]:
    """Write the accepted components of a box to a folder, with photos and credits.

    The models stand in the city frame (East-North-Up metres); the alignment is applied if it was
    made of this very model, else `export.json` says that it is not. The folder appears whole.

    Args:
        city: The city.
        box: Key of the box.
        out: The folder to make: ``sparse/<component>/`` and ``sparse/<component>/points.ply``, or
            ``transforms.json`` and ``sparse_pc.ply``; ``images/`` and ``masks/`` as far as there
            are; ``export.json`` says frame, alignment and numbers; ``ATTRIBUTION.md``.
        model_format: Which format.
        with_photos: Copy the photos and masks; else only their names are written.
        overwrite: Replace a folder that such an export made.
        progress: Called for every photo.

    Returns:
        What stands in ``export.json``.

    Raises:
        ConfigError: The folder is there already.
        MappingError: The box has no accepted component, or a photo is not on this disk.
        StorageError: An artifact is missing, or the disk is full.
    """
    _refuse_place(out, overwrite=overwrite)
    source = _open(city, box)
    with full_disk_is_clear(out), _whole_folder(out) as part:
        models = _models(source, box)
        files = _photo_files(city, source.sparse_model.path, models) if with_photos else {}
        _copy(files, part, progress)
        if model_format == "nerfstudio":
            masks = {p.name for p in (part / "masks").glob("*")}
            more = write_nerfstudio([m.model for m in models], part, masks=masks)
        else:
            more = _write_colmap(models, part, is_text=model_format == "colmap-text")
        note = _note(city, box, source, models) | more
        note["n_photos_copied"] = sum(target.startswith("images/") for target in files)
        write_json(part / _NOTE, note)
        page = source.sparse_model.path / "ATTRIBUTION.md"
        if page.is_file():
            shutil.copyfile(page, part / page.name)
    return note


def _refuse_place(out: Path, *, overwrite: bool) -> None:
    if not out.absolute().parent.is_dir():
        raise ConfigError(
            f"the folder {out.absolute().parent} does not exist",
            expected="a folder to write to",
            fix="Make it, or choose another one.",
        )
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if overwrite and (out / _NOTE).is_file():
        return
    what = f"a folder with the {_NOTE} of an export" if overwrite else "a new folder"
    raise ConfigError(
        f"{out} is there already",
        expected=what,
        fix="Choose another name, or replace an earlier export with --overwrite.",
    )


@contextmanager
def _whole_folder(out: Path) -> Iterator[Path]:
    """Give a hidden sibling that takes the name of ``out`` when the block ends well."""
    part = out.absolute().with_name(f".{out.name}.{uuid4().hex[:8]}.part")
    part.mkdir()
    try:
        yield part
        if out.exists():
            shutil.rmtree(out)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _open(city: City, box: str) -> _Source:
    store = ArtifactStore(city.root)
    sparse_model = store.need("sparse_model", box)
    alignment = store.find("city_alignment")
    if alignment is None:
        return _Source(sparse_model, None, "no alignment: the box's own place by GPS")
    if alignment.manifest["inputs"].get(box) != sparse_model.version:
        return _Source(
            sparse_model, None, "the alignment is of another version of this box: not applied"
        )
    return _Source(sparse_model, alignment, "")


def _models(source: _Source, box: str) -> list[PlacedModel]:
    components = read_components(source.sparse_model.path)
    accepted = components.loc[components["accepted"].astype(bool), "component"].tolist()
    if not accepted:
        raise MappingError(
            f"no component of this box is accepted ({source.sparse_model.skipped or 'see report'})",
            expected="a box with a sparse model",
            fix="Choose another box from `citysplat status`.",
            box=box,
        )
    folder = source.sparse_model.path
    if source.alignment is not None:
        models = load_city_models(box, folder, source.alignment.path)
    else:
        models = {int(k): pycolmap.Reconstruction(folder / "components" / str(k)) for k in accepted}
    return [PlacedModel(number, model) for number, model in models.items()]


def _write_colmap(models: list[PlacedModel], part: Path, *, is_text: bool) -> dict[str, Any]:
    for placed in models:
        folder = part / "sparse" / str(placed.component)
        folder.mkdir(parents=True)
        if is_text:
            placed.model.write_text(folder)
        else:
            placed.model.write_binary(folder)
        placed.model.export_PLY(folder / "points.ply")
    return {}


def _photo_files(city: City, sparse_model: Path, models: list[PlacedModel]) -> dict[str, Path]:
    """Find the photos and masks of registered photos, by the name that they get."""
    store = ArtifactStore(city.root)
    wanted = {m.model.image(i).name for m in models for i in m.model.reg_image_ids()}
    names = [n for n in read_images(sparse_model)["image_id"].map(image_name) if n in wanted]
    boxes = [a.path for k in store.partitions("box_images") if (a := store.find("box_images", k))]
    homes = _homes(boxes, set(names))
    missing = [name for name in names if name not in homes]
    if missing:
        raise MappingError(
            f"{len(missing)} of {len(names)} photos are not on this disk ({missing[0]})",
            expected="box_images of the box and its neighbours",
            fix="Materialize or restore box_images, or export without photos (--no-photos).",
        )
    found = {f"images/{name}": homes[name] / "photos" / name for name in names}
    masks = {f"masks/{name}.png": homes[name] / "masks" / f"{name}.png" for name in names}
    return found | {target: file for target, file in masks.items() if file.is_file()}


def _homes(boxes: list[Path], names: set[str]) -> dict[str, Path]:
    homes = {}
    for path in boxes:
        table = pd.read_parquet(path / "images.parquet", columns=["image_id", "status"])
        usable = table.loc[table["status"] == "ok", "image_id"].map(image_name)
        homes.update({n: path for n in usable if n in names and (path / "photos" / n).is_file()})
    return homes


def _copy(files: dict[str, Path], part: Path, progress: Progress) -> None:
    """Copy, never link: what a user's program does to a photo must not reach the artifact."""
    for number, (target, file) in enumerate(files.items()):
        (part / target).parent.mkdir(exist_ok=True)
        shutil.copyfile(file, part / target)
        progress(number + 1, len(files), "photos")


def _note(city: City, box: str, source: _Source, models: list[PlacedModel]) -> dict[str, Any]:
    frame = city.frame()
    return {
        "city": city.settings.name,
        "box": box,
        "sparse_model": source.sparse_model.fingerprint,
        "is_aligned": not source.note,
        "note": source.note,
        "frame": "East-North-Up metres, WGS84",
        "origin_lon": frame.origin_lon,
        "origin_lat": frame.origin_lat,
        "origin_alt_m": frame.origin_alt_m,
        "components": [
            {
                "component": m.component,
                "n_images": m.model.num_reg_images(),
                "n_points": m.model.num_points3D(),
                "middle_enu_m": [round(float(v), 3) for v in _middle(m.model)],
            }
            for m in models
        ],
    }


def _middle(model: pycolmap.Reconstruction) -> NDArray[np.float64]:
    centers = [model.image(i).projection_center() for i in model.reg_image_ids()]
    return np.asarray(np.median(np.array(centers), axis=0), dtype=np.float64)
