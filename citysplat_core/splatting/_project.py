# ruff: noqa: PLR0913, PLR0915, PLR0917
"""Projection of Gaussians to the image (EWA), forward and backward, in gsplat's conventions.

Each Gaussian is independent. Arithmetic is double, storage is float32. ``cam`` is the vector
that `pack_camera` makes.
"""

from math import ceil, log, sqrt

import numpy as np

from citysplat_core.splatting._camera import (
    AA,
    CENTRE,
    CX,
    CY,
    FX,
    FY,
    HEIGHT,
    NEAR,
    SHIFT,
    WIDTH,
)
from citysplat_core.splatting._jit import Array, kernel
from citysplat_core.splatting._sh import basis, basis_gradient

EPS2D = 0.3
MIN_ALPHA = 1.0 / 255.0
BLOCK = 1024
"""Gaussians per range; pose gradients are summed block by block, so the sum never changes."""


@kernel
def rotation_of(w: float, x: float, y: float, z: float, r: Array) -> None:
    """Write the rotation matrix of a unit quaternion to ``r[3, 3]``."""
    r[0, 0] = 1.0 - 2.0 * (y * y + z * z)
    r[0, 1] = 2.0 * (x * y - w * z)
    r[0, 2] = 2.0 * (x * z + w * y)
    r[1, 0] = 2.0 * (x * y + w * z)
    r[1, 1] = 1.0 - 2.0 * (x * x + z * z)
    r[1, 2] = 2.0 * (y * z - w * x)
    r[2, 0] = 2.0 * (x * z - w * y)
    r[2, 1] = 2.0 * (y * z + w * x)
    r[2, 2] = 1.0 - 2.0 * (x * x + y * y)


@kernel
def _tilt(slope: float, centre: float, focal: float, size: float) -> float:
    """Clamp the slope x/z at which the projection is linearised."""
    margin = 0.15 * size / focal
    return min(max(slope, -(centre / focal + margin)), (size - centre) / focal + margin)


@kernel
def _footprint(
    cam: Array, px: float, py: float, pz: float, s: Array, m: Array, t: Array, ab: Array
) -> None:
    """Fill ``m = R diag(s)`` (``m`` holds R), ``t = J V`` and ``ab = t m``, all in place."""
    rz = 1.0 / pz
    tx = pz * _tilt(px * rz, cam[CX], cam[FX], cam[WIDTH])
    ty = pz * _tilt(py * rz, cam[CY], cam[FY], cam[HEIGHT])
    for j in range(3):
        t[0, j] = cam[FX] * rz * cam[j] - cam[FX] * tx * rz * rz * cam[6 + j]
        t[1, j] = cam[FY] * rz * cam[3 + j] - cam[FY] * ty * rz * rz * cam[6 + j]
    for j in range(3):
        for i in range(3):
            m[i, j] *= s[j]
        ab[0, j] = t[0, 0] * m[0, j] + t[0, 1] * m[1, j] + t[0, 2] * m[2, j]
        ab[1, j] = t[1, 0] * m[0, j] + t[1, 1] * m[1, j] + t[1, 2] * m[2, j]


