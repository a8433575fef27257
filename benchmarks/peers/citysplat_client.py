"""Metadata and photos with CitySplat: the steps a city runs, not a bare client.

``metadata``: ids of a tile ledger to the finished ``catalog.parquet`` (entity store, tombstones,
numbers, GeoParquet). ``photos ends``: ids to files in the photo store, each whole by its length and
ends; ``photos strict``: each decoded without a fault as well; ``photos scored``: decoded once for
the check and for all scores, as the photo step does it.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
from measured import measured, options

import citysplat_core.imagery.catalog as catalog_step
from citysplat_core.imagery import IdentityRegistry, Token
from citysplat_core.imagery.mapillary.service import MapillarySource
from citysplat_core.imagery.photo_store import PhotoStore, by_its_ends, strictly
from citysplat_core.imagery.score_store import ScoreStore
from citysplat_core.imagery.source import PhotoRequest
from citysplat_core.imagery.tables import FOUND_SCHEMA, write_table
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


def metadata() -> None:
    """Make the catalog of the ids."""
    ledger, work, target = out / "ledger", out / "work", out / "artifact"
    for folder in (ledger, work, target):
        folder.mkdir()
    columns = {"image_id": ids, "lon": np.zeros(len(ids)), "lat": np.zeros(len(ids))}
    blank = {f.name: pa.nulls(len(ids), f.type) for f in FOUND_SCHEMA if f.name not in columns}
    write_table(pa.table(columns | blank, schema=FOUND_SCHEMA), ledger / "found.parquet")
    with measured():
        catalog_step.build_catalog(
            ledger,
            source=source,
            registry=IdentityRegistry(out / "identity.sqlite"),
            out=target,
            work=work,
            progress=quiet,
        )


def photos() -> None:
    """Bring the photos of the ids."""
    wanted = [PhotoRequest(image_id=i, photo_ref=None) for i in ids]
    how = given["way"].removeprefix("photos ")
    with measured(), ScoreStore(out / "scores.sqlite") as scores:
        check = {"ends": by_its_ends, "strict": strictly, "scored": scores.score}[how]
        store = PhotoStore(out / "photos", check=check)
        source.fetch_photos(wanted, store, size_px=given["size_px"], n_threads=2, progress=quiet)
        store.flush()


if given["way"] == "metadata":
    metadata()
else:
    photos()
