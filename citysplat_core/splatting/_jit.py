"""The one way kernels are compiled and spread over threads.

Kernels release the GIL and work on a range ``[start, stop)`` of independent items, so plain
Python threads run them side by side. That needs none of numba's threading layers (which are not
safe to enter from two Python threads), compiles in a third of the time of ``parallel=True``, and
gives the same bits for every thread count, because no two ranges write to one place.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeAlias, TypeVar, cast

import numba as nb

Array: TypeAlias = Any
"""What only the compiler knows: a NumPy array, or a scalar of a fixed width."""

F = TypeVar("F", bound=Callable[..., Any])

# 'fast' as a whole breaks the split into integer and fraction in the exponential.
_FASTMATH = {"contract", "nsz", "arcp", "nnan", "ninf", "reassoc"}


def kernel(function: F) -> F:
    """Compile a function to machine code that runs without the GIL, cached on disk."""
    return cast("F", nb.njit(nogil=True, cache=True, error_model="numpy")(function))


def simd_kernel(function: F) -> F:
    """Compile like `kernel`, and let sums be reordered so that rows of pixels become vectors."""
    return cast(
        "F", nb.njit(nogil=True, cache=True, error_model="numpy", fastmath=_FASTMATH)(function)
    )


@cache
def _pool(n_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_threads, thread_name_prefix="splat")


def spread(
    function: Callable[..., Any], n_items: int, step: int, n_threads: int, *args: object
) -> None:
    """Call ``function(start, stop, *args)`` until all items are done.

    Args:
        function: A kernel whose ranges are independent of each other.
        n_items: Number of items.
        step: Ranges begin at multiples of this, whatever the number of threads.
        n_threads: Threads to use; 1 calls the kernel once, in this thread.
        args: Passed on unchanged.
    """
    if n_threads <= 1 or n_items <= step:
        function(0, n_items, *args)
        return
    jobs = [
        _pool(n_threads).submit(function, start, min(start + step, n_items), *args)
        for start in range(0, n_items, step)
    ]
    for job in jobs:
        job.result()
