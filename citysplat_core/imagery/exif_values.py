"""Reading single EXIF values, which may be of any type and any nonsense."""

from typing import Any


def number(value: Any) -> float | None:  # noqa: ANN401 - EXIF holds any type
    """Return a number, or None for what is none or no size that a camera means."""
    try:
        found = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return found if abs(found) < 1e12 else None  # also drops NaN and infinity


def text(value: object) -> str | None:
    """Return text without padding, or None if there is none."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    found = value.replace("\x00", "").strip() if isinstance(value, str) else ""
    return found or None
