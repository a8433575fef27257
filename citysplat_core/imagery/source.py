"""One small interface for everything that photos come from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import pyarrow as pa

from citysplat_core.errors import DiscoveryError
from citysplat_core.geography import Area
from citysplat_core.imagery.photo_store import PhotoStore, StoredPhoto
from citysplat_core.storage import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """What a source says about an area.

    Attributes:
        tiles: ``TILES_SCHEMA``, one row a tile of the area.
        found: ``FOUND_SCHEMA``, one row an image inside the area, sorted by image_id.
        notes: Further counts, such as photos without a position.
        stopped: What ended the look before every tile was asked (a block, the day's requests);
            tiles that were not asked are ``unknown`` with 0 tries. None: nothing did.
    """

    tiles: pa.Table
    found: pa.Table
    notes: dict[str, int]
    stopped: DiscoveryError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoRequest:
    """A photo that is wanted.

    Attributes:
        image_id: The source's id.
        photo_ref: Path of a folder photo; None for other sources.
    """

    image_id: str
    photo_ref: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoResult:
    """What became of a wanted photo.

    ``failed`` may work later, ``gone`` is deleted at its source; neither has a file.

    Attributes:
        image_id: The source's id.
        state: ``ok``, ``failed`` or ``gone``.
        path: The file in the store; None unless ``ok``.
        sha256: Of the file, hex.
        size_bytes: Of the file.
        width: Of the file, pixels.
        height: Of the file, pixels.
        reason: Why there is no file.
    """

    image_id: str
    state: Literal["ok", "failed", "gone"]
    path: Path | None = None
    sha256: str = ""
    size_bytes: int = 0
    width: int = 0
    height: int = 0
    reason: str = ""


def fetched(image_id: str, photo: StoredPhoto) -> PhotoResult:
    """Return the result for a photo that is in the store."""
    return PhotoResult(
        image_id=image_id,
        state="ok",
        path=photo.path,
        sha256=photo.sha256,
        size_bytes=photo.size_bytes,
        width=photo.width,
        height=photo.height,
    )


SourceName = Literal["mapillary", "folder", "panoramax"]
"""The kinds of sources, as in ``source.kind`` and in the catalog's column ``source``."""


class ImageSource(Protocol):
    """A place that photos come from."""

    name: SourceName

    def discover(self, area: Area, *, work: Path, refresh: bool, progress: Progress) -> Discovery:
        """List every image of the area.

        Args:
            area: Where.
            work: Directory that survives a kill; its ``started.json`` says when this look at the
                area began (seconds since 1970), which may be some runs ago.
            refresh: Ask again for what is cached from before this look.
            progress: Called with tiles done and tiles in all.

        Raises:
            DiscoveryError: The source cannot be asked at all (TokenError, BlockedError).
        """
        ...

    def describe(self, found: pa.Table, *, work: Path, progress: Progress) -> pa.Table:
        """Return the metadata of the images.

        Args:
            found: ``FOUND_SCHEMA``.
            work: Directory that survives a kill.
            progress: Called with images done and images in all.

        Returns:
            ``DESCRIBED_SCHEMA``, one row for every row of ``found`` and more for images that the
            source knows but cannot place; sorted by image_id.

        Raises:
            DiscoveryError: The source cannot be asked, or answers so little that it must be down.
        """
        ...

    def fetch_photos(
        self,
        wanted: Sequence[PhotoRequest],
        store: PhotoStore,
        *,
        size_px: int,
        n_threads: int,
        progress: Progress,
    ) -> list[PhotoResult]:
        """Bring photos into the store; those that are there are not asked for again.

        Args:
            wanted: The photos.
            store: Where they go.
            size_px: Width wanted, pixels; 0 for the original. Photos are never enlarged.
            n_threads: Threads for decoding and scaling.
            progress: Called with photos done and photos in all.

        Returns:
            One result a wanted photo, in the same order.

        Raises:
            DiscoveryError: The source cannot be asked at all (TokenError, BlockedError).
            StorageError: The disk is full; says how many photos are kept.
        """
        ...