@kernel
def project(
    start: int,
    stop: int,
    cam: Array,
    means: Array,
    quats: Array,
    scales: Array,
    opacities: Array,
    sh: Array,
    radii: Array,
    ext: Array,
    m2d: Array,
    depth: Array,
    conic: Array,
    colour: Array,
    opacity: Array,
    clamped: Array,
) -> None:
    """Project Gaussians ``start:stop``; those that cannot be seen get radius 0."""
    m = np.empty((3, 3))
    t = np.empty((2, 3))
    ab = np.empty((2, 3))
    b = np.empty(16)
    n_coef = sh.shape[1]
    for i in range(start, stop):
        radii[i, 0] = 0
        radii[i, 1] = 0
        clamped[i] = 0
        x, y, z = float(means[i, 0]), float(means[i, 1]), float(means[i, 2])
        pz = cam[6] * x + cam[7] * y + cam[8] * z + cam[SHIFT + 2]
        if not (cam[NEAR] <= pz <= 1e10):
            continue
        px = cam[0] * x + cam[1] * y + cam[2] * z + cam[SHIFT]
        py = cam[3] * x + cam[4] * y + cam[5] * z + cam[SHIFT + 1]
        qw, qx, qy, qz = (
            float(quats[i, 0]),
            float(quats[i, 1]),
            float(quats[i, 2]),
            float(quats[i, 3]),
        )
        n = 1.0 / sqrt(qw * qw + qx * qx + qy * qy + qz * qz)
        rotation_of(qw * n, qx * n, qy * n, qz * n, m)
        _footprint(cam, px, py, pz, scales[i], m, t, ab)
        ca = ab[0, 0] * ab[0, 0] + ab[0, 1] * ab[0, 1] + ab[0, 2] * ab[0, 2]
        cb = ab[0, 0] * ab[1, 0] + ab[0, 1] * ab[1, 1] + ab[0, 2] * ab[1, 2]
        cc = ab[1, 0] * ab[1, 0] + ab[1, 1] * ab[1, 1] + ab[1, 2] * ab[1, 2]
        det = (ca + EPS2D) * (cc + EPS2D) - cb * cb
        if not det > 0.0:
            continue
        op = float(opacities[i])
        if cam[AA] > 0.0:
            op *= sqrt(max(0.0, (ca * cc - cb * cb) / det))
        if not op >= MIN_ALPHA:
            continue
        reach = min(3.33, sqrt(2.0 * log(255.0 * op)))
        ex, ey = reach * sqrt(ca + EPS2D), reach * sqrt(cc + EPS2D)
        rx, ry = ceil(ex), ceil(ey)
        u = cam[FX] * px / pz + cam[CX]
        v = cam[FY] * py / pz + cam[CY]
        if u + rx <= 0 or u - rx >= cam[WIDTH] or v + ry <= 0 or v - ry >= cam[HEIGHT]:
            continue
        radii[i, 0] = min(rx, 1e9)
        radii[i, 1] = min(ry, 1e9)
        ext[i, 0], ext[i, 1] = ex, ey
        m2d[i, 0], m2d[i, 1] = u, v
        depth[i] = pz
        opacity[i] = op
        conic[i, 0] = (cc + EPS2D) / det
        conic[i, 1] = -cb / det
        conic[i, 2] = (ca + EPS2D) / det
        dx, dy, dz = x - cam[CENTRE], y - cam[CENTRE + 1], z - cam[CENTRE + 2]
        n = 1.0 / sqrt(max(dx * dx + dy * dy + dz * dz, 1e-24))
        basis(dx * n, dy * n, dz * n, n_coef, b)
        for ch in range(3):
            value = 0.5
            for k in range(n_coef):
                value += b[k] * sh[i, k, ch]
            if value < 0.0:
                value = 0.0
                clamped[i] |= 1 << ch
            colour[i, ch] = value


@kernel
def _colour_backward(
    i: int,
    cam: Array,
    mean: Array,
    sh: Array,
    mask: int,
    v_colour: Array,
    v_sh: Array,
    b: Array,
    g: Array,
    out: Array,
) -> None:
    """Write the SH gradient, and the gradient of the mean through the viewing direction to out."""
    n_coef = sh.shape[1]
    dx, dy, dz = mean[0] - cam[CENTRE], mean[1] - cam[CENTRE + 1], mean[2] - cam[CENTRE + 2]
    n = 1.0 / sqrt(max(dx * dx + dy * dy + dz * dz, 1e-24))
    dx, dy, dz = dx * n, dy * n, dz * n
    basis(dx, dy, dz, n_coef, b)
    basis_gradient(dx, dy, dz, n_coef, g)
    gx = gy = gz = 0.0
    for k in range(n_coef):
        along = 0.0
        for ch in range(3):
            v = 0.0 if mask & (1 << ch) else float(v_colour[ch])
            v_sh[i, k, ch] = b[k] * v
            along += v * sh[i, k, ch]
        gx += g[k, 0] * along
        gy += g[k, 1] * along
        gz += g[k, 2] * along
    radial = gx * dx + gy * dy + gz * dz
    out[0], out[1], out[2] = (gx - radial * dx) * n, (gy - radial * dy) * n, (gz - radial * dz) * n


