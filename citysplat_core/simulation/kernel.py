"""The one way in which this room compiles its inner loops."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

_Args = ParamSpec("_Args")
_Result = TypeVar("_Result")


def kernel(function: Callable[_Args, _Result]) -> Callable[_Args, _Result]:
    """Compile a function on its first call, keep the machine code on disk and release the GIL.

    Kernels are serial: a picture is cut into bands of rows that threads render side by side, so
    that several photos can be rendered at once and the number of threads stays the caller's choice.
    """
    return cast(
        "Callable[_Args, _Result]",
        numba.njit(cache=True, nogil=True, error_model="numpy")(function),
    )


@kernel
def mix(a: int, b: int) -> int:
    """Hash two integers to 32 well mixed bits."""
    h = (a * 73856093) ^ (b * 19349663) ^ 0x5BD1E995
    h &= 0xFFFFFFFF
    h = (((h >> 16) ^ h) * 0x45D9F3B) & 0xFFFFFFFF
    h = (((h >> 16) ^ h) * 0x45D9F3B) & 0xFFFFFFFF
    return (h >> 16) ^ h


@kernel
def chance(a: int, b: int) -> float:
    """Hash two integers to a number in [0, 1)."""
    return mix(a, b) / 4294967296.0
