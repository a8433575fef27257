"""A finished model takes in what is new: photos join it, photos leave it, the rest stays.

Solving a box again for a few new photos costs as much as solving it for the first time. Here the
models of the version in force are taken up, photos that have gone leave them, new ones join, and
what cannot join makes components of its own. The result is judged as a solution is, and a rule
decides whether it is believed; if not, the box is solved again. The version in force is only read.
"""

import logging
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pycolmap

from citysplat_core.features import quiet_colmap
from citysplat_core.mapping.changes import Change, find_change
from citysplat_core.mapping.components import Component
from citysplat_core.mapping.extend import extend_model, leave_model
from citysplat_core.mapping.joining import settle_models
from citysplat_core.mapping.lineage import Earlier
from citysplat_core.mapping.mappers import MapJob
from citysplat_core.mapping.parts import groups_of, part_of
from citysplat_core.mapping.strategy import Attempt, Tell, attempt_all, job_of, judge_models
from citysplat_core.mapping.update_rule import drift_of, refuse_after, refuse_before
from citysplat_core.mapping.watch import Watch
from citysplat_core.mapping.workspace import Workspace
from citysplat_core.settings import MappingSettings, UpdateSettings
from citysplat_core.storage.usage import cpu_seconds

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Update:
    """What an update came to.

    Attributes:
        attempt: The updated components, judged; None if the box has to be solved again.
        because: Why it has to; empty if it has not.
        numbers: One entry of ``Lineage.updates``.
    """

    attempt: Attempt | None
    because: str
    numbers: dict[str, Any]


def update_model(  # noqa: PLR0913 - a box has that many inputs
    box: str,
    workspace: Workspace,
    earlier: Earlier,
    *,
    rule: UpdateSettings,
    recipe: str,
    work: Path,
    settings: MappingSettings,
    n_threads: int,
    tell: Tell,
) -> Update:
    """Bring a finished version of a box up to its photos and pairs of now.

    Args:
        box: Key of the box.
        workspace: What the box has now.
        earlier: The version in force; it is only read.
        rule: When it is updated, and when the result is believed.
        recipe: How models are made now; see ``lineage.recipe_of``.
        work: Folder for files that are worth nothing after a kill.
        settings: Of mapping.
        n_threads: Threads to use.
        tell: Called with "update", the photos registered so far and further numbers as text.

    Returns:
        The updated components, or why the box has to be solved again. Nothing that COLMAP cannot do
        is an error here.

    Raises:
        MappingError: What could not join was mapped on its own, and that failed.
    """
    if not rule.enabled:
        return _refused("update.enabled = false")
    if earlier.lineage.recipe != recipe:
        return _refused("settings, the step or COLMAP have changed since")
    started = cpu_seconds()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    job, watch = _job(workspace, work, settings, n_threads, tell)
    tell("update", 0, "")
    try:
        with quiet_colmap():
            models = {number: earlier.model(number) for number in earlier.components}
            change = find_change(earlier, models, workspace)
            because = refuse_before(earlier, change, rule)
            found = [] if because else _extend_all(models, change, workspace, job)
    except (ValueError, RuntimeError, IndexError) as error:
        log.warning("Box %s cannot be updated and is solved again: %s", box, error)
        return _refused(f"the update failed: {' '.join(str(error).split())}")
    if because:
        return _refused(because)
    components = judge_models(found, workspace, job, kept=earlier.registered)
    components += _map_the_rest(
        box, workspace, components, change, earlier.lineage.strategy, job=job, tell=tell
    )
    components.sort(key=lambda c: (not c.accepted, -len(c.image_ids)))
    because = refuse_after(earlier, change, components, rule)
    if because:
        return _refused(because)
    spent = cpu_seconds() - started
    strategy = f"{earlier.lineage.strategy}, updated"
    numbers = _numbers(earlier, change, components) | {"cpu_seconds": round(spent, 3)}
    home_ids = frozenset(workspace.home_ids)
    attempt = Attempt(strategy, components, spent, home_ids, watch.stopped)
    return Update(attempt=attempt, because="", numbers=numbers)


def _refused(because: str) -> Update:
    return Update(attempt=None, because=because, numbers={})


def _job(
    workspace: Workspace, work: Path, settings: MappingSettings, n_threads: int, tell: Tell
) -> tuple[MapJob, Watch]:
    watch = Watch(settings.max_runtime_s, settings.max_memory_mb)
    job = job_of(
        workspace, out=work, settings=settings, n_threads=n_threads, watch=watch,
        tick=lambda n, model: tell("update", n, watch.describe(model)), beat=lambda: None,
    )  # fmt: skip
    return job, watch


def _extend_all(
    models: dict[int, pycolmap.Reconstruction], change: Change, workspace: Workspace, job: MapJob
) -> list[pycolmap.Reconstruction]:
    """Take out of every model what has left, and let in what is new; an empty one is removed.

    A photo that has joined two models at once makes one of them, if they agree.
    """
    with pycolmap.Database.open(workspace.database) as database:
        options = pycolmap.DatabaseCacheOptions(
            min_num_matches=job.settings.min_matches, load_all_images=True
        )
        cache = pycolmap.DatabaseCache.create(database, options)
    for number in sorted(models):
        leave_model(models[number], change.lost)
        if not models[number].num_reg_images():
            del models[number]
    for number, model in models.items():
        others = sum(m.num_reg_images() for n, m in models.items() if n != number)
        extend_model(model, cache, candidates=change.candidates, job=job, n_registered=others)
    found = list(models.values())
    times = Counter(i for model in found for i in model.reg_image_ids())
    return settle_models(found, job) if any(times[i] > 1 for i in change.candidates) else found


def _map_the_rest(
    box: str,
    workspace: Workspace,
    components: list[Component],
    change: Change,
    strategy: str,
    *,
    job: MapJob,
    tell: Tell,
) -> list[Component]:
    """Make components of new photos that join nothing, where enough of them hang together."""
    placed = {i for c in components for i in c.image_ids}
    groups = groups_of(change.present - placed, workspace.partners)
    fresh = change.new | change.stale
    large = [g for g in groups if len(g) >= job.settings.min_model_size and g & fresh]
    if not large:
        return []
    ids = set().union(*large)
    attempts = attempt_all(
        box,
        part_of(workspace, ids, job.out / "rest.db"),
        work=job.out,
        settings=job.settings.model_copy(update={"strategy": strategy}),
        n_threads=job.n_threads,
        tell=lambda name, n, said: tell(name, len(placed) + n, said),
    )
    return attempts[0].components


def _numbers(earlier: Earlier, change: Change, components: list[Component]) -> dict[str, Any]:
    accepted = [c for c in components if c.accepted]
    now = {i for c in accepted for i in c.image_ids}
    fresh = change.new | change.stale
    return {
        "from": earlier.fingerprint,
        "n_added": len(now - earlier.registered),
        "n_dropped": len(earlier.registered - now),
        "n_failed": len((change.tied & fresh) - now),
        "drift_m": round(drift_of(earlier, accepted), 4),
    }
