"""A photo that is replaced under its own name reaches its box, and no other."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import piexif
import pytest
from PIL import Image

from citysplat_core.geography import Area, CityFrame
from citysplat_core.geography.plan_boxes import plan_boxes
from citysplat_core.imagery import (
    FolderSource,
    IdentityRegistry,
    build_catalog,
    discover_images,
)
from citysplat_core.settings import BoxSettings
from citysplat_core.storage import digest_of_table, no_progress, read_json
from citysplat_dagster.inputs import box_rows


def _photo(lon: float, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), np.uint8)
    parts = {piexif.GPSIFD.GPSLatitude: ((47, 1), (22, 1), (12, 1))}
    parts[piexif.GPSIFD.GPSLongitude] = ((int(lon), 1), (0, 1), (round(lon % 1 * 3_600_000), 1000))
    stream = io.BytesIO()
    exif = piexif.dump({"GPS": parts | {1: "N", 3: "E"}})
    Image.fromarray(pixels).save(stream, "JPEG", exif=exif)
    return stream.getvalue()


@pytest.fixture
def look(tmp_path: Path) -> Callable[[str], tuple[str, dict[str, str]]]:
    """Look at the folder anew: the version of what was found, and that of each box's rows."""
    photos = tmp_path / "mine"
    photos.mkdir()
    for number in range(4):
        (photos / f"{number}.jpg").write_bytes(_photo(8.54 + number * 0.002, number))
    frame = CityFrame(8.544, 47.37, 400.0)

    def steps(name: str) -> tuple[str, dict[str, str]]:
        ledger, catalog, plan = (tmp_path / name / part for part in ("l", "c", "p"))
        for path in (ledger, catalog, plan):
            path.mkdir(parents=True)
        source = FolderSource(photos, cache_dir=tmp_path / "cache")
        discover_images(
            Area.from_bounds("8.5,47.3,8.6,47.4"), source=source, out=ledger, work=tmp_path,
            refresh=True, progress=no_progress,
        )  # fmt: skip
        build_catalog(
            ledger, source=source, registry=IdentityRegistry(tmp_path / "identity.sqlite"),
            out=catalog, work=tmp_path, progress=no_progress,
        )  # fmt: skip
        plan_boxes(
            catalog, city="x", frame=frame, out=plan, progress=no_progress,
            settings=BoxSettings(min_zoom=18, max_zoom=18),
        )  # fmt: skip
        keys = [box["key"] for box in read_json(plan / "plan.json")["boxes"]]
        found = digest_of_table(ledger / "found.parquet", without=("fetched_at", "geometry"))
        return found, {key: box_rows(key, plan) for key in keys}

    return steps


def test_a_replaced_photo_makes_its_box_stale_and_no_other(
    tmp_path: Path, look: Callable[[str], tuple[str, dict[str, str]]]
) -> None:
    found, boxes = look("first")
    assert len(boxes) == 4
    assert look("same")[1] == boxes
    (tmp_path / "mine" / "2.jpg").write_bytes(_photo(8.544, 99))
    found_after, after = look("replaced")
    assert found_after != found, "or the catalog would not be made anew"
    assert sum(after[key] != boxes[key] for key in boxes) == 1
