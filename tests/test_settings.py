"""Reading city.toml: what is right, what is wrong, and what the message says."""

import importlib.util
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from citysplat_core.errors import AreaError, ConfigError
from citysplat_core.settings import CitySettings, FeatureSettings, MatchingSettings, load_city
from citysplat_core.storage import settings_dict

REPOSITORY = Path(__file__).parents[1]
MINIMAL = """
name = "Lund"
area = "13.19,55.69,13.21,55.71"

[frame]
origin_lon = 13.2
origin_lat = 55.7
"""
SECTIONS = {
    name: info.annotation
    for name, info in CitySettings.model_fields.items()
    if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)
}


def city_file(tmp_path, text=MINIMAL):
    path = tmp_path / "city.toml"
    path.write_text(text)
    return path


def is_machine(info) -> bool:
    return bool(isinstance(info.json_schema_extra, dict) and info.json_schema_extra.get("machine"))


def test_a_minimal_file_has_defaults_for_all_the_rest(tmp_path):
    city = load_city(city_file(tmp_path))
    assert city.settings.name == "Lund"
    assert city.settings.splat == CitySettings.model_fields["splat"].default
    assert city.root == tmp_path
    assert city.area().contains([13.2], [55.7])[0]
    assert city.frame().enu(13.2, 55.7, 0.0) == pytest.approx([0, 0, 0], abs=1e-8)


def test_a_folder_stands_for_its_city_file(tmp_path):
    city_file(tmp_path)
    assert load_city(tmp_path).file == tmp_path / "city.toml"


@pytest.mark.parametrize("name", ["city.toml", "nowhere/city.toml"])
def test_a_missing_file_names_the_command_that_makes_one(tmp_path, name):
    with pytest.raises(ConfigError, match=r"city\.toml does not exist.*citysplat init"):
        load_city(tmp_path / name)


@pytest.mark.parametrize("text", ["name = \n", "[frame\n", "name = 'a'\nname = 'b'\n"])
def test_what_is_not_toml_is_named_with_its_line(tmp_path, text):
    with pytest.raises(ConfigError, match=r"is not TOML: .*line \d"):
        load_city(city_file(tmp_path, text))


def test_a_file_of_another_encoding_is_not_toml(tmp_path):
    path = tmp_path / "city.toml"
    path.write_bytes("name = 'Malmö'".encode("latin-1"))
    with pytest.raises(ConfigError, match="is not TOML"):
        load_city(path)


