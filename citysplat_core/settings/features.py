"""Settings of the features of photos."""

from typing import Final

from pydantic import Field, field_validator

from citysplat_core.settings.base import StepSettings, machine

FEATURE_BACKENDS: Final = ("sift", "xfeat", "hybrid")
"""Feature backends without a configuration."""
_ONNX_ONLY: Final = (
    "aliked",
    "loma",
    "lightglue",
    "sift_lightglue",
    "sift-lightglue",
    "sift+lightglue",
)
"""What pycolmap lists and its wheels cannot run: they abort without an exception."""


class FeatureSettings(StepSettings):
    """How features are extracted."""

    backend: str = "sift"
    """Name of the extractor: ``sift``, ``xfeat`` (extra ``learned``), ``hybrid`` (both), or an
    hloc configuration as ``hloc:NAME``."""
    max_features: int = Field(4096, ge=128)
    """Most SIFT keypoints a photo."""
    max_learned_features: int = Field(2048, ge=128, le=32767)
    """Most learned keypoints a photo; matching costs their square."""
    max_image_px: int = Field(1600, ge=160)
    """Photos are scaled down to this longer side before extraction, pixels."""
    prior_std_m: float = Field(4.0, gt=0)
    """Standard deviation given to horizontal GPS positions, metres."""
    prior_std_up_m: float = Field(9.0, gt=0)
    """Standard deviation given to GPS heights, metres."""
    keep_descriptors: bool = machine(default=True)
    """Keep descriptors after matching; if not, a box gives back their space (nine tenths) when it
    and its fringes are matched, and a later matching extracts them again."""

    @field_validator("backend")
    @classmethod
    def _known_backend(cls, name: str) -> str:
        """Refuse what no backend answers to, and what would end the whole process."""
        family, _, conf = name.partition(":")
        if name in FEATURE_BACKENDS or (family == "hloc" and conf):
            return name
        valid = f"one of {', '.join(FEATURE_BACKENDS)}, hloc:NAME"
        if family.lower().startswith(_ONNX_ONLY):
            raise ValueError(
                f"pycolmap is built without ONNX and this would end the process; expected {valid}"
            )
        raise ValueError(f"no such feature backend; expected {valid}")
