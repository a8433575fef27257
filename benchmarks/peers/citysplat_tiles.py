"""Decode vector tiles as discovery does: exact ids, positions in degrees, an Arrow table."""

from pathlib import Path

from measured import measured, options

from citysplat_core.imagery.mapillary.decode import decode_tile

given = options()
bodies = [Path(name).read_bytes() for name in given["tiles"]]
decode_tile(bodies[0], 14, 0, 0)
with measured() as outcome:
    for _ in range(given["repeats"]):
        counts = [
            decode_tile(body, 14, x, y).images.num_rows
            for body, (x, y) in zip(bodies, given["addresses"], strict=True)
        ]
    outcome["points"] = sum(counts)
