"""What a person sees while a city is being built."""

import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from citysplat_dagster.tasks import Task
from citysplat_dagster.worker import Outcome


class Display:
    """Progress of a run: one line a finished task, and a live bar where there is a terminal."""

    def __init__(self, console: Console) -> None:
        """Draw on ``console``; without a terminal only finished tasks are printed."""
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._all = self._bars.add_task("city", total=1, note="")
        self._notes: dict[str, str] = {}
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop drawing."""
        self._bars.stop()

    def __call__(self, event: str, value: Any) -> None:  # noqa: ANN401 - as runner.Reporter
        """Show an event of the runner."""
        if event == "total":
            self._bars.update(self._all, total=value)
        elif event == "start":
            self._start(value)
        elif event == "tell":
            asset, partition, text = value
            self._notes[partition] = f"{asset} {partition[-6:]} {text}".strip()
            self._draw()
        elif event == "end":
            self._end(value)

    def _start(self, task: Task) -> None:
        self._notes[task.key] = task.name
        self._draw()

    def _end(self, outcome: Outcome) -> None:
        job, _, key = outcome.task.partition(" ")
        self._notes.pop(key, None)
        self._bars.advance(self._all)
        self._draw()
        clock = time.monotonic() - self._started
        mark = "[green]done  [/]" if outcome.is_success else "[red]FAILED[/]"
        self._console.print(
            f"{clock:7.1f} s  {mark} {job:<14}{key:<28} {outcome.seconds:6.1f} s",
            highlight=False,
            soft_wrap=True,
        )
        for note in outcome.notes:
            self._console.print(f"           [yellow]{note}[/]", highlight=False, soft_wrap=True)
        for error in outcome.errors:
            self._console.print(f"           [red]{error}[/]", highlight=False, soft_wrap=True)

    def _draw(self) -> None:
        self._bars.update(self._all, note=" | ".join(list(self._notes.values())[-2:]))
