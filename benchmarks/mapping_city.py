"""A town cut into boxes and brought through CitySplat's real steps, each result kept on disk.

What is finished is used again: features as long as their settings stay, pairs as long as also the
code of matching stays, models as long as also the code of mapping stays.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import citysplat_core
from citysplat_core.features import (
    copy_database,
    extract_box_features,
    finish_database,
    merge_databases,
    strip_database,
)
from citysplat_core.geography import BoxPlan, CityFrame, load_plan
from citysplat_core.geography.plan_boxes import plan_boxes
from citysplat_core.matching import match_box, match_fringe
from citysplat_core.settings import (
    BoxSettings,
    FeatureSettings,
    MatchingSettings,
)
from citysplat_core.storage import Progress, StepReport, no_progress
from citysplat_core.storage.usage import cpu_seconds

Tell = Callable[[str], Progress]
"""Makes the progress callback of a step from its name."""
_ROOMS = ("matching", "mapping")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a step took: CPU seconds of all threads, and seconds on the clock."""

    cpu_s: float
    wall_s: float


@dataclass(frozen=True)
class City:
    """A planned city in a folder.

    Attributes:
        folder: Holds ``plan``, ``box_images`` and what the steps make.
        frame: The city frame.
        n_threads: Threads of every step.
        tell: Where progress goes.
    """

    folder: Path
    frame: CityFrame
    n_threads: int
    tell: Tell = lambda _: no_progress

    @cached_property
    def plan(self) -> BoxPlan:
        """The boxes and fringes."""
        return load_plan(self.folder / "plan" / "plan.json")

    @property
    def boxes(self) -> list[str]:
        """Keys of the boxes."""
        return [box.key for box in self.plan.boxes]

    def at(self, asset: str, key: str) -> Path:
        """Give the folder of a finished step's result."""
        return self.folder / asset / key / "out"

    @property
    def fringe_images(self) -> Path:
        """The plan's table of fringe photos."""
        return self.folder / "plan" / "fringe_images.parquet"


def plan_city(
    folder: Path,
    box_images: Path,
    frame: CityFrame,
    settings: BoxSettings,
    *,
    n_threads: int,
    tell: Tell = lambda _: no_progress,
) -> City:
    """Cut the photos of one folder like the artifact ``box_images`` into boxes.

    Args:
        folder: Where the city goes; a finished plan in it is used.
        box_images: ``images.parquet``, ``cameras.parquet``, ``photos/`` (which may be missing).
        frame: The city frame of the positions.
        settings: How to cut.
        n_threads: Threads of every step.
        tell: Where progress goes.
    """
    city = City(folder, frame, n_threads, tell)
    if not (folder / "planned").exists():
        _plan(folder, box_images, frame, settings)
        (folder / "planned").touch()
    _link_masks(city, box_images / "masks")
    return city


