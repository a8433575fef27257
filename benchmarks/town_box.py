"""A box of a simulated town as the photo steps leave it, made without a server, with its truth.

    python benchmarks/town_box.py FOLDER [--photos N] [--lookalike SHARE] [--seed N] [--width PX]

Writes into FOLDER: ``town.json`` and its tables; ``box/``, shaped like the artifact ``box_images``
(``images.parquet``, ``cameras.parquet``, ``photos/``, and ``masks/`` of what stays in place in the
photos of a sequence); ``depth/<image_id>.npy``, the depth of each photo at every eighth pixel.
Positions, headings, rotations and focal lengths are what the town's sensors and its photo service
say, never the truth. Killed and called again, it goes on.
"""

import argparse
import io
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from citysplat_core.errors import ConfigError
from citysplat_core.imagery.box_photo import BoxPhoto
from citysplat_core.imagery.masks.combine import make_masks
from citysplat_core.imagery.source import PhotoResult
from citysplat_core.settings import MaskSettings
from citysplat_core.simulation import (
    Capture,
    Town,
    TownSettings,
    load_town,
    photo_jpeg,
    plan_captures,
    render,
    write_town,
)
from citysplat_core.simulation.overlap import Sight, kept_depth
from citysplat_core.simulation.sensors import Readings, readings
from citysplat_core.storage import Progress, no_progress, published

_USUAL_FOCAL = (0.85, 0.0, 0.0)


@dataclass(frozen=True)
class TownBox:
    """A town's photos as one box, and the truth about them.

    Attributes:
        folder: Made by `make_town_box`.
    """

    folder: Path

    @property
    def box_images(self) -> Path:
        """The folder that is like the artifact ``box_images``."""
        return self.folder / "box"

    @cached_property
    def images(self) -> pd.DataFrame:
        """The rows of ``images.parquet``: colmap ids 1 to N, in this order."""
        return pd.read_parquet(self.box_images / "images.parquet")

    @cached_property
    def sights(self) -> list[Sight]:
        """The captures with their depth, in the order of the rows."""
        town = load_town(self.folder)
        captures = {capture.image_id: capture for capture in plan_captures(town)}
        return [
            Sight(captures[image_id], np.load(self.folder / "depth" / f"{image_id}.npy"))
            for image_id in self.images["image_id"]
        ]


def make_town_box(
    folder: Path,
    settings: TownSettings,
    *,
    n_threads: int = 1,
    progress: Progress = no_progress,
) -> TownBox:
    """Make a town's photos, their depth and the tables of one box that holds them all.

    Args:
        folder: Where; what is there already is kept, if it is of the same settings.
        settings: The town; without panoramas.
        n_threads: Photos that are rendered at once; about 0.5 CPU-s each at 640 px.
        progress: Called every 16 photos.

    Raises:
        ConfigError: The folder holds another town, or the settings ask for panoramas.
    """
    if settings.panorama_share:
        raise ConfigError(
            "a box of panoramas is asked for",
            expected="panorama_share 0: the truth of pairs knows flat photos only",
            fix="Set panorama_share to 0.",
        )
    is_new = not (folder / "town.json").exists()
    town = write_town(folder, settings) if is_new else load_town(folder)
    if town.settings != settings:
        raise ConfigError(
            f"{folder} holds a town of other settings",
            expected="the town that is asked for, or an empty folder",
            fix="Delete the folder, or name another one.",
        )
    captures = sorted(plan_captures(town), key=lambda capture: capture.image_id)
    _render_missing(folder, town, captures, n_threads, progress)
    write_box_tables(folder / "box", town, captures)
    _write_masks(folder / "box", n_threads, progress)
    return TownBox(folder)


