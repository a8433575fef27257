"""What one box gives to the city: the Gaussians it owns, and its backdrop, as SPZ files."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from citysplat_core.city.gaussians import Gaussians, read_ply, visible, write_spz
from citysplat_core.city.inputs import BoxInputs
from citysplat_core.city.ownership import split_by_owner
from citysplat_core.errors import ViewerError
from citysplat_core.geography import CityFrame
from citysplat_core.settings import TilesSettings
from citysplat_core.storage import read_json, write_json


@dataclass(frozen=True, slots=True, kw_only=True)
class SplatParts:
    """The published files of a box.

    Attributes:
        key: The box.
        owned: SPZ file of the Gaussians in its own square.
        environment: SPZ file of its backdrop, or None if it has none.
        origin_enu_m: Origin of the local frame in the city frame, metres.
        antialiased: Whether it was trained with opacity compensation.
        n_owned: Gaussians in its own square.
        n_environment: Gaussians of its backdrop.
        n_left: Gaussians left to the boxes they fall in.
        n_pruned: Gaussians that never show.
    """

    key: str
    owned: Path
    environment: Path | None
    origin_enu_m: tuple[float, float, float]
    antialiased: bool
    n_owned: int
    n_environment: int
    n_left: int
    n_pruned: int

    @property
    def files(self) -> list[Path]:
        """List the files to publish."""
        return [self.owned, self.environment] if self.environment else [self.owned]

    def describe(self) -> dict[str, Any]:
        """Give the box's ``splat`` entry of ``city.json``."""
        backdrop = self.environment
        return {
            "url": f"splats/{self.owned.name}",
            "n_gaussians": self.n_owned,
            "size_bytes": self.owned.stat().st_size,
            "origin_enu_m": list(self.origin_enu_m),
            "antialiased": self.antialiased,
            "environment": None
            if backdrop is None
            else {
                "url": f"splats/{backdrop.name}",
                "n_gaussians": self.n_environment,
                "size_bytes": backdrop.stat().st_size,
            },
        }


def publish_parts(
    item: BoxInputs,
    *,
    others: Collection[str],
    frame: CityFrame,
    ground_up_m: float,
    settings: TilesSettings,
    folder: Path,
) -> SplatParts:
    """Cut a box's splat to what it owns and write it for the web.

    Args:
        item: The box; its ``splat`` must be there.
        others: Keys of the other boxes with a splat.
        frame: The city frame.
        ground_up_m: Typical height of the box's cameras, metres.
        settings: What is published.
        folder: Where the files go; a box that is whole there is read back and not made again.

    Returns:
        The files and counts. Positions stay in the box's local frame.

    Raises:
        ViewerError: The splat is missing or malformed.
    """
    note = folder / f"{item.key}.json"
    origin, antialiased = _scene(item)
    owned_file, backdrop_file = folder / f"{item.key}.spz", folder / f"{item.key}.environment.spz"
    if note.is_file():
        counts = read_json(note)
    else:
        counts = _cut(item, origin, others, frame, ground_up_m, settings, owned_file, backdrop_file)
        write_json(note, counts)
    return SplatParts(
        key=item.key,
        owned=owned_file,
        environment=backdrop_file if counts["n_environment"] else None,
        origin_enu_m=origin,
        antialiased=antialiased,
        **counts,
    )


def _cut(
    item: BoxInputs,
    origin: tuple[float, float, float],
    others: Collection[str],
    frame: CityFrame,
    ground_up_m: float,
    settings: TilesSettings,
    owned_file: Path,
    backdrop_file: Path,
) -> dict[str, int]:
    everything = read_ply(_splat(item) / "splat.ply", box=item.key)
    shown = everything.take(visible(everything, min_opacity=settings.min_opacity))
    shown = shown.with_sh_degree(settings.sh_degree)
    masks = split_by_owner(
        shown.means.astype(np.float64) + origin,
        key=item.key,
        others=others,
        frame=frame,
        ground_up_m=ground_up_m,
        environment_beyond_m=settings.environment_beyond_m,
    )
    owned, backdrop = shown.take(masks.owned), shown.take(masks.environment)
    write_spz(owned_file, owned)
    if len(backdrop):
        write_spz(backdrop_file, _within_reach(backdrop))
    return {
        "n_owned": len(owned),
        "n_environment": len(backdrop),
        "n_left": int(masks.left.sum()),
        "n_pruned": len(everything) - len(shown),
    }


def _within_reach(backdrop: Gaussians) -> Gaussians:
    """Pull what lies beyond SPZ's largest reach (500 km) onto it: sky has no true distance."""
    reach = np.float32(5e5)
    return Gaussians(
        means=np.clip(backdrop.means, -reach, reach),
        scales=backdrop.scales,
        quats=backdrop.quats,
        opacities=backdrop.opacities,
        sh0=backdrop.sh0,
        sh_rest=backdrop.sh_rest,
    )


def _scene(item: BoxInputs) -> tuple[tuple[float, float, float], bool]:
    scene = read_json(_splat(item) / "scene.json")
    try:
        east, north, up = (float(value) for value in scene["origin_enu_m"])
    except (KeyError, TypeError, ValueError) as error:
        raise ViewerError(
            f"scene.json has no usable origin_enu_m ({error!r})",
            expected="three numbers: east, north, up in metres",
            fix="Materialize the splat of this box again.",
            box=item.key,
        ) from error
    return (east, north, up), bool(scene.get("antialiased", True))


def _splat(item: BoxInputs) -> Path:
    if item.splat is None:
        raise ViewerError(
            "the box has no splat artifact",
            expected="a splat artifact",
            fix="Materialize the splat of this box.",
            box=item.key,
        )
    return item.splat
