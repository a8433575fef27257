"""Which surface a ray meets first."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from citysplat_core.simulation.kernel import kernel
from citysplat_core.simulation.sampling import sample
from citysplat_core.simulation.solids import CELL_M, SolidArrays, SolidKind
from citysplat_core.simulation.texture_bank import TextureBank

NONE = -1
"""Index of no box. Faces are 0 to 5: low x, high x, low y, high y, low z, high z."""
_SCREEN, _CROWN = int(SolidKind.SCREEN), int(SolidKind.CROWN)


class Ray(NamedTuple):
    """A ray in town metres; points are origin + t * direction, and t is the camera's z-depth."""

    ox: float
    oy: float
    oz: float
    dx: float
    dy: float
    dz: float


@kernel
def slab(low: float, high: float, origin: float, step: float) -> tuple[float, float]:
    """Give where a ray enters and leaves the layer between two parallel planes."""
    if step == 0.0:
        if origin < low or origin > high:
            return 1e30, -1e30
        return -1e30, 1e30
    near, far = (low - origin) / step, (high - origin) / step
    return (near, far) if near < far else (far, near)


@kernel
def box_hit(box: NDArray[np.float64], ray: Ray) -> tuple[float, float, int, int]:
    """Give entry and exit of a box and the faces through which; entry > exit is a miss."""
    near_x, far_x = slab(box[0], box[3], ray.ox, ray.dx)
    near_y, far_y = slab(box[1], box[4], ray.oy, ray.dy)
    near_z, far_z = slab(box[2], box[5], ray.oz, ray.dz)
    near, face = near_x, (0 if ray.dx > 0 else 1)
    if near_y > near:
        near, face = near_y, (2 if ray.dy > 0 else 3)
    if near_z > near:
        near, face = near_z, (4 if ray.dz > 0 else 5)
    far, out = far_x, (1 if ray.dx > 0 else 0)
    if far_y < far:
        far, out = far_y, (3 if ray.dy > 0 else 2)
    if far_z < far:
        far, out = far_z, (5 if ray.dz > 0 else 4)
    return near, far, face, out


@kernel
def crown_uv(box: NDArray[np.float64], x: float, y: float, z: float) -> tuple[float, float]:
    """Unroll the place on a crown to a place on the picture of leaves."""
    cx, cy = 0.5 * (box[0] + box[3]), 0.5 * (box[1] + box[4])
    height = box[5] - box[2]
    around = (math.atan2(y - cy, x - cx) / (2 * math.pi)) % 1.0
    return 4.0 * around, 2.0 * (box[5] - z) / height


@kernel
def _crown_hit(index: int, solids: SolidArrays, bank: TextureBank, ray: Ray, pixel: float) -> float:
    """Meet a crown where its leaves are: on the near side, else on the far side."""
    box = solids.boxes[index]
    rx, ry, rz = 0.5 * (box[3] - box[0]), 0.5 * (box[4] - box[1]), 0.5 * (box[5] - box[2])
    ox, oy, oz = (ray.ox - box[0]) / rx - 1, (ray.oy - box[1]) / ry - 1, (ray.oz - box[2]) / rz - 1
    dx, dy, dz = ray.dx / rx, ray.dy / ry, ray.dz / rz
    a, b = dx * dx + dy * dy + dz * dz, ox * dx + oy * dy + oz * dz
    root = b * b - a * (ox * ox + oy * oy + oz * oz - 1)
    if root <= 0:
        return 1e30
    for sign in (-1.0, 1.0):
        t = (-b + sign * math.sqrt(root)) / a
        if t > 1e-3:
            u, v = crown_uv(box, ray.ox + t * ray.dx, ray.oy + t * ray.dy, ray.oz + t * ray.dz)
            shift = (solids.seeds[index] % 97) / 97.0
            foot = t * pixel / (1.6 * rx)
            leaf = sample(bank.pixels, bank.layout, solids.textures[index], u + shift, v, foot)
            if leaf[3] > 0.5:
                return float(t)
    return 1e30


@kernel
def face_uv(
    box: NDArray[np.float64], face: int, x: float, y: float, z: float
) -> tuple[float, float, float, float]:
    """Give metres from the left and from the top of a face seen from outside, and its size."""
    if face < 2:
        wide = box[4] - box[1]
        across = box[4] - y if face == 0 else y - box[1]
        return across, box[5] - z, wide, box[5] - box[2]
    if face < 4:
        wide = box[3] - box[0]
        across = x - box[0] if face == 2 else box[3] - x
        return across, box[5] - z, wide, box[5] - box[2]
    return x - box[0], y - box[1], box[3] - box[0], box[4] - box[1]


@kernel
def _screen_hit(
    index: int, solids: SolidArrays, bank: TextureBank, ray: Ray, pixel: float
) -> float:
    """Meet a railing on its near sides, else on its far sides, unless one sees through."""
    box = solids.boxes[index]
    near, far, face, out = box_hit(box, ray)
    if near > far:
        return 1e30
    for k in range(2):
        t, side = (near, face) if k == 0 else (far, out)
        if t > 1e-3 and side < 4:
            across, down, _, tall = face_uv(
                box, side, ray.ox + t * ray.dx, ray.oy + t * ray.dy, ray.oz + t * ray.dz
            )
            u, v = across / 2.2, down / tall
            foot = t * pixel / 2.2
            if sample(bank.pixels, bank.layout, solids.textures[index], u, v, foot)[3] > 0.4:
                return t
    return 1e30


