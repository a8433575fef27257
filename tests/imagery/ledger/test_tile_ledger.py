"""The ledger itself, with a source that says what a test wants."""

import pandas as pd
import pyarrow as pa
import pytest

from citysplat_core.errors import BlockedError, BudgetError, DiscoveryError, StorageError
from citysplat_core.geography import Area, tile_bounds, tile_of
from citysplat_core.imagery import TileLedger, discover_images
from citysplat_core.imagery.source import Discovery
from citysplat_core.storage import no_progress

AREA = Area.from_bounds("8.530,47.371,8.590,47.375")
TILES = AREA.tiles()
START = 1_790_000_000.0


def at(seconds):
    return pd.Timestamp(seconds, unit="s", tz="UTC")


def test_the_area_of_these_tests_has_three_tiles():
    assert len(TILES) == 3
    x, y = tile_of([8.56], [47.373], 14)
    assert (14, int(x[0]), int(y[0])) in TILES


def test_the_first_look_finds_everything_new(desk):
    counts = desk.look()
    assert (counts["images_new"], counts["images_gone"], counts["images_unchanged"]) == (4, 0, 0)
    assert (counts["tiles_complete"], counts["tiles_empty"]) == (2, 1)
    found = desk.table("found")
    assert set(found.image_id) == {"a", "b", "c", "d"}
    assert set(found.first_seen) == {at(START + 1000)}
    assert desk.table("gone").empty


def test_new_gone_and_unchanged_images_are_told_for_each_tile(desk):
    desk.look()
    desk.source.images = {0: {"b", "c", "x", "y"}, 1: {"d"}, 2: {"z"}}
    counts = desk.look(refresh=True)
    tiles = desk.table("tiles")
    assert tiles.n_new.tolist() == [2, 0, 1]
    assert tiles.n_gone.tolist() == [1, 0, 0]
    assert tiles.n_unchanged.tolist() == [2, 1, 0]
    assert tiles.state.tolist() == ["complete", "complete", "complete"]
    assert (counts["images_new"], counts["images_gone"], counts["tombstones"]) == (3, 1, 1)
    (gone,) = desk.table("gone").to_dict("records")
    assert gone["image_id"] == "a"
    assert gone["first_seen"] == gone["last_seen"] == at(START + 1000)
    assert gone["gone_at"] == at(START + 2000)
    found = desk.table("found").set_index("image_id")
    assert found.first_seen["b"] == at(START + 1000)
    assert found.first_seen["x"] == at(START + 2000)


def test_an_image_that_comes_back_is_no_tombstone_and_keeps_its_first_day(desk):
    desk.look()
    desk.source.images[0] = {"b", "c"}
    desk.look(refresh=True)
    desk.source.images[0] = {"a", "b", "c"}
    counts = desk.look(refresh=True)
    assert (counts["images_new"], counts["tombstones"]) == (1, 0)
    assert desk.table("found").set_index("image_id").first_seen["a"] == at(START + 1000)


def test_a_failed_tile_keeps_its_images_and_nothing_reads_as_gone(desk):
    desk.look()
    desk.source.fails = {0}
    desk.source.images = {0: set(), 1: {"d", "e"}, 2: set()}
    counts = desk.look(refresh=True)
    assert counts["tiles_failed"] == 1
    assert counts["images_gone"] == 0
    assert desk.ids("found") == {"a", "b", "c", "d", "e"}
    row = desk.table("tiles").iloc[0]
    assert (row.state, row.n_images, row.tries, row.reason) == ("failed", 3, 6, "HTTP 500")
    assert row.fetched_at == at(START + 1000), "the date of its last answer"


def test_tries_add_up_until_there_is_an_answer(desk):
    desk.source.fails = {1}
    desk.look()
    desk.look()
    assert desk.tiles().tries.tolist() == [0, 12, 0]
    assert desk.tiles().state.tolist() == ["complete", "failed", "empty"]
    desk.source.fails = set()
    counts = desk.look()
    assert desk.tiles().tries.tolist() == [0, 0, 0]
    assert counts["images_new"] == 4, "news are counted over all runs of a look"


def test_a_refetch_goes_on_until_every_tile_has_an_answer(desk):
    desk.look()
    desk.source.fails = {0}
    desk.look(refresh=True)
    desk.look()
    desk.source.fails = set()
    desk.look()
    desk.look()
    assert desk.source.refreshed == [False, True, True, True, False]


def test_a_block_leaves_the_ledger_as_it_was_and_raises(desk):
    desk.look()
    before = desk.tiles()
    desk.source.not_asked = {0, 1, 2}
    desk.source.stopped = BlockedError("blocked", expected="tiles", fix="Wait.")
    with pytest.raises(BlockedError):
        desk.look(refresh=True)
    after = desk.tiles()
    same = ["state", "n_images", "sha256", "fetched_at", "tries"]
    pd.testing.assert_frame_equal(after[same], before[same])
    assert desk.ledger().snapshot(AREA).found.num_rows == 4


