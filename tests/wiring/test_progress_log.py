from types import SimpleNamespace

import dagster as dg

from citysplat_dagster.resources import CityResource


def test_a_step_that_says_the_same_again_and_again_announces_it_once():
    logged = []
    context = SimpleNamespace(
        has_partition_key=True,
        partition_key="030",
        asset_key=dg.AssetKey("sparse_model"),
        log=SimpleNamespace(info=lambda text, *values: logged.append(text % values)),
    )
    progress = CityResource.progress(None, context)
    for note in ("global: 0 photos",) * 3 + ("geographic: 0 photos",):
        progress(0, 9, note)
    assert logged == [
        "sparse_model 030: 0 of 9 global: 0 photos",
        "sparse_model 030: 0 of 9 geographic: 0 photos",
    ]
