"""Exporting a layer of a city to a file that other programs read, with its credits beside it."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyogrio
from pyogrio.errors import DataSourceError

from citysplat_core.errors import ConfigError, StorageError
from citysplat_core.imagery.attribution import attribution_of_catalog, attribution_text
from citysplat_core.imagery.export_layers import Layer, What, open_layer
from citysplat_core.imagery.geoparquet import write_features
from citysplat_core.imagery.tables import FOUND_SCHEMA, read_table
from citysplat_core.settings import City
from citysplat_core.storage import ArtifactStore, Progress, published
from citysplat_core.storage.files import full_disk_is_clear, sync_directory

Format = Literal["gpkg", "csv", "geojson", "geoparquet"]
FORMATS: dict[str, Format] = {
    ".gpkg": "gpkg",
    ".csv": "csv",
    ".geojson": "geojson",
    ".json": "geojson",
    ".parquet": "geoparquet",
    ".geoparquet": "geoparquet",
}
"""Format by the ending of the file's name."""

_BYTES_A_ROW = {"gpkg": 600, "csv": 500, "geojson": 1500, "geoparquet": 250}
_ATTRIBUTION = "ATTRIBUTION.md"


def export_layer(
    city: City,
    what: What,
    out: Path,
    *,
    file_format: Format | None = None,
    overwrite: bool = False,
    progress: Progress,
) -> int:
    """Write a layer of a city to a file, and ``ATTRIBUTION.md`` beside it.

    Rows stream: a city of any size is exported in a few hundred MB of memory. The file takes its
    name when it is whole. Ids are text in every format; a missing number is null.

    Args:
        city: The city.
        what: ``images``, ``tiles``, ``boxes`` or ``fringes``.
        out: The file.
        file_format: Its format; None: by the ending of its name.
        overwrite: Replace a file that is there.
        progress: Called with features done and features in all.

    Returns:
        The number of features.

    Raises:
        ConfigError: The ending says no format, the file is there already or its folder is not.
        StorageError: The artifact is missing or not as declared, or the disk is full.
    """
    chosen = file_format or format_of(out)
    _refuse_place(out, overwrite=overwrite)
    layer = open_layer(what, ArtifactStore(city.root))
    return write_layer(city, layer, out, file_format=chosen, overwrite=overwrite, progress=progress)


def write_layer(
    city: City,
    layer: Layer,
    out: Path,
    *,
    file_format: Format | None = None,
    overwrite: bool = False,
    progress: Progress,
) -> int:
    """Write an opened layer to a file, and the city's ``ATTRIBUTION.md`` beside it.

    Args:
        city: The city whose photos the layer is about.
        layer: The features; layers of later rooms (poses) are opened there.
        out: The file.
        file_format: Its format; None: by the ending of its name.
        overwrite: Replace a file that is there.
        progress: Called with features done and features in all.

    Returns:
        The number of features.

    Raises:
        ConfigError: The ending says no format, the file is there already or its folder is not.
        StorageError: The disk is full.
    """
    chosen = file_format or format_of(out)
    _refuse_place(out, overwrite=overwrite)
    _require_space(layer, chosen, out)
    _WRITERS[chosen](layer, out, progress)
    _write_credits(city, ArtifactStore(city.root), out.parent)
    return layer.n_rows


def format_of(out: Path) -> Format:
    """Read the format off a file's ending.

    Raises:
        ConfigError: It says none.
    """
    found = FORMATS.get(out.suffix.lower())
    if found is None:
        raise ConfigError(
            f"the name {out.name} says no format",
            expected=f"one of {', '.join(FORMATS)}",
            fix="Give the file such an ending, or choose with --format.",
        )
    return found


def _refuse_place(out: Path, *, overwrite: bool) -> None:
    if out.exists() and (out.is_dir() or not overwrite):
        raise ConfigError(
            f"{out} is there already",
            expected="a new file",
            fix="Choose another name, or replace the file with --overwrite.",
        )
    if not out.absolute().parent.is_dir():
        raise ConfigError(
            f"the folder {out.parent} does not exist",
            expected="a folder to write to",
            fix="Make it, or choose another one.",
        )


def _require_space(layer: Layer, chosen: Format, out: Path) -> None:
    needed = layer.n_rows * _BYTES_A_ROW[chosen]
    free = shutil.disk_usage(out.absolute().parent).free
    if free < needed:
        raise StorageError(
            f"{free / 1e9:.2f} GB are free for {out}, which needs about {needed / 1e9:.2f} GB",
            expected="space for the whole file",
            fix="Free some space, or choose a folder on another disk.",
        )


