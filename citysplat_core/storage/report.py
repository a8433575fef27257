"""What a step tells while it works and when it is done."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Progress = Callable[[int, int, str], None]
"""Called with (done, total, note): done of total units are finished; total 0 when unknown."""


def no_progress(done: int, total: int, note: str) -> None:
    """Ignore progress."""
    del done, total, note


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """The outcome of a step.

    Attributes:
        counts: Flat numbers and strings; they go into the manifest and onto the asset's page.
        skipped: Empty, or the reason why there is nothing to give (a box with 2 photos). The
            artifact is whole all the same, with tables of zero rows.
        previews: Title to picture, paths inside the artifact.
    """

    counts: Mapping[str, int | float | str] = field(default_factory=dict)
    skipped: str = ""
    previews: Mapping[str, Path] = field(default_factory=dict)
