"""What held-out photos say about a trained box."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from citysplat_core.splatting.losses import colour_corrected, psnr_db, ssim
from citysplat_core.splatting.trainer import Trainer
from citysplat_core.splatting.views import shot_of


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """One held-out photo and its rendering.

    Attributes:
        image_id: Id of the photo.
        psnr_db: PSNR in the colours of the photo's sequence; nothing was fitted to the photo.
        ssim: Structural similarity, the same way.
        cc_psnr_db: PSNR after the affine colour map that fits best, fitted to this very photo:
            what remains when camera exposure is forgiven.
        side_by_side: Photo left, rendering right, RGB uint8, shape (H, 2 W, 3).
    """

    image_id: str
    psnr_db: float
    ssim: float
    cc_psnr_db: float
    side_by_side: NDArray[np.uint8]


@torch.no_grad()
def held_out_views(trainer: Trainer) -> Iterator[HeldOut]:
    """Render every held-out photo's pose and compare.

    Args:
        trainer: A trained box.

    Yields:
        One result a photo, in sequence order.
    """
    device = trainer.device
    for view in trainer.scene.held_out:
        shot = shot_of(view, shrink=1, device=device)
        colours = trainer.exposure.apply_held_out(trainer.render(shot).rgb, view.sequence_id)
        rendered = colours.clamp(0, 1)
        both = (torch.cat([shot.photo, rendered], 1) * 255).round().byte().cpu().numpy()
        yield HeldOut(
            image_id=view.image_id,
            psnr_db=psnr_db(rendered, shot.photo),
            ssim=float(ssim(rendered, shot.photo)),
            cc_psnr_db=psnr_db(colour_corrected(rendered, shot.photo), shot.photo),
            side_by_side=both,
        )
