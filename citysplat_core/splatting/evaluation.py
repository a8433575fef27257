"""What held-out photos say about a trained box."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from citysplat_core.splatting.losses import colour_corrected, measured_ssim, psnr_db
from citysplat_core.splatting.trainer import Trainer
from citysplat_core.splatting.views import Shot, shot_of


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """One held-out photo and its rendering; all numbers are of its unmasked pixels.

    Attributes:
        image_id: Id of the photo.
        masked_share: Share of its pixels that the mask takes out of the numbers.
        psnr_db: PSNR in the colours of the photo's sequence; nothing was fitted to the photo.
        ssim: Structural similarity, the same way.
        cc_psnr_db: PSNR after the affine colour map that fits best, fitted to this very photo:
            what remains when camera exposure is forgiven.
        side_by_side: Photo left, rendering right, masked parts dimmed, RGB uint8,
            shape (H, 2 W, 3).
    """

    image_id: str
    masked_share: float
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
        rendered, mask = colours.clamp(0, 1), shot.mask
        corrected = colour_corrected(rendered, shot.photo, mask=mask)
        yield HeldOut(
            image_id=view.image_id,
            masked_share=0.0 if mask is None else 1.0 - float(mask.float().mean()),
            psnr_db=psnr_db(rendered, shot.photo, mask=mask),
            ssim=measured_ssim(rendered, shot.photo, mask=mask),
            cc_psnr_db=psnr_db(corrected, shot.photo, mask=mask),
            side_by_side=_side_by_side(shot, rendered),
        )


def _side_by_side(shot: Shot, rendered: Tensor) -> NDArray[np.uint8]:
    both = torch.cat([shot.photo, rendered], 1)
    if shot.mask is not None:
        light = 0.3 + 0.7 * shot.mask.to(both.dtype)
        both = both * torch.cat([light, light], 1)[..., None]
    return np.asarray((both * 255).round().byte().cpu().numpy(), np.uint8)
