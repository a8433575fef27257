from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pycolmap
import pytest
from scipy.spatial.transform import Rotation

from citysplat_core.mapping.changes import Change
from citysplat_core.mapping.components import Component
from citysplat_core.mapping.lineage import Earlier, Lineage
from citysplat_core.mapping.update_rule import drift_of, pixel_error_of, refuse_after, refuse_before
from citysplat_core.settings import UpdateSettings

RULE = UpdateSettings()


def component(street, *, residual_m=1.0, pixels=0.8):
    """Give the true street as a component that was judged."""
    model = street.model()
    placed = SimpleNamespace(residual_m=dict.fromkeys(street.ids, residual_m))
    return Component(
        model, placed, {}, accepted=True, reason="",
        numbers={"reproj_error_px": pixels, "n_points": 100},
    )  # fmt: skip


def solved_before(street, *, places=None, pairs=()):
    """Give a version of the street that was solved in the frame of its component."""
    model = street.model()
    if places is None:
        places = np.array([model.image(i).projection_center() for i in street.ids])
    table = pd.DataFrame(places, columns=["east_m", "north_m", "up_m"]).assign(
        colmap_id=street.ids, component=0, gps_residual_m=1.0
    )
    return Earlier(
        folder=Path("v"), lineage=Lineage(made_by="solved", recipe="r", pixel_error=0.8),
        images=table, components=(0,), solved=table, pairs=frozenset(pairs),
    )  # fmt: skip


def change(street, *, new=(), lost=(), tied=(), pairs=()):
    return Change(
        present=frozenset(street.ids) - set(lost) | set(new), new=frozenset(new),
        stale=frozenset(), lost=frozenset(lost), candidates=frozenset(new), tied=frozenset(tied),
        pairs=frozenset(pairs),
    )  # fmt: skip


@pytest.fixture
def street(make_street):
    return make_street(n_photos=20, corners=((0, 0), (60, 0), (70, 30)))


def test_nothing_that_changed_is_no_reason(street):
    earlier, nothing = solved_before(street), change(street)
    assert refuse_before(earlier, nothing, RULE) == ""
    assert refuse_after(earlier, nothing, [component(street)], RULE) == ""


@pytest.mark.parametrize(
    ("given", "because"),
    [
        (
            {"new": range(900, 906)},
            "6 of 20 photos are new since it was solved, over max_new_share",
        ),
        ({"lost": range(100, 104)}, "4 of 20 photos are lost since it was solved, over max_lost"),
        ({"pairs": [(100, 102)]}, "2 of 2 pairs of photos that stay have changed since it was"),
    ],
)
def test_too_much_that_changed_is_not_even_tried(street, given, because):
    said = refuse_before(solved_before(street, pairs=[(100, 101)]), change(street, **given), RULE)
    assert said.startswith(because)


def test_pairs_of_photos_that_came_or_went_are_not_counted(street):
    pairs = [(100, 101), (100, 105)]
    made = change(street, lost=[105], new=[900], pairs=[(100, 101), (100, 900)])
    assert refuse_before(solved_before(street, pairs=pairs), made, RULE) == ""


@pytest.mark.parametrize(
    ("now", "because"),
    [
        ({"residual_m": 1.3}, "the median GPS residual of the old photos (m) is 1.30 and was 1.00"),
        ({"pixels": 1.1}, "the reprojection error (px) is 1.10 and was 0.80 when it was solved"),
    ],
)
def test_residuals_that_have_grown_are_a_reason(street, now, because):
    said = refuse_after(solved_before(street), change(street), [component(street, **now)], RULE)
    assert said.startswith(because)
    assert said.endswith("over max_residual_growth = 1.25")


def test_fewer_photos_than_before_are_a_reason_unless_they_have_gone(street, make_street):
    one_less = component(make_street(n_photos=19, corners=street.corners))
    earlier = solved_before(street)
    assert refuse_after(earlier, change(street), [one_less], UpdateSettings(max_drift_m=99)) == (
        "19 photos are registered where 20 were that have not gone"
    )
    gone = change(street, lost=[119])
    assert refuse_after(earlier, gone, [one_less], UpdateSettings(max_drift_m=99)) == ""


def test_new_photos_must_join_as_old_ones_did(street):
    many = change(street, new=range(900, 904), tied=range(900, 904))
    said = refuse_after(solved_before(street), many, [component(street)], RULE)
    assert said.startswith("0 of 4 new photos with pairs could be registered, where 100% of the")
    alone = change(street, new=[900], tied=[900])
    assert refuse_after(solved_before(street), alone, [component(street)], RULE) == ""


def test_a_component_that_moved_as_a_whole_has_not_drifted(street):
    made = component(street)
    turn = Rotation.random(random_state=3).as_matrix()
    made.model.transform(pycolmap.Sim3d(1.7, pycolmap.Rotation3d(turn), np.array([90.0, -40, 7])))
    assert drift_of(solved_before(street), [made]) < 1e-6


def test_photos_that_moved_inside_have_drifted(street):
    made = component(street)
    places = np.array([made.model.image(i).projection_center() for i in street.ids])
    places[::4] += (0.0, 0.0, 2.0)
    earlier = solved_before(street, places=places)
    assert 0.5 < drift_of(earlier, [made]) < 2.5
    assert "over max_drift_m = 0.3" in refuse_after(earlier, change(street), [made], RULE)


def test_the_pixel_error_is_of_accepted_components_by_points(street):
    large, small = component(street, pixels=1.0), component(street, pixels=4.0)
    small.numbers["n_points"] = 50
    assert pixel_error_of([large, small]) == pytest.approx(2.0)
    assert np.isnan(pixel_error_of([]))