def _plan(folder: Path, box_images: Path, frame: CityFrame, settings: BoxSettings) -> None:
    """Cut the photos into boxes and give each box its own."""
    for name in ("catalog", "plan", "box_images"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
    images = pd.read_parquet(box_images / "images.parquet")
    _write_catalog(images, frame, folder / "catalog" / "catalog.parquet")
    plan_boxes(
        folder / "catalog", city="town", frame=frame, out=folder / "plan", settings=settings,
        progress=no_progress,
    )  # fmt: skip
    home = pd.read_parquet(folder / "plan" / "images.parquet").set_index("colmap_id")["box"]
    for box, rows in images.groupby(home.reindex(images["colmap_id"]).to_numpy()):
        out = folder / "box_images" / str(box) / "out"
        out.mkdir(parents=True)
        rows.to_parquet(out / "images.parquet", index=False)
        shutil.copy2(box_images / "cameras.parquet", out)
        _link(out / "photos", box_images / "photos")


def _link_masks(city: City, masks: Path) -> None:
    """Give the boxes the masks of their photos, also those that came after the plan."""
    for box in city.boxes:
        link = city.at("box_images", box) / "masks"
        if masks.is_dir() and not link.is_symlink():
            _link(link, masks)


def _link(link: Path, target: Path) -> None:
    """Make a link that still holds when both are moved together."""
    link.symlink_to(os.path.relpath(target, link.parent))


def _write_catalog(images: pd.DataFrame, frame: CityFrame, path: Path) -> None:
    """Write what planning reads of a catalog; up is unknown where it is NaN."""
    enu = images[["east_m", "north_m", "up_m"]].to_numpy(float)
    known = np.isfinite(enu[:, 2])
    place = frame.lon_lat_alt(np.where(np.isfinite(enu), enu, 0.0))
    missing = ("lon", "lat", "altitude_m", "heading_deg")
    pd.DataFrame(
        {
            "image_id": images["image_id"].astype(str),
            "colmap_id": images["colmap_id"].astype("int32"),
            "status": "listed",
            "lon": place[:, 0],
            "lat": place[:, 1],
            "altitude_m": np.where(known, place[:, 2], np.nan),
            "heading_deg": images["heading_deg"],
            "sequence_id": images["sequence_id"],
            "captured_at": images["captured_at"],
            **{f"computed_{name}": np.nan for name in missing},
        }
    ).sort_values("image_id").to_parquet(path, index=False)


def extract_city(city: City, boxes: Sequence[str] | None = None) -> None:
    """Extract the features of boxes that have none yet.

    Args:
        city: The city.
        boxes: Their keys; None: all.
    """
    features = FeatureSettings()
    masks = "".join(sorted(path.name for path in city.folder.glob("box_images/*/out/masks/*")))
    forget_if_changed(city.folder, "box_features", digest_of(features, masks))
    for box in city.boxes if boxes is None else boxes:
        make(
            city.folder / "box_features" / box,
            lambda out, work, box=box: extract_box_features(
                box, box_images=city.at("box_images", box), out=out, work=work,
                settings=features, progress=city.tell(f"features of {box}"),
                n_threads=city.n_threads,
            ),
        )  # fmt: skip


def match_city(city: City, matching: MatchingSettings, *, keep: bool = False) -> None:
    """Extract and match whatever is not matched yet; keep also the pairs before the gates.

    Args:
        city: The city.
        matching: Settings of the pairs.
        keep: Use finished pairs even if settings or code have changed since.
    """
    features = FeatureSettings()
    masks = "".join(sorted(path.name for path in city.folder.glob("box_images/*/out/masks/*")))
    extract_city(city)
    if not (keep and (city.folder / "matches" / "digest").exists()):
        forget_if_changed(city.folder, "matches", digest_of(features, masks, matching, "matching"))
    common: dict[str, Any] = {"n_threads": city.n_threads}
    for box in city.boxes:
        images = city.at("box_images", box)
        make(
            city.folder / "matches" / box,
            lambda out, work, box=box, images=images: match_box(
                box, box_images=images, box_features=city.at("box_features", box), out=out,
                work=work, settings=matching, progress=city.tell(f"pairs of {box}"), **common,
            ),
            then=_keep_raw_pairs,
        )  # fmt: skip
    for fringe in city.plan.fringes:
        make(
            city.folder / "matches" / fringe.key,
            lambda out, work, fringe=fringe: match_fringe(
                fringe.key, images_a=city.at("box_images", fringe.a),
                images_b=city.at("box_images", fringe.b),
                features_a=city.at("box_features", fringe.a),
                features_b=city.at("box_features", fringe.b), fringe_images=city.fringe_images,
                out=out, work=work, settings=matching,
                matches=[city.at("matches", box) for box in (fringe.a, fringe.b)],
                progress=city.tell(f"pairs of {fringe.key}"), **common,
            ),
            then=_keep_raw_pairs,
        )  # fmt: skip


def _keep_raw_pairs(out: Path, work: Path) -> None:
    """Keep the verified pairs as they were before the geographic gates."""
    raw = out / "raw.db"
    copy_database(work / "matches.db", raw)
    strip_database(raw)
    finish_database(raw)


def whole_database(city: City, name: str) -> Path:
    """Unite a database of all boxes and fringes.

    Args:
        city: The city, matched.
        name: ``matches`` for the pairs that CitySplat keeps, ``raw`` for those before its gates,
            ``features`` for no pairs, but descriptors.
    """
    asset = "box_features" if name == "features" else "matches"
    whole = city.folder / asset / f"{name}.db"
    if not whole.exists():
        part = whole.with_suffix(".part")
        part.unlink(missing_ok=True)
        keys = [*city.boxes, *(f.key for f in city.plan.fringes if name != "features")]
        sources = [path for key in keys if (path := city.at(asset, key) / f"{name}.db").exists()]
        merge_databases(sources, part, keep_descriptors=name == "features")
        part.rename(whole)
    return whole


def make(
    folder: Path,
    build: Callable[[Path, Path], StepReport],
    *,
    then: Callable[[Path, Path], None] | None = None,
) -> Cost:
    """Run a step unless its folder says that it is done.

    Args:
        folder: Gets ``out`` and ``done.json``; ``work`` while the step runs.
        build: The step, called with ``out`` and ``work``.
        then: Called with both before ``work`` is deleted.

    Returns:
        What the step took when it ran.
    """
    done, out, work = folder / "done.json", folder / "out", folder / "work"
    if not done.exists():
        shutil.rmtree(out, ignore_errors=True)
        for each in (out, work):
            each.mkdir(parents=True, exist_ok=True)
        wall, cpu = time.perf_counter(), cpu_seconds()
        report = build(out, work)
        cost = Cost(cpu_s=cpu_seconds() - cpu, wall_s=time.perf_counter() - wall)
        if then is not None:
            then(out, work)
        shutil.rmtree(work)
        said = {**vars(cost), "skipped": report.skipped, "counts": dict(report.counts)}
        done.write_text(json.dumps(said))
    said = json.loads(done.read_text())
    return Cost(cpu_s=said["cpu_s"], wall_s=said["wall_s"])


def forget_if_changed(folder: Path, asset: str, digest: str) -> None:
    """Delete what was made by other settings or other code."""
    kept = folder / asset / "digest"
    if not kept.exists() or kept.read_text() != digest:
        shutil.rmtree(folder / asset, ignore_errors=True)
        kept.parent.mkdir(parents=True)
        kept.write_text(digest)


def digest_of(*parts: Any) -> str:  # noqa: ANN401 - settings, or the name of a room, or a digest
    """Hash settings, and the code of the rooms that are named."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            rooms = Path(citysplat_core.__file__).parent
            files = sorted(rooms.glob(f"{part}/**/*.py")) if part in _ROOMS else []
            digest.update(b"".join(file.read_bytes() for file in files) or part.encode())
        else:
            digest.update(part.model_dump_json().encode())
    return digest.hexdigest()
