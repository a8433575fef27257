"""Which mapper is believed: run, judge against GPS, compare what is explained."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pycolmap

from citysplat_core.mapping.components import Component, judge
from citysplat_core.mapping.geographic import map_geographic
from citysplat_core.mapping.joining import settle_models
from citysplat_core.mapping.mappers import (
    MapJob,
    Mapper,
    map_global,
    map_hierarchical,
    map_incremental,
    run_mapper,
)
from citysplat_core.mapping.parts import groups_of, part_of
from citysplat_core.mapping.sketch_mapper import map_sketch
from citysplat_core.mapping.watch import Watch
from citysplat_core.mapping.workspace import Workspace
from citysplat_core.settings import MappingSettings
from citysplat_core.storage.usage import cpu_seconds

MAPPERS: Final = MappingProxyType[str, Mapper](
    {
        "sketch": map_sketch,
        "incremental": map_incremental,
        "geographic": map_geographic,
        "global": map_global,
        "hierarchical": map_hierarchical,
    }
)
"""By the names of ``mapping.strategy``."""

AUTO: Final = ("sketch", "incremental", "geographic", "global")
"""The order in which ``auto`` tries them; dividing a box is what the plan of the city has done."""

_MOST: Final = 0.5
"""``auto``: what a first mapper left is mapped for itself if it explained this share of the box."""

Tell = Callable[[str, int, str], None]
"""Called with the mapper's name, the photos registered so far, and what the growing model is."""


@dataclass(frozen=True)
class Attempt:
    """What one mapper made of a workspace.

    Attributes:
        strategy: Its name.
        components: Accepted ones first, each group by falling size.
        cpu_seconds: Of all threads; near 0 if it was read back after a kill.
        home_ids: Photos of the box itself; an attempt is measured by them.
        stopped: Which limit stopped it, with what it had solved by then; empty if none did.
        completed_by: The mappers that mapped what this one had left, by commas; empty if none did.
    """

    strategy: str
    components: list[Component]
    cpu_seconds: float
    home_ids: frozenset[int]
    stopped: str = ""
    completed_by: str = ""

    @property
    def explained(self) -> set[int]:
        """Photos of the box in accepted components: the only ones that count."""
        return {i for c in self.components if c.accepted for i in c.image_ids} & self.home_ids

    @property
    def trusted(self) -> set[int]:
        """Photos of the box in components that agree with GPS, or that hold without it."""
        return {i for c in self.components if c.is_trusted for i in c.image_ids} & self.home_ids

    @property
    def score(self) -> float:
        """What attempts are compared by: a photo that is explained but not trusted counts half."""
        return (len(self.trusted) + len(self.explained)) / 2

    def summary(self) -> dict[str, Any]:
        """Say in JSON what it made."""
        return {
            "strategy": self.strategy,
            "completed_by": self.completed_by,
            "n_explained": len(self.explained),
            "n_trusted": len(self.trusted),
            "n_accepted": sum(c.accepted for c in self.components),
            "n_refused": sum(not c.accepted for c in self.components),
            "cpu_seconds": round(self.cpu_seconds, 2),
            "stopped": self.stopped,
        }


@dataclass(frozen=True)
class _Task:
    """What all attempts have in common; see `attempt_all`."""

    box: str
    workspace: Workspace
    work: Path
    settings: MappingSettings
    n_threads: int
    tell: Tell

    def round(self, name: str, n_before: int = 0) -> "_Round":
        """Begin to count time, memory and photos."""
        watch = Watch(self.settings.max_runtime_s, self.settings.max_memory_mb)
        run = _Round(name, self.tell, watch, n_before, n_before)
        run.beat()
        return run

    def job(self, workspace: Workspace, out: Path, run: "_Round") -> MapJob:
        """Give the job of a mapper that is told of by a round."""
        return job_of(
            workspace, out=out, settings=self.settings, n_threads=self.n_threads,
            tick=run.tick, beat=run.beat, watch=run.watch,
        )  # fmt: skip


def attempt_all(
    box: str,
    workspace: Workspace,
    *,
    work: Path,
    settings: MappingSettings,
    n_threads: int,
    tell: Tell,
) -> list[Attempt]:
    """Run the wished mapper, or with ``auto`` one after another until one explains enough.

    If the first one explains most photos, it gets what it left once more, for itself: wrong pairs
    with what stands are not among it. What is left then goes to the next one, with the photos
    beside it, before that gets all.

    Args:
        box: Key of the box.
        workspace: What to map.
        work: Folder for the mappers; finished runs in it are not repeated.
        settings: ``strategy`` and thresholds.
        n_threads: Threads to use.
        tell: Called with the mapper's name, the photos registered so far, and the points and the
            mean reprojection error of the model that grows, as text; empty where it tells none.

    Returns:
        The attempts, the best first; of equal ones the earlier.

    Raises:
        MappingError: COLMAP failed.
    """
    names = list(AUTO) if settings.strategy == "auto" else [settings.strategy]
    n_home = len(workspace.mappable & workspace.home_ids)
    enough = settings.enough_share * n_home
    task = _Task(box, workspace, work, settings, n_threads, tell)
    attempts: list[Attempt] = []
    for name in names:
        attempt = _attempt(task, name)
        if len(names) > 1 and not attempts and _MOST * n_home <= len(attempt.trusted) < enough:
            attempt = _complete(task, attempt, name)
            if len(attempt.trusted) < enough:
                attempt = _complete(task, attempt, names[1], beside=True)
        attempts.append(attempt)
        if len(attempt.trusted) >= enough:
            break
        found = [len(a.explained) for a in attempts if a.explained]
        if len(found) > 1 and min(found) >= enough:
            break  # two mappers make a whole of it: the doubt is in GPS, not in the model
    return sorted(attempts, key=lambda attempt: -attempt.score)


