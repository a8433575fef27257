import pandas as pd
import pytest

from citysplat_core.features import read_pair_counts
from citysplat_core.mapping.workspace import build_workspace
from citysplat_core.settings import MappingSettings


@pytest.fixture
def built(make_street, make_artifacts, fresh):
    def build(n_boxes=2, **settings):
        artifacts = make_artifacts(make_street(), n_boxes=n_boxes)
        inputs = artifacts.inputs("030")
        work = fresh("work")
        return artifacts, build_workspace(
            "030", **inputs, work=work, settings=MappingSettings(**settings)
        )

    return build


def test_it_holds_the_box_and_the_fringe_photos_of_its_neighbour(built):
    artifacts, workspace = built()
    images = workspace.images
    assert images["is_home"].sum() == 15
    assert set(images.loc[~images["is_home"], "colmap_id"]) == set(artifacts.street.ids[15:21])
    assert workspace.home_ids == set(artifacts.street.ids[:15])
    assert workspace.lack == ""


def test_pairs_of_the_neighbours_own_fringe_photos_come_along(built):
    artifacts, workspace = built()
    pairs = read_pair_counts(workspace.database)
    guests = set(artifacts.street.ids[15:21])
    inside = pairs["colmap_id_a"].isin(guests) & pairs["colmap_id_b"].isin(guests)
    assert inside.any()
    assert pairs["colmap_id_b"].max() <= max(guests)


def test_photos_are_linked_by_their_name(built):
    _, workspace = built()
    names = {path.name for path in workspace.photos.iterdir()}
    assert names == {f"{image_id}.jpg" for image_id in workspace.images["image_id"]}


def test_known_lenses_with_few_photos_are_not_refined(built):
    assert built(n_boxes=1, min_refine_images=31)[1].fixed_cameras == {7}


def test_known_lenses_with_many_photos_are_refined(built):
    assert built(n_boxes=1, min_refine_images=30)[1].fixed_cameras == frozenset()


def test_exact_lenses_of_panorama_views_are_never_refined(make_street, make_artifacts, fresh):
    artifacts = make_artifacts(make_street())
    path = artifacts.box_images["030"] / "cameras.parquet"
    cameras = pd.read_parquet(path).assign(model="SIMPLE_PINHOLE", has_prior_focal=True)
    cameras.to_parquet(path)
    workspace = build_workspace(
        "030",
        **artifacts.inputs("030"),
        work=fresh("w"),
        settings=MappingSettings(min_refine_images=3),
    )
    assert workspace.fixed_cameras == {7}


def test_unknown_lenses_are_always_refined(make_street, make_artifacts, fresh):
    artifacts = make_artifacts(make_street())
    path = artifacts.box_images["030"] / "cameras.parquet"
    pd.read_parquet(path).assign(has_prior_focal=False).to_parquet(path)
    workspace = build_workspace(
        "030",
        **artifacts.inputs("030"),
        work=fresh("w"),
        settings=MappingSettings(min_refine_images=99),
    )
    assert workspace.fixed_cameras == frozenset()


def test_groups_too_small_for_a_component_are_not_mappable(make_street, make_artifacts, fresh):
    street = make_street(n_photos=12)
    artifacts = make_artifacts(street)
    database = artifacts.box_matches["030"] / "matches.db"
    database.unlink()
    near = [(i, i + 1) for i in (*range(7), 8, 9)]  # photos 0 to 7 and 8 to 10
    street.write_database(database, list(range(12)), near)
    workspace = build_workspace(
        "030", **artifacts.inputs("030"), work=fresh("w"), settings=MappingSettings()
    )
    assert workspace.mappable == set(street.ids[:8])
    assert len(workspace.partners) == 11
    assert workspace.lack == ""


def test_a_box_with_only_small_groups_says_how_small(make_street, make_artifacts, fresh):
    street = make_street(n_photos=12)
    artifacts = make_artifacts(street)
    database = artifacts.box_matches["030"] / "matches.db"
    database.unlink()
    street.write_database(database, list(range(12)), [(0, 1), (1, 2), (4, 5), (8, 9)])
    workspace = build_workspace(
        "030", **artifacts.inputs("030"), work=fresh("w"), settings=MappingSettings()
    )
    assert workspace.lack.startswith("verified pairs tie at most 3 photos together")


def test_it_says_how_large_it_is_and_how_long_it_takes_to_load(built):
    _, workspace = built()
    assert workspace.size_bytes == workspace.database.stat().st_size > 10_000
    assert 0 < workspace.load_s < 10
    assert 0 < workspace.build_s < 60


def test_its_database_holds_the_chosen_priors(built):
    _, workspace = built()
    assert workspace.prior_counts.n_priors == len(workspace.images)
    assert workspace.prior_counts.n_undefined == 0


def test_the_plan_says_who_gave_a_position(make_street, make_artifacts, fresh):
    artifacts = make_artifacts(make_street())
    plan = pd.read_parquet(artifacts.plan_images).assign(position_source="computed")
    plan.to_parquet(artifacts.plan_images)
    workspace = build_workspace(
        "030",
        **artifacts.inputs("030"),
        work=fresh("w"),
        settings=MappingSettings(),
        plan_images=artifacts.plan_images,
    )
    assert set(workspace.priors["position_source"]) == {"computed"}
    assert workspace.priors["sigma_m"].median() < 4.0
