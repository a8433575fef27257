"""Decode vector tiles with `mapbox-vector-tile`: properties and tile units, no degrees."""

from pathlib import Path

import mapbox_vector_tile
from measured import cpu_s, measured, options

given = options()
bodies = [Path(name).read_bytes() for name in given["tiles"]]
for body in bodies:
    mapbox_vector_tile.decode(body)
with measured() as outcome:
    passes = []
    for _ in range(given["repeats"]):
        begun = cpu_s()
        counts = [len(mapbox_vector_tile.decode(body)["image"]["features"]) for body in bodies]
        passes.append(cpu_s() - begun)
    outcome["pass_cpu_s"] = min(passes)
    outcome["points"] = sum(counts)
