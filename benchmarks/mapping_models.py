"""Boxes of a benchmark's city solved and aligned by CitySplat's steps, with what that took."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from mapping_city import City, Cost, digest_of, forget_if_changed, make
from numpy.typing import NDArray

from citysplat_core.mapping import (
    align_city,
    load_city_models,
    read_aligned,
    solve_box,
)
from citysplat_core.settings import AlignSettings, MappingSettings
from citysplat_core.storage import StepReport, no_progress


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """A solved and aligned city.

    Attributes:
        models: Folder of each box's ``sparse_model``.
        alignment: Folder of the ``city_alignment``.
        cost: Of solving all boxes and aligning them.
    """

    models: dict[str, Path]
    alignment: Path
    cost: Cost

    def cameras(self) -> pd.DataFrame:
        """Read the aligned cameras, one a photo."""
        return read_aligned(self.alignment)

    def registrations(self) -> pd.DataFrame:
        """Read every camera of every component, aligned: colmap_id, solved_in, component, place."""
        rows = [
            (image_id, component, box, *model.image(image_id).projection_center())
            for box, path in self.models.items()
            for component, model in load_city_models(box, path, self.alignment).items()
            for image_id in sorted(model.reg_image_ids())
        ]
        names = ["colmap_id", "component", "solved_in", "east_m", "north_m", "up_m"]
        return pd.DataFrame(rows, columns=names)


def map_city(
    city: City, mapping: MappingSettings, align: AlignSettings, *, name: str = "auto"
) -> Mapped:
    """Solve every box and align them; finished boxes of the same code are not solved again.

    Args:
        city: The city, matched.
        mapping: Settings of the models.
        align: Settings of the alignment.
        name: Under which the result is kept.
    """
    asset = f"models-{name}"
    pairs = (city.folder / "matches" / "digest").read_text()
    forget_if_changed(city.folder, asset, digest_of(mapping, align, "mapping", pairs))
    costs = []
    for box in city.boxes:
        folder = city.folder / asset / box
        if not (folder / "done.json").exists():
            shutil.rmtree(folder, ignore_errors=True)  # a box is measured whole
        costs.append(make(folder, lambda out, work, box=box: _solve(city, box, out, work, mapping)))
    models = {box: city.at(asset, box) for box in city.boxes}
    costs.append(
        make(
            city.folder / asset / "alignment",
            lambda out, work: align_city(
                sparse_models=models, plan_images=city.folder / "plan" / "images.parquet",
                frame=city.frame, out=out, work=work, settings=align, n_threads=city.n_threads,
                progress=no_progress,
            ),
        )
    )  # fmt: skip
    cost = Cost(cpu_s=sum(c.cpu_s for c in costs), wall_s=sum(c.wall_s for c in costs))
    return Mapped(models=models, alignment=city.at(asset, "alignment"), cost=cost)


def _solve(city: City, box: str, out: Path, work: Path, settings: MappingSettings) -> StepReport:
    """Solve a box as the asset ``sparse_model`` does."""
    fringes = city.plan.fringes_of(box)
    boxes = sorted({box, *(side for fringe in fringes for side in fringe.split("--"))})
    return solve_box(
        box,
        box_images={key: city.at("box_images", key) for key in boxes},
        box_matches=city.at("matches", box),
        fringe_matches={key: city.at("matches", key) for key in fringes},
        neighbour_matches={key: city.at("matches", key) for key in boxes if key != box},
        fringe_images=city.fringe_images,
        out=out,
        work=work,
        settings=settings,
        n_threads=city.n_threads,
        progress=city.tell(f"model of {box}"),
    )


def solved_places(table: pd.DataFrame) -> NDArray[np.float64]:
    """Give the places of a table of cameras, metres, shape (N, 3)."""
    return table[["east_m", "north_m", "up_m"]].to_numpy(float)
