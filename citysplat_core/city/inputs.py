"""What is known of a box when the city is put together."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

BoxState = Literal["done", "skipped", "failed", "missing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxInputs:
    """The artifacts of one box; what is absent is None and never guessed.

    Attributes:
        key: The box's quadkey.
        state: ``done`` (it has a splat), ``skipped`` (nothing to give, with a reason), ``failed``
            (an error, with a reason) or ``missing`` (not made yet).
        reason: Why it is skipped or failed; empty otherwise.
        splat: Its ``splat`` artifact.
        sparse_model: Its ``sparse_model`` artifact.
        box_images: Its ``box_images`` artifact.
    """

    key: str
    state: BoxState
    reason: str = ""
    splat: Path | None = None
    sparse_model: Path | None = None
    box_images: Path | None = None
