"""The text that says whose photos these are and under which licence."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

_MAPILLARY = """# Attribution

Photos from [Mapillary](https://www.mapillary.com), licensed
[CC BY-SA 4.0](https://creativecommons.org/licenses/by-sa/4.0/), by:

{creators}

Models, splats and pictures made from these photos are adapted material: whoever shares them gives
this credit, says that changes were made, and shares them under CC BY-SA 4.0 or a compatible
licence. Mapillary blurs faces and licence plates; an image that is deleted there must not be
published again.
"""
_FOLDER = """# Attribution

Photos supplied by the user ({n_photos} photos). Their rights are the user's to know; no licence is
stated here.
{creators}"""


def attribution_text(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the credits of a set of photos as Markdown.

    Args:
        rows: Catalog rows of the photos in use, with ``source``, ``creator``, ``creator_id``.

    Returns:
        One section for each source that is present; the creators with their numbers of photos,
        sorted by name.
    """
    used = list(rows)
    mapillary = [row for row in used if row["source"] == "mapillary"]
    folder = [row for row in used if row["source"] == "folder"]
    sections = []
    if mapillary:
        sections.append(_MAPILLARY.format(creators=_mapillary_creators(mapillary)))
    if folder or not sections:
        names = _counted(str(row["creator"]) for row in folder if row["creator"])
        listed = f"\n{names}\n" if names else ""
        sections.append(_FOLDER.format(n_photos=len(folder), creators=listed))
    return "\n".join(sections)


def _mapillary_creators(rows: list[Mapping[str, Any]]) -> str:
    def name(row: Mapping[str, Any]) -> str:
        creator = row["creator"]
        if creator:
            return f"[@{creator}](https://www.mapillary.com/app/user/{creator})"
        return f"user {row['creator_id']}" if row["creator_id"] else "an unnamed user"

    return _counted(name(row) for row in rows)


def _counted(names: Iterable[str]) -> str:
    counts = Counter(names)
    return "\n".join(f"- {name}: {counts[name]} photos" for name in sorted(counts))
