"""Write docs/settings.md from the settings models, so that the page cannot be wrong.

Usage: ``python scripts/settings_doc.py``; with ``--check`` it only says whether it is current.
"""

import json
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from citysplat_core.settings import CitySettings, FrameSettings
from citysplat_dagster.recipes import RECIPES

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
_HEAD = """# Settings

Everything that `city.toml` may hold. A key that is not listed here is refused.
Written by `scripts/settings_doc.py` from the code.

Settings marked *machine* change how fast a result comes or where it goes, not the result: changing
them makes nothing stale. Any other setting is part of the fingerprints of the artifacts that read
it, and changing it remakes those and what follows.

"""


def _choices(info: FieldInfo) -> str:
    if get_origin(info.annotation) is Literal:
        return "one of " + ", ".join(f"`{json.dumps(c)}`" for c in get_args(info.annotation))
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = [
        f"{sign} {getattr(limit, name)}"
        for limit in info.metadata
        for name, sign in signs.items()
        if getattr(limit, name, None) is not None
    ]
    return ", ".join(limits)


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "**required**"
    value: Any = info.default
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value)}`"


def _row(name: str, info: FieldInfo) -> str:
    extra = info.json_schema_extra
    machine = isinstance(extra, dict) and extra.get("machine")
    text = " ".join((info.description or "").split()).replace("``", "`").replace("|", "\\|")
    return (
        f"| `{name}` | {_default(info)} | {_choices(info)} "
        f"| {text}{' *machine*' if machine else ''} |"
    )


def _table(fields: dict[str, FieldInfo]) -> str:
    rows = [_row(name, info) for name, info in fields.items()]
    return "\n".join(["| key | default | allowed | what it is |", "|---|---|---|---|", *rows])


def _read_by(section: str) -> str:
    """Ask the recipes which assets read a section."""
    settings = CitySettings(
        name="x", area="0,0,1,1", frame=FrameSettings(origin_lon=0.0, origin_lat=0.0)
    )
    assets = [
        f"`{name}`" for name, recipe in RECIPES.items() if recipe.reads(settings).get(section)
    ]
    return f"Read by {', '.join(assets)}." if assets else "No artifact depends on it."


def settings_doc() -> str:
    """Give the whole page as Markdown."""
    fields = CitySettings.model_fields
    sections = {
        name: info.annotation
        for name, info in fields.items()
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)
    }
    parts = ["## Top level\n\n" + _table({k: v for k, v in fields.items() if k not in sections})]
    for name, model in sections.items():
        title = " ".join((model.__doc__ or "").split())
        parts.append(f"## `[{name}]`\n\n{title} {_read_by(name)}\n\n{_table(model.model_fields)}")
    return _HEAD + "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    text = settings_doc()
    if "--check" in sys.argv:
        is_current = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text
        sys.exit(0 if is_current else f"{PAGE} is old: run scripts/settings_doc.py")
    PAGE.write_text(text, encoding="utf-8")
    print(f"{PAGE} written")
