"""The one line of credits that the page always shows."""

_SOURCES = (
    ("mapillary", "Photos from Mapillary and its contributors, CC BY-SA 4.0"),
    ("[panoramax]", "Photos from Panoramax and its contributors"),
    ("photos supplied by the user", "Photos supplied by the user"),
)
_UNKNOWN = "Photos: see the credits"


def credit_line(merged: str) -> str:
    """Give the one line that the page always shows, from the merged attribution."""
    lines = [line for word, line in _SOURCES if word in merged.lower()]
    return "; ".join(lines) if lines else _UNKNOWN
