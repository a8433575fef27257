"""The code location: assembles, decides nothing."""

import dagster as dg

from citysplat_dagster.build import build_defs
from citysplat_dagster.resources import city_from_environment


@dg.definitions
def defs() -> dg.Definitions:
    """Give the definitions of the city that ``CITYSPLAT_CITY`` names."""
    return build_defs(city_from_environment())
