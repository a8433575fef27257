import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from citysplat_core.imagery.masks.files import MaskWriter
from citysplat_core.settings import SplatSettings
from citysplat_core.splatting import Recipe, train_box
from citysplat_core.splatting.losses import colour_corrected, measured_ssim, psnr_db, ssim
from citysplat_core.splatting.scene import load_scene
from citysplat_core.splatting.seeds import first_gaussians
from citysplat_core.storage import no_progress

from .street import BOX, CENTRE, SIZE

torch.set_num_threads(1)
FIRST_ROW = 66
"""Of what travels with the camera: the lower quarter of every photo."""


def with_bonnet(street, root: Path, colour: int | str, *, masked: bool = True):
    """Copy the photos with something over their lower quarter, and masks that say so."""
    width, height = SIZE
    ignored = np.zeros((height, width), bool)
    ignored[FIRST_ROW - 1 :] = True
    boxes = {}
    for box, folder in street.box_images.items():
        boxes[box] = root / box
        shutil.copytree(folder, boxes[box])
        writer = MaskWriter(boxes[box])
        for path in sorted((boxes[box] / "photos").iterdir()):
            photo = cv2.imread(str(path))
            if colour == "noise":
                seed = int(path.stem.removeprefix("photo"))
                shape = photo[FIRST_ROW:].shape
                photo[FIRST_ROW:] = np.random.default_rng(seed).integers(0, 255, shape)
            else:
                photo[FIRST_ROW:] = colour
            path.write_bytes(cv2.imencode(".png", photo)[1].tobytes())  # read by content
            if masked:
                writer.write(path.stem, ignored)
    return replace(street, box_images=boxes)


def train(street, root: Path, iterations: int):
    out, work = root / "out", root / "work"
    out.mkdir(parents=True)
    work.mkdir()
    report = train_box(
        BOX,
        sparse_model=street.sparse_model,
        alignment=street.alignment,
        box_images=street.box_images,
        box_bounds_enu=street.bounds,
        out=out,
        work=work,
        settings=SplatSettings(
            iterations=iterations, width_px=SIZE[0], max_gaussians=2000, sh_degree=1
        ),
        n_threads=1,
        progress=no_progress,
        recipe=Recipe(n_sky=200),
    )
    return report, out


def load(street):
    scene = load_scene(
        BOX,
        sparse_model=street.sparse_model,
        alignment=street.alignment,
        box_images=street.box_images,
        centre_enu_m=CENTRE,
        width_px=SIZE[0],
        holdout_every=8,
        min_images=6,
    )
    assert not isinstance(scene, str)
    return scene


def test_no_masked_pixel_reaches_the_splat_or_its_metrics(street, tmp_path):
    """Whatever stands under the mask: the same seeds, steps, growth, bits and numbers."""
    results = []
    for colour in (255, "noise"):
        changed = with_bonnet(street, tmp_path / f"boxes {colour}", colour)
        _, out = train(changed, tmp_path / f"run {colour}", 40)
        results.append(((out / "splat.ply").read_bytes(), (out / "metrics.json").read_text()))
    assert results[0] == results[1]


def test_metrics_say_how_much_the_mask_took_out(street, tmp_path):
    numbers = {}
    for masked in (True, False):
        changed = with_bonnet(street, tmp_path / f"boxes {masked}", "noise", masked=masked)
        report, out = train(changed, tmp_path / f"run {masked}", 60)
        views = json.loads((out / "metrics.json").read_text())["views"]
        assert len(views) == report.counts["test_images"]
        shares = [view["masked_share"] for view in views]
        assert all(0.2 < s < 0.4 for s in shares) if masked else shares == [0.0] * len(shares)
        numbers[masked] = report.counts
    assert numbers[True]["psnr_db"] > numbers[False]["psnr_db"] + 1.0
    assert numbers[True]["ssim"] > numbers[False]["ssim"]


def test_masked_parts_are_dim_in_the_pictures_of_held_out_photos(street, tmp_path):
    _, out = train(with_bonnet(street, tmp_path / "boxes", 255), tmp_path / "run", 20)
    picture = cv2.imread(str(next((out / "renders").iterdir())))
    assert picture[-8:, : picture.shape[1] // 2 - 8].mean() < 0.4 * 255


def test_a_mask_is_undistorted_with_its_photo(street, tmp_path):
    scene = load(with_bonnet(street, tmp_path / "boxes", 0))
    for view in scene.train + scene.held_out:
        assert view.mask is not None
        assert view.mask.shape == view.photo.shape[:2]
        assert not (view.photo[view.mask].max(axis=1) == 0).any()  # nothing black is believed
        assert 0.6 < view.mask.mean() < 0.8
        pixels, _, _ = view.project()
        x, y = pixels.astype(int).T
        assert view.mask[y, x].all()


def test_photos_without_a_mask_have_none(street):
    assert all(view.mask is None for view in load(street).train)


def test_no_seed_takes_its_colour_from_a_masked_pixel(street, tmp_path):
    starts = [
        first_gaussians(
            load(with_bonnet(street, tmp_path / str(colour), colour)),
            cap=2000,
            sh_degree=0,
            recipe=Recipe(n_sky=100),
            seed=0,
            device=torch.device("cpu"),
        ).parameters
        for colour in (0, 255)
    ]
    assert all(torch.equal(starts[0][name], starts[1][name]) for name in starts[0])


def test_photos_that_are_masked_nearly_whole_are_left_out(street, tmp_path, caplog):
    changed = with_bonnet(street, tmp_path / "boxes", 0, masked=False)
    width, height = SIZE
    MaskWriter(changed.box_images[BOX]).write("photo03", np.ones((height, width), bool))
    scene = load(changed)
    assert "photo03" not in {view.image_id for view in scene.train + scene.held_out}
    assert "1 of 24 photos are masked nearly whole" in caplog.text


def test_a_box_of_masked_photos_is_skipped_with_the_reason(street, tmp_path):
    changed = with_bonnet(street, tmp_path / "boxes", 0, masked=False)
    width, height = SIZE
    for folder in changed.box_images.values():
        for path in (folder / "photos").iterdir():
            MaskWriter(folder).write(path.stem, np.ones((height, width), bool))
    report, _ = train(changed, tmp_path / "run", 20)
    assert report.skipped == "0 photos that masks leave something of; a splat needs 6"


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(3)
    x, y = (torch.rand(40, 50, 3, generator=generator) for _ in range(2))
    mask = torch.ones(40, 50, dtype=torch.bool)
    mask[25:] = False
    return x, y, mask


def test_masked_metrics_are_those_of_the_part_that_is_used(pair):
    x, y, mask = pair
    assert psnr_db(x, y, mask=mask) == pytest.approx(psnr_db(x[:25], y[:25]), abs=1e-4)
    corrected = colour_corrected(x, y, mask=mask)[:25]
    assert torch.allclose(corrected, colour_corrected(x[:25], y[:25]), atol=1e-5)
    everywhere = torch.ones_like(mask)
    assert measured_ssim(x, y, mask=everywhere) == pytest.approx(float(ssim(x, y)), abs=1e-6)


def test_a_mask_never_flatters_the_similarity(pair):
    """Black against black counts as perfect: a mean over it would hide a bad picture."""
    x, y, mask = pair
    assert measured_ssim(x, y, mask=mask) < float(ssim(x[:25], y[:25])) + 0.1
    assert measured_ssim(x, y, mask=mask) < float(ssim(x * mask[..., None], y * mask[..., None]))
    spoiled = y.clone()
    spoiled[25:] = 0.5
    assert measured_ssim(x, spoiled, mask=mask) == measured_ssim(x, y, mask=mask)
