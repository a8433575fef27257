import numpy as np
import pytest

from citysplat_core.errors import DiscoveryError, TokenError
from citysplat_core.imagery.masks.detections import DetectionSource, detected_region, is_wanted
from citysplat_core.simulation.server import SyntheticScenes
from citysplat_core.storage import no_progress

CAR = np.array([[0.25, 0.5], [0.75, 0.5], [0.75, 1.0], [0.25, 1.0]])
SKY = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.25], [0.0, 0.25]])


class ScenesWithCars(SyntheticScenes):
    """Every second photo has a car and a sky, the others nothing."""

    def detections(self, image_id):
        if int(image_id) % 2:
            return []
        return [("object--vehicle--car", CAR), ("nature--sky", SKY)]


@pytest.fixture
def ids(service):
    """20 ids, 10 of them with detections, and a server that has them."""
    service.server.state.images = ScenesWithCars(size=(320, 240))
    known = [str(i) for i in service.server.state.world.columns["image_id"]]
    even, odd = ([i for i in known if int(i) % 2 == rest][:10] for rest in (0, 1))
    return even + odd


def fetch(service, ids):
    return service.source().fetch_detections(ids, progress=no_progress)


def test_mapillary_is_a_source_of_detections(service):
    assert isinstance(service.source(), DetectionSource)


def test_detections_come_with_their_kinds_and_outlines(service, ids):
    found = fetch(service, ids)
    assert set(found) == set(ids)
    assert [d.value for d in found[ids[0]]] == ["object--vehicle--car", "nature--sky"]
    assert found[ids[-1]] == ()
    region = detected_region(found[ids[0]], ["object--vehicle"], width=200, height=100)
    truth = np.zeros((100, 200), bool)
    truth[50:, 50:150] = True
    assert (region ^ truth).mean() < 0.02
    sky = detected_region(found[ids[0]], ["nature--sky", "human"], width=200, height=100)
    assert sky[:24].all()
    assert not sky[27:].any()


def test_what_was_answered_is_never_asked_again(service, ids):
    first = fetch(service, ids)
    before = service.count("graph")
    assert fetch(service, ids) == first
    assert service.count("graph") == before


def test_a_dead_id_is_gone_and_stays_so(service, ids):
    service.control("delete", ids=[ids[0]])
    found = fetch(service, ids)
    assert found[ids[0]] == "deleted at the source"
    assert len(found[ids[1]]) == 2
    before = service.count("graph")
    assert fetch(service, ids)[ids[0]] == "deleted at the source"
    assert service.count("graph") == before


def test_a_photo_that_fails_says_so_and_is_asked_again_by_the_next_run(service, ids):
    service.control("config", sick_ids=[ids[3]])
    found = fetch(service, ids)
    assert found[ids[3]] == "failed (An unknown error has occurred.)"
    assert sum(isinstance(said, str) for said in found.values()) == 1
    service.control("config", sick_ids=[])
    assert len(fetch(service, ids)[ids[3]]) == 2


def test_passing_faults_are_waited_out(service, ids):
    service.control("script", kind="graph_500", match="detections", times=3)
    found = fetch(service, ids)
    assert not any(isinstance(said, str) for said in found.values())
    assert service.count("graph_500") == 3


def test_a_service_that_is_down_is_an_error_and_keeps_what_came(service, ids):
    fetch(service, ids[:5])
    service.control("config", p_graph_500=1.0)
    with pytest.raises(DiscoveryError, match=r"of 1\d photos cannot be had"):
        fetch(service, ids)
    service.control("config", p_graph_500=0.0)
    before = service.count("graph")
    assert len(fetch(service, ids)) == 20
    assert service.count("graph") == before + 15


def test_a_wrong_token_is_said_at_once(service, ids):
    service.token = "MLY|wrong"  # noqa: S105 - none
    with pytest.raises(TokenError):
        fetch(service, ids)


def test_a_kind_stands_for_its_own_kinds_only():
    assert is_wanted("object--vehicle--car", ["object--vehicle"])
    assert is_wanted("object--vehicle", ["object--vehicle"])
    assert not is_wanted("object--vehicles--car", ["object--vehicle"])
    assert not is_wanted("object", ["object--vehicle"])
