"""Running many coroutines so that the first error stops all of them."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any


async def first_error_stops(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all; when one raises, cancel the others, wait for them and raise that error itself."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
