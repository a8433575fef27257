"""The docs: links lead somewhere, commands and variables are those of the code."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CHANGELOG.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
    *sorted((REPOSITORY / "docker").rglob("*.md")),
]
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
