import json
import shutil

import cv2
import gsply
import numpy as np
import pytest
import torch

from citysplat_core.errors import SplatError
from citysplat_core.settings import SplatSettings
from citysplat_core.splatting import Recipe, train_box
from citysplat_core.storage import no_progress

from .street import BOX, CENTRE, GROUND_UP_M, SIZE

torch.set_num_threads(1)


def run(street, root, *, iterations, progress=no_progress, **changes):
    out = root / "out"
    shutil.rmtree(out, ignore_errors=True)
    for folder in (out, root / "work"):
        folder.mkdir(parents=True, exist_ok=True)
    report = train_box(
        BOX,
        sparse_model=changes.get("sparse_model", street.sparse_model),
        alignment=street.alignment,
        box_images=changes.get("box_images", street.box_images),
        box_bounds_enu=street.bounds,
        out=out,
        work=root / "work",
        settings=SplatSettings(
            iterations=iterations,
            width_px=SIZE[0],
            max_gaussians=4000,
            sh_degree=1,
            **changes.get("settings", {}),
        ),
        n_threads=1,
        progress=progress,
        recipe=Recipe(n_sky=300, checkpoint_every=20),
    )
    return report, out


@pytest.fixture(scope="module")
def trained(street, tmp_path_factory):
    notes = []
    report, out = run(
        street,
        tmp_path_factory.mktemp("trained"),
        iterations=300,
        progress=lambda *note: notes.append(note),
    )
    return report, out, notes


def test_a_short_training_reaches_18_db_on_held_out_photos(trained):
    report, _, _ = trained
    assert report.counts["psnr_db"] >= 18
    assert report.counts["cc_psnr_db"] >= 18
    assert 0.4 < report.counts["ssim"] <= 1


def test_the_artifact_holds_what_the_contract_says(trained):
    report, out, _ = trained
    scene = json.loads((out / "scene.json").read_text())
    metrics = json.loads((out / "metrics.json").read_text())
    held_out = scene["test_images"]
    assert len(held_out) == 2  # 21 home photos, every 8th
    assert scene["origin_enu_m"] == [*CENTRE, 42]  # the cameras are 1.6 m above ground, rounded
    assert not set(held_out) & set(scene["train_images"])
    assert len(scene["train_images"]) == 22  # the neighbour's three among them
    assert [view["image_id"] for view in metrics["views"]] == held_out
    assert metrics["psnr_db"] == report.counts["psnr_db"]
    assert metrics["history"][-1]["step"] == 300
    for image_id in held_out:
        picture = cv2.imread(str(out / "renders" / f"{image_id}.jpg"))
        assert picture.shape[1] % 2 == 0
        assert picture.shape[:2] == (scene["height"], 2 * scene["width"])
    assert (out / "ATTRIBUTION.md").read_text().startswith("# Attribution of the splat of box")


def test_the_ply_is_in_the_local_frame_in_metres(trained):
    report, out, _ = trained
    data = gsply.plyread(str(out / "splat.ply"))
    assert len(data.means) == report.counts["n_gaussians"]
    near = data.means[np.linalg.norm(data.means, axis=1) < 100]
    opaque = 1 / (1 + np.exp(-data.opacities)) > 0.3
    up = data.means[opaque & (np.linalg.norm(data.means, axis=1) < 30)][:, 2]
    assert len(near) > 0.5 * len(data.means) - 300
    # ground at 40 m, walls to 46 m, origin at 42 m
    assert np.percentile(up, 10) > GROUND_UP_M - 42 - 1
    assert np.percentile(up, 90) < GROUND_UP_M + 6 - 42 + 1
    assert np.allclose(np.linalg.norm(data.quats, axis=1), 1, atol=1e-4)


def test_progress_tells_steps_and_quality(trained):
    _, _, notes = trained
    assert notes[-1][:2] == (300, 300)
    assert "dB" in notes[-1][2]


class Killed(BaseException):
    pass


def test_a_killed_training_goes_on_to_the_same_bits(street, tmp_path):
    """One thread on a CPU: the checkpoint holds all state, so nothing may differ."""

    def stop(done, _total, _note):
        if done == 50:
            raise Killed

    whole, out = run(street, tmp_path / "whole", iterations=70)
    with pytest.raises(Killed):
        run(street, tmp_path / "cut", iterations=70, progress=stop)
    again, out_again = run(street, tmp_path / "cut", iterations=70)
    assert again.counts == whole.counts
    assert (out / "splat.ply").read_bytes() == (out_again / "splat.ply").read_bytes()
    assert (out / "metrics.json").read_bytes() == (out_again / "metrics.json").read_bytes()


def test_a_box_with_few_registered_photos_is_skipped_with_the_reason(street, tmp_path):
    report, out = run(street, tmp_path, iterations=10, settings={"min_images": 100})
    assert report.skipped == "24 registered and aligned photos; a splat needs 100"
    assert json.loads((out / "scene.json").read_text())["n_gaussians"] == 0
    assert not (out / "splat.ply").exists()


def test_photos_of_a_neighbour_that_was_not_passed_are_named(street, tmp_path):
    only = {BOX: street.box_images[BOX]}
    with pytest.raises(SplatError, match=r"Box .*: 3 registered photos are in none of 1 .*photo21"):
        run(street, tmp_path, iterations=10, box_images=only)
