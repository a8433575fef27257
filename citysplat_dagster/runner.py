"""Runs a whole city through Dagster, in as many processes as the machine has cores."""

import multiprocessing
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Self

from citysplat_core.geography import load_plan
from citysplat_core.settings import City
from citysplat_core.storage import write_json
from citysplat_dagster import worker
from citysplat_dagster.tasks import Task, tasks_of
from citysplat_dagster.worker import Outcome

MAX_WORKERS = 8
_TRIES = 2


@dataclass(frozen=True, slots=True)
class Machine:
    """How the work is spread.

    Attributes:
        workers: Processes at once.
        threads: Threads of each.
        trainers: Splats trained at once: one a GPU, or one a worker where there is none.
    """

    workers: int
    threads: int
    trainers: int


def this_machine(workers: int | None = None) -> Machine:
    """Spread the work over this machine's cores and GPUs.

    Args:
        workers: Processes at once; None: one a core, at most 8.
    """
    cores = os.cpu_count() or 1
    count = max(1, workers if workers is not None else min(cores, MAX_WORKERS))
    return Machine(count, max(1, cores // count), _count_gpus() or count)


def _count_gpus() -> int:
    """Ask the driver, not torch, whose import takes seconds and half a gigabyte."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False)  # noqa: S603
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def dagster_home(city: City) -> Path:
    """Give the city's DAGSTER_HOME, with its dagster.yaml written if there is none."""
    home = city.root / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        with as_file(files("citysplat_dagster") / "dagster.yaml") as source:
            shutil.copyfile(source, home / "dagster.yaml")
    return home


Reporter = Callable[[str, Any], None]
"""Hears ("start", Task), ("end", Outcome), ("tell", (asset, partition, text)), ("total", n)."""


@dataclass
class Run:
    """One run of a whole city.

    Attributes:
        city: The city.
        machine: How the work is spread.
        report: Hears what happens.
        outcomes: What has ended, by task name.
    """

    city: City
    machine: Machine
    report: Reporter
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def all(self, *, boxes: Iterable[str] = (), refetch: bool = False) -> dict[str, Outcome]:
        """Discover, plan, and make everything that is missing or stale.

        Args:
            boxes: Only solve and train these; empty: all.
            refetch: Read the source again for new and removed photos.

        Returns:
            The outcomes by task name. Discovery that fails ends the run; a box that fails does
            not: the others go on.
        """
        started = time.monotonic()
        with _Pool(self.city, self.machine, self.report) as pool:
            if self._discover(pool, refetch=refetch).is_success:
                plan = load_plan(self.city.root / "plan.json")
                tasks = tasks_of(
                    plan,
                    frozenset(boxes) or None,
                    with_weights=bool(self.city.settings.weights.use),
                )
                self.report("total", 1 + len(tasks))
                self._drain(pool, tasks, None)
        self._note(time.monotonic() - started)
        return self.outcomes

    def discover(self, *, refetch: bool = False) -> Outcome:
        """Only discover and plan; ``refetch`` reads the source again."""
        with _Pool(self.city, self.machine, self.report) as pool:
            return self._discover(pool, refetch=refetch)

    def _discover(self, pool: "_Pool", *, refetch: bool) -> Outcome:
        task = Task("discover_city", "", frozenset())
        self.report("total", 1)
        config = {"ops": {"tile_ledger": {"config": {"refetch": refetch}}}}
        self._drain(pool, [task], config)
        return self.outcomes[task.name]

    def backup(self, boxes: Iterable[str] = ()) -> dict[str, Outcome]:
        """Copy the boxes' artifacts to the bucket, one Dagster run a box.

        Args:
            boxes: Which; empty: all of the plan.

        Returns:
            The outcomes by task name.
        """
        plan = load_plan(self.city.root / "plan.json")
        wanted = sorted(set(boxes)) or [b.key for b in plan.boxes]
        tasks = [Task("backup_box", box, frozenset()) for box in wanted]
        self.report("total", len(tasks))
        with _Pool(self.city, self.machine, self.report) as pool:
            self._drain(pool, tasks, None)
        return self.outcomes

    def _drain(self, pool: "_Pool", tasks: list[Task], config: dict[str, Any] | None) -> None:
        waiting = list(tasks)
        names = {t.name for t in tasks}
        tries: dict[str, int] = {}
        running: dict[Future[Outcome], Task] = {}
        while waiting or running:
            for task in self._ready(waiting, names, running.values()):
                waiting.remove(task)
                tries[task.name] = tries.get(task.name, 0) + 1
                self.report("start", task)
                running[pool.submit(task, config)] = task
            done, _ = wait(running, timeout=0.3, return_when=FIRST_COMPLETED)
            pool.forward()
            for future in done:
                task = running.pop(future)
                outcome = _outcome_of(future, task)
                if outcome is None and tries[task.name] < _TRIES:
                    waiting.insert(0, task)
                    continue
                self.outcomes[task.name] = outcome or _died(task)
                self.report("end", self.outcomes[task.name])

    def _ready(self, waiting: list[Task], names: set[str], running: Iterable[Task]) -> list[Task]:
        """Choose what to start now: its turn has come, and there is a worker or trainer for it."""
        busy = list(running)
        free = self.machine.workers - len(busy)
        trainers = self.machine.trainers - sum(t.job == "train_box" for t in busy)
        chosen: list[Task] = []
        for task in waiting:
            if len(chosen) >= free:
                break
            if not (task.after & names) <= self.outcomes.keys():
                continue
            if task.job == "train_box":
                if trainers <= 0:
                    continue
                trainers -= 1
            chosen.append(task)
        return chosen

    def _note(self, seconds: float) -> None:
        write_json(
            self.city.root / "run.json",
            {
                "total_seconds": round(seconds, 1),
                "workers": self.machine.workers,
                "threads": self.machine.threads,
                "failed": sorted(k for k, o in self.outcomes.items() if not o.is_success),
                "tasks": {k: round(o.seconds, 2) for k, o in self.outcomes.items()},
            },
        )


def _outcome_of(future: "Future[Outcome]", task: Task) -> Outcome | None:
    """Give a task's outcome, or None if its process died under it."""
    try:
        return future.result()
    except BrokenProcessPool:
        return None
    except Exception as error:  # noqa: BLE001 - Dagster itself failed; told as the task's failure
        return Outcome(task=task.name, is_success=False, seconds=0.0, errors=(repr(error),))


def _died(task: Task) -> Outcome:
    message = (
        f"the worker process died {_TRIES} times, most likely for want of memory; expected it to "
        "end. Run again with fewer --workers; finished work is kept."
    )
    return Outcome(task=task.name, is_success=False, seconds=0.0, errors=(message,))


class _Pool:
    """Worker processes that are replaced when one dies."""

    def __init__(self, city: City, machine: Machine, report: Reporter) -> None:
        self._city, self._machine, self._report = city, machine, report
        self._context = multiprocessing.get_context("spawn")
        self._mailbox = self._context.Queue()
        self._executor = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)
        self.forward()
        self._mailbox.close()

    def submit(self, task: Task, config: dict[str, Any] | None) -> "Future[Outcome]":
        try:
            return self._send(task, config)
        except BrokenProcessPool:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = self._open()
            return self._send(task, config)

    def forward(self) -> None:
        """Pass on what the workers told."""
        while not self._mailbox.empty():
            self._report("tell", self._mailbox.get())

    def _send(self, task: Task, config: dict[str, Any] | None) -> "Future[Outcome]":
        return self._executor.submit(worker.execute, task.name, task.job, task.key, config)

    def _open(self) -> ProcessPoolExecutor:
        threads = str(self._machine.threads)
        # Read when a worker loads its numeric libraries, so they must stand before it starts.
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
            os.environ[name] = threads
        home = dagster_home(self._city)
        return ProcessPoolExecutor(
            self._machine.workers,
            mp_context=self._context,
            initializer=worker.start,
            initargs=(self._city.file, home, self._machine.threads, self._mailbox),
        )
