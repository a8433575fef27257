import pytest

from citysplat_core.simulation import TownSettings, build_town, plan_captures


@pytest.fixture(scope="session")
def town():
    return build_town(TownSettings(n_photos=120, photo_width_px=320, seed=11))


@pytest.fixture(scope="session")
def captures(town):
    return plan_captures(town)


@pytest.fixture(scope="session")
def drive(captures):
    """A day drive of at least ten photos."""
    for first in captures:
        sequence = first.sequence
        if sequence.kind == "drive" and not sequence.is_dusk and sequence.overlay == "none":
            photos = [c for c in captures if c.sequence is sequence]
            if len(photos) >= 10 and not any(photo.is_blurred for photo in photos[:3]):
                return photos
    raise AssertionError("the town has no plain day drive")
