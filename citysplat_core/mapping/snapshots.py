"""What a mapper leaves on disk while it runs, so that a killed run is taken up and not repeated."""

import logging
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pycolmap

log = logging.getLogger(__name__)

_KEPT_SNAPSHOTS: Final = 2
_SPENT: Final = "spent_s.txt"


class Snapshots:
    """Finished models of a run, and snapshots of the model that grows.

    A folder under ``finished`` or ``whole`` is complete, as it got there by one renaming; COLMAP
    writes its snapshots to ``growing``, where a kill may leave half a one. Each holds the time that
    was spent on all until then: work that a kill has lost counts for nothing.

    Attributes:
        growing: Where COLMAP writes snapshots, a folder named by milliseconds each.
    """

    def __init__(self, folder: Path) -> None:
        """Take up a folder, which need not exist; what a kill left half written is removed."""
        self.growing = folder / "growing"
        self._whole = folder / "whole"
        self._finished = folder / "finished"
        self._part = folder / "part"
        for half in (self.growing, self._part):
            shutil.rmtree(half, ignore_errors=True)
        for kept in (self.growing, self._whole, self._finished):
            kept.mkdir(parents=True, exist_ok=True)

    def finished(self) -> list[pycolmap.Reconstruction]:
        """Give the models that an earlier run had finished, in the order of their making."""
        folders = sorted(self._finished.iterdir(), key=lambda path: int(path.name))
        models = [_read(folder) for folder in folders]
        return [model for model in models if model is not None]

    def newest(self, finished: Iterable[pycolmap.Reconstruction]) -> Path | None:
        """Give the newest readable snapshot of a model that is not finished; None if there is none.

        Args:
            finished: What ``finished`` gave. A kill between the end of a model and the removal of
                its snapshots leaves these behind; they are told by their photos and passed over.
        """
        taken = {i for model in finished for i in model.reg_image_ids()}
        for folder in sorted(self._whole.iterdir(), key=lambda path: -int(path.name)):
            model = _read(folder)
            ids = set(model.reg_image_ids()) if model is not None else set()
            if len(ids - taken) > len(ids) / 2:
                return folder
        return None

    def spent_s(self) -> float:
        """Give the time that was spent on what is kept, seconds; 0 if nothing is."""
        folders = [*self._finished.iterdir(), *self._whole.iterdir()]
        return max((_spent_s(folder) for folder in folders), default=0.0)

    def settle(self, spent_s: float) -> None:
        """Take the snapshots in ``growing`` for whole; call only while COLMAP writes none.

        Args:
            spent_s: Time spent so far, seconds.
        """
        for folder in sorted(self.growing.iterdir()):
            (folder / _SPENT).write_text(f"{spent_s:.3f}")
            folder.rename(self._whole / folder.name)
        whole = sorted(self._whole.iterdir(), key=lambda path: -int(path.name))
        for old in whole[_KEPT_SNAPSHOTS:]:
            shutil.rmtree(old)

    def finish(self, model: pycolmap.Reconstruction, spent_s: float) -> None:
        """Store a finished model.

        Args:
            model: The model.
            spent_s: Time spent so far, seconds.
        """
        shutil.rmtree(self._part, ignore_errors=True)
        self._part.mkdir()
        model.write(self._part)
        (self._part / _SPENT).write_text(f"{spent_s:.3f}")
        self._part.rename(self._finished / str(len(list(self._finished.iterdir()))))

    def forget(self) -> None:
        """Remove the snapshots: the model that they were of is finished or given up."""
        for folder in (self.growing, self._whole):
            shutil.rmtree(folder)
            folder.mkdir()


def _spent_s(folder: Path) -> float:
    try:
        return float((folder / _SPENT).read_text())
    except (FileNotFoundError, ValueError):
        return 0.0  # a damaged folder; what of it can be read is used all the same


def _read(folder: Path) -> pycolmap.Reconstruction | None:
    try:
        return pycolmap.Reconstruction(folder)
    except (ValueError, RuntimeError, IndexError) as error:
        log.warning("%s is damaged and not used: %s", folder, error)
        return None
