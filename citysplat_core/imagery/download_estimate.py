"""How much there is to fetch before it starts: photos, bytes, time."""

import shutil
from dataclasses import dataclass

from citysplat_core.imagery.photo_store import PhotoStore

_PHOTOS_PER_S = 100.0
"""A guess for 1024 px over 100 Mbit/s; the running rate replaces it after some seconds."""
_BYTES_PER_S = 12e6


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadEstimate:
    """What a download will take.

    Attributes:
        n_photos: Photos that are not in the store yet.
        size_bytes: Their size, from the mean of the photos that the store has.
        seconds: Time at 100 photos and 12 MB a second, whichever is slower.
        free_bytes: Free space of the disk.
    """

    n_photos: int
    size_bytes: int
    seconds: float
    free_bytes: int

    def __str__(self) -> str:
        """Say it in one line."""
        if not self.n_photos:
            return "every photo is in the cache"
        return (
            f"{self.n_photos} photos to fetch, about {self.size_bytes / 1e6:.0f} MB and "
            f"{self.seconds:.0f} s at 12 MB/s; {self.free_bytes / 1e9:.1f} GB are free"
        )

    def __add__(self, other: "DownloadEstimate") -> "DownloadEstimate":
        """Return what both take, one after the other."""
        return DownloadEstimate(
            n_photos=self.n_photos + other.n_photos,
            size_bytes=self.size_bytes + other.size_bytes,
            seconds=self.seconds + other.seconds,
            free_bytes=self.free_bytes,
        )


def estimate_download(n_photos: int, store: PhotoStore, size_px: int) -> DownloadEstimate:
    """Estimate the download of some photos.

    Args:
        n_photos: Photos that are not in the store yet.
        store: Where they will go.
        size_px: Their size; 0 for the original.
    """
    size_bytes = n_photos * store.typical_bytes(size_px)
    return DownloadEstimate(
        n_photos=n_photos,
        size_bytes=size_bytes,
        seconds=max(n_photos / _PHOTOS_PER_S, size_bytes / _BYTES_PER_S),
        free_bytes=shutil.disk_usage(store.folder).free,
    )
