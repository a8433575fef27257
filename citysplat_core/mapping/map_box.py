"""A box is updated where the rule allows it, and solved where not."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from citysplat_core.mapping.lineage import Earlier, Lineage
from citysplat_core.mapping.strategy import Attempt, Tell, attempt_all
from citysplat_core.mapping.update import update_model
from citysplat_core.mapping.update_rule import pixel_error_of
from citysplat_core.mapping.workspace import Workspace
from citysplat_core.settings import MappingSettings, UpdateSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Made:
    """The models of a box, and how they came to be.

    Attributes:
        attempts: The best first; none if there was nothing to map.
        lineage: How they were made.
        since: If they were updated: photos with their places, and verified pairs, when the box was
            solved; None if that was now.
    """

    attempts: list[Attempt]
    lineage: Lineage
    since: tuple[pd.DataFrame, frozenset[tuple[int, int]]] | None = None


def map_box(  # noqa: PLR0913 - a box has that many inputs
    box: str,
    workspace: Workspace,
    past: tuple[Earlier | None, str],
    *,
    rule: UpdateSettings,
    recipe: str,
    work: Path,
    settings: MappingSettings,
    n_threads: int,
    tell: Tell,
) -> Made:
    """Update the version in force if there is one and the rule allows it, else solve.

    Args:
        box: Key of the box.
        workspace: What to map.
        past: What ``lineage.read_earlier`` gave.
        rule: When a version is updated.
        recipe: See ``lineage.recipe_of``.
        work: Folder for the mappers; finished runs in it are not repeated.
        settings: Of mapping.
        n_threads: Threads to use.
        tell: See ``strategy.attempt_all``.

    Returns:
        What was made.

    Raises:
        MappingError: COLMAP failed.
    """
    earlier, because = past
    left = earlier.fingerprint if earlier else ""
    if workspace.lack:
        lineage = Lineage(made_by="solved", recipe=recipe, left=left)
        return Made(attempts=[], lineage=lineage)
    if earlier is not None:
        update = update_model(
            box, workspace, earlier, rule=rule, recipe=recipe, work=work / "update",
            settings=settings, n_threads=n_threads, tell=tell,
        )  # fmt: skip
        if update.attempt is not None:
            return _updated(earlier, update.attempt, update.numbers)
        because = update.because
    if because:
        log.info("Box %s is solved again because %s", box, because)
    attempts = attempt_all(
        box, workspace, work=work, settings=settings, n_threads=n_threads, tell=tell
    )
    lineage = Lineage(
        made_by="solved again" if because else "solved",
        because=because,
        recipe=recipe,
        strategy=attempts[0].strategy,
        pixel_error=pixel_error_of(attempts[0].components),
        left=left,
    )
    return Made(attempts=attempts, lineage=lineage)


def _updated(earlier: Earlier, attempt: Attempt, numbers: dict[str, Any]) -> Made:
    lineage = replace(
        earlier.lineage,
        made_by="updated",
        because="",
        updates=(*earlier.lineage.updates, numbers),
        left="",
    )
    return Made(attempts=[attempt], lineage=lineage, since=(earlier.solved, earlier.pairs))
