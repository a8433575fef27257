"""Write docs/settings.md from the settings themselves; ``--check`` only says whether it is current."""

import sys
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from citysplat_core.settings import CitySettings

TARGET = Path(__file__).parents[1] / "docs" / "settings.md"
HEAD = """\
# Settings

All of `city.toml`, written by `scripts/settings_doc.py` from the code. A setting marked *machine* changes
how fast a result comes and not the result, so changing it makes nothing stale. Changing any other makes
stale exactly the assets that read its section.
"""
READ_BY = {
    "frame": "box_plan, city_alignment",
    "source": "tile_ledger, image_catalog",
    "photos": "box_images",
    "boxes": "box_plan",
    "features": "box_features",
    "matching": "box_matches, fringe_matches",
    "mapping": "sparse_model",
    "align": "city_alignment",
    "splat": "splat",
    "tiles": "city_tiles",
    "backup": "nothing: it only says where copies go",
    "schedule": "nothing: it only says when to look",
}


def table_of(model: type[BaseModel], skip: set[str]) -> list[str]:
    """Give the Markdown table of a settings model."""
    lines = ["| key | default | meaning |", "| --- | --- | --- |"]
    for name, info in model.model_fields.items():
        if name in skip:
            continue
        is_needed = info.default is PydanticUndefined
        default = "*required*" if is_needed else f"`{info.default!r}`"
        is_machine = isinstance(info.json_schema_extra, dict) and info.json_schema_extra.get(
            "machine"
        )
        meaning = " ".join((info.description or "").split()).replace("|", "\\|")
        lines.append(f"| `{name}` | {default} | {meaning}{' *machine*' if is_machine else ''} |")
    return lines


def document() -> str:
    """Give the whole page."""
    lines = [HEAD, "## Top of the file", "", *table_of(CitySettings, set(READ_BY))]
    for name, read_by in READ_BY.items():
        section = CitySettings.model_fields[name].annotation
        lines += ["", f"## [{name}]", "", f"Read by: {read_by}.", "", *table_of(section, set())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    text = document()
    if "--check" in sys.argv:
        is_current = TARGET.is_file() and TARGET.read_text() == text
        sys.exit(0 if is_current else f"{TARGET} is old: run scripts/settings_doc.py")
    TARGET.write_text(text)
    print(f"Wrote {TARGET}")
