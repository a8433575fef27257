"""The command line: help, clear errors, and what init writes."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from citysplat_core.settings import load_city
from citysplat_dagster.cli import main

AREA = "13.19,55.69,13.20,55.70"


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)


@pytest.mark.parametrize(
    "command",
    ["init", "run", "status", "summary", "report", "view", "demo", "dev", "backup", "restore"],
)
def test_every_command_explains_itself(command: str) -> None:
    result = call(command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_init_writes_a_city_that_loads(tmp_path: Path) -> None:
    result = call("init", tmp_path / "lund", "--area", AREA)
    assert result.exit_code == 0
    assert "MAPILLARY_TOKEN" in result.output
    city = load_city(tmp_path / "lund")
    assert city.settings.name == "lund"
    assert city.settings.source.kind == "mapillary"
    assert city.area().polygon.bounds == (13.19, 55.69, 13.2, 55.7)
    assert city.settings.frame.origin_lon == pytest.approx(13.195)


def test_init_takes_a_folder_of_photos(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    result = call("init", tmp_path / "c", "--area", AREA, "--photos", tmp_path / "photos")
    assert result.exit_code == 0
    assert load_city(tmp_path / "c").settings.source.kind == "folder"


def test_init_takes_tracks_of_a_folder_of_photos(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "walk.gpx").write_text("<gpx/>")
    tracks = ["--photos", tmp_path / "photos", "--gpx", tmp_path / "walk.gpx"]
    assert call("init", tmp_path / "c", "--area", AREA, *tracks).exit_code == 0
    source = load_city(tmp_path / "c").settings.source
    assert source.gpx == (str(tmp_path / "walk.gpx"),)


def test_init_takes_panoramax_and_asks_for_no_token(tmp_path: Path) -> None:
    result = call("init", tmp_path / "c", "--area", AREA, "--panoramax")
    assert result.exit_code == 0
    assert "TOKEN" not in result.output
    assert load_city(tmp_path / "c").settings.source.kind == "panoramax"


def test_init_never_overwrites(tmp_path: Path) -> None:
    assert call("init", tmp_path, "--area", AREA).exit_code == 0
    before = (tmp_path / "city.toml").read_bytes()
    result = call("init", tmp_path, "--area", AREA)
    assert result.exit_code == 2
    assert "is there already" in result.output
    assert (tmp_path / "city.toml").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--area", AREA, "--gpx", "walk.gpx"], "--gpx without --photos"),
        (["--area", AREA, "--photos", ".", "--panoramax"], "one source of photos"),
        (["--area", "1,2,3"], "four numbers west,south,east,north"),
        (["--area", "20,2,10,4"], "west < east"),
        (["--area", "nothing.geojson"], "does not exist"),
        (["--area", AREA, "--photos", "nowhere"], "nowhere does not exist"),
        (["--area", AREA, "--positions", "x.csv"], "--positions without --photos"),
    ],
)
def test_init_refuses_what_cannot_work(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = call("init", tmp_path / "c", *arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("command", ["run", "status", "summary", "report", "view", "dev", "backup"])
def test_a_missing_city_is_one_clear_line(tmp_path: Path, command: str) -> None:
    result = call(command, "--city", tmp_path)
    assert result.exit_code == 2
    assert "city.toml does not exist" in result.output
    assert "citysplat init" in result.output
    assert "Traceback" not in result.output


def test_a_malformed_city_names_every_wrong_key(tmp_path: Path) -> None:
    assert call("init", tmp_path, "--area", AREA).exit_code == 0
    with (tmp_path / "city.toml").open("a") as stream:
        stream.write('[splat]\niterations = "many"\n[boxes]\nmax_imagse = 3\n')
    result = call("run", "--city", tmp_path)
    assert result.exit_code == 2
    assert "2 wrong values" in result.output
    assert "splat.iterations = 'many'" in result.output
    assert "boxes.max_imagse" in result.output


def test_a_backup_without_a_target_says_what_to_set(tmp_path: Path) -> None:
    assert call("init", tmp_path, "--area", AREA).exit_code == 0
    result = call("backup", "--city", tmp_path)
    assert result.exit_code == 2
    assert "backup.endpoint_url" in result.output
    assert "CITYSPLAT_S3_KEY_ID" in result.output


def test_status_of_a_new_city_is_an_empty_table(tmp_path: Path) -> None:
    assert call("init", tmp_path, "--area", AREA).exit_code == 0
    result = call("status", "--city", tmp_path)
    assert result.exit_code == 0
    assert "features" in result.output


def test_the_summary_of_a_new_city_says_null_and_not_zero(tmp_path: Path) -> None:
    import json

    assert call("init", tmp_path, "--area", AREA).exit_code == 0
    result = call("summary", "--city", tmp_path, "--json")
    values = json.loads(result.output)
    assert values["images_found"] is None
    assert values["psnr_db"] is None
    assert values["stages"] == []
