"""Networks on several photos at once, each on one thread, so that results do not depend on it."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def torch_device() -> torch.device:
    """Return the GPU if torch has one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def split_over(n_threads: int) -> Iterator[None]:
    """Let torch split one operation over so many threads; its setting is the whole process's."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, n_threads))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_each(
    function: Callable[[_In], _Out], items: Sequence[_In], *, n_threads: int
) -> list[_Out]:
    """Call a function that runs a network on every item; results in the order of the items.

    One operation split over threads sums in another order and gives other last digits. Here each
    item stays on one thread, and the items are spread; torch lets go of Python's lock meanwhile.

    Args:
        function: Called with one item; must change nothing that others read.
        items: What to work on.
        n_threads: Items at a time on the CPU; on a GPU always one.
    """
    workers = 1 if torch_device().type == "cuda" else max(1, min(n_threads, len(items)))
    with split_over(1), ThreadPoolExecutor(workers, initializer=_single) as pool:
        return list(pool.map(function, items))


def _single() -> None:
    torch.set_num_threads(1)  # OpenMP counts per thread: the pool's own threads must say it too