@kernel
def _covariance_backward(
    aa: float, op_in: float, v_op: float, ca: float, cb: float, cc: float, g: Array
) -> tuple[float, float, float, float]:
    """From the conic's (and opacity's) gradient to that of the covariance before the blur."""
    a, c = ca + EPS2D, cc + EPS2D
    det = a * c - cb * cb
    qa, qb, qc = c / det, -cb / det, a / det
    g0, g1, g2 = float(g[0]), 0.5 * float(g[1]), float(g[2])
    h00, h01 = qa * g0 + qb * g1, qa * g1 + qb * g2
    h10, h11 = qb * g0 + qc * g1, qb * g1 + qc * g2
    va = -(h00 * qa + h01 * qb)
    vb = -(h00 * qb + h01 * qc) - (h10 * qa + h11 * qb)
    vc = -(h10 * qb + h11 * qc)
    if aa > 0.0:
        det0 = max(0.0, ca * cc - cb * cb)
        comp = sqrt(det0 / det)
        if comp > 1e-6:
            w = 0.5 * v_op * op_in / comp
            va += w * (cc / det - det0 * c / (det * det))
            vc += w * (ca / det - det0 * a / (det * det))
            vb += w * 2.0 * cb * (det0 / (det * det) - 1.0 / det)
        v_op *= comp
    return va, vb, vc, v_op


@kernel
def _quaternion_backward(q: Array, n: float, v: Array, out: Array) -> None:
    """From the gradient of the rotation matrix to that of the unnormalised quaternion."""
    w, x, y, z = float(q[0]) * n, float(q[1]) * n, float(q[2]) * n, float(q[3]) * n
    gw = 2.0 * (z * (v[1, 0] - v[0, 1]) + y * (v[0, 2] - v[2, 0]) + x * (v[2, 1] - v[1, 2]))
    gx = 2.0 * (
        y * (v[0, 1] + v[1, 0])
        + z * (v[0, 2] + v[2, 0])
        + w * (v[2, 1] - v[1, 2])
        - 2.0 * x * (v[1, 1] + v[2, 2])
    )
    gy = 2.0 * (
        x * (v[0, 1] + v[1, 0])
        + z * (v[1, 2] + v[2, 1])
        + w * (v[0, 2] - v[2, 0])
        - 2.0 * y * (v[0, 0] + v[2, 2])
    )
    gz = 2.0 * (
        x * (v[0, 2] + v[2, 0])
        + y * (v[1, 2] + v[2, 1])
        + w * (v[1, 0] - v[0, 1])
        - 2.0 * z * (v[0, 0] + v[1, 1])
    )
    along = gw * w + gx * x + gy * y + gz * z
    out[0], out[1] = (gw - along * w) * n, (gx - along * x) * n
    out[2], out[3] = (gy - along * y) * n, (gz - along * z) * n


@kernel
def _axis_backward(
    slope: float,
    centre: float,
    focal: float,
    size: float,
    pz: float,
    v_j: float,
    v_j2: float,
    v_uv: float,
) -> tuple[float, float]:
    """Gradient of one image axis by the camera-space coordinate and by depth."""
    rz = 1.0 / pz
    tilt = _tilt(slope, centre, focal, size)
    v_x = v_uv * focal * rz
    v_z = -v_uv * focal * slope * rz - v_j * focal * rz * rz
    if tilt == slope:
        v_x -= focal * rz * rz * v_j2
        v_z += 2.0 * focal * tilt * rz * rz * v_j2
    else:
        v_z += focal * tilt * rz * rz * v_j2
    return v_x, v_z


