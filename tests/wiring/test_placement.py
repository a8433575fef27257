import json

import pandas as pd
import pytest

from citysplat_core.mapping.adjusted import FOLDER, Adjusted, write_adjusted
from citysplat_core.mapping.tables import POSE_COLUMNS
from citysplat_dagster.inputs import placement


def component(box, number, east_m):
    return {"box": box, "component": number, "scale": 1.0, "rotation_wxyz": [1.0, 0.0, 0.0, 0.0],
            "translation_m": [east_m, 0.0, 0.0]}  # fmt: skip


def alignment(folder, components, adjusted=None, refused=""):
    """An alignment of which box `a` has the adjusted easts of photos of component 0."""
    (folder / FOLDER).mkdir(parents=True)
    value = {"version": 1, "components": components}
    (folder / "transforms.json").write_text(json.dumps(value))
    if adjusted is not None:
        rows = [dict.fromkeys(POSE_COLUMNS, 0.0) | {"east_m": e} for e in adjusted]
        starts = {f"start_{n}": 0.0 for n in ("east_m", "north_m", "up_m")}
        photos = pd.DataFrame(rows).assign(colmap_id=range(len(rows)), component=0, **starts)
        told = {"box": "a", "key": "k", "refused": refused, "lenses": {}, "models": {}}
        points = pd.DataFrame(columns=["component", "point3D_id", "east_m", "north_m", "up_m"])
        write_adjusted(folder / FOLDER, Adjusted(photos=photos, points=points, told=told))
    return folder


@pytest.fixture
def digest(tmp_path):
    made = iter(range(100))

    def of(*arguments, **more):
        return placement(alignment(tmp_path / str(next(made)), *arguments, **more), "a")

    return of


def test_a_box_that_is_not_adjusted_stands_where_its_transforms_say(digest):
    here = digest([component("a", 0, 1.0), component("b", 0, 5.0)])
    assert digest([component("a", 0, 1.00001), component("b", 0, 9.0)]) == here
    assert digest([component("a", 0, 1.001), component("b", 0, 5.0)]) != here


def test_an_adjusted_component_stands_where_its_poses_say(digest):
    parts = [component("a", 0, 1.0), component("a", 1, 2.0)]
    here = digest(parts, [0.0, 10.0])
    assert digest([component("a", 0, 1.003), parts[1]], [0.0, 10.0]) == here
    assert digest(parts, [0.0, 10.001]) != here
    assert digest([parts[0], component("a", 1, 2.5)], [0.0, 10.0]) != here


def test_a_refused_adjustment_does_not_count(digest):
    parts = [component("a", 0, 1.0)]
    here = digest(parts, [0.0], refused="too few points")
    assert digest(parts, [3.0], refused="too few points") == here
    assert digest([component("a", 0, 1.5)], [0.0], refused="too few points") != here
