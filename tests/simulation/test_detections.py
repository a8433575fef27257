from dataclasses import replace

import numpy as np

from citysplat_core.imagery.masks.detections import Detection, detected_region
from citysplat_core.simulation.detections import detected_cars
from citysplat_core.simulation.render import render
from citysplat_core.simulation.server.detections import outline_text


def seen_cars(town, captures):
    """Photos with an outlined car of some size."""
    for capture in captures:
        outlines = [o for _, o in detected_cars(town, capture)]
        if any(np.ptp(outline, axis=0).min() > 0.08 for outline in outlines):
            yield capture


def test_outlines_are_inside_the_photo_and_name_cars(town, captures):
    found = [d for capture in captures for d in detected_cars(town, capture)]
    assert len(found) > 10
    for value, outline in found:
        assert value == "object--vehicle--car"
        assert outline.shape[1] == 2
        assert ((outline >= 0) & (outline <= 1)).all()


def test_an_outline_lies_where_the_car_is_drawn(town, captures):
    """A car shows in front of what a town without traffic shows there."""
    empty = replace(town, settings=town.settings.model_copy(update={"moving_cars": 0.0}))
    shares = []
    for capture in list(seen_cars(town, captures))[:3]:
        here = render(town, capture).depth_m
        without = render(empty, capture).depth_m
        car = np.nan_to_num(without, posinf=1e6) - np.nan_to_num(here, posinf=1e6) > 0.3
        height, width = here.shape
        found = [
            Detection(value=value, geometry=outline_text(outline))
            for value, outline in detected_cars(town, capture)
        ]
        region = detected_region(found, ["object--vehicle"], width=width, height=height)
        shares.append((car & region).sum() / max(car.sum(), 1))
    assert shares
    assert min(shares) > 0.85