def job_of(
    workspace: Workspace,
    *,
    out: Path,
    settings: MappingSettings,
    n_threads: int,
    tick: Callable[[int, pycolmap.Reconstruction], None],
    beat: Callable[[], None],
    watch: Watch,
) -> MapJob:
    """Give the job of a mapper of a workspace; see ``MapJob``."""
    return MapJob(
        database=workspace.database,
        photos=workspace.photos,
        out=out,
        images=workspace.images,
        positions=workspace.positions,
        partners=workspace.partners,
        sequences=workspace.sequences,
        fixed_cameras=workspace.fixed_cameras,
        settings=settings,
        n_threads=n_threads,
        tick=tick,
        beat=beat,
        watch=watch,
    )


@dataclass
class _Round:
    """One run of a mapper: its limits, and what is told of it."""

    name: str
    tell: Tell
    watch: Watch
    n_before: int = 0
    registered: int = 0
    said: str = ""

    def tick(self, n_registered: int, model: pycolmap.Reconstruction) -> None:
        """Take the state of a growing model and tell it."""
        self.registered, self.said = self.n_before + n_registered, self.watch.describe(model)
        self.beat()

    def beat(self) -> None:
        """Tell the last state again."""
        self.tell(self.name, self.registered, self.said)


def _attempt(task: _Task, name: str) -> Attempt:
    run = task.round(name)
    job = task.job(task.workspace, task.work / name, run)
    started = cpu_seconds()
    models = settle_models(run_mapper(name, MAPPERS[name], job, box=task.box), job)
    components = judge_models(models, task.workspace, job)
    home_ids = frozenset(task.workspace.home_ids)
    return Attempt(name, components, cpu_seconds() - started, home_ids, run.watch.stopped)


def judge_models(
    models: Sequence[pycolmap.Reconstruction],
    workspace: Workspace,
    job: MapJob,
    *,
    kept: Collection[int] = (),
) -> list[Component]:
    """Judge models; accepted ones come first, each group by falling size; see ``judge``."""
    components = [
        judge(
            model,
            positions=workspace.positions,
            home_ids=workspace.home_ids,
            partners=workspace.partners,
            beside=job.beside,
            settings=job.settings,
            kept=kept,
        )
        for model in models
    ]
    return sorted(components, key=lambda c: (not c.accepted, -len(c.image_ids)))


def _complete(task: _Task, attempt: Attempt, name: str, *, beside: bool = False) -> Attempt:
    """Map what an attempt left, and join it where both see the same points.

    With the photos ``beside`` it, its models share photos with those that stand.
    """
    workspace = task.workspace
    ids = _left_over(attempt, workspace, task.settings.min_model_size)
    if not ids:
        return attempt
    if beside:
        ids |= {p for i in ids for p in workspace.partners.get(i, ())}
    run = task.round(f"{attempt.strategy}, the rest {name}", len(attempt.explained))
    started = cpu_seconds()
    folder = task.work / f"{attempt.strategy}-rest-{name}"
    part = task.job(part_of(workspace, ids, folder / "part.db"), folder / "mapped", run)
    whole = task.job(workspace, folder / "joined", run)
    models = [c.model for c in attempt.components if c.accepted]
    models += run_mapper(name, MAPPERS[name], part, box=task.box)
    run.n_before = 0  # from here on the growing model is of the whole box
    components = judge_models(settle_models(models, whole), workspace, whole)
    found = replace(
        attempt,
        components=remember_taken_out(components, attempt.components),
        cpu_seconds=attempt.cpu_seconds + cpu_seconds() - started,
        stopped=attempt.stopped or run.watch.stopped,
        completed_by=", ".join(filter(None, [attempt.completed_by, name])),
    )
    return found if found.score >= attempt.score else attempt


def remember_taken_out(
    components: Sequence[Component], earlier: Sequence[Component]
) -> list[Component]:
    """Let the first component tell what an earlier round took out of models that went into them."""
    first, *others = components
    pruned = {i: r for c in (*earlier, first) for i, r in c.pruned.items()}
    loose = frozenset().union(first.loose, *(c.loose for c in earlier))
    return [replace(first, pruned=pruned, loose=loose), *others]


def _left_over(attempt: Attempt, workspace: Workspace, least: int) -> set[int]:
    """Give the photos without an accepted place that hang together."""
    placed = {i for c in attempt.components if c.accepted for i in c.image_ids}
    groups = groups_of(workspace.mappable - placed, workspace.partners)
    return set().union(*(g for g in groups if len(g) >= least and g & attempt.home_ids))
