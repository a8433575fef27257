"""Metadata with the `mapillary` SDK: as its manual says, one after the other or in 32 threads."""

import os

os.environ["LOG_LEVEL"] = "ERROR"  # it writes a line a request to stdout by default

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mapillary.interface as mly
from measured import measured, options
from redirected import redirect_to

given = options()
redirect_to(given["url"])
mly.set_access_token(given["token"])
ids = given["ids"]


def described(image_id: str) -> dict[str, Any]:
    """Ask as the manual says: all fields of one image, as GeoJSON."""
    feature = json.loads(mly.image_from_key(image_id))["features"]
    return {**feature["properties"], "geometry": feature["geometry"]}


with measured():
    if given["way"] == "serial":
        answers = [described(image_id) for image_id in ids]
    else:
        with ThreadPoolExecutor(32) as pool:
            answers = list(pool.map(described, ids))
    rows = [answer for answer in answers if "captured_at" in answer]
    Path(given["out"], "metadata.json").write_text(json.dumps(rows))
