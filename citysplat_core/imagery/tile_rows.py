"""A tile's row in the ledger, and how an answer changes it."""

from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, Self

import pyarrow as pa

from citysplat_core.geography import Area
from citysplat_core.imagery.tables import CAPTURED_AT
from citysplat_core.imagery.tile_merge import merge_images

TileAddress = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class TileRow:
    """What the ledger knows of a tile.

    Attributes:
        z: Zoom.
        x: Column.
        y: Row.
        state: ``unknown``, ``empty``, ``complete`` or ``failed``.
        n_images: Inside the area, of the last good answer; None if there was none.
        sha256: Of the last good answer's bytes.
        fetched_at: When it came, seconds since 1970.
        tries: Requests since then that gave no usable answer.
        reason: Why there is no good answer.
        look: The look that touched the row last.
        area: Hash of the area that its images were clipped to.
        n_new: Images that this look found new; None if it did not read the tile.
        n_gone: Images that had gone.
        n_unchanged: Images that were there before.
    """

    z: int
    x: int
    y: int
    state: str
    n_images: int | None
    sha256: str | None
    fetched_at: float | None
    tries: int
    reason: str | None
    look: int
    area: str
    n_new: int | None
    n_gone: int | None
    n_unchanged: int | None

    @property
    def address(self) -> TileAddress:
        """Zoom, column, row."""
        return self.z, self.x, self.y

    def values(self) -> tuple[object, ...]:
        """Give the fields in order."""
        return tuple(getattr(self, field.name) for field in fields(self))

    @classmethod
    def restored(cls, said: dict[str, Any], now: float) -> Self:
        """Take over a row of ``TILES_SCHEMA``; its next answer is compared whatever its hash."""
        fetched = said["fetched_at"]
        is_read = said["state"] in {"complete", "empty"}
        return cls(
            **{k: said[k] for k in ("z", "x", "y", "state", "n_images", "sha256", "reason")},
            fetched_at=fetched.timestamp() if fetched else (now if is_read else None),
            tries=said["tries"] or 0,
            look=0,
            area="",
            n_new=None,
            n_gone=None,
            n_unchanged=None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a source said of a tile.

    Attributes:
        row: As if nothing had been known before; fetched_at is None unless it was read.
        seen: ``FOUND_SCHEMA``, the tile's images inside the area.
        area: What they were clipped to.
        began_at: When this look began, seconds since 1970.
    """

    row: TileRow
    seen: pa.Table
    area: Area
    began_at: float

    @classmethod
    def of(
        cls,
        said: dict[str, Any],
        seen: pa.Table,
        area: Area,
        area_name: str,
        look: int,
        began_at: float,
        now: float,
    ) -> Self:
        """Read a row of ``TILES_SCHEMA``; a source that gives no time answers now."""
        is_read = said["state"] in {"complete", "empty"}
        told = said["fetched_at"]
        tries = said["tries"]
        row = TileRow(
            **{k: said[k] for k in ("z", "x", "y", "state", "sha256", "reason")},
            n_images=seen.num_rows if is_read else None,
            fetched_at=(told.timestamp() if told else now) if is_read else None,
            tries=0 if is_read else (1 if tries is None else tries),
            look=look,
            area=area_name,
            n_new=None,
            n_gone=None,
            n_unchanged=None,
        )
        return cls(row=row, seen=seen, area=area, began_at=began_at)

    @property
    def is_read(self) -> bool:
        """Whether the tile was read in full."""
        return self.row.state in {"complete", "empty"}

    def is_known(self, before: TileRow) -> bool:
        """Say whether the answer tells nothing new: the same bytes, or older than the last."""
        if before.fetched_at is None or self.row.fetched_at is None:
            return False
        same = self.row.sha256 is not None and self.row.sha256 == before.sha256
        # Of a cache that was put back. An answer of this very look is believed whatever the clock.
        is_older = self.row.fetched_at < min(before.fetched_at, self.began_at)
        return is_older or (same and self.row.area == before.area)

    def unchanged(self, before: TileRow) -> TileRow:
        """Give the row when the answer tells nothing new."""
        told, seen = self.row, self.seen.num_rows
        if told.sha256 != before.sha256:  # older: the newer answer stands
            return replace(before, look=told.look, n_new=None, n_gone=None, n_unchanged=None)
        if before.look == told.look and before.n_new is not None:
            return replace(before, state=told.state, tries=0, reason=None)
        return replace(told, n_new=0, n_gone=0, n_unchanged=seen)


def unread_row(before: TileRow | None, answer: Answer) -> TileRow:
    """Give the row of a tile that has no usable answer: what was known of it stays."""
    if before is None:
        return answer.row
    if answer.row.tries == 0:  # not asked: the last answer stands, good or bad
        nothing = before.look == answer.row.look and before.n_new is not None
        return before if nothing else replace(before, n_new=None, n_gone=None, n_unchanged=None)
    return replace(
        before,
        state=answer.row.state,
        reason=answer.row.reason,
        tries=before.tries + answer.row.tries,
        look=answer.row.look,
        n_new=None,
        n_gone=None,
        n_unchanged=None,
    )


def merged_row(before: TileRow | None, known: pa.Table, answer: Answer) -> tuple[TileRow, pa.Table]:
    """Compare an answer with what was known and give the row and ``GONE_SCHEMA`` to keep."""
    last = before.fetched_at if before is not None else None
    merged = merge_images(
        known,
        answer.seen,
        area=answer.area,
        seen_at=_time(answer.row.fetched_at),
        last_at=_time(last),
    )
    n_new, n_gone, n_unchanged = merged.n_new, merged.n_gone, merged.n_unchanged
    if before is not None and before.look == answer.row.look and before.n_new is not None:
        # Read twice in one look (its cache was lost): the look's news add up.
        n_new, n_gone = n_new + before.n_new, n_gone + (before.n_gone or 0)
        n_unchanged = answer.seen.num_rows - n_new
    row = replace(answer.row, n_new=n_new, n_gone=n_gone, n_unchanged=max(0, n_unchanged))
    return row, merged.images


def _time(seconds: float | None) -> pa.Scalar:
    when = None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return pa.scalar(when, CAPTURED_AT)
