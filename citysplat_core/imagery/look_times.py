"""How old an answer of a service may be, counted from when a look at the area began."""

from dataclasses import dataclass
from pathlib import Path

from citysplat_core.imagery.services.metadata_store import Freshness
from citysplat_core.imagery.services.retries import Clock
from citysplat_core.settings import SourceSettings
from citysplat_core.storage import read_json, write_json


@dataclass(frozen=True, slots=True)
class LookTimes:
    """The same times before and after a kill: they are counted from the look's first run.

    Attributes:
        settings: How old tiles and metadata may be.
        clock: The time.
        work: The look's folder; its ``started.json`` keeps the moment.
    """

    settings: SourceSettings
    clock: Clock
    work: Path

    def not_before(self, *, refresh: bool) -> float:
        """Return when the oldest tile that may be used was fetched, seconds since 1970."""
        started_at = self.started_at()
        return started_at if refresh else started_at - self.settings.max_age_hours * 3600.0

    def freshness(self) -> Freshness:
        """Return which metadata may be used."""
        started_at = self.started_at()
        return Freshness(
            known_after=started_at - self.settings.metadata_max_age_days * 86_400.0,
            gone_after=started_at - self.settings.max_age_hours * 3600.0,
            started_at=started_at,
            now=self.clock(),
        )

    def started_at(self) -> float:
        """Return when the look began, seconds since 1970; the first call begins it."""
        path = self.work / "started.json"
        if not path.is_file():
            self.work.mkdir(parents=True, exist_ok=True)
            write_json(path, {"started_at": self.clock()})
        return float(read_json(path)["started_at"])
