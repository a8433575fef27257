"""Describing images by their ids: what a service answers, and how many ids one request names."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

BATCH = 50
"""Most ids in one request."""
_GOOD_UNTIL_LARGER = 20


@dataclass(slots=True, kw_only=True)
class BatchAnswer:
    """Images of a batch.

    Attributes:
        entities: Image id to its description.
        absent: Ids that the service does not know (any more).
        failed: Id to the reason why it could not be asked.
        bodies: Image id to its description as the service wrote it, where that could be cut out.
    """

    entities: dict[str, dict[str, Any]] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)

    def merge(self, other: "BatchAnswer") -> None:
        """Take over another answer."""
        self.entities |= other.entities
        self.absent |= other.absent
        self.failed |= other.failed
        self.bodies |= other.bodies


class ImageLookup(Protocol):
    """Whoever describes images by their ids."""

    async def images(self, ids: Sequence[str], fields: str) -> BatchAnswer:
        """Describe up to ``BATCH`` images.

        Args:
            ids: The images.
            fields: What is asked for, in the service's own words.

        Raises:
            TokenError: A token is needed and refused.
            BlockedError: The service refuses us for longer than our patience.
            DiscoveryError: It calls our request wrong.
        """
        ...


@dataclass(slots=True)
class BatchSize:
    """How many ids a request names: fewer after "reduce the amount", slowly more again."""

    now: int = BATCH
    _good: int = 0

    def refused(self, n_ids: int) -> None:
        """Halve after a batch of ``n_ids`` was too much."""
        self.now, self._good = max(1, min(self.now, n_ids // 2)), 0

    def worked(self) -> None:
        """Grow by a quarter after many good answers in a row."""
        self._good += 1
        if self._good >= _GOOD_UNTIL_LARGER and self.now < BATCH:
            self.now, self._good = min(BATCH, self.now + max(1, self.now // 4)), 0