@kernel
def project_backward(
    start: int,
    stop: int,
    cam: Array,
    means: Array,
    quats: Array,
    scales: Array,
    opacities: Array,
    sh: Array,
    radii: Array,
    clamped: Array,
    g_m2d: Array,
    g_depth: Array,
    g_conic: Array,
    g_colour: Array,
    g_opacity: Array,
    v_means: Array,
    v_quats: Array,
    v_scales: Array,
    v_opacities: Array,
    v_sh: Array,
    v_view: Array,
) -> None:
    """Carry gradients of the projection back to the parameters; outputs must be zero."""
    m = np.empty((3, 3))
    r = np.empty((3, 3))
    t = np.empty((2, 3))
    ab = np.empty((2, 3))
    vt = np.empty((2, 3))
    b = np.empty(16)
    g = np.empty((16, 3))
    direct = np.empty(3)
    for i in range(start, stop):
        if radii[i, 0] == 0 or radii[i, 1] == 0:
            continue
        x, y, z = float(means[i, 0]), float(means[i, 1]), float(means[i, 2])
        px = cam[0] * x + cam[1] * y + cam[2] * z + cam[SHIFT]
        py = cam[3] * x + cam[4] * y + cam[5] * z + cam[SHIFT + 1]
        pz = cam[6] * x + cam[7] * y + cam[8] * z + cam[SHIFT + 2]
        qw, qx, qy, qz = (
            float(quats[i, 0]),
            float(quats[i, 1]),
            float(quats[i, 2]),
            float(quats[i, 3]),
        )
        n = 1.0 / sqrt(qw * qw + qx * qx + qy * qy + qz * qz)
        rotation_of(qw * n, qx * n, qy * n, qz * n, r)
        m[:] = r
        _footprint(cam, px, py, pz, scales[i], m, t, ab)
        ca = ab[0, 0] * ab[0, 0] + ab[0, 1] * ab[0, 1] + ab[0, 2] * ab[0, 2]
        cb = ab[0, 0] * ab[1, 0] + ab[0, 1] * ab[1, 1] + ab[0, 2] * ab[1, 2]
        cc = ab[1, 0] * ab[1, 0] + ab[1, 1] * ab[1, 1] + ab[1, 2] * ab[1, 2]
        va, vb, vc, v_op = _covariance_backward(
            cam[AA], opacities[i], g_opacity[i], ca, cb, cc, g_conic[i]
        )
        v_opacities[i] = v_op
        for k in range(3):
            vt[0, k] = vt[1, k] = 0.0
        for j in range(3):
            v0 = 2.0 * va * ab[0, j] + vb * ab[1, j]
            v1 = 2.0 * vc * ab[1, j] + vb * ab[0, j]
            v_s = 0.0
            for k in range(3):
                vt[0, k] += m[k, j] * v0
                vt[1, k] += m[k, j] * v1
                v_m = t[0, k] * v0 + t[1, k] * v1
                v_s += r[k, j] * v_m
                m[k, j] = v_m * scales[i, j]
            v_scales[i, j] = v_s
        _quaternion_backward(quats[i], n, m, v_quats[i])
        fx, fy, rz = cam[FX], cam[FY], 1.0 / pz
        v_j00 = vt[0, 0] * cam[0] + vt[0, 1] * cam[1] + vt[0, 2] * cam[2]
        v_j02 = vt[0, 0] * cam[6] + vt[0, 1] * cam[7] + vt[0, 2] * cam[8]
        v_j11 = vt[1, 0] * cam[3] + vt[1, 1] * cam[4] + vt[1, 2] * cam[5]
        v_j12 = vt[1, 0] * cam[6] + vt[1, 1] * cam[7] + vt[1, 2] * cam[8]
        v_px, zx = _axis_backward(px * rz, cam[CX], fx, cam[WIDTH], pz, v_j00, v_j02, g_m2d[i, 0])
        v_py, zy = _axis_backward(py * rz, cam[CY], fy, cam[HEIGHT], pz, v_j11, v_j12, g_m2d[i, 1])
        v_pz = zx + zy + g_depth[i]
        _colour_backward(i, cam, means[i], sh, clamped[i], g_colour[i], v_sh, b, g, direct)
        block = v_view[i // BLOCK]
        j02 = -fx * rz * _tilt(px * rz, cam[CX], fx, cam[WIDTH])
        j12 = -fy * rz * _tilt(py * rz, cam[CY], fy, cam[HEIGHT])
        for j in range(3):
            v_means[i, j] = cam[j] * v_px + cam[3 + j] * v_py + cam[6 + j] * v_pz + direct[j]
            block[j] += v_px * means[i, j] + fx * rz * vt[0, j]
            block[3 + j] += v_py * means[i, j] + fy * rz * vt[1, j]
            block[6 + j] += v_pz * means[i, j] + j02 * vt[0, j] + j12 * vt[1, j]
            block[12 + j] -= direct[j]
        block[9] += v_px
        block[10] += v_py
        block[11] += v_pz
