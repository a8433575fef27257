from types import MappingProxyType, SimpleNamespace

import pycolmap
import pytest

from citysplat_core.mapping import read_registered, strategy
from citysplat_core.mapping.components import Component
from citysplat_core.mapping.mappers import map_incremental
from citysplat_core.mapping.splitting import keep_photos
from citysplat_core.settings import MappingSettings
from citysplat_core.storage import read_json
from tests.mapping.test_solve import solve, true_errors_m


def only(n_photos, *, least=0):
    """Give a mapper that solves the first photos only, and nothing of few photos."""

    def map_some(job):
        if len(job.images) < least:
            return []
        models = map_incremental(job)
        first = set(sorted(job.images["colmap_id"].tolist())[:n_photos])
        return [keep_photos(model, first) for model in models]

    return map_some


@pytest.fixture
def auto(monkeypatch):
    """Let ``auto`` begin with a mapper that solves some photos, then the incremental one."""

    def begin_with(n_photos, *, least=0):
        mappers = {"some": only(n_photos, least=least), "incremental": map_incremental}
        monkeypatch.setattr(strategy, "MAPPERS", MappingProxyType(mappers))
        monkeypatch.setattr(strategy, "AUTO", tuple(mappers))

    return begin_with


@pytest.mark.parametrize(("least", "completed_by"), [(0, "some"), (20, "some, incremental")])
def test_what_a_first_mapper_left_is_mapped_for_itself(
    least, completed_by, auto, make_street, make_artifacts, fresh
):
    """By the same mapper without what stands; what that leaves, by the next one with it."""
    auto(20, least=least)
    street = make_street()
    report, out = solve(make_artifacts(street), fresh)
    (attempt,) = read_json(out / "report.json")["attempts"]
    assert (attempt["strategy"], attempt["completed_by"]) == ("some", completed_by)
    assert report.counts["n_registered"] >= 29
    assert (true_errors_m(street, read_registered(out)) < 1.0).mean() > 0.95


def test_a_first_mapper_that_explains_little_is_not_completed(
    auto, make_street, make_artifacts, fresh
):
    auto(10)
    _, out = solve(make_artifacts(make_street()), fresh)
    attempts = read_json(out / "report.json")["attempts"]
    assert [(a["strategy"], a["completed_by"]) for a in attempts] == [
        ("incremental", ""),
        ("some", ""),
    ]


def test_a_wished_mapper_is_not_completed(monkeypatch, make_street, make_artifacts, fresh):
    mappers = {**strategy.MAPPERS, "incremental": only(20)}
    monkeypatch.setattr(strategy, "MAPPERS", MappingProxyType(mappers))
    report, out = solve(make_artifacts(make_street()), fresh, strategy="incremental")
    (attempt,) = read_json(out / "report.json")["attempts"]
    assert attempt["completed_by"] == ""
    assert report.counts["n_registered"] == 20


@pytest.fixture
def attempt_in_turn(monkeypatch, tmp_path):
    """Let ``auto`` run mappers that explain and trust so many of a hundred photos."""

    def attempt(**made):
        homes = frozenset(range(100))

        def pretend(_, name):
            explained, trusted = made[name]
            parts = [set(range(trusted)), set(range(trusted, explained))]
            components = [
                pretended(ids, warning) for ids, warning in zip(parts, ("", "poor"), strict=True)
            ]
            return strategy.Attempt(name, components, 1.0, homes)

        workspace = SimpleNamespace(mappable=homes, home_ids=homes, partners={})
        monkeypatch.setattr(strategy, "MAPPERS", MappingProxyType(dict.fromkeys(made)))
        monkeypatch.setattr(strategy, "AUTO", tuple(made))
        monkeypatch.setattr(strategy, "_attempt", pretend)
        attempts = strategy.attempt_all(
            "03", workspace, work=tmp_path, settings=MappingSettings(), n_threads=1,
            tell=lambda *_: None,
        )  # fmt: skip
        return [attempt.strategy for attempt in attempts]

    return attempt


def pretended(ids, warning):
    return SimpleNamespace(
        accepted=True, is_trusted=not warning, image_ids=sorted(ids), reason=warning
    )


def test_two_wholes_are_enough_though_a_mapper_before_found_nothing(attempt_in_turn):
    tried = attempt_in_turn(sketch=(0, 0), one=(100, 0), two=(100, 0), three=(100, 100))
    assert tried == ["one", "two", "sketch"]


def test_two_wholes_are_not_enough_if_a_mapper_before_found_a_part(attempt_in_turn):
    tried = attempt_in_turn(sketch=(30, 30), one=(100, 0), two=(100, 0), three=(100, 100))
    assert tried == ["three", "one", "two", "sketch"]


def test_a_trusted_whole_is_enough(attempt_in_turn):
    assert attempt_in_turn(one=(95, 95), two=(100, 100)) == ["one"]


def test_what_a_first_round_took_out_is_still_told():
    def component(pruned, loose):
        return Component(
            pycolmap.Reconstruction(),
            None,
            pruned,
            accepted=True,
            reason="",
            loose=frozenset(loose),
        )

    earlier = [component({1: 40.0}, {2}), component({}, {3})]
    first, second = strategy.remember_taken_out(
        [component({4: 50.0}, {5}), component({6: 9.0}, ())], earlier
    )
    assert first.pruned == {1: 40.0, 4: 50.0}
    assert first.loose == {2, 3, 5}
    assert second.pruned == {6: 9.0}
