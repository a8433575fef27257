"""Reading the expiry of a photo address."""

from urllib.parse import parse_qs, urlsplit


def expires_at(url: str) -> float | None:
    """Return when a photo address stops working, seconds since 1970.

    Args:
        url: An address with ``oe``, the expiry as hexadecimal Unix time.

    Returns:
        The time, or None if the address does not say.
    """
    values = parse_qs(urlsplit(url).query).get("oe", [])
    try:
        return float(int(values[0], 16)) if values else None
    except ValueError:
        return None
