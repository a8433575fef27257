import pytest
from pydantic import ValidationError

from citysplat_core.simulation import TownSettings


def test_settings_survive_json():
    settings = TownSettings(seed=3, n_photos=55, slope_east=0.02)
    assert TownSettings.model_validate_json(settings.model_dump_json()) == settings


def test_drives_must_keep_a_fifth_of_the_photos():
    with pytest.raises(ValidationError, match="less than a fifth of the photos"):
        TownSettings(sideways_share=0.5, pedestrian_share=0.5)


def test_one_number_of_streets_alone_is_refused():
    with pytest.raises(ValidationError, match="or neither"):
        TownSettings(n_streets_east=3)
