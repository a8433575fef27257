"""The work of a whole city as tasks that wait for each other."""

from dataclasses import dataclass

from citysplat_core.geography import BoxPlan
from citysplat_dagster.jobs import STAGES, Stage


@dataclass(frozen=True)
class Task:
    """One Dagster run.

    Attributes:
        job: Name of the job.
        key: Box or fringe key, empty for the whole city.
        after: Names of the tasks that must have ended, well or not.
    """

    job: str
    key: str
    after: frozenset[str]

    @property
    def name(self) -> str:
        """Job and key."""
        return f"{self.job} {self.key}".strip()

    @property
    def stage(self) -> Stage:
        """The job's stage."""
        return STAGES[self.job]


def tasks_of(
    plan: BoxPlan, only_boxes: frozenset[str] | None = None, *, with_weights: bool = False
) -> list[Task]:
    """List what is to be done once the plan stands, in an order that respects ``after``.

    A task waits for the end of what it reads, not for its success: a box without a model must not
    hold up the city. Each step decides itself whether it can go on.

    Args:
        plan: The plan.
        only_boxes: Solve and train only these boxes; what they read of their neighbours is made as
            well. None: all.
        with_weights: Bring the files of weights before anything that may use them.

    Returns:
        The tasks from the weights or the boxes' photos to the published city.
    """
    wanted = {b.key for b in plan.boxes if only_boxes is None or b.key in only_boxes}
    fringes = [f for f in plan.fringes if f.a in wanted or f.b in wanted]
    prepared = sorted(wanted | {side for f in fringes for side in (f.a, f.b)})
    weights = ["bring_weights"] if with_weights else []
    tasks = [_task(job, "") for job in weights]
    tasks += [_task("prepare_box", box, *weights) for box in prepared]
    tasks += [_task("match_fringe", f.key, *_names("prepare_box", f.a, f.b)) for f in fringes]
    for box in sorted(wanted):
        around = _names("prepare_box", box, *plan.neighbours_of(box))
        borders = _names("match_fringe", *plan.fringes_of(box))
        tasks.append(_task("solve_box", box, *around, *borders))
    tasks.append(_task("align_city", "", *_names("solve_box", *sorted(wanted))))
    tasks += [_task("train_box", box, "align_city") for box in sorted(wanted)]
    tasks.append(_task("publish_city", "", *_names("train_box", *sorted(wanted))))
    return tasks


def _task(job: str, key: str, *after: str) -> Task:
    return Task(job, key, frozenset(after))


def _names(job: str, *keys: str) -> list[str]:
    return [f"{job} {key}" for key in keys]
