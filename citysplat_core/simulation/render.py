"""Pictures of a town as a perfect camera would see it, with their depth.

A panorama is rendered as eight sectors of 45 degrees: in each, its pixels are the uneven pixels of
a perspective camera that looks at the sector's middle.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from citysplat_core.simulation.cameras import Camera, pixel_rays
from citysplat_core.simulation.captures import Capture, Sequence
from citysplat_core.simulation.shading import LIGHT_FIELDS, render_rows, smooth_rows
from citysplat_core.simulation.solids import SolidArrays, solid_arrays
from citysplat_core.simulation.town import Town
from citysplat_core.simulation.traffic import moving_cars

_SUN = np.array([-0.46, -0.58, 0.67])
_SECTORS = 8


@dataclass(frozen=True, slots=True)
class View:
    """What a perfect camera sees.

    Attributes:
        light: Red, green, blue; 1 is white, brighter is possible, float32, shape (H, W, 3).
        depth_m: z-depth of the first surface, metres, infinite in the sky, float32, shape (H, W);
            of a panorama its distance.
    """

    light: NDArray[np.float32]
    depth_m: NDArray[np.float32]

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """The picture at neutral exposure, uint8, shape (H, W, 3)."""
        return to_bytes(self.light)


def to_bytes(light: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Round light to bytes; what is brighter than 0.8 is pressed together instead of cut."""
    knee = 0.8
    soft = knee + (1 - knee) * np.tanh((np.maximum(light, knee) - knee) / (1 - knee))
    return np.asarray(np.rint(255 * np.where(light < knee, np.maximum(light, 0), soft)), np.uint8)


def _light(sequence: Sequence) -> NDArray[np.float64]:
    """Give the light of a sequence in the order of ``LIGHT_FIELDS``."""
    light = np.zeros(LIGHT_FIELDS)
    light[0:3] = _SUN / np.linalg.norm(_SUN)
    light[15:17] = np.random.default_rng([sequence.seed, 5]).random(2)
    if sequence.is_dusk:
        light[6:9] = 0.40, 0.38, 0.43
        light[9:12] = 0.17, 0.22, 0.38
        light[12:15] = 0.74, 0.53, 0.43
        light[17:20] = 0.5, 1.0, 0.0012
    else:
        light[3:6] = 0.62, 0.57, 0.47
        light[6:9] = 0.60, 0.63, 0.68
        light[9:12] = 0.33, 0.53, 0.84
        light[12:15] = 0.78, 0.86, 0.93
        light[17:20] = 1.05, 0.0, 0.0007
    return light


def _with_traffic(town: Town, capture: Capture) -> SolidArrays:
    """Add the moving cars behind the boxes that stand still."""
    cars = moving_cars(town, capture)
    if not cars:
        return town.solids
    moving, still = solid_arrays(cars, bounds_m=(0.0, 0.0, 1.0, 1.0)), town.solids
    return still._replace(
        boxes=np.concatenate([still.boxes, moving.boxes]),
        kinds=np.concatenate([still.kinds, moving.kinds]),
        textures=np.concatenate([still.textures, moving.textures]),
        seeds=np.concatenate([still.seeds, moving.seeds]),
        tints=np.concatenate([still.tints, moving.tints]),
        styles=np.concatenate([still.styles, moving.styles]),
    )


def _in_bands(n_rows: int, n_threads: int, work: Callable[[int, int], None]) -> None:
    """Cut the rows into bands and let threads work on them."""
    if n_threads == 1:
        work(0, n_rows)
        return
    edges = np.linspace(0, n_rows, 4 * n_threads + 1).astype(int).tolist()
    with ThreadPoolExecutor(n_threads) as pool:
        for _ in pool.map(work, edges[:-1], edges[1:]):
            pass


def render(town: Town, capture: Capture, *, n_threads: int = 1) -> View:
    """Render what a capture's camera sees, without blur, noise, exposure and overlays.

    The camera's distortion is exact at pixel centres. The result does not depend on the number of
    threads; several photos may be rendered at once from different threads.

    Args:
        town: The town.
        capture: One of its captures.
        n_threads: Threads that share the rows.
    """
    if not capture.camera.is_pano:
        return _rendered(town, capture, pixel_rays(capture.camera), capture.rotation, n_threads)
    rays, turns, length = _sector_rays(capture.camera)
    sectors = [_rendered(town, capture, rays, turn @ capture.rotation, n_threads) for turn in turns]
    depth = np.concatenate([sector.depth_m * length for sector in sectors], axis=1)
    return View(np.concatenate([sector.light for sector in sectors], axis=1), depth)


@lru_cache(maxsize=4)
def _sector_rays(
    camera: Camera,
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]], NDArray[np.float32]]:
    """Give the rays of a sector of a panorama at z = 1, each sector's turn, and the rays' lengths.

    A turn is the rotation from the panorama's axes to the sector's, shape (3, 3).
    """
    wide = camera.width // _SECTORS
    across = ((np.arange(wide) + 0.5) / wide - 0.5) * (2 * np.pi / _SECTORS)
    down = ((np.arange(camera.height) + 0.5) / camera.height - 0.5) * np.pi
    x, y = np.meshgrid(np.tan(across), np.tan(down))
    y = y / np.cos(across)
    length = np.sqrt(x * x + y * y + 1).astype(np.float32)
    turns = []
    for sector in range(_SECTORS):
        turn = (sector + 0.5) / _SECTORS * 2 * np.pi - np.pi
        cos, sin = np.cos(turn), np.sin(turn)
        turns.append(np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]]))
    return np.stack([x, y], axis=-1), turns, length


def _rendered(
    town: Town,
    capture: Capture,
    rays: NDArray[np.float64],
    rotation: NDArray[np.float64],
    n_threads: int,
) -> View:
    """Render what is seen along the rays of a camera that is turned by a rotation from ENU."""
    height, width = rays.shape[:2]
    town_from_enu = town.town_from_enu
    pose = np.empty((3, 4))
    pose[:, :3] = town_from_enu @ rotation.T
    pose[:, 3] = town_from_enu @ capture.centre
    grid = town.grid
    streets = np.array([grid.street_x(0), grid.street_y(0), grid.pitch_m])
    scene = (
        _with_traffic(town, capture), len(town.solids.boxes), town.textures, streets,
        _light(capture.sequence), 1.0 / capture.camera.focal_px, town.settings.seed,
    )  # fmt: skip
    colour = np.empty((height, width, 3), np.float32)
    smooth = np.empty((height, width, 3), np.float32)
    depth = np.empty((height, width), np.float32)
    ident = np.empty((height, width), np.int64)

    def shoot(first: int, last: int) -> None:
        render_rows(first, last, rays, pose, *scene, colour, depth, ident)

    def soften(first: int, last: int) -> None:
        smooth_rows(first, last, rays, pose, *scene, colour, ident, smooth)

    _in_bands(height, n_threads, shoot)
    _in_bands(height, n_threads, soften)
    return View(smooth, depth)