def _told(layer: Layer, progress: Progress) -> Iterator[pa.Table]:
    done = 0
    progress(0, layer.n_rows, layer.name)
    for part in layer.parts():
        yield part
        done += part.num_rows
        progress(done, layer.n_rows, layer.name)


def _without_nan(part: pa.Table) -> pa.Table:
    """Turn NaN into null: that is how other programs say "missing"."""
    for number, field in enumerate(part.schema):
        if pa.types.is_floating(field.type):
            column = part.column(number)
            values = pc.if_else(pc.is_nan(column), pa.scalar(None, field.type), column)
            part = part.set_column(number, field, values)
    return part


def _write_parquet(layer: Layer, out: Path, progress: Progress) -> None:
    write_features(_told(layer, progress), layer.schema, out, geometry_type=layer.geometry_type)


def _write_csv(layer: Layer, out: Path, progress: Progress) -> None:
    """Write texts in quotes; GDAL learns from the ``.csvt`` beside it that ids are texts."""
    with published(out) as stream, pcsv.CSVWriter(stream, layer.schema) as writer:
        for part in _told(layer, progress):
            writer.write_table(_without_nan(part.drop_columns(["geometry"])))
    with published(out.with_suffix(".csvt")) as stream:
        stream.write(",".join(_csvt(field.type) for field in layer.schema).encode() + b"\n")


def _csvt(kind: pa.DataType) -> str:
    if pa.types.is_floating(kind):
        return '"Real"'
    if pa.types.is_integer(kind):
        return '"Integer64"' if kind == pa.int64() else '"Integer"'
    return '"DateTime"' if pa.types.is_timestamp(kind) else '"String"'


def _write_gdal(driver: str, **options: str) -> Callable[[Layer, Path, Progress], None]:
    def write(layer: Layer, out: Path, progress: Progress) -> None:
        whole = layer.schema.append(pa.field("geometry", pa.binary()))
        batches = (
            batch
            for part in _told(layer, progress)
            for batch in _without_nan(part).cast(whole).combine_chunks().to_batches()
        )
        part = out.with_name(f".{out.stem}.{uuid4().hex}.part{out.suffix}")
        try:
            with full_disk_is_clear(out):
                pyogrio.write_arrow(
                    pa.RecordBatchReader.from_batches(whole, batches),
                    part,
                    layer=layer.name,
                    driver=driver,
                    geometry_name="geometry",
                    geometry_type=layer.geometry_type,
                    crs="EPSG:4326",
                    **options,
                )
                _sync(part)
                part.replace(out)
        except (DataSourceError, RuntimeError) as error:
            raise StorageError(
                f"{out} cannot be written ({error})",
                expected=f"{layer.n_rows} {layer.name} as {driver}, on a disk with free space",
                fix="Free some space and export again.",
            ) from error
        finally:
            part.unlink(missing_ok=True)
        sync_directory(out.absolute().parent)

    return write


def _sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _write_credits(city: City, store: ArtifactStore, folder: Path) -> None:
    """Say whose photos these are; another city's credits in the same folder are kept."""
    catalog = store.find("image_catalog")
    if catalog is not None:
        text = attribution_of_catalog(catalog.path / "catalog.parquet")
    else:
        text = _credits_of_found(city, store)
    heading = f"# Attribution of {city.settings.name}\n"
    body = text.replace("# Attribution\n", "").strip()
    path = folder / _ATTRIBUTION
    if path.is_file() and not path.read_text(encoding="utf-8").startswith(heading):
        path = folder / f"ATTRIBUTION-{city.settings.name.replace(' ', '-')}.md"
    with published(path) as stream:
        stream.write(f"{heading}\n{body}\n".encode())


def _credits_of_found(city: City, store: ArtifactStore) -> str:
    """Credit what discovery alone knows: sequences, but no creators yet."""
    found = read_table(
        store.need("tile_ledger").path / "found.parquet", FOUND_SCHEMA, ["image_id", "sequence_id"]
    )
    source = city.settings.source.kind
    return attribution_text(row | {"source": source} for row in found.to_pylist())


_WRITERS: dict[Format, Callable[[Layer, Path, Progress], None]] = {
    "gpkg": _write_gdal("GPKG"),
    "geojson": _write_gdal("GeoJSON", RFC7946="YES", COORDINATE_PRECISION="9"),
    "csv": _write_csv,
    "geoparquet": _write_parquet,
}
