"""A worker process: opens the city once and executes Dagster runs, one after the other."""

import os
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import dagster as dg

from citysplat_core.settings import load_city
from citysplat_dagster.build import build_defs
from citysplat_dagster.resources import CityResource, Listener, listen

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_TELL_EVERY_S = 0.4
_PICTURES = (dg.MarkdownMetadataValue, dg.TableMetadataValue)


class Mailbox(Protocol):
    """Where progress is put."""

    def put(self, message: tuple[str, str, str]) -> None:
        """Take (asset, partition, text)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a Dagster run ended.

    Attributes:
        task: Name of the task.
        is_success: Whether every step of the run ended well.
        seconds: Wall time.
        run_id: Dagster's id of the run.
        notes: Reasons of steps that were skipped, and of checks that did not pass.
        errors: One message a failed step.
    """

    task: str
    is_success: bool
    seconds: float
    run_id: str = ""
    notes: tuple[str, ...] = ()
    errors: tuple[str, ...] = field(default=())


def start(file: Path, home: Path, threads: int, mailbox: Mailbox | None) -> None:
    """Open the city in this process; every run of it goes there.

    Args:
        file: The city.toml.
        home: DAGSTER_HOME.
        threads: Threads that one step may use.
        mailbox: Where progress is told.
    """
    os.environ["DAGSTER_HOME"] = str(home)
    _State.file, _State.threads = file, threads
    if mailbox is not None:
        listen(_teller(mailbox))


class _State:
    file: Path
    threads: int


@cache
def _definitions(plan_changed_ns: int) -> dg.Definitions:
    del plan_changed_ns  # a new plan gives new partitions
    return build_defs(CityResource(city=load_city(_State.file), threads=_State.threads))


@cache
def _instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.get()


def execute(task: str, job: str, key: str, run_config: dict[str, Any] | None = None) -> Outcome:
    """Execute one job, for one partition if it has any, as a Dagster run of this process.

    Args:
        task: Name to report.
        job: The job.
        key: Partition key, or empty.
        run_config: Dagster run config to add.

    Returns:
        The outcome; a failure of a step is told in it, not raised.
    """
    started = time.monotonic()
    plan = _State.file.parent / "plan.json"
    stamp = plan.stat().st_mtime_ns if plan.is_file() else 0
    definition = _definitions(stamp).resolve_job_def(job)
    result = definition.execute_in_process(
        instance=_instance(),
        partition_key=key or None,
        run_config={**_QUIET, **(run_config or {})},
        raise_on_error=False,
        tags={"citysplat/task": job},
    )
    return Outcome(
        task=task,
        is_success=result.success,
        seconds=time.monotonic() - started,
        run_id=result.run_id,
        notes=tuple(_notes(result)),
        errors=tuple(errors_of(result)),
    )


def _notes(result: dg.ExecuteInProcessResult) -> list[str]:
    notes = []
    for event in result.get_asset_materialization_events():
        skipped = event.materialization.metadata.get("skipped")
        if skipped is not None:
            notes.append(f"{event.materialization.asset_key.to_user_string()}: {skipped.value}")
    for check in result.get_asset_check_evaluations():
        if not check.passed and "skipped" not in check.metadata:
            shown = {k: v for k, v in check.metadata.items() if not isinstance(v, _PICTURES)}
            numbers = ", ".join(f"{k} {v.value}" for k, v in shown.items())
            notes.append(f"check {check.check_name} did not pass: {numbers}")
    return notes


def errors_of(result: dg.ExecuteInProcessResult) -> list[str]:
    """Give one message a failed step: the innermost cause, which is the step's own."""
    messages = []
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            while error is not None and error.cause is not None:
                error = error.cause
            text = error.message.strip() if error is not None else "unknown error"
            messages.append(f"{event.step_key}: {text.split(': ', 1)[-1]}")
    return messages


def _teller(mailbox: Mailbox) -> Listener:
    last: dict[tuple[str, str], float] = {}

    def tell(asset: str, partition: str, done: int, total: int, note: str) -> None:
        now = time.monotonic()
        if now - last.get((asset, partition), 0.0) < _TELL_EVERY_S and done != total:
            return
        last[asset, partition] = now
        mailbox.put((asset, partition, f"{done}/{total or '?'} {note}".strip()))

    return tell
