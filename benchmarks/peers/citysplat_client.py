"""Metadata and photos with CitySplat: the steps a city runs, not a bare client.

``described``: ids of a tile ledger to a table of catalog rows, all of it kept in the metadata
ledger. ``whole catalog step``: to the finished artifact, with numbers, scores, tombstones and
GeoParquet. ``photos by their ends``: ids to files in the photo store, each
whole by its length and ends; ``photos decoded strictly``: each decoded without a fault as well;
``photos decoded and scored``: decoded once for the check and all scores, as the photo step does.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
from measured import measured, options

from citysplat_core.imagery import IdentityRegistry, Token, build_catalog
from citysplat_core.imagery.mapillary.service import MapillarySource
from citysplat_core.imagery.photo_store import PhotoStore, by_its_ends, strictly
from citysplat_core.imagery.score_store import ScoreStore
from citysplat_core.imagery.source import PhotoRequest
from citysplat_core.imagery.tables import FOUND_SCHEMA, GONE_SCHEMA, write_table
from citysplat_core.settings import SourceSettings

given = options()
out = Path(given["out"])
ids = sorted(given["ids"])
settings = SourceSettings(
    kind="mapillary",
    tiles_url=given["url"],
    graph_url=given["url"],
    connections=given["connections"],
)
source = MapillarySource(settings, Token(given["token"]), out / "cache")


def quiet(done: int, total: int, note: str) -> None:
    """Hear progress as the display does, and say nothing."""
    del done, total, note


def ledger_of_tiles() -> pa.Table:
    """Write what discovery leaves behind for these ids, with nothing in it but ids."""
    columns = {"image_id": ids, "lon": np.zeros(len(ids)), "lat": np.zeros(len(ids))}
    blank = {f.name: pa.nulls(len(ids), f.type) for f in FOUND_SCHEMA if f.name not in columns}
    found = pa.table(columns | blank, schema=FOUND_SCHEMA)
    for folder in ("ledger", "work", "artifact"):
        (out / folder).mkdir()
    write_table(found, out / "ledger" / "found.parquet")
    write_table(GONE_SCHEMA.empty_table(), out / "ledger" / "gone.parquet")
    return found


def described() -> None:
    """Describe the ids."""
    found = ledger_of_tiles()
    with measured():
        table = source.describe(found, work=out / "work", progress=quiet)
    write_table(table, out / "artifact" / "catalog.parquet")


def catalog() -> None:
    """Make the catalog artifact of the ids."""
    ledger_of_tiles()
    with measured():
        build_catalog(
            out / "ledger",
            source=source,
            registry=IdentityRegistry(out / "identity.sqlite"),
            out=out / "artifact",
            work=out / "work",
            progress=quiet,
        )


def photos() -> None:
    """Bring the photos of the ids."""
    wanted = [PhotoRequest(image_id=i, photo_ref=None) for i in ids]
    how = given["way"].rpartition(" ")[2]
    with measured(), ScoreStore(out / "scores.sqlite") as scores:
        check = {"ends": by_its_ends, "strictly": strictly, "scored": scores.score}[how]
        store = PhotoStore(out / "photos", check=check)
        source.fetch_photos(wanted, store, size_px=given["size_px"], n_threads=2, progress=quiet)
        store.flush()


if given["way"] == "described":
    described()
elif given["way"] == "whole catalog step":
    catalog()
else:
    photos()
