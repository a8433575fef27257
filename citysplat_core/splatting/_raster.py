# ruff: noqa: C901, PLR0913, PLR0915, PLR0917, RUF046
"""Blending of the tile lists to a picture, and its analytic gradient.

One row of a tile, 16 pixels, is one step of the inner loop, written without branches so that the
compiler makes vectors of it. All of a tile's state lies in one small array, because the compiler
then sees that its rows cannot overlap. Constants are float32: a double would halve the speed.
"""

from math import ceil, floor, log, sqrt

import numpy as np

from citysplat_core.splatting._bins import TILE
from citysplat_core.splatting._jit import Array, simd_kernel

RECORD = 12
"""Floats of a gradient record: mean2d 2, conic 3, colour 3, depth, opacity, absgrad 2."""

_F = np.float32
_ZERO, _ONE, _HALF = _F(0.0), _F(1.0), _F(0.5)
_MIN_ALPHA, _MAX_ALPHA, _MIN_T = _F(1.0 / 255.0), _F(0.999), _F(1e-4)
_LOG2E, _LOWEST = _F(-1.44269504), _F(-120.0)
_P5, _P4, _P3 = _F(1.8775767e-3), _F(8.9893397e-3), _F(5.5826318e-2)
_P2, _P1, _P0 = _F(2.4015361e-1), _F(6.9315308e-1), _F(9.9999994e-1)
_BIAS, _MANTISSA = np.int32(127), np.int32(23)


@simd_kernel
def _exp_minus(s: Array) -> Array:
    """exp(-s) to 1e-6, in arithmetic that becomes vectors."""
    t = max(_LOWEST, _LOG2E * s)
    whole = _F(floor(t + _HALF))
    f = t - whole
    p = ((((_P5 * f + _P4) * f + _P3) * f + _P2) * f + _P1) * f + _P0
    return p * np.int32((np.int32(whole) + _BIAS) << _MANTISSA).view(np.float32)


@simd_kernel
def _row_hit(a: Array, b: Array, c: Array, dy: Array, limit: Array, right: Array) -> Array:
    """Say whether the ellipse crosses a tile row; ``right`` = mean x - first pixel centre."""
    disc = (b * b - _F(4.0) * a * c) * dy * dy + _F(4.0) * a * limit
    if disc <= _ZERO:
        return False
    half = _F(sqrt(disc)) * _HALF / a
    mid = -b * dy * _HALF / a
    return mid + half >= right - _F(TILE - 1) - _F(0.01) and mid - half <= right + _F(0.01)


