"""Reading the expiry of a photo address."""

import re

_EXPIRY = re.compile(r"[?&]oe=([0-9A-Fa-f]+)(?:[&#]|$)")
"""Looked for as text: taking each of a million addresses apart costs as much as receiving one."""


def expires_at(url: str) -> float | None:
    """Return when a photo address stops working, seconds since 1970.

    Args:
        url: An address with ``oe``, the expiry as hexadecimal Unix time.

    Returns:
        The time, or None if the address does not say.
    """
    found = _EXPIRY.search(url)
    return float(int(found[1], 16)) if found else None
