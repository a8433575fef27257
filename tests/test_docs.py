"""The docs: links lead somewhere, commands and variables are those of the code."""

import ast
import re
import textwrap
import tomllib
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from pathlib import Path

import pytest
from pydantic import BaseModel

from citysplat_core.settings import CitySettings

REPOSITORY = Path(__file__).parents[1]
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CHANGELOG.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
    *sorted((REPOSITORY / "docker").rglob("*.md")),
]
DIGEST = f'"{"0" * 64}"'  # stands for "..." in an example
ROOMS = ("features", "mapping", "matching")
ENDINGS = ("csv", "db", "geojson", "gpkg", "h5", "jpg", "json", "parquet", "ply", "png", "toml")
ANCHOR = re.compile(r"\]\(([^)#\s]*)#([^)]*)\)")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def name_of(page: Path) -> str:
    return page.relative_to(REPOSITORY).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_lead_to_files(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{name_of(page)} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_targets_that_are_named_exist(page):
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = set(
        re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_options_that_are_named_exist(page):
    from citysplat_dagster.cli import main

    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for command, rest in re.findall(r"citysplat ([a-z][a-z-]+)((?: +[^`\n#|]*)?)", text):
        if command not in main.commands:
            assert not rest.strip().startswith("--"), f"citysplat {command}{rest}"
            continue
        known = {option for param in main.commands[command].params for option in param.opts}
        for option in re.findall(r"(?<= )--[a-z-]+", rest):
            assert option in known, f"citysplat {command} has no {option}"


def test_every_command_is_in_the_changelog_and_has_help():
    from citysplat_dagster.cli import main

    text = (REPOSITORY / "CHANGELOG.md").read_text()
    for name, command in main.commands.items():
        assert f"`{name}`" in text or f"`citysplat {name}`" in text
        assert command.help, name


def test_every_exception_is_explained():
    from citysplat_core import errors

    page = (REPOSITORY / "docs" / "errors.md").read_text()
    for name in dir(errors):
        if name.endswith("Error"):
            assert f"`{name}`" in page, name


def headings_of(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def blocks_of(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(block) for block in found]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_into_a_page_lead_to_a_heading(page):
    for target, anchor in ANCHOR.findall(page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            there = page.parent / target if target else page
            assert anchor in headings_of(there), f"{name_of(page)} links to {target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_settings_in_examples_exist_and_hold_what_they_may_hold(page):
    origin = {"name": "doc", "area": "0,0,1,1", "frame": {"origin_lon": 0, "origin_lat": 0}}
    for block in blocks_of(page, "toml"):
        CitySettings.model_validate(origin | tomllib.loads(block.replace('"..."', DIGEST)))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_settings_that_are_named_exist(page):
    sections = {
        name: field.annotation.model_fields
        for name, field in CitySettings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for section, key in re.findall(r"`([a-z]+)\.([a-z0-9_]+)(?: = [^`]*)?`", text):
        is_other = find_spec(f"citysplat_core.{section}.{key}") if section in ROOMS else None
        is_other = is_other or key in ENDINGS or key in names_of_room(section)
        assert section not in sections or key in sections[section] or is_other, f"{section}.{key}"


def names_of_room(section: str) -> set[str]:
    return set(dir(import_module(f"citysplat_core.{section}"))) if section in ROOMS else set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_names_and_keywords_in_python_examples_exist(page):
    for block in blocks_of(page, "python"):
        tree, known = ast.parse(block), {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("citysplat"):
                module = import_module(node.module)
                known |= {alias.name: getattr(module, alias.name) for alias in node.names}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                told = known.get(node.func.id)
                names = [keyword.arg for keyword in node.keywords]
                if told is not None and names:
                    assert set(names) <= set(signature(told).parameters), node.func.id


def test_the_readme_leads_to_every_page():
    linked = set(LINK.findall((REPOSITORY / "README.md").read_text()))
    for page in (REPOSITORY / "docs").rglob("*.md"):
        assert name_of(page) in linked
