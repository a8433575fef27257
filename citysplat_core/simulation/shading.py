"""The colour that comes along a ray: surfaces, sun, shadow and haze."""

import math

import numpy as np
from numpy.typing import NDArray

from citysplat_core.simulation.facades import facade
from citysplat_core.simulation.ground import ground_colour, ground_hit, sky_colour
from citysplat_core.simulation.kernel import kernel
from citysplat_core.simulation.raycast import (
    NONE,
    Ray,
    crown_uv,
    face_uv,
    first_hit,
    met_face,
)
from citysplat_core.simulation.sampling import sample
from citysplat_core.simulation.solids import SolidArrays, SolidKind
from citysplat_core.simulation.texture_bank import CAR_END, CAR_SIDE, N_CARS, STAIN, TextureBank

Seen = tuple[float, float, float, float, int]
"""Red, green, blue (0 to 1 and above), t (1e30: sky) and the id of the part that was met."""
LIGHT_FIELDS = 20
"""0-2 direction to the sun, 3-5 sunlight, 6-8 light from the sky, 9-11 colour overhead, 12-14 at
the horizon, 15-16 shift of the clouds, 17 their brightness, 18 dusk (0 or 1), 19 haze a metre."""
_SHADOW_M = 90.0
_ANY, _FIRST = True, False
_HOUSE, _SCREEN, _POSTER = int(SolidKind.HOUSE), int(SolidKind.SCREEN), int(SolidKind.POSTER)
_CROWN, _CAR, _CABIN = int(SolidKind.CROWN), int(SolidKind.CAR), int(SolidKind.CABIN)


@kernel
def _tinted(
    index: int, solids: SolidArrays, rgb: tuple[float, float, float]
) -> tuple[float, float, float]:
    tint = solids.tints[index]
    return rgb[0] * tint[0], rgb[1] * tint[1], rgb[2] * tint[2]


@kernel
def _car_colour(
    index: int,
    face: int,
    solids: SolidArrays,
    bank: TextureBank,
    place: tuple[float, float, float],
    foot: float,
) -> tuple[float, float, float]:
    """Colour a car: pictures fill its sides; paint tints what is bright."""
    box, along_x = solids.boxes[index], solids.seeds[index] >= 2
    forward = solids.seeds[index] % 2 == 1
    across, down, wide, tall = face_uv(box, face, place[0], place[1], place[2])
    if face >= 4:
        rgb = (0.8, 0.8, 0.8)
        return _tinted(index, solids, rgb)
    texture = solids.textures[index]
    if solids.kinds[index] == _CAR:
        is_end = (face < 2) == along_x
        if is_end:
            texture = CAR_END + (texture - CAR_SIDE + face) % N_CARS
        # The picture's front is on its right; walls run left to right as seen from outside.
        runs_forward = face in {1, 2}
        if not is_end and runs_forward != forward:
            across = wide - across
    r, g, b, _ = sample(
        bank.pixels,
        bank.layout,
        texture,
        across / wide * 0.99 + 0.005,
        down / tall * 0.98 + 0.01,
        foot / wide,
    )
    paint = min(
        1.0, max(0.0, (min(r, g, b) - 0.62) * 6)
    )  # glass, tyres and lamps keep their colour
    tr, tg, tb = _tinted(index, solids, (r, g, b))
    return r + paint * (tr - r), g + paint * (tg - g), b + paint * (tb - b)


