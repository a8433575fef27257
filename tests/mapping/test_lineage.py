import json

import pandas as pd
import pytest

from citysplat_core.mapping.lineage import Lineage, pairs_of, read_earlier, recipe_of, write_lineage
from citysplat_core.settings import MappingSettings, PriorSettings
from citysplat_core.storage import ArtifactStore, StepReport

BEGINNING = Lineage(made_by="solved", recipe="r", strategy="incremental", pixel_error=0.4)


@pytest.fixture
def version(tmp_path, make_street):
    """A version of a box with one component, written as the step does."""
    model = make_street(n_photos=5).model()
    rows = pd.DataFrame({"colmap_id": [100, 101, 102], "component": [0, 0, -1]}).assign(
        east_m=1.0, north_m=2.0, up_m=3.0, gps_residual_m=0.5
    )

    def build(out, _):
        rows.to_parquet(out / "images.parquet")
        write_lineage(out, BEGINNING, rows, frozenset({(100, 101)}))
        (out / "components" / "0").mkdir(parents=True)
        model.write(out / "components" / "0")
        return StepReport()

    return (
        ArtifactStore(tmp_path)
        .produce("sparse_model", "030", step_version="1", settings={}, inputs={}, build=build)
        .path
    )


def test_what_was_written_is_read(version):
    found, because = read_earlier(version, "030")
    assert because == ""
    assert found.lineage == BEGINNING
    assert found.pairs == {(100, 101)}
    assert found.components == (0,)
    assert found.registered == {100, 101}
    assert found.model(0).num_reg_images() == 5
    assert found.fingerprint == version.name


def test_the_model_of_a_larger_box_is_no_earlier_version(version):
    assert read_earlier(version, "0301") == (None, "")
    assert read_earlier(None, "030") == (None, "")


@pytest.mark.parametrize(
    "name", ["lineage.json", "solved/pairs.parquet", "components/0/images.bin"]
)
def test_a_version_with_a_damaged_file_is_not_used(version, name, caplog):
    (version / name).write_bytes(b"")
    assert read_earlier(version, "030") == (None, "the version before is damaged")
    assert f"{name} is damaged" in caplog.text


def test_a_version_from_before_lineages_is_solved_without_a_word(version):
    (version / "lineage.json").unlink()
    assert read_earlier(version, "030") == (None, "")


def test_what_makes_models_is_in_the_recipe():
    usual = recipe_of(MappingSettings(), None, "2")
    assert usual == recipe_of(MappingSettings(), PriorSettings(), "2")
    others = {
        recipe_of(MappingSettings(seed=1), None, "2"),
        recipe_of(MappingSettings(), PriorSettings(jump_m=9), "2"),
        recipe_of(MappingSettings(), None, "3"),
    }
    assert len(others | {usual}) == 4


def test_pairs_stand_once():
    assert pairs_of({1: [2, 3], 2: [1], 3: [1]}) == {(1, 2), (1, 3)}


def test_an_unknown_pixel_error_survives_json(tmp_path):
    write_lineage(
        tmp_path,
        Lineage(made_by="solved", recipe="r"),
        pd.DataFrame(columns=["colmap_id"]),
        frozenset(),
    )
    assert json.loads((tmp_path / "lineage.json").read_text())["pixel_error"] is None
    assert list(pd.read_parquet(tmp_path / "solved" / "pairs.parquet").columns) == [
        "colmap_id_a",
        "colmap_id_b",
    ]
