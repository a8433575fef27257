from citysplat_core.settings import City, CitySettings
from citysplat_dagster.inputs import file_version, mask_model_of
from citysplat_dagster.recipes import RECIPES

FRAME = {"origin_lon": 8.5, "origin_lat": 47.3}


def city(tmp_path, **masks):
    values = {"name": "c", "area": "8.5,47.3,8.6,47.4", "frame": FRAME, "masks": masks}
    return City(file=tmp_path / "city.toml", settings=CitySettings.model_validate(values))


def versions(tmp_path, **masks):
    settings = city(tmp_path, **masks).settings
    return {name: recipe.code_version(settings) for name, recipe in RECIPES.items()}


def test_mask_settings_are_part_of_the_photos_recipe_and_of_no_other(tmp_path):
    before, after = versions(tmp_path), versions(tmp_path, sources=["sequence", "detections"])
    assert {name for name in before if before[name] != after[name]} == {"box_images"}


def test_the_order_of_mask_sources_makes_nothing_stale(tmp_path):
    one = versions(tmp_path, sources=["sequence", "detections"])
    assert one == versions(tmp_path, sources=["detections", "sequence"])


def test_another_network_under_the_same_name_is_another_input(tmp_path):
    made = city(tmp_path, sources=["model"], model_file="net.onnx", model_classes=[1])
    file = mask_model_of(made)
    assert file == tmp_path / "net.onnx"
    assert file_version("mask_model", file) == {}
    file.write_bytes(b"one")
    first = file_version("mask_model", file)
    file.write_bytes(b"two")
    assert list(first) == ["mask_model"]
    assert first != file_version("mask_model", file)


def test_a_network_that_no_source_asks_for_is_no_input(tmp_path):
    assert mask_model_of(city(tmp_path, model_file="net.onnx")) is None
