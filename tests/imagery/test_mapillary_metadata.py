import pytest

from citysplat_core.errors import BlockedError, DiscoveryError, TokenError
from citysplat_core.imagery import IdentityRegistry, build_catalog
from citysplat_core.imagery.tables import write_table
from citysplat_core.settings import PanoramaSettings
from citysplat_core.storage import no_progress


@pytest.fixture
def found(service):
    return service.discover().found


def status_of(described):
    return dict(
        zip(
            described.column("image_id").to_pylist(),
            described.column("status").to_pylist(),
            strict=True,
        )
    )


def test_every_image_is_described_as_the_service_says(service, found):
    described = service.describe(found)
    assert described.column("image_id").to_pylist() == found.column("image_id").to_pylist()
    world = service.server.state.world
    for row in described.slice(0, 50).to_pylist():
        at = world.row_of[int(row["image_id"])]
        assert row["lon"] == world.columns["lon"][at]
        assert row["creator_id"] == str(world.columns["creator_id"][at])
        assert int(row["captured_at"].timestamp() * 1000 + 0.5) == world.columns["captured_at"][at]
        assert row["sequence_id"] == world.columns["sequence"][at]


def test_a_batch_is_one_request_for_fifty_images(service, found):
    before = service.count("graph")
    service.describe(found)
    assert service.count("graph") - before == -(-found.num_rows // 50)


def test_a_second_run_asks_for_nothing(service, found):
    first = service.describe(found)
    before = service.count("graph")
    assert service.describe(found).to_pandas().equals(first.to_pandas())
    assert service.count("graph") == before


def test_deleted_images_are_gone_and_keep_their_place(service, found):
    deleted = found.column("image_id").to_pylist()[:7]
    service.control("delete", ids=deleted)
    described = service.describe(found)
    status = status_of(described)
    assert {i for i, s in status.items() if s == "gone"} == set(deleted)
    row = described.slice(0, 1).to_pylist()[0]
    assert row["lon"] == pytest.approx(found.column("lon")[0].as_py())
    assert row["reason"] == "deleted at the source"


def test_an_id_that_is_dropped_once_is_not_gone(service, found):
    service.control("script", kind="graph_drop_id", match="/images", times=1)
    before = service.count("graph")
    assert set(status_of(service.describe(found)).values()) == {"listed"}
    assert service.count("scripted") == 1
    assert service.count("graph") - before > -(-found.num_rows // 50), "asked once more"


def test_a_sick_id_does_not_take_its_batch_with_it(service, found):
    sick = found.column("image_id").to_pylist()[13]
    service.control("config", sick_ids=[sick])
    described = service.describe(found)
    assert [i for i, s in status_of(described).items() if s != "listed"] == [sick]
    assert "unknown error" in described.column("reason").to_pylist()[13]
    service.control("config", sick_ids=[])
    assert set(status_of(service.describe(found)).values()) == {"listed"}


@pytest.mark.parametrize("fault", ["p_graph_500", "p_graph_timeout_400"])
def test_transient_errors_are_asked_again(service, found, fault):
    service.control("config", **{fault: 0.3})
    assert set(status_of(service.describe(found)).values()) == {"listed"}


def test_fewer_ids_a_call_are_found_out(service, found):
    service.control("config", max_ids=13)
    assert set(status_of(service.describe(found)).values()) == {"listed"}


@pytest.mark.parametrize("form", [{}, {"graph_limit_format": "xml"}, {"graph_limit_status": 429}])
def test_the_limit_is_waited_for_and_does_not_count_as_a_fault(service, found, form):
    service.control("config", entity_per_min=4, **form)
    with pytest.raises(BlockedError, match=r"limit reached.*everything that was answered is kept"):
        service.describe(found)
    service.control("clock", advance_s=61)
    service.control("config", entity_per_min=60_000)
    before = service.count("batch_ids")
    assert set(status_of(service.describe(found)).values()) == {"listed"}
    assert service.count("batch_ids") - before < found.num_rows


def test_an_outage_marks_nothing_as_deleted(service, found):
    service.control("delete", ids=found.column("image_id").to_pylist()[::2])
    with pytest.raises(DiscoveryError, match="no image is marked as deleted"):
        service.describe(found)


def test_a_service_that_is_down_is_an_error(service, found):
    service.control("config", p_graph_500=1.0)
    with pytest.raises(DiscoveryError, match="unless the service is down"):
        service.describe(found)


def test_a_wrong_token_stops_at_once(service, found):
    service.token = "MLY|1|wrong-secret"  # noqa: S105 - nobody's
    with pytest.raises(TokenError, match="Invalid OAuth") as caught:
        service.describe(found)
    assert "wrong-secret" not in str(caught.value)


def test_the_catalog_is_geoparquet_with_numbers_for_ever(service, found, tmp_path):
    import geopandas as gpd

    ledger, out = tmp_path / "ledger", tmp_path / "catalog"
    ledger.mkdir()
    out.mkdir()
    write_table(found, ledger / "found.parquet")
    registry = IdentityRegistry(tmp_path / "identity.sqlite")
    early = registry.issue(found.column("image_id").to_pylist()[-3:])
    report = build_catalog(
        ledger, source=service.source(), registry=registry, out=out, work=service.work(),
        panoramas=PanoramaSettings(use="exclude"), progress=no_progress,
    )  # fmt: skip
    catalog = gpd.read_parquet(out / "catalog.parquet")
    assert report.counts["images"] == len(catalog) == found.num_rows
    assert report.counts["failed_to_retry"] == 0
    assert catalog.crs.to_epsg() == 4326
    assert catalog.image_id.tolist() == found.column("image_id").to_pylist()
    assert (catalog.geometry.x == catalog.lon).all()
    assert catalog.set_index("image_id").colmap_id[list(early)].to_dict() == early
    assert catalog.colmap_id.is_unique
