"""Decode vector tiles as discovery does: exact ids, positions in degrees, an Arrow table."""

from pathlib import Path

from measured import cpu_s, measured, options

from citysplat_core.imagery.mapillary.decode import decode_tile

given = options()
bodies = [Path(name).read_bytes() for name in given["tiles"]]
for body in bodies:
    decode_tile(body, 14, 0, 0)
with measured() as outcome:
    passes = []
    for _ in range(given["repeats"]):
        begun = cpu_s()
        counts = [
            decode_tile(body, 14, x, y).images.num_rows
            for body, (x, y) in zip(bodies, given["addresses"], strict=True)
        ]
        passes.append(cpu_s() - begun)
    outcome["pass_cpu_s"] = min(passes)
    outcome["points"] = sum(counts)
