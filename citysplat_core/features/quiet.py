"""Keep COLMAP from writing its log to the terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

import pycolmap


@contextmanager
def quiet_colmap() -> Iterator[None]:
    """Let COLMAP write errors only, for as long as the block lasts.

    Its level is one for the whole process: it is put back, so that a user's own choice stays.
    """
    before = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = max(before, int(pycolmap.logging.Level.ERROR))
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = before
