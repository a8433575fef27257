"""Photos of a town's folder, rendered when they are first asked for."""

import threading
from functools import cached_property
from pathlib import Path

from citysplat_core.simulation.captures import Capture, plan_captures
from citysplat_core.simulation.detections import Outline, detected_cars
from citysplat_core.simulation.exposure import photo_jpeg
from citysplat_core.simulation.town import Town
from citysplat_core.simulation.town_files import load_town
from citysplat_core.storage import published


class PhotoMaker:
    """Gives a town's photos as JPEG bytes and keeps them in ``<folder>/photos``.

    May be asked from several threads at once; several photos are then rendered side by side. A file
    in ``photos`` is whole or absent, and one that is there is not rendered again.
    """

    def __init__(self, folder: Path) -> None:
        """Open a folder written by ``write_town``; the town is built at the first photo.

        Args:
            folder: The town's folder.
        """
        self._folder = folder
        self._lock = threading.Lock()

    @cached_property
    def _plan(self) -> tuple[Town, dict[str, Capture]]:
        town = load_town(self._folder)
        _ = town.textures  # painted once, before threads ask for photos
        return town, {capture.image_id: capture for capture in plan_captures(town)}

    def detections(self, image_id: str) -> list[tuple[str, Outline]]:
        """Give the outlines of the cars that move through a photo; see ``detected_cars``."""
        with self._lock:
            town, captures = self._plan
        return detected_cars(town, captures[image_id]) if image_id in captures else []

    def jpeg(self, image_id: str) -> bytes:
        """Give a photo, rendered now or kept from before.

        Args:
            image_id: Decimal id of ``world.parquet``.

        Raises:
            FileNotFoundError: The town has no such photo.
            ConfigError: The folder holds no town.
        """
        with self._lock:
            town, captures = self._plan
        if image_id not in captures:
            raise FileNotFoundError(f"the town in {self._folder} has no photo {image_id}")
        path = self._folder / "photos" / f"{image_id}.jpg"
        if path.is_file():
            return path.read_bytes()
        content = photo_jpeg(town, captures[image_id])
        path.parent.mkdir(exist_ok=True)
        with published(path) as stream:
            stream.write(content)
        return content
