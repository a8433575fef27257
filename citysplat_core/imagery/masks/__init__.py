"""What in the photos is ignored: one mask a photo, for features and splats alike."""

from citysplat_core.imagery.masks.files import mask_path, read_mask

__all__ = ["mask_path", "read_mask"]