@simd_kernel
def raster(
    first: int,
    stop: int,
    width: int,
    height: int,
    ids: Array,
    tile_start: Array,
    m2d: Array,
    ext: Array,
    depth: Array,
    conic: Array,
    colour: Array,
    opacity: Array,
    rgb: Array,
    alpha: Array,
    out_depth: Array,
    last: Array,
) -> None:
    """Blend tiles ``first:stop`` front to back over black."""
    tiles_x = (width + TILE - 1) // TILE
    st = np.empty((7, TILE, TILE), np.float32)  # T, red, green, blue, depth, last, live
    n_live = np.empty(TILE, np.float32)
    for tile in range(first, stop):
        px0, py0 = (tile % tiles_x) * TILE, (tile // tiles_x) * TILE
        cols, rows = min(TILE, width - px0), min(TILE, height - py0)
        st[:] = _ZERO
        st[0] = _ONE
        st[5] = _F(-1.0)
        n_live[:] = _ZERO
        for r in range(rows):
            n_live[r] = _F(cols)
            for i in range(cols):
                st[6, r, i] = _ONE
        begin = tile_start[tile]
        alive = rows
        for k in range(begin, tile_start[tile + 1]):
            if alive == 0:
                break
            g = ids[k]
            my, ey = m2d[g, 1], ext[g, 1]
            r0 = max(0, int(ceil(my - ey - _HALF - _F(0.01))) - py0)
            r1 = min(rows, int(floor(my + ey - _HALF + _F(0.01))) - py0 + 1)
            o = opacity[g]
            a, b, c = conic[g, 0] * _HALF, conic[g, 1], conic[g, 2] * _HALF
            limit = _F(log(_F(255.0) * o)) + _F(1e-4)
            right = m2d[g, 0] - _F(px0) - _HALF
            red, green, blue, z = colour[g, 0], colour[g, 1], colour[g, 2], depth[g]
            index = _F(k - begin)
            for r in range(r0, r1):
                dy = my - _F(py0 + r) - _HALF
                if n_live[r] == _ZERO or not _row_hit(a, b, c, dy, limit, right):
                    continue
                cyy, by = c * dy * dy, b * dy
                left = _ZERO
                for i in range(TILE):
                    dx = right - _F(i)
                    sigma = (a * dx + by) * dx + cyy
                    t = st[0, r, i]
                    live = st[6, r, i]
                    al = min(_MAX_ALPHA, o * _exp_minus(sigma))
                    al = al * live if sigma >= _ZERO else _ZERO
                    al = al if al >= _MIN_ALPHA else _ZERO
                    t_next = t * (_ONE - al)
                    ends = t_next <= _MIN_T
                    live = _ZERO if ends else live
                    al = _ZERO if ends else al
                    w = al * t
                    st[1, r, i] += w * red
                    st[2, r, i] += w * green
                    st[3, r, i] += w * blue
                    st[4, r, i] += w * z
                    st[5, r, i] = index if al > _ZERO else st[5, r, i]
                    st[0, r, i] = t if ends else t_next
                    st[6, r, i] = live
                    left += live
                n_live[r] = left
                if left == _ZERO:
                    alive -= 1
        for r in range(rows):
            for i in range(cols):
                y, x = py0 + r, px0 + i
                rgb[y, x, 0], rgb[y, x, 1], rgb[y, x, 2] = st[1, r, i], st[2, r, i], st[3, r, i]
                alpha[y, x] = _ONE - st[0, r, i]
                out_depth[y, x] = st[4, r, i]
                last[y, x] = np.int32(st[5, r, i])


@simd_kernel
def raster_backward(
    first: int,
    stop: int,
    width: int,
    height: int,
    ids: Array,
    tile_start: Array,
    m2d: Array,
    ext: Array,
    depth: Array,
    conic: Array,
    colour: Array,
    opacity: Array,
    alpha: Array,
    last: Array,
    v_rgb: Array,
    v_alpha: Array,
    v_depth: Array,
    records: Array,
) -> None:
    """Write one gradient record per intersection of tiles ``first:stop``."""
    tiles_x = (width + TILE - 1) // TILE
    st = np.empty((7, TILE, TILE), np.float32)  # T, S, v_red, v_green, v_blue, v_depth, last
    u = np.empty((9, TILE), np.float32)  # moments of v_sigma by dy: 0, 1, 2; colour 3; depth; abs 2
    for tile in range(first, stop):
        px0, py0 = (tile % tiles_x) * TILE, (tile // tiles_x) * TILE
        cols, rows = min(TILE, width - px0), min(TILE, height - py0)
        st[:] = _ZERO
        st[0] = _ONE
        st[6] = _F(-1.0)
        deepest = -1
        for r in range(rows):
            for i in range(cols):
                y, x = py0 + r, px0 + i
                st[0, r, i] = _ONE - alpha[y, x]
                st[1, r, i] = -st[0, r, i] * v_alpha[y, x]
                st[2, r, i], st[3, r, i], st[4, r, i] = (
                    v_rgb[y, x, 0],
                    v_rgb[y, x, 1],
                    v_rgb[y, x, 2],
                )
                st[5, r, i] = v_depth[y, x]
                st[6, r, i] = _F(last[y, x])
                deepest = max(deepest, last[y, x])
        begin = tile_start[tile]
        for k in range(begin + deepest + 1, tile_start[tile + 1]):
            records[k] = _ZERO
        for k in range(begin + deepest, begin - 1, -1):
            g = ids[k]
            my, ey = m2d[g, 1], ext[g, 1]
            r0 = max(0, int(ceil(my - ey - _HALF - _F(0.01))) - py0)
            r1 = min(rows, int(floor(my + ey - _HALF + _F(0.01))) - py0 + 1)
            o = opacity[g]
            qa, qb, qc = conic[g, 0], conic[g, 1], conic[g, 2]
            a, b, c = qa * _HALF, qb, qc * _HALF
            limit = _F(log(_F(255.0) * o)) + _F(1e-4)
            right = m2d[g, 0] - _F(px0) - _HALF
            red, green, blue, z = colour[g, 0], colour[g, 1], colour[g, 2], depth[g]
            index = _F(k - begin)
            u[:] = _ZERO
            for r in range(r0, r1):
                dy = my - _F(py0 + r) - _HALF
                if not _row_hit(a, b, c, dy, limit, right):
                    continue
                cyy, by = c * dy * dy, b * dy
                for i in range(TILE):
                    dx = right - _F(i)
                    sigma = (a * dx + by) * dx + cyy
                    e = o * _exp_minus(sigma)
                    al = min(_MAX_ALPHA, e)
                    al = al if sigma >= _ZERO else _ZERO
                    al = al if al >= _MIN_ALPHA else _ZERO
                    al = al if index <= st[6, r, i] else _ZERO
                    ra = _ONE / (_ONE - al)
                    t = st[0, r, i] * ra
                    fac = al * t
                    cv = (
                        red * st[2, r, i]
                        + green * st[3, r, i]
                        + blue * st[4, r, i]
                        + z * st[5, r, i]
                    )
                    va = cv * t - st[1, r, i] * ra
                    vs = -al * va if e <= _MAX_ALPHA else _ZERO
                    st[0, r, i] = t
                    st[1, r, i] += cv * fac
                    u[0, i] += vs
                    u[1, i] += vs * dy
                    u[2, i] += vs * dy * dy
                    u[3, i] += fac * st[2, r, i]
                    u[4, i] += fac * st[3, r, i]
                    u[5, i] += fac * st[4, r, i]
                    u[6, i] += fac * st[5, r, i]
                    u[7, i] += abs(vs * (qa * dx + qb * dy))
                    u[8, i] += abs(vs * (qb * dx + qc * dy))
            s0 = sx = sy = sxx = sxy = syy = _ZERO
            v0 = v1 = v2 = vz = ax = ay = _ZERO
            for i in range(TILE):
                dx = right - _F(i)
                s0 += u[0, i]
                sx += u[0, i] * dx
                sxx += u[0, i] * dx * dx
                sy += u[1, i]
                sxy += u[1, i] * dx
                syy += u[2, i]
                v0 += u[3, i]
                v1 += u[4, i]
                v2 += u[5, i]
                vz += u[6, i]
                ax += u[7, i]
                ay += u[8, i]
            rec = records[k]
            rec[0], rec[1] = qa * sx + qb * sy, qb * sx + qc * sy
            rec[2], rec[3], rec[4] = _HALF * sxx, sxy, _HALF * syy
            rec[5], rec[6], rec[7], rec[8] = v0, v1, v2, vz
            rec[9], rec[10], rec[11] = -s0 / o, ax, ay


@simd_kernel
def reduce_records(
    first: int,
    stop: int,
    order: Array,
    slot_start: Array,
    slots: Array,
    records: Array,
    g_m2d: Array,
    g_conic: Array,
    g_colour: Array,
    g_depth: Array,
    g_opacity: Array,
    g_abs: Array,
) -> None:
    """Sum the records of the Gaussians ``order[first:stop]``, always in the same order."""
    acc = np.empty(RECORD, np.float32)
    for j in range(first, stop):
        acc[:] = _ZERO
        for k in range(slot_start[j], slot_start[j + 1]):
            s = slots[k]
            for q in range(RECORD):
                acc[q] += records[s, q]
        i = order[j]
        g_m2d[i, 0], g_m2d[i, 1] = acc[0], acc[1]
        g_conic[i, 0], g_conic[i, 1], g_conic[i, 2] = acc[2], acc[3], acc[4]
        g_colour[i, 0], g_colour[i, 1], g_colour[i, 2] = acc[5], acc[6], acc[7]
        g_depth[i], g_opacity[i] = acc[8], acc[9]
        g_abs[i, 0], g_abs[i, 1] = acc[10], acc[11]
