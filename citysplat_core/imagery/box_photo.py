"""One photo of a box on its way through the step: wanted, fetched, scored, judged."""

from dataclasses import dataclass
from typing import Any, Literal

from citysplat_core.imagery.cameras import Camera
from citysplat_core.imagery.quality import Quality
from citysplat_core.imagery.source import PhotoResult


@dataclass(slots=True, kw_only=True)
class BoxPhoto:
    """What is known of a photo so far.

    Attributes:
        row: What plan and catalog say of it, see ``photo_rows``.
        result: What became of its file; None while it is not asked for.
        quality: Scores of its pixels; None without a file.
        status: ``open`` until something speaks against it, then ``rejected`` (by a rule),
            ``failed`` (may work later) or ``gone`` (deleted at its source); what is still open at
            the end is ``ok``.
        reason: Why it is not used.
        camera: Its camera; None unless ``ok``.
        mask: Which sources ignore a part of it, see ``masks.combine``; None unless ``ok``.
        mask_share: The share of its pixels that is ignored, NaN if no source could say.
    """

    row: dict[str, Any]
    result: PhotoResult | None = None
    quality: Quality | None = None
    status: Literal["open", "ok", "failed", "gone", "rejected"] = "open"
    reason: str | None = None
    camera: Camera | None = None
    mask: str | None = None
    mask_share: float | None = None

    @property
    def image_id(self) -> str:
        """The source's id."""
        return str(self.row["image_id"])

    @property
    def is_open(self) -> bool:
        """Whether nothing speaks against it so far."""
        return self.status == "open"

    def reject(self, reason: str) -> None:
        """Leave it out for good; the first reason counts."""
        if self.is_open:
            self.status, self.reason = "rejected", reason

    def fail(self, reason: str) -> None:
        """Leave it out for now: a later run may get it."""
        if self.is_open:
            self.status, self.reason = "failed", reason

    def lose(self, reason: str) -> None:
        """Leave it out because its source has deleted it."""
        if self.is_open:
            self.status, self.reason = "gone", reason