@kernel
def _solid_colour(
    index: int,
    face: int,
    solids: SolidArrays,
    bank: TextureBank,
    place: tuple[float, float, float],
    foot: float,
) -> tuple[float, float, float]:
    """Colour a place on anything but a house's wall."""
    box, kind = solids.boxes[index], solids.kinds[index]
    texture = solids.textures[index]
    if kind == _CROWN:
        u, v = crown_uv(box, place[0], place[1], place[2])
        shift = (solids.seeds[index] % 97) / 97.0
        wide = 0.8 * (box[3] - box[0])
        r, g, b, _ = sample(bank.pixels, bank.layout, texture, u + shift, v, foot / wide)
        deep = 0.55 + 0.6 * (place[2] - box[2]) / (box[5] - box[2])
        return _tinted(index, solids, (r * deep, g * deep, b * deep))
    if kind in {_CAR, _CABIN}:
        return _car_colour(index, face, solids, bank, place, foot)
    across, down, wide, tall = face_uv(box, face, place[0], place[1], place[2])
    size = 3.0
    u, v = across / size, down / size
    if kind == _SCREEN:
        size = 2.2
        u, v = across / size, down / tall
    elif kind == _POSTER and face < 4 and wide > 0.12:
        size = wide
        u, v = min(max(across / wide, 0.01), 0.99), min(max(down / tall, 0.01), 0.99)
    elif kind == _POSTER:
        return _tinted(index, solids, (0.45, 0.45, 0.45))
    r, g, b, _ = sample(bank.pixels, bank.layout, texture, u, v, foot / size)
    s = sample(
        bank.pixels,
        bank.layout,
        STAIN,
        across / 7.0 + box[0] * 0.37,
        down / 7.0 + box[1] * 0.53,
        foot / 7.0,
    )[0]
    s = 0.4 + 0.75 * s
    return _tinted(index, solids, (r * s, g * s, b * s))


@kernel
def _in_sun(
    solids: SolidArrays, n_static: int, bank: TextureBank, place: tuple[float, float, float],
    light: NDArray[np.float64], pixel: float,
) -> float:  # fmt: skip
    """Say whether the sun reaches a place (1) or not (0)."""
    ray = Ray(place[0], place[1], place[2], light[0], light[1], light[2])
    _, found = first_hit(solids, n_static, bank, ray, _SHADOW_M, pixel, _ANY)
    return 1.0 if found == NONE else 0.0


@kernel
def _lit(
    rgb: tuple[float, float, float],
    normal: tuple[float, float, float],
    sun: float,
    light: NDArray[np.float64],
) -> tuple[float, float, float]:
    """Light a surface by the sky and, where it reaches it, the sun."""
    facing = normal[0] * light[0] + normal[1] * light[1] + normal[2] * light[2]
    direct = sun * max(facing, 0.0)
    sky = 0.8 + 0.2 * normal[2] + 0.06 * normal[0]
    return (
        rgb[0] * (sky * light[6] + direct * light[3]),
        rgb[1] * (sky * light[7] + direct * light[4]),
        rgb[2] * (sky * light[8] + direct * light[5]),
    )


@kernel
def _normal(face: int) -> tuple[float, float, float]:
    sign = -1.0 if face % 2 == 0 else 1.0
    if face < 2:
        return sign, 0.0, 0.0
    if face < 4:
        return 0.0, sign, 0.0
    return 0.0, 0.0, sign


