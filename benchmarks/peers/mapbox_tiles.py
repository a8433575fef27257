"""Decode vector tiles with `mapbox-vector-tile`: properties and tile units, no degrees."""

from pathlib import Path

import mapbox_vector_tile
from measured import measured, options

given = options()
bodies = [Path(name).read_bytes() for name in given["tiles"]]
mapbox_vector_tile.decode(bodies[0])
with measured() as outcome:
    for _ in range(given["repeats"]):
        counts = [len(mapbox_vector_tile.decode(body)["image"]["features"]) for body in bodies]
    outcome["points"] = sum(counts)