@pytest.mark.parametrize(
    ("addition", "message"),
    [
        ("[splat]\niteratons = 5", r"splat\.iteratons = 5: Extra inputs are not permitted"),
        ("[splats]\niterations = 5", r"splats = .*Extra inputs"),
        ("[splat]\niterations = 'many'", r"splat\.iterations = 'many'.*valid integer"),
        ("[splat]\niterations = 900.5", r"splat\.iterations = 900\.5"),
        ("[splat]\niterations = 0", r"splat\.iterations = 0.*greater than or equal to 10"),
        ("[boxes]\nfringe_width_m = nan", r"boxes\.fringe_width_m"),
        ("[boxes]\nfringe_width_m = -3", r"boxes\.fringe_width_m = -3"),
        ("[source]\nkind = 'flickr'", r"source\.kind = 'flickr'.*'folder' or 'panoramax'"),
        ("[photos]\nsize_px = 1000", r"photos\.size_px = 1000"),
        ("splat = 3", r"splat"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_seen(tmp_path, addition, message):
    text = f"{addition}\n{MINIMAL}" if "[" not in addition else f"{MINIMAL}\n{addition}"
    with pytest.raises(ConfigError, match=message):
        load_city(city_file(tmp_path, text))


def test_all_wrong_values_are_named_at_once(tmp_path):
    text = f"{MINIMAL}\n[splat]\niterations = 1\n[photos]\nsize_px = 3\nunknown = 1"
    with pytest.raises(ConfigError, match=r"has 3 wrong values: .*; .*; "):
        load_city(city_file(tmp_path, text))


@pytest.mark.parametrize("key", ["name", "area", "frame"])
def test_what_has_no_default_must_be_given(tmp_path, key):
    lines = [line for line in MINIMAL.splitlines() if not line.startswith(key)]
    if key == "frame":
        lines = [line for line in lines if not line.startswith(("[", "origin"))]
    with pytest.raises(ConfigError, match=rf"{key} is missing"):
        load_city(city_file(tmp_path, "\n".join(lines)))


@pytest.mark.parametrize("name", ["", "../up", "a/b", "x" * 65])
def test_a_name_that_cannot_be_a_name_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="name = "):
        load_city(city_file(tmp_path, MINIMAL.replace('"Lund"', f'"{name}"')))


def test_an_area_file_that_is_missing_is_named_when_the_area_is_read(tmp_path):
    text = MINIMAL.replace("13.19,55.69,13.21,55.71", "area.geojson")
    city = load_city(city_file(tmp_path, text))
    with pytest.raises(AreaError, match=r"area\.geojson does not exist"):
        city.area()


def test_settings_cannot_be_changed_after_reading(tmp_path):
    settings = load_city(city_file(tmp_path)).settings
    with pytest.raises(ValidationError, match="frozen"):
        settings.splat.iterations = 3


@pytest.mark.parametrize("section", sorted(SECTIONS))
def test_every_setting_says_what_it_is(section):
    for name, info in SECTIONS[section].model_fields.items():
        assert info.description, f"{section}.{name} has no docstring"
        assert section == "frame" or not info.is_required(), f"{section}.{name} has no default"


@pytest.mark.parametrize("section", sorted(SECTIONS))
def test_a_fingerprint_covers_every_setting_but_those_of_the_machine(section):
    values = {"origin_lon": 1.0, "origin_lat": 2.0} if section == "frame" else {}
    covered = set(settings_dict(SECTIONS[section](**values)))
    fields = SECTIONS[section].model_fields
    assert covered == {name for name, info in fields.items() if not is_machine(info)}


def test_only_addresses_rates_and_schedules_belong_to_the_machine():
    """A field of any other section changes results, so it must change fingerprints."""
    machine = {
        section
        for section, model in SECTIONS.items()
        for info in model.model_fields.values()
        if is_machine(info)
    }
    assert machine == {"source", "panoramas", "features", "weights", "backup", "schedule"}
    panoramas = SECTIONS["panoramas"].model_fields
    assert [name for name, info in panoramas.items() if is_machine(info)] == ["keep_downloads"]
    for name in ("kind", "path", "positions_csv"):
        assert not is_machine(SECTIONS["source"].model_fields[name])


def test_the_page_of_settings_is_the_code():
    script = REPOSITORY / "scripts" / "settings_doc.py"
    spec = importlib.util.spec_from_file_location("settings_doc", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = (REPOSITORY / "docs" / "settings.md").read_text(encoding="utf-8")
    assert written == module.settings_doc(), "run `make settings-doc`"


@pytest.mark.parametrize(
    "name", ["ALIKED_N16ROT", "aliked", "LOMA_B", "SIFT_LIGHTGLUE", "lightglue", "sift-lightglue"]
)
def test_what_would_end_the_process_is_refused_before_any_work(name):
    with pytest.raises(ValidationError, match=r"without ONNX.*expected one of sift, xfeat, hybrid"):
        FeatureSettings(backend=name)


@pytest.mark.parametrize("name", ["surf", "", "hloc", "hloc:", "sift:fast", "xfeat:large"])
def test_an_unknown_feature_backend_is_refused_with_the_valid_names(name):
    with pytest.raises(ValidationError, match="expected one of sift, xfeat, hybrid, hloc:NAME"):
        FeatureSettings(backend=name)


def test_an_unknown_matcher_is_refused_with_the_valid_names():
    with pytest.raises(ValidationError, match=r"auto\|sift\|lighterglue\|hloc"):
        MatchingSettings(matcher="lightglue")
