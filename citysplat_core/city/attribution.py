"""Who took the photos, said once for the whole city."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_MAPILLARY = "Photos from Mapillary and its contributors, CC BY-SA 4.0"
_FOLDER = "Photos supplied by the user"
_UNKNOWN = "Photos: see the credits"
_COUNT = re.compile(r"\b(\d+) photos\b")
_PLACE = "{n} photos"


@dataclass(slots=True)
class _Section:
    """What the pages say of one source: paragraphs with open counts, and a list of names."""

    paragraphs: list[str]
    n_photos: int = 0
    entries: Counter[str] = field(default_factory=Counter)

    def text(self) -> str:
        listed = "\n".join(entry.replace(_PLACE, f"{n} photos") for entry, n in self._sorted())
        parts = [p.replace(_PLACE, f"{self.n_photos} photos") for p in self.paragraphs]
        return "\n\n".join(part or listed for part in parts)

    def _sorted(self) -> list[tuple[str, int]]:
        return sorted(self.entries.items())


def merge_attributions(files: Iterable[Path], *, title: str) -> str:
    """Join the attribution pages of the boxes into one.

    Args:
        files: The boxes' ``ATTRIBUTION.md``, in the order of the boxes.
        title: Name of the city, for the heading.

    Returns:
        Markdown: every source's text once, every creator once, with the sums of their photos.
    """
    sections: dict[tuple[str, ...], _Section] = {}
    for file in files:
        for page in re.split(r"^# .*$", file.read_text(encoding="utf-8"), flags=re.MULTILINE):
            if page.strip():
                _add(sections, page)
    parts = [f"# Attribution of {title}", *(section.text() for section in sections.values())]
    return "\n\n".join(parts) + "\n"


def _add(sections: dict[tuple[str, ...], _Section], page: str) -> None:
    paragraphs, n_photos, entries = [], 0, Counter[str]()
    for block in re.split(r"\n\s*\n", page.strip()):
        if block.startswith("- "):
            for line in block.splitlines():
                entries[_COUNT.sub(_PLACE, line)] += _sum(line)
            paragraphs.append("")  # the place of the list
        else:
            n_photos += _sum(block)
            paragraphs.append(_COUNT.sub(_PLACE, block))
    key = tuple(paragraph for paragraph in paragraphs if paragraph)
    section = sections.setdefault(key, _Section(paragraphs))
    if "" in paragraphs and "" not in section.paragraphs:
        section.paragraphs = paragraphs
    section.n_photos += n_photos
    section.entries += entries


def _sum(text: str) -> int:
    return sum(int(n) for n in _COUNT.findall(text)) or 1


def credit_line(merged: str) -> str:
    """Give the one line that the page always shows, from the merged attribution."""
    sources = (("mapillary", _MAPILLARY), (_FOLDER.lower(), _FOLDER))
    lines = [line for word, line in sources if word in merged.lower()]
    return "; ".join(lines) if lines else _UNKNOWN