@kernel
def look(
    ray: Ray,
    solids: SolidArrays,
    n_static: int,
    bank: TextureBank,
    streets: NDArray[np.float64],
    light: NDArray[np.float64],
    pixel: float,
    seed: int,
) -> Seen:
    """Follow a ray and tell what it sees.

    Args:
        ray: The ray in town metres.
        solids: The boxes, the moving ones last.
        n_static: Number of boxes that stand still.
        bank: Pictures.
        streets: First centre lines in x and y and their pitch, metres, shape (3,).
        light: See ``LIGHT_FIELDS``.
        pixel: What a pixel covers at t = 1, metres.
        seed: Seed of what lies on the road.
    """
    floor_t, part = ground_hit(
        ray.ox, ray.oy, ray.oz, ray.dx, ray.dy, ray.dz, streets[0], streets[1], streets[2]
    )
    t, found = first_hit(solids, n_static, bank, ray, floor_t, pixel, _FIRST)
    if found == NONE and floor_t > 1e29:
        r, g, b = sky_colour(ray.dx, ray.dy, ray.dz, bank, light)
        return r, g, b, 1e30, -1
    length = math.sqrt(ray.dx * ray.dx + ray.dy * ray.dy + ray.dz * ray.dz)
    place = (ray.ox + t * ray.dx, ray.oy + t * ray.dy, ray.oz + t * ray.dz)
    own, ident = 0.0, part
    if found == NONE:
        normal = (0.0, 0.0, 1.0)
        foot = t * pixel / math.sqrt(max(-ray.dz / length, 0.06))
        rgb = ground_colour(
            part, place[0], place[1], streets[0], streets[1], streets[2], bank, seed, foot
        )
    else:
        face = met_face(solids.boxes, found, ray, t)
        normal = _normal(face)
        if solids.kinds[found] == _CROWN:
            normal = (0.3, 0.0, 0.6)
        facing = abs(normal[0] * ray.dx + normal[1] * ray.dy + normal[2] * ray.dz) / length
        foot = t * pixel / math.sqrt(max(facing, 0.08))
        ident = found * 8 + face
        if solids.kinds[found] == _HOUSE and face < 4:
            box = solids.boxes[found]
            across, _, wide, tall = face_uv(box, face, place[0], place[1], place[2])
            du = (-ray.dy, ray.dy, ray.dx, -ray.dx)[face]
            dn = abs(ray.dx) if face < 2 else abs(ray.dy)
            r, g, b, deeper, hole, own = facade(
                solids, found, face, bank, across, place[2] - box[2], wide, tall,
                du, ray.dz, dn, foot, light[18],
            )  # fmt: skip
            t += deeper
            rgb = (r, g, b)
            ident += hole * 1000003
        else:
            rgb = _solid_colour(found, face, solids, bank, place, foot)
    sun = 0.0
    if light[3] > 0 and normal[0] * light[0] + normal[1] * light[1] + normal[2] * light[2] > 0:
        e = 0.01
        place = (place[0] + e * normal[0], place[1] + e * normal[1], place[2] + e * normal[2])
        sun = _in_sun(solids, n_static, bank, place, light, pixel)
        ident += (1 << 50) if sun > 0 else 0  # the edges of shadows are smoothed too
    r, g, b = _lit(rgb, normal, sun, light)
    if own > 0:
        r, g, b = r + 0.55 * rgb[0] + 0.3, g + 0.45 * rgb[1] + 0.2, b + 0.25 * rgb[2] + 0.05
    haze = 1.0 - math.exp(-light[19] * t * length)
    return (
        r + haze * (light[12] - r),
        g + haze * (light[13] - g),
        b + haze * (light[14] - b),
        t,
        ident,
    )


@kernel
def render_rows(  # noqa: PLR0913, PLR0917 - a kernel has no objects to hide its arrays in
    first: int,
    last: int,
    rays: NDArray[np.float64],
    pose: NDArray[np.float64],
    solids: SolidArrays,
    n_static: int,
    bank: TextureBank,
    streets: NDArray[np.float64],
    light: NDArray[np.float64],
    pixel: float,
    seed: int,
    colour: NDArray[np.float32],
    depth: NDArray[np.float32],
    ident: NDArray[np.int64],
) -> None:
    """Fill rows ``first`` to ``last`` - 1 of a picture with one ray a pixel.

    Args:
        first: First row.
        last: Row after the last.
        rays: x and y of each pixel's direction in the camera at z = 1, shape (H, W, 2).
        pose: Columns: camera x, y, z axes in town metres, and the camera's centre, shape (3, 4).
        solids: See ``look``.
        n_static: See ``look``.
        bank: See ``look``.
        streets: See ``look``.
        light: See ``look``.
        pixel: See ``look``.
        seed: See ``look``.
        colour: Filled, shape (H, W, 3).
        depth: Filled with z-depths, infinite in the sky, shape (H, W).
        ident: Filled with the ids of what was met, shape (H, W).
    """
    for row in range(first, last):
        for column in range(rays.shape[1]):
            x, y = rays[row, column, 0], rays[row, column, 1]
            ray = Ray(
                pose[0, 3], pose[1, 3], pose[2, 3],
                pose[0, 0] * x + pose[0, 1] * y + pose[0, 2],
                pose[1, 0] * x + pose[1, 1] * y + pose[1, 2],
                pose[2, 0] * x + pose[2, 1] * y + pose[2, 2],
            )  # fmt: skip
            r, g, b, t, part = look(ray, solids, n_static, bank, streets, light, pixel, seed)
            colour[row, column, 0], colour[row, column, 1], colour[row, column, 2] = r, g, b
            depth[row, column] = t if t < 1e29 else np.inf
            ident[row, column] = part


