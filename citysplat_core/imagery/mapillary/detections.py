"""What Mapillary detected in photos: asked for one photo at a time, kept, never asked twice."""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from citysplat_core.errors import DiscoveryError
from citysplat_core.imagery.mapillary.graph import GraphClient
from citysplat_core.imagery.masks.detections import Detection
from citysplat_core.imagery.services.lookup import BatchAnswer
from citysplat_core.imagery.services.tasks import first_error_stops
from citysplat_core.imagery.sqlite_file import create_tables, sqlite_file
from citysplat_core.storage import Progress

Said = tuple[Detection, ...] | str
"""What is known of a photo: its detections, or why they are not known."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS detections (
    image_id TEXT PRIMARY KEY, body BLOB, asked_at REAL NOT NULL
) WITHOUT ROWID
"""
_CHUNK = 500
_GONE = "deleted at the source"
_MIN_SUSPICION = 10
_OUTAGE_SHARE = 0.5


class DetectionStore:
    """Detections by image id; an entry without body says that the photo is gone.

    Args:
        path: The SQLite file; made when missing. It is a cache and may be deleted.
    """

    def __init__(self, path: Path) -> None:
        """Open the store."""
        self._path, self._lock = path, threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._connection() as connection:
            create_tables(connection, _SCHEMA)

    def save(self, image_id: str, found: Sequence[Detection] | None, *, asked_at: float) -> None:
        """Keep an answer; None for a photo that is gone.

        Raises:
            StorageError: The disk is full or the file is damaged.
        """
        body = None if found is None else orjson.dumps([[d.value, d.geometry] for d in found])
        with self._connection() as connection:
            row = (image_id, body, asked_at)
            connection.execute("INSERT OR REPLACE INTO detections VALUES (?,?,?)", row)

    def read(self, image_ids: Sequence[str]) -> dict[str, Said]:
        """Return what is known; ids that were never answered are left out."""
        known: dict[str, Said] = {}
        with self._connection() as connection:
            for start in range(0, len(image_ids), _CHUNK):
                part = list(image_ids[start : start + _CHUNK])
                marks = ",".join("?" * len(part))
                query = f"SELECT image_id, body FROM detections WHERE image_id IN ({marks})"  # noqa: S608
                for image_id, body in connection.execute(query, part):
                    known[image_id] = _GONE if body is None else _decoded(body)
        return known

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        fix = "Free some space; if it is damaged, delete it: it is only a cache."
        with (
            self._lock,
            sqlite_file(self._path, purpose="to keep detections", fix=fix) as connection,
        ):
            yield connection


def _decoded(body: bytes) -> tuple[Detection, ...]:
    return tuple(Detection(value=value, geometry=text) for value, text in orjson.loads(body))


@dataclass(slots=True, kw_only=True)
class DetectionFetcher:
    """Fills the store.

    Attributes:
        graph: The graph client, with its pace, retries and errors.
        store: Where answers are kept at once, so that a killed run does not ask again.
        clock: The time.
        at_once: Requests in flight.
        progress: Told how many photos are answered.
        failed: Id to reason, for photos that could not be asked; the next run asks them again.
    """

    graph: GraphClient
    store: DetectionStore
    clock: Callable[[], float]
    at_once: int
    progress: Progress
    failed: dict[str, str] = field(default_factory=dict)
    _asked: int = 0

    async def fetch(self, image_ids: Sequence[str]) -> dict[str, Said]:
        """Return what was detected in each photo, asking only for what is not known.

        Raises:
            DiscoveryError: Most photos fail: the service is down; what was answered is kept.
        """
        known = self.store.read(image_ids)
        missing = [image_id for image_id in image_ids if image_id not in known]
        queue = iter(missing)

        async def work() -> None:
            for image_id in queue:
                self._keep(image_id, await self.graph.detections(image_id))
                self._asked += 1
                self.progress(len(known) + self._asked, len(image_ids), "detections")
                self._refuse_outage()

        await first_error_stops(work() for _ in range(max(1, min(self.at_once, len(missing)))))
        return self.store.read(image_ids) | {i: f"failed ({r})" for i, r in self.failed.items()}

    def _keep(self, image_id: str, answer: BatchAnswer) -> None:
        if image_id in answer.failed:
            self.failed[image_id] = answer.failed[image_id]
            return
        entity = answer.entities.get(image_id)
        found = None if entity is None else _detections_of(entity)
        self.store.save(image_id, found, asked_at=self.clock())

    def _refuse_outage(self) -> None:
        if len(self.failed) < _MIN_SUSPICION or len(self.failed) <= _OUTAGE_SHARE * self._asked:
            return
        example = next(iter(self.failed.values()))
        raise DiscoveryError(
            f"the detections of {len(self.failed)} of {self._asked} photos cannot be had"
            f" ({example})",
            expected="at most half, unless the service is down",
            fix='Run again later, or leave "detections" out of masks.sources; what was answered is'
            " kept.",
        )


def _detections_of(entity: dict[str, Any]) -> tuple[Detection, ...]:
    """Read an answer; entries without a value or geometry are no detections."""
    listed = entity.get("data")
    return tuple(
        Detection(value=str(entry["value"]), geometry=str(entry["geometry"]))
        for entry in (listed if isinstance(listed, list) else [])
        if isinstance(entry, dict) and entry.get("value") and entry.get("geometry")
    )