@kernel
def _see_through_hit(
    index: int, solids: SolidArrays, bank: TextureBank, ray: Ray, pixel: float
) -> float:
    """Meet a box that one can see through where it is solid (1e30: nowhere)."""
    if solids.kinds[index] == _CROWN:
        return _crown_hit(index, solids, bank, ray, pixel)
    return _screen_hit(index, solids, bank, ray, pixel)


@kernel
def met_face(boxes: NDArray[np.float64], index: int, ray: Ray, t: float) -> int:
    """Give the face of a box that is nearest to a point on it."""
    face, least = 0, 1e30
    x, y, z = ray.ox + t * ray.dx, ray.oy + t * ray.dy, ray.oz + t * ray.dz
    off = (
        abs(x - boxes[index, 0]), abs(x - boxes[index, 3]), abs(y - boxes[index, 1]),
        abs(y - boxes[index, 4]), abs(z - boxes[index, 2]), abs(z - boxes[index, 5]),
    )  # fmt: skip
    for k in range(6):
        if off[k] < least:
            face, least = k, off[k]
    return face


@kernel
def first_hit(  # noqa: C901, PLR0912, PLR0915 - the inner loop of all
    solids: SolidArrays, n_static: int, bank: TextureBank, ray: Ray, limit: float, pixel: float,
    is_any_enough: bool,
) -> tuple[float, int]:  # fmt: skip
    """Find the first box on a ray.

    Args:
        solids: The boxes; the first ``n_static`` are in the cells, the others move.
        n_static: Number of boxes in the cells.
        bank: Pictures, for what one can see through.
        ray: The ray.
        limit: Farthest t of interest.
        pixel: Angle of a pixel: what it covers at t = 1, metres.
        is_any_enough: Stop at any box before ``limit`` (for shadows).

    Returns:
        The ray's parameter (``limit`` if nothing is met) and the box's index (``NONE``).
    """
    boxes, kinds, cells, items = solids.boxes, solids.kinds, solids.cells, solids.items
    ox, oy, oz = ray.ox, ray.oy, ray.oz
    ix = 1.0 / (ray.dx if ray.dx != 0.0 else 1e-12)
    iy = 1.0 / (ray.dy if ray.dy != 0.0 else 1e-12)
    iz = 1.0 / (ray.dz if ray.dz != 0.0 else 1e-12)
    left, south = solids.lattice[0], solids.lattice[1]
    n_x, n_y = int(solids.lattice[2]), int(solids.lattice[3])
    ax, bx = (left - ox) * ix, (left + n_x * CELL_M - ox) * ix
    ay, by = (south - oy) * iy, (south + n_y * CELL_M - oy) * iy
    start = max(min(ax, bx), min(ay, by), 0.0)
    leave = min(max(ax, bx), max(ay, by))
    if ray.dz > 0:  # above the highest roof there is nothing to meet
        limit = min(limit, max((solids.lattice[4] + 0.01 - oz) * iz, 0.0))
    cx = min(max(int((ox + start * ray.dx - left) / CELL_M), 0), n_x - 1)
    cy = min(max(int((oy + start * ray.dy - south) / CELL_M), 0), n_y - 1)
    step_x, step_y = (1 if ix > 0 else -1), (1 if iy > 0 else -1)
    width_x, width_y = CELL_M * abs(ix), CELL_M * abs(iy)
    next_x = (left + (cx + (1 if ix > 0 else 0)) * CELL_M - ox) * ix
    next_y = (south + (cy + (1 if iy > 0 else 0)) * CELL_M - oy) * iy
    best, found = limit, NONE
    first, last = n_static, len(boxes)  # the moving boxes come first, then cell after cell
    is_moving = True
    while True:
        for place in range(first, last):
            index = place if is_moving else items[place]
            a, b = (boxes[index, 0] - ox) * ix, (boxes[index, 3] - ox) * ix
            near, far = min(a, b), max(a, b)
            a, b = (boxes[index, 1] - oy) * iy, (boxes[index, 4] - oy) * iy
            near, far = max(near, min(a, b)), min(far, max(a, b))
            a, b = (boxes[index, 2] - oz) * iz, (boxes[index, 5] - oz) * iz
            near, far = max(near, min(a, b)), min(far, max(a, b))
            if near > far or far < 1e-3 or near >= best:
                continue
            kind = kinds[index]
            if kind in {_CROWN, _SCREEN}:
                near = _see_through_hit(index, solids, bank, ray, pixel)
            if 1e-3 < near < best:
                best, found = near, index
                if is_any_enough:
                    return best, found
        if is_moving:
            is_moving = False
            if start >= leave:
                return best, found
        elif next_x < next_y:
            if best <= next_x:
                return best, found
            cx += step_x
            next_x += width_x
        else:
            if best <= next_y:
                return best, found
            cy += step_y
            next_y += width_y
        if cx < 0 or cy < 0 or cx >= n_x or cy >= n_y:
            return best, found
        cell = cy * n_x + cx
        first, last = cells[cell], cells[cell + 1]