@kernel
def _is_edge(
    colour: NDArray[np.float32],
    ident: NDArray[np.int64],
    row: int,
    column: int,
    row2: int,
    column2: int,
) -> bool:
    """Say whether two pixels see different parts in visibly different colours."""
    if ident[row, column] == ident[row2, column2]:
        return False
    apart = 0.0
    for k in range(3):
        apart = max(apart, abs(colour[row, column, k] - colour[row2, column2, k]))
    return apart > 0.03


@kernel
def smooth_rows(  # noqa: PLR0913, PLR0917 - as render_rows
    first: int,
    last: int,
    rays: NDArray[np.float64],
    pose: NDArray[np.float64],
    solids: SolidArrays,
    n_static: int,
    bank: TextureBank,
    streets: NDArray[np.float64],
    light: NDArray[np.float64],
    pixel: float,
    seed: int,
    colour: NDArray[np.float32],
    ident: NDArray[np.int64],
    smooth: NDArray[np.float32],
) -> None:
    """Copy rows to ``smooth``; where two parts meet, average two more rays into the pixel.

    Args:
        first: First row.
        last: Row after the last.
        rays: See ``render_rows``.
        pose: See ``render_rows``.
        solids: See ``look``.
        n_static: See ``look``.
        bank: See ``look``.
        streets: See ``look``.
        light: See ``look``.
        pixel: See ``look``.
        seed: See ``look``.
        colour: One ray a pixel, whole picture, from ``render_rows``.
        ident: Parts, whole picture, from ``render_rows``.
        smooth: Filled, shape (H, W, 3).
    """
    height, width = ident.shape
    for row in range(first, last):
        up, down = max(row - 1, 0), min(row + 1, height - 1)
        for column in range(width):
            left, right = max(column - 1, 0), min(column + 1, width - 1)
            for k in range(3):
                smooth[row, column, k] = colour[row, column, k]
            if not (
                _is_edge(colour, ident, row, column, row, left)
                or _is_edge(colour, ident, row, column, row, right)
                or _is_edge(colour, ident, row, column, up, column)
                or _is_edge(colour, ident, row, column, down, column)
            ):
                continue
            x, y = rays[row, column, 0], rays[row, column, 1]
            # The change of the ray from one pixel to the next, for places inside the pixel.
            wide = (rays[row, right, 0] - rays[row, left, 0]) / (right - left)
            tall = (rays[down, column, 1] - rays[up, column, 1]) / (down - up)
            for k in range(2):
                px = x + wide * ((-0.3, 0.3)[k])
                py = y + tall * ((0.2, -0.2)[k])
                ray = Ray(
                    pose[0, 3], pose[1, 3], pose[2, 3],
                    pose[0, 0] * px + pose[0, 1] * py + pose[0, 2],
                    pose[1, 0] * px + pose[1, 1] * py + pose[1, 2],
                    pose[2, 0] * px + pose[2, 1] * py + pose[2, 2],
                )  # fmt: skip
                r, g, b, _, _ = look(ray, solids, n_static, bank, streets, light, pixel, seed)
                smooth[row, column, 0] += r
                smooth[row, column, 1] += g
                smooth[row, column, 2] += b
            for k in range(3):
                smooth[row, column, k] /= 3.0