def test_what_a_first_look_saw_before_the_block_is_recorded(desk):
    desk.source.not_asked = {1, 2}
    desk.source.stopped = BlockedError("blocked", expected="tiles", fix="Wait.")
    with pytest.raises(BlockedError):
        desk.look()
    assert desk.tiles().state.tolist() == ["complete", "unknown", "unknown"]
    assert desk.tiles().reason.tolist()[1:] == ["not asked", "not asked"]


def test_a_refetch_beyond_the_budget_keeps_the_last_answers_and_says_how_many_wait(desk):
    desk.look()
    desk.source.images = {0: {"a"}, 1: set(), 2: {"z"}}
    desk.source.not_asked = {1, 2}
    desk.source.stopped = BudgetError("3500 tiles asked", expected="less", fix="Tomorrow.")
    counts = desk.look(refresh=True)
    assert counts["tiles_waiting"] == 2
    assert counts["stopped"] == "3500 tiles asked. Tomorrow."
    assert desk.ids("found") == {"a", "d"}
    tiles = desk.table("tiles")
    assert tiles.fetched_at.tolist() == [at(START + 2000), at(START + 1000), at(START + 1000)]
    assert tiles.n_gone.tolist()[0] == 2
    assert tiles.n_gone.isna().tolist() == [False, True, True]
    assert counts["oldest_answer"].startswith(at(START + 1000).isoformat()[:19])


def test_a_first_look_beyond_the_budget_is_open_and_shows_what_is_missing(desk):
    desk.source.not_asked = {2}
    desk.source.stopped = BudgetError("3500 tiles asked", expected="less", fix="Tomorrow.")
    counts = desk.look()
    assert counts["tiles_unknown"] == 1
    desk.source.not_asked, desk.source.stopped = set(), None
    assert desk.look()["tiles_unknown"] == 0


def test_an_area_that_shrinks_or_grows_makes_no_tombstones(desk):
    desk.look()
    west = tile_bounds(*TILES[0])
    small = Area.from_bounds(f"8.530,47.371,{west[2] - 1e-9},47.375")
    assert len(small.tiles()) == 1
    counts = desk.look(area=small)
    assert (counts["images_found"], counts["tombstones"]) == (3, 0)
    inner = Area.from_bounds("8.530,47.371,8.5301,47.375")
    desk.source.images[0] = set()
    with pytest.raises(DiscoveryError, match="no photo in the area"):
        desk.look(area=inner)
    desk.source.images[0] = {"a", "b", "c"}
    counts = desk.look()
    assert (counts["images_found"], counts["tombstones"]) == (4, 0)


def test_a_tile_with_the_same_bytes_is_not_compared_again(desk, monkeypatch):
    desk.look()
    from citysplat_core.imagery import tile_ledger as module

    def refuse(*_args):
        raise AssertionError("compared")

    monkeypatch.setattr(module, "merged_row", refuse)
    counts = desk.look(refresh=True)
    assert (counts["images_new"], counts["images_unchanged"]) == (0, 4)
    assert set(desk.table("tiles").fetched_at) == {at(START + 2000)}


def test_a_source_without_hashes_or_times_is_compared_every_time(desk):
    desk.source.hashes = False
    desk.look()
    desk.source.images[0] = {"a", "n"}
    counts = desk.look(refresh=True)
    assert (counts["images_new"], counts["images_gone"]) == (1, 2)
    assert desk.table("tiles").fetched_at.notna().all()


def test_one_id_in_two_tiles_is_one_image(desk):
    desk.source.images = {0: {"a", "b"}, 1: {"c"}}
    desk.look()
    desk.source.images = {0: {"a"}, 1: {"b", "c"}}
    counts = desk.look(refresh=True)
    assert counts["images_found"] == 3
    assert counts["tombstones"] == 0, "an image that moved to the next tile has not gone"


def test_an_answer_from_an_older_cache_does_not_replace_a_newer_one(desk):
    desk.look()
    desk.source.images[0] = {"a", "b", "c", "new"}
    desk.look(refresh=True)
    desk.source.images[0] = {"a"}
    real, desk.source.now = desk.source.now, START - 5000
    (desk.root / "work").mkdir(exist_ok=True)
    ledger = TileLedger(desk.root / "imagery.sqlite", "told", clock=lambda: real + 1000)
    discover_images(
        AREA, source=desk.source, ledger=ledger, out=desk.root / "out", work=desk.root / "work",
        progress=no_progress,
    )  # fmt: skip
    assert {"a", "b", "c", "new"} <= desk.ids("found")


