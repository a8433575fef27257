"""One page of HTML that tells how a city was built, with its pictures inside."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from PIL import Image, UnidentifiedImageError

from citysplat_core.city.report_template import TEMPLATE
from citysplat_core.errors import ViewerError
from citysplat_core.storage import published

_WIDE = 2.2
"""Pictures this much wider than high are strips (photo beside rendering), two in a row."""

_FACTS = (
    ("images_true", "photos in the simulated town", ""),
    ("images_found", "photos found", ""),
    ("images_used", "photos good enough", ""),
    ("registered", "photos placed", ""),
    ("boxes", "boxes", ""),
    ("fringes", "fringes", ""),
    ("components", "sparse models", ""),
    ("position_error_m", "from the true position", "m"),
    ("gps_residual_m", "from GPS", "m"),
    ("seam_m", "disagreement at seams", "m"),
    ("splats", "boxes with a splat", ""),
    ("gaussians", "Gaussians", ""),
    ("psnr_db", "PSNR of held-out views", "dB"),
    ("ssim", "SSIM of held-out views", ""),
    ("total_seconds", "in total", "s"),
)

_NEEDS_TRUTH = {"images_true", "position_error_m"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    title: str
    source: str
    width: int
    height: int
    is_strip: bool


def write_report(
    summary: Mapping[str, Any],
    out_file: Path,
    *,
    pictures: Sequence[tuple[str, Path | bytes]] = (),
    credit: str = "",
) -> None:
    """Write the report of a city as one self-contained HTML file.

    Args:
        summary: The numbers of ``summary.json``. What is null is shown as "not measured", what is
            absent or needs a simulated city's truth is left out.
        out_file: The HTML file; its directory must exist. An older report is replaced whole.
        pictures: Title and PNG, JPEG or WebP (a file or its bytes), in the order shown.
        credit: Whose photos they show; stands below them.

    Raises:
        ViewerError: A picture is missing or no picture; names it.
        StorageError: The disk is full.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = format_number
    stages = list(summary.get("stages") or [])
    text = environment.from_string(TEMPLATE).render(
        title=summary.get("city") or "City",
        facts=[_fact(summary, *fact) for fact in _FACTS if _is_shown(summary, fact[0])],
        pairs=dict(summary.get("pairs") or {}),
        stages=stages,
        slowest=max((float(stage.get("seconds") or 0) for stage in stages), default=0.0),
        skipped=dict(summary.get("skipped") or {}),
        failed=dict(summary.get("failed") or {}),
        pictures=[_embed(title, source) for title, source in pictures],
        credit=credit,
    )
    with published(out_file) as stream:
        stream.write(text.encode())


def _is_shown(summary: Mapping[str, Any], key: str) -> bool:
    """Leave out what only a simulated city can have, where it has none."""
    return key in summary and not (summary[key] is None and key in _NEEDS_TRUTH)


def _fact(summary: Mapping[str, Any], key: str, label: str, unit: str) -> dict[str, str | bool]:
    value = summary[key]
    detail = ""
    if isinstance(value, Mapping):
        detail = f"median; p90 {format_number(value.get('p90'))} {unit}".rstrip()
        value = value.get("median")
    shown = format_number(value)
    return {
        "value": shown if value is None or not unit else f"{shown} {unit}",
        "is_missing": value is None,
        "label": label,
        "detail": detail,
    }


def format_number(value: object) -> str:
    """Write a number as people read it: grouped, with no more digits than it is worth.

    Returns:
        ``not measured`` for None and NaN; text as it is.
    """
    if value is None or value != value:  # noqa: PLR0124 - NaN alone differs from itself
        return "not measured"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def _embed(title: str, source: Path | bytes) -> _Picture:
    name = title if isinstance(source, bytes) else str(source)
    try:
        data = source if isinstance(source, bytes) else source.read_bytes()
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
            width, height = image.size
            mime = Image.MIME[str(image.format)]
    except (OSError, UnidentifiedImageError) as error:
        raise ViewerError(
            f"the picture {name} cannot be read ({error})",
            expected="a PNG, JPEG or WebP picture",
            fix="Materialize the asset that draws it again.",
        ) from error
    return _Picture(
        title=title,
        source=f"data:{mime};base64,{base64.b64encode(data).decode()}",
        width=width,
        height=height,
        is_strip=width / height > _WIDE,
    )
