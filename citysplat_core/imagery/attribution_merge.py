"""The credits of several boxes, said once."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from citysplat_core.storage import published

_COUNT = re.compile(r"\b(\d+) photos\b")
_PLACE = "{n} photos"
_SEQUENCE = re.compile(r"^- sequence \[([^\]]*)\]")


@dataclass(slots=True)
class _Entry:
    """A line of a list with an open count."""

    line: str
    n_photos: int = 0


@dataclass(slots=True)
class _Section:
    """What the pages say of one source: paragraphs with open counts, and lists behind them."""

    paragraphs: tuple[str, ...]
    n_photos: int = 0
    lists: dict[int, dict[str, _Entry]] = field(default_factory=dict)

    def text(self) -> str:
        parts = []
        for number, paragraph in enumerate(self.paragraphs):
            parts.append(paragraph.replace(_PLACE, f"{self.n_photos} photos"))
            if number in self.lists:
                entries = sorted(self.lists[number].items())
                lines = (e.line.replace(_PLACE, f"{e.n_photos} photos") for _, e in entries)
                parts.append("\n".join(lines))
        return "\n\n".join(parts)


def merge_attributions(files: Iterable[Path], *, title: str) -> str:
    """Join the attribution pages of the boxes into one.

    Args:
        files: The boxes' ``ATTRIBUTION.md``, in the order of the boxes.
        title: Name of the city or box, for the heading.

    Returns:
        Markdown: every source's text once, every creator and every sequence once, with the sums of
        their photos.
    """
    sections: dict[tuple[str, ...], _Section] = {}
    for file in files:
        for page in re.split(r"^# .*$", file.read_text(encoding="utf-8"), flags=re.MULTILINE):
            if page.strip():
                _add(sections, page)
    parts = [f"# Attribution of {title}", *(section.text() for section in sections.values())]
    return "\n\n".join(parts) + "\n"


def write_merged(files: Iterable[Path], out: Path, *, title: str) -> None:
    """Write ``ATTRIBUTION.md`` for what is made from the photos of some boxes.

    Args:
        files: The boxes' ``ATTRIBUTION.md``; those that do not exist are left out.
        out: The folder it goes to.
        title: Name of the city or box, for the heading.

    Raises:
        StorageError: The disk is full.
    """
    text = merge_attributions([file for file in files if file.is_file()], title=title)
    with published(out / "ATTRIBUTION.md") as stream:
        stream.write(text.encode())


def _add(sections: dict[tuple[str, ...], _Section], page: str) -> None:
    paragraphs: list[str] = []
    lists: dict[int, list[str]] = {}
    n_photos = 0
    for block in re.split(r"\n\s*\n", page.strip()):
        if block.startswith("- "):
            lists.setdefault(len(paragraphs) - 1, []).extend(block.splitlines())
        else:
            n_photos += _sum(block)
            paragraphs.append(_COUNT.sub(_PLACE, block))
    section = sections.setdefault(tuple(paragraphs), _Section(tuple(paragraphs)))
    section.n_photos += n_photos
    for number, lines in lists.items():
        entries = section.lists.setdefault(number, {})
        for line in lines:
            sequence = _SEQUENCE.match(line)
            # Boxes link to different photos of one sequence: one link is enough.
            text = _COUNT.sub(_PLACE, line)
            entry = entries.setdefault(sequence[0] if sequence else text, _Entry(text))
            entry.n_photos += _sum(line)


def _sum(text: str) -> int:
    return sum(int(n) for n in _COUNT.findall(text))
