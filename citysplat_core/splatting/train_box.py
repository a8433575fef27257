"""The step that makes a box's ``splat`` artifact."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import torch

from citysplat_core.imagery.attribution_merge import write_merged
from citysplat_core.settings import SplatSettings
from citysplat_core.splatting.evaluation import HeldOut, held_out_views
from citysplat_core.splatting.gaussians import write_ply
from citysplat_core.splatting.rasterizer import choose_rasterizer
from citysplat_core.splatting.recipe import Recipe
from citysplat_core.splatting.scene import BoxScene, load_scene
from citysplat_core.splatting.trainer import Trainer, TrainSettings
from citysplat_core.storage import Progress, StepReport, published, write_json

_MIN_OPACITY = 1.0 / 255.0
_JPEG_QUALITY = 90
_MASKED = "masked_share"  # of a held-out view; its other numbers are of what is left


def train_box(  # noqa: PLR0913 - a step names every input
    box: str,
    *,
    sparse_model: Path,
    alignment: Path,
    box_images: Mapping[str, Path],
    box_bounds_enu: tuple[float, float, float, float],
    out: Path,
    work: Path,
    settings: SplatSettings,
    n_threads: int,
    progress: Progress,
    recipe: Recipe | None = None,
) -> StepReport:
    """Train the Gaussians of one box and measure them on held-out photos.

    Trains on CUDA where torch sees a device, else on the CPU. On the CPU the same inputs,
    settings and number of threads give the same bits, also when the step was killed in between.

    Args:
        box: Key of the box.
        sparse_model: Its ``sparse_model`` artifact.
        alignment: The ``city_alignment`` artifact.
        box_images: ``box_images`` artifacts by box key: the box and its neighbours, whose
            registered fringe photos are learned from as well.
        box_bounds_enu: West, south, east, north of the box in the city frame, metres.
        out: Empty directory of the artifact: ``splat.ply`` (local frame: ENU metres from
            ``origin_enu_m``), ``scene.json``, ``metrics.json``, ``renders/``, ``ATTRIBUTION.md``.
        work: Directory for checkpoints.
        settings: The user's choices.
        n_threads: Threads on the CPU.
        progress: Told the step, the PSNR of recent training photos and the number of Gaussians.
        recipe: Constants of training; the default is what the demo uses.

    Returns:
        Counts and a preview; ``skipped`` if too few photos are registered.

    Raises:
        SplatError: A registered photo is missing or unreadable.
        MappingError: A table of the sparse model or alignment is missing.
    """
    recipe = recipe or Recipe()
    # Even a splat that is skipped says whose photos it was to be made from.
    pages = [folder / "ATTRIBUTION.md" for folder in box_images.values()]
    write_merged(pages, out, title=f"the splat of box {box}")
    west, south, east, north = box_bounds_enu
    with _threads(n_threads):
        scene = load_scene(
            box,
            sparse_model=sparse_model,
            alignment=alignment,
            box_images=box_images,
            centre_enu_m=((west + east) / 2, (south + north) / 2),
            width_px=settings.width_px,
            holdout_every=settings.holdout_every,
            min_images=settings.min_images,
        )
        if isinstance(scene, str):
            return _nothing(box, out, scene)
        trainer = _trained(scene, settings, recipe, n_threads, work, progress)
        views = list(held_out_views(trainer))
    _write_renders(out, views)
    keep = torch.sigmoid(trainer.gaussians.parameters["opacities"].detach()) >= _MIN_OPACITY
    count = write_ply(trainer.gaussians, out / "splat.ply", keep=keep)
    _write_scene(box, out, scene, trainer, count)
    medians = _write_metrics(out, views, trainer.history)
    return StepReport(
        counts={
            "n_gaussians": count,
            "train_images": len(scene.train),
            "test_images": len(scene.held_out),
            "iterations": settings.iterations,
            "device": trainer.device.type,
            **medians,
        },
        previews={f"Held-out photo {v.image_id}": _render_path(out, v) for v in views[:2]},
    )


def _trained(
    scene: BoxScene,
    settings: SplatSettings,
    recipe: Recipe,
    n_threads: int,
    work: Path,
    progress: Progress,
) -> Trainer:
    trainer = Trainer(
        scene,
        settings=TrainSettings(
            iterations=settings.iterations,
            max_gaussians=settings.max_gaussians,
            sh_degree=settings.sh_degree,
            antialiased=settings.antialiased,
            seed=settings.seed,
        ),
        recipe=recipe,
        rasterizer=choose_rasterizer(n_threads=n_threads),
    )
    trainer.train(checkpoint=work / "checkpoint.pt", progress=progress)
    return trainer


@contextmanager
def _threads(n_threads: int) -> Iterator[None]:
    """Hold torch and OpenCV to a number of threads."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(n_threads)
    cv2.setNumThreads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def _nothing(box: str, out: Path, reason: str) -> StepReport:
    """Write a whole artifact that says why it is empty."""
    empty = {"version": 1, "box": box, "n_gaussians": 0, "skipped": reason}
    write_json(out / "scene.json", empty)
    write_json(out / "metrics.json", {"views": [], "history": []})
    return StepReport(counts={"n_gaussians": 0}, skipped=reason)


def _write_scene(box: str, out: Path, scene: BoxScene, trainer: Trainer, count: int) -> None:
    height, width = scene.train[0].photo.shape[:2]
    value = {
        "version": 1,
        "box": box,
        "origin_enu_m": list(scene.origin_enu_m),
        "n_gaussians": count,
        "n_sky_gaussians": trainer.gaussians.n_sky,
        "sh_degree": trainer.settings.sh_degree,
        "antialiased": trainer.settings.antialiased,
        "iterations": trainer.settings.iterations,
        "seed": trainer.settings.seed,
        "device": trainer.device.type,
        "scene_scale_m": scene.scale_m,
        "width": width,
        "height": height,
        "train_images": [view.image_id for view in scene.train],
        "test_images": [view.image_id for view in scene.held_out],
        "sequence_exposure": trainer.exposure.sequence_matrices(),
    }
    write_json(out / "scene.json", value)


def _write_metrics(
    out: Path, views: Sequence[HeldOut], history: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    names = ("psnr_db", "ssim", "cc_psnr_db")
    medians = {name: float(median(getattr(view, name) for view in views)) for name in names}
    rows = [
        {"image_id": view.image_id, **{name: getattr(view, name) for name in (*names, _MASKED)}}
        for view in views
    ]
    write_json(out / "metrics.json", {**medians, "views": rows, "history": list(history)})
    return medians


def _render_path(out: Path, view: HeldOut) -> Path:
    return out / "renders" / f"{view.image_id}.jpg"


def _write_renders(out: Path, views: Sequence[HeldOut]) -> None:
    (out / "renders").mkdir()
    for view in views:
        bgr = np.ascontiguousarray(view.side_by_side[..., ::-1])
        _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        with published(_render_path(out, view)) as stream:
            stream.write(data.tobytes())
