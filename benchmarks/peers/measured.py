"""Measure a piece of work in this process and its children; only the standard library is needed.

Every client runs one of the scripts beside this module in a process of its own, with a JSON file
of options as its argument, and ends by printing one JSON line. Imports are not counted, for
anybody.
"""

import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def options() -> dict[str, Any]:
    """Return the options that the benchmark wrote for this client."""
    return dict(json.loads(Path(sys.argv[1]).read_text()))


def cpu_s() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


@contextmanager
def measured(**outcome: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401
    """Measure the block, then print one JSON line.

    Args:
        outcome: What to print beside the times; the block adds to it.

    Yields:
        The dictionary that is printed.
    """
    cpu, wall = cpu_s(), time.perf_counter()
    yield outcome
    outcome["wall_s"] = time.perf_counter() - wall
    outcome["cpu_s"] = cpu_s() - cpu
    sys.stdout.flush()
    sys.__stdout__.write("\n" + json.dumps(outcome) + "\n")
    sys.__stdout__.flush()
