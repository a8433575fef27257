"""What every source of photos promises, asked of all three in the same words."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from citysplat_core.errors import ConfigError
from citysplat_core.geography import CityFrame, tile_of
from citysplat_core.geography.plan_boxes import plan_boxes
from citysplat_core.imagery import (
    IdentityRegistry,
    build_catalog,
    discover_images,
    fetch_box_images,
)
from citysplat_core.imagery.tables import DESCRIBED_SCHEMA, FOUND_SCHEMA, TILES_SCHEMA
from citysplat_core.settings import BoxSettings, MaskSettings, PhotoSettings
from citysplat_core.storage import no_progress, read_json


def ids(table):
    return set(table.column("image_id").to_pylist())


def same(one, two):
    return one.schema.equals(two.schema) and one.to_pandas().equals(two.to_pandas())


class Killed(BaseException):
    """Stands for the end of the process: nothing may catch it and go on."""


def kill_at(share):
    def progress(done, total, _note=""):
        if total and share * total <= done < total:
            raise Killed

    return progress


def test_the_source_names_itself(world, user):
    kinds = {row["source"] for row in user.describe(user.discover().found).to_pylist()}
    assert kinds == {world.source().name}


def test_every_photo_inside_the_area_is_found_once_and_no_other(world, user):
    said = user.discover()
    assert said.found.schema.equals(FOUND_SCHEMA)
    assert said.tiles.schema.equals(TILES_SCHEMA)
    listed = said.found.column("image_id").to_pylist()
    assert listed == sorted(set(listed))
    assert set(listed) == world.inside()
    assert len(listed) > 100


def test_every_tile_of_the_area_has_a_state_and_its_count(user):
    said = user.discover()
    rows = said.tiles.to_pylist()
    assert [(t["z"], t["x"], t["y"]) for t in rows] == user.area.tiles()
    assert {t["state"] for t in rows} <= {"complete", "empty"}
    counted = said.found.column("tile").to_pylist()
    for tile in rows:
        name = f"{tile['z']}/{tile['x']}/{tile['y']}"
        assert tile["n_images"] >= counted.count(name)  # a tile reaches beyond the area
        assert (tile["state"] == "empty") == (tile["n_images"] == 0)


def test_the_tile_of_a_photo_is_the_one_it_lies_in(user):
    found = user.discover().found
    lon, lat = found.column("lon").to_numpy(), found.column("lat").to_numpy()
    x, y = tile_of(lon, lat, 14)
    inner = (lon * 2**14 / 360) % 1 > 1e-5
    named = found.column("tile").to_pylist()
    right = [name == f"14/{a}/{b}" for name, a, b in zip(named, x, y, strict=True)]
    assert np.array(right)[inner].all()


def test_every_photo_is_described_with_all_columns_and_missing_is_missing(user):
    found = user.discover().found
    described = user.describe(found)
    assert described.schema.equals(DESCRIBED_SCHEMA)
    assert ids(described) == ids(found)
    assert described.column("image_id").to_pylist() == sorted(ids(found))
    for row in described.to_pylist():
        assert row["status"] == "listed"
        assert row["reason"] is None
        assert isinstance(row["image_id"], str)
        assert row["captured_at"].utcoffset() == timedelta(0)
        assert np.isfinite([row["lon"], row["lat"]]).all()
        assert (row["width"] or 1) > 0
        assert row["is_pano"] in {True, False}
        assert (row["camera_type"] == "spherical") == row["is_pano"]
        if row["is_pano"]:
            assert np.isnan(row["focal_ratio"])
    for field in described.schema:
        if pa.types.is_floating(field.type):
            assert described.column(field.name).null_count == 0, f"{field.name}: NaN, not null"
    zeros = [(row["lon"], row["lat"]) for row in described.to_pylist() if not row["lon"]]
    assert zeros == []


def test_positions_agree_between_finding_and_describing(user):
    found = user.discover().found.sort_by("image_id")
    described = user.describe(found).sort_by("image_id")
    for name in ("lon", "lat"):
        # A tile's positions are rounded to 0.4 m; the description is exact.
        assert np.allclose(
            found.column(name).to_numpy(), described.column(name).to_numpy(), atol=1e-5
        )


def test_photos_come_bit_exact_and_in_the_order_asked(world, user):
    wanted = user.wanted(12)[::-1]
    results = user.fetch(wanted)
    assert [r.image_id for r in results] == [w.image_id for w in wanted]
    for result in results:
        assert result.state == "ok", result.reason
        assert result.path.read_bytes() == world.original(result.image_id)
        assert (result.width, result.height) == (320, 240)


def test_a_smaller_size_is_made_and_a_larger_one_is_never_enlarged(user):
    wanted = user.wanted(3)
    assert {(r.width, r.height) for r in user.fetch(wanted, size_px=256)} == {(256, 192)}
    assert {(r.width, r.height) for r in user.fetch(wanted, size_px=2048)} == {(320, 240)}


def test_a_second_look_asks_for_nothing_that_is_known(world, user):
    first = user.discover()
    described = user.describe(first.found)
    wanted = user.wanted(10)
    results = user.fetch(wanted)
    asked = world.asked()
    assert user.discover().found.equals(first.found)
    assert same(user.describe(first.found), described)
    assert user.fetch(wanted) == results
    assert world.asked() == asked


def test_a_broken_photo_fails_with_a_reason_and_the_others_come(world, user):
    wanted = user.wanted(6)
    world.break_photo(wanted[2].image_id)
    results = user.fetch(wanted)
    assert [r.state for r in results] == ["ok", "ok", "failed", "ok", "ok", "ok"]
    assert "cut off" in results[2].reason
    assert results[2].path is None


def test_an_outage_is_a_failure_and_never_an_empty_area_or_a_deletion(world, user):
    before = user.discover().found
    wanted = user.wanted(5)
    world.go_down()
    if world.source().name == "folder":
        with pytest.raises(ConfigError, match="holds no photo"):
            user.discover(refresh=True)
    else:
        states = user.discover(refresh=True).tiles.column("state").to_pylist()
        assert states
        assert set(states) <= {"failed", "unknown"}
        assert {r.state for r in user.fetch(wanted)} == {"failed"}
    world.come_back()
    assert user.discover(refresh=True).found.column("image_id").equals(before.column("image_id"))
    assert {r.state for r in user.fetch(wanted)} == {"ok"}


def test_a_deleted_photo_is_gone_and_the_others_are_not(world, user):
    found = user.discover().found
    wanted = user.wanted(5)
    world.delete(wanted[1].image_id)
    results = user.fetch(wanted)
    assert [r.state for r in results] == ["ok", "gone", "ok", "ok", "ok"]
    assert results[1].reason
    after = user.discover(refresh=True).found
    assert ids(found) - ids(after) == {wanted[1].image_id}
    assert ids(after) == world.inside()


def test_a_refresh_sees_new_photos(world, user):
    before = ids(user.discover().found)
    added = world.add()
    assert added
    assert ids(user.discover(refresh=True).found) == before | added


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_killed_look_goes_on_where_it_was(user, other, share):
    truth = other.discover().found
    described = other.describe(truth)
    with pytest.raises(Killed):
        user.discover(work="w", refresh=True, progress=kill_at(share))
    assert user.discover(work="w", refresh=True).found.equals(truth)
    assert same(user.describe(truth), described)


def test_a_killed_download_keeps_what_came(world, user):
    wanted = user.wanted(20)
    with pytest.raises(Killed):
        user.fetch(wanted, progress=kill_at(0.5))
    kept = sum(user.store.find(w.image_id, 0) is not None for w in wanted)
    if world.source().name != "folder":  # a folder's photos are found by what they were made from
        assert kept >= 10
    asked = world.asked()
    assert {r.state for r in user.fetch(wanted)} == {"ok"}
    assert not list((user.store.folder / "parts").iterdir())
    assert world.asked() - asked <= 20


def test_the_steps_up_to_the_photos_work(world, user, tmp_path):
    root, source = tmp_path / "city", world.source()
    ledger, catalog, plan = (root / name for name in ("ledger", "catalog", "plan"))
    for path in (ledger, catalog, plan, root / "w"):
        path.mkdir(parents=True)
    options = {"source": source, "work": root / "w", "progress": no_progress}
    report = discover_images(user.area, out=ledger, **options)
    assert report.counts["images_found"] == len(world.inside())
    registry = IdentityRegistry(root / "identity.sqlite")
    build_catalog(ledger, registry=registry, out=catalog, **options)
    frame = CityFrame(8.548, 47.373, 400.0)
    plan_boxes(
        catalog, city="three", frame=frame, out=plan, progress=no_progress,
        settings=BoxSettings(min_zoom=18, max_zoom=18),
    )  # fmt: skip
    boxes = sorted(read_json(plan / "plan.json")["boxes"], key=lambda box: -box["n_images"])
    out = root / "box"
    out.mkdir()
    report = fetch_box_images(
        boxes[0]["key"], plan_images=plan / "images.parquet", catalog=catalog, source=source,
        photo_cache=root / "photos", frame=frame, out=out, work=root / "w",
        settings=PhotoSettings(min_blur_score=None), masks=MaskSettings(), n_threads=2,
        progress=no_progress,
    )  # fmt: skip
    images = pq.read_table(out / "images.parquet").to_pandas()
    assert report.counts["ok"] > 0
    assert report.counts["failed"] == 0
    assert len(images) == boxes[0]["n_images"]
    kept = images[images.status == "ok"].image_id
    assert sorted(p.stem for p in (out / "photos").iterdir()) == sorted(kept)
    assert "Attribution" in (out / "ATTRIBUTION.md").read_text()