def test_a_clock_that_was_ahead_does_not_hide_later_answers(desk):
    desk.source.now += 400 * 86_400
    desk.look()
    desk.source.now = START + 10_000
    desk.source.images[0] = {"a", "b"}
    counts = desk.look(refresh=True)
    assert (counts["images_gone"], counts["tombstones"]) == (1, 1)
    assert set(desk.table("tiles").fetched_at) == {at(START + 11_000)}


def test_a_lost_ledger_starts_from_the_last_artifact(desk, tmp_path):
    desk.look()
    desk.source.images[0] = {"b", "c", "x"}
    desk.look(refresh=True)
    (desk.root / "out").rename(tmp_path / "old")
    (desk.root / "imagery.sqlite").unlink()
    desk.source.images[0] = {"b", "c"}
    counts = desk.look(refresh=True, previous=tmp_path / "old")
    assert (counts["images_new"], counts["images_gone"]) == (0, 1)
    assert desk.ids("gone") == {"a", "x"}
    assert desk.table("found").set_index("image_id").first_seen["b"] == at(START + 1000)


def test_an_artifact_of_an_older_version_is_taken_over(desk, tmp_path):
    desk.look()
    old = tmp_path / "old"
    old.mkdir()
    tiles = desk.table("tiles").drop(columns=["tries", "n_new", "n_gone", "n_unchanged"])
    tiles.to_parquet(old / "tiles.parquet")
    desk.table("found").drop(columns=["first_seen"]).to_parquet(old / "found.parquet")
    (desk.root / "imagery.sqlite").unlink()
    desk.source.images[0] = {"a", "b"}
    assert desk.look(refresh=True, previous=old)["images_gone"] == 1


def test_a_full_disk_leaves_the_ledger_whole(desk, monkeypatch):
    from contextlib import contextmanager

    from citysplat_core.imagery import tile_ledger as module

    desk.look()
    real = module.sqlite_file

    @contextmanager
    def full(path, **options):
        with real(path, **options) as connection:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count={pages}")
            yield connection

    monkeypatch.setattr(module, "sqlite_file", full)
    desk.source.images[0] = {f"id{n}" for n in range(3000)}
    with pytest.raises(StorageError, match=r"disk is full.*Free some space"):
        desk.look(refresh=True)
    monkeypatch.undo()
    assert desk.tiles().n_images.tolist() == [3, 1, 0]
    assert desk.look()["images_found"] == 3001


def test_images_in_a_tile_that_the_source_does_not_list_are_a_defect(desk):
    desk.look()
    told = desk.source.discover

    def stray(area, **options):
        said = told(area, **options)
        return Discovery(tiles=said.tiles.slice(1), found=said.found, notes={})

    desk.source.discover = stray
    with pytest.raises(DiscoveryError, match="tiles that it did not list"):
        desk.look(refresh=True)


def test_the_picture_shows_the_tiles(desk):
    desk.source.fails = {1}
    desk.look()
    import cv2

    pixels = cv2.imread(str(desk.root / "out" / "tiles.png"))
    assert pixels.shape[1] == 1000
    red = (abs(pixels.astype(int) - [0x2E, 0x57, 0xE4]).max(axis=2) < 8).mean()
    assert red > 0.02, "a failed tile is red"


def test_the_status_of_a_city_has_a_line_of_its_tiles(desk, tmp_path):
    from citysplat_core.city.status import coverage_line
    from citysplat_core.settings import load_city

    (tmp_path / "city.toml").write_text(
        'name = "c"\narea = "8.530,47.371,8.590,47.375"\n[frame]\norigin_lon = 8.5\n'
        'origin_lat = 47.3\n[source]\nkind = "folder"\n'
    )
    assert coverage_line(load_city(tmp_path)) == ""
    ledger = TileLedger(tmp_path / "imagery.sqlite", "folder")
    look = ledger.begin_look(is_refetch=False)
    desk.source.fails = {1}
    said = desk.source.discover(AREA, work=tmp_path, refresh=False, progress=no_progress)
    ledger.record(said, area=AREA, look=look)
    assert coverage_line(load_city(tmp_path)) == (
        "tiles: 1 complete, 1 empty, 0 unknown, 1 failed; images: 3 new, 0 gone; "
        "oldest answer 2026-09-21"
    )


def test_two_sources_have_ledgers_of_their_own(desk):
    desk.look()
    other = TileLedger(desk.root / "imagery.sqlite", "other")
    assert other.is_empty()
    assert other.snapshot(AREA).found.num_rows == 0


def test_ids_stay_text_whatever_their_size(desk):
    big = {str(2**53 + 1), str(2**63 - 25), "walk~0001"}
    desk.source.images = {0: big}
    desk.look()
    assert desk.ids("found") == big
    assert desk.ledger().snapshot(AREA).found.schema.field("image_id").type == pa.string()
