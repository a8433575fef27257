"""What a tile had, what it has now: new, gone and unchanged images, as Arrow tables."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from citysplat_core.geography import Area
from citysplat_core.imagery.tables import CAPTURED_AT, FOUND_SCHEMA, GONE_SCHEMA


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """A tile's images after it was read in full.

    Attributes:
        images: ``GONE_SCHEMA``: live images have no gone_at and no last_seen, tombstones have both.
        n_new: Images that were not there before, or had gone and came back.
        n_gone: Images that were there and are not any more.
        n_unchanged: Images that are still there.
    """

    images: pa.Table
    n_new: int
    n_gone: int
    n_unchanged: int


def merge_images(
    known: pa.Table, seen: pa.Table, *, area: Area, seen_at: pa.Scalar, last_at: pa.Scalar
) -> Merged:
    """Compare a tile's images with those that are known of it.

    Only images inside the area are compared: one that the area no longer covers has not gone.
    Costs about 1 ms for 1,000 images.

    Args:
        known: ``GONE_SCHEMA``, all images and tombstones known of the tile.
        seen: ``FOUND_SCHEMA``, all images that the tile has now inside the area, ids unique.
        area: What ``seen`` was clipped to.
        seen_at: When the tile was read, timestamp.
        last_at: When it was read before; null if never.
    """
    was_live = pc.is_null(known.column("gone_at"))
    at = pc.index_in(seen.column("image_id"), value_set=known.column("image_id"))
    n_unchanged = int(pc.sum(pc.take(was_live, at.drop_null())).as_py() or 0)
    nothing = pa.nulls(seen.num_rows, CAPTURED_AT)
    fresh = seen.select(FOUND_SCHEMA.names)
    fresh = fresh.append_column(
        "first_seen", pc.coalesce(pc.take(known.column("first_seen"), at), seen_at)
    )
    fresh = fresh.append_column("last_seen", nothing).append_column("gone_at", nothing)
    rest = known.filter(pc.invert(pc.is_in(known.column("image_id"), seen.column("image_id"))))
    vanished = pa.array(
        _is_inside(rest, area) & pc.is_null(rest.column("gone_at")).to_numpy(), pa.bool_()
    )
    rest = _replaced(rest, "last_seen", vanished, pc.coalesce(last_at, seen_at))
    rest = _replaced(rest, "gone_at", vanished, seen_at)
    return Merged(
        images=pa.concat_tables([fresh.cast(GONE_SCHEMA), rest.cast(GONE_SCHEMA)]),
        n_new=seen.num_rows - n_unchanged,
        n_gone=int(pc.sum(vanished).as_py() or 0),
        n_unchanged=n_unchanged,
    )


def live_images(images: pa.Table, area: Area) -> pa.Table:
    """Give the images inside the area that have not gone, each id once, sorted by id."""
    here = images.filter(pc.is_null(images.column("gone_at")))
    return unique_by_id(images_inside(here, area))


def gone_images(images: pa.Table, live: pa.Table, area: Area) -> pa.Table:
    """Give the tombstones inside the area of images that are not live in any tile, by id."""
    gone = images.filter(pc.is_valid(images.column("gone_at")))
    gone = images_inside(gone, area)
    still = pc.is_in(gone.column("image_id"), live.column("image_id"))
    return unique_by_id(gone.filter(pc.invert(still)))


def unique_by_id(images: pa.Table) -> pa.Table:
    """Keep the first row of each id and sort by id."""
    numbers = pa.array(np.arange(images.num_rows, dtype=np.int64))
    rows = pa.table({"image_id": images.column("image_id"), "row": numbers})
    first = rows.group_by("image_id").aggregate([("row", "min")])
    order = pc.sort_indices(first, [("image_id", "ascending")])
    return images.take(first.column("row_min").take(order))


def images_inside(images: pa.Table, area: Area) -> pa.Table:
    """Give the images that lie inside the area; their order stays."""
    return images.filter(pa.array(_is_inside(images, area), pa.bool_()))


def _is_inside(images: pa.Table, area: Area) -> NDArray[np.bool_]:
    return area.contains(images.column("lon").to_numpy(), images.column("lat").to_numpy())


def by_tile(found: pa.Table) -> dict[str, pa.Table]:
    """Split images by their tile ``z/x/y``; the order inside a tile stays."""
    if found.num_rows == 0:
        return {}
    encoded = found.column("tile").combine_chunks().dictionary_encode()
    codes = encoded.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(encoded.dictionary)))
    images = found.take(pa.array(order))
    names = encoded.dictionary.to_pylist()
    starts = [0, *ends[:-1].tolist()]
    return {
        name: images.slice(start, end - start)
        for name, start, end in zip(names, starts, ends.tolist(), strict=True)
    }


def _replaced(table: pa.Table, name: str, where: pa.Array, value: pa.Scalar) -> pa.Table:
    column = pc.if_else(where, value, table.column(name).combine_chunks())
    return table.set_column(table.schema.get_field_index(name), name, column)