def _render_missing(
    folder: Path, town: Town, captures: list[Capture], n_threads: int, progress: Progress
) -> None:
    for name in ("depth", "box/photos"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    todo = [
        capture
        for capture in captures
        if not (folder / "box" / "photos" / f"{capture.image_id}.jpg").exists()
    ]
    _ = town.textures  # painted once, before threads ask for photos
    n_done = len(captures) - len(todo)
    with ThreadPoolExecutor(n_threads) as pool:
        for first in range(0, len(todo), 16):
            progress(n_done + first, len(captures), "photos")
            list(pool.map(lambda c: _render_one(folder, town, c), todo[first : first + 16]))
    progress(len(captures), len(captures), "photos")


def _render_one(folder: Path, town: Town, capture: Capture) -> None:
    """Write the depth and then the photo, which says that both are there."""
    view = render(town, capture)
    depth = io.BytesIO()
    np.save(depth, kept_depth(view))
    with published(folder / "depth" / f"{capture.image_id}.npy") as stream:
        stream.write(depth.getvalue())
    with published(folder / "box" / "photos" / f"{capture.image_id}.jpg") as stream:
        stream.write(photo_jpeg(town, capture, view=view))


def write_box_tables(box: Path, town: Town, captures: list[Capture]) -> None:
    """Write ``images.parquet`` and ``cameras.parquet`` of some of a town's photos into a folder."""
    planned = plan_captures(town)  # sensors are read sequence by sequence, as photos were taken
    said = readings(town, planned)
    place = {capture.image_id: row for row, capture in enumerate(planned)}
    rows = np.array([place[capture.image_id] for capture in captures])
    names = list(dict.fromkeys(capture.camera.name for capture in captures))
    camera_ids = np.array([names.index(capture.camera.name) + 1 for capture in captures])
    with published(box / "images.parquet") as stream:
        _images(captures, said, rows, camera_ids).to_parquet(stream, index=False)
    with published(box / "cameras.parquet") as stream:
        _cameras(captures, said, rows, camera_ids).to_parquet(stream, index=False)


def _images(
    captures: list[Capture], said: Readings, rows: np.ndarray, camera_ids: np.ndarray
) -> pd.DataFrame:
    """Give the rows of the box: computed positions and headings where the service has them."""
    solved = np.isfinite(said.computed_enu[rows, 0])
    position = np.where(solved[:, None], said.computed_enu[rows], said.gps_enu[rows])
    heading = np.where(solved, said.computed_compass_deg[rows], said.compass_deg[rows])
    sequences = [capture.sequence for capture in captures]
    return pd.DataFrame(
        {
            "image_id": [capture.image_id for capture in captures],
            "colmap_id": np.arange(len(captures)) + 1,
            "camera_id": camera_ids,
            "status": "ok",
            "reason": None,
            "width": [capture.camera.width for capture in captures],
            "height": [capture.camera.height for capture in captures],
            "sequence_id": [sequence.sequence_id for sequence in sequences],
            "captured_at": pd.to_datetime(
                [capture.captured_at_ms for capture in captures], unit="ms", utc=True
            ),
            "east_m": position[:, 0],
            "north_m": position[:, 1],
            "up_m": position[:, 2],
            "heading_deg": heading % 360,
            "rotation_x": said.computed_rotation[rows, 0],
            "rotation_y": said.computed_rotation[rows, 1],
            "rotation_z": said.computed_rotation[rows, 2],
            "creator": [sequence.creator_username for sequence in sequences],
        }
    )


def _cameras(
    captures: list[Capture], said: Readings, rows: np.ndarray, camera_ids: np.ndarray
) -> pd.DataFrame:
    """Give the cameras with the median of what the service estimated for their photos."""
    table = []
    for camera_id in np.unique(camera_ids).tolist():
        members = np.flatnonzero(camera_ids == camera_id)
        camera = captures[members[0]].camera
        estimates = said.camera_parameters[rows[members]]
        estimates = estimates[np.isfinite(estimates).all(axis=1)]
        ratio, k1, k2 = np.median(estimates, axis=0) if len(estimates) else _USUAL_FOCAL
        focal_px = ratio * max(camera.width, camera.height)
        table.append(
            {
                "camera_id": camera_id,
                "camera_key": camera.name,
                "model": "RADIAL",
                "width": camera.width,
                "height": camera.height,
                "params": [focal_px, camera.width / 2, camera.height / 2, k1, k2],
                "has_prior_focal": bool(len(estimates)),
            }
        )
    return pd.DataFrame(table)


def _write_masks(box: Path, n_threads: int, progress: Progress) -> None:
    """Learn from each sequence what stays in place in it, as the photo step does."""
    if (box / "masks").exists():
        return
    part = box.with_name("masks-part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    photos = []
    for row in pd.read_parquet(box / "images.parquet").to_dict("records"):
        path = box / "photos" / f"{row['image_id']}.jpg"
        result = PhotoResult(
            image_id=row["image_id"],
            state="ok",
            path=path,
            width=row["width"],
            height=row["height"],
        )
        photos.append(BoxPhoto(row=row, result=result, status="ok"))
    make_masks(
        part, photos, source=None, settings=MaskSettings(sources=("sequence",)), model_file=None,
        n_threads=n_threads, progress=progress,
    )  # fmt: skip  # the source would be asked for detections only
    (part / "masks").mkdir(exist_ok=True)
    (part / "masks").rename(box / "masks")
    shutil.rmtree(part)


def main() -> None:
    """Make a town's box."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--lookalike", type=float, default=0.6)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    settings = TownSettings(
        n_photos=asked.photos,
        lookalike_share=asked.lookalike,
        seed=asked.seed,
        photo_width_px=asked.width,
    )

    def say(done: int, total: int, unit: str) -> None:
        sys.stderr.write(f"\r{done}/{total} {unit}")

    box = make_town_box(asked.folder, settings, n_threads=asked.threads, progress=say)
    sys.stderr.write("\n")
    sys.stdout.write(f"{box.box_images}: {len(box.images)} photos\n")


if __name__ == "__main__":
    main()
