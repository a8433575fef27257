"""Real spherical harmonics to degree 3 in gsplat's order and signs, for numba code."""

from citysplat_core.splatting._jit import Array, kernel

C0 = 0.2820947917738781
C1 = 0.48860251190292
MAX_COEFFICIENTS = 16


@kernel
def basis(x: float, y: float, z: float, n_coef: int, out: Array) -> None:
    """Write the first ``n_coef`` (1, 4, 9 or 16) basis values of a unit direction to ``out``."""
    out[0] = C0
    if n_coef < 4:
        return
    out[1] = -C1 * y
    out[2] = C1 * z
    out[3] = -C1 * x
    if n_coef < 9:
        return
    z2 = z * z
    c = x * x - y * y
    s = 2.0 * x * y
    out[4] = 0.5462742152960395 * s
    out[5] = -1.092548430592079 * z * y
    out[6] = 0.9461746957575601 * z2 - 0.3153915652525201
    out[7] = -1.092548430592079 * z * x
    out[8] = 0.5462742152960395 * c
    if n_coef < MAX_COEFFICIENTS:
        return
    ring = -2.285228997322329 * z2 + 0.4570457994644658
    out[9] = -0.5900435899266435 * (x * s + y * c)
    out[10] = 1.445305721320277 * z * s
    out[11] = ring * y
    out[12] = z * (1.865881662950577 * z2 - 1.119528997770346)
    out[13] = ring * x
    out[14] = 1.445305721320277 * z * c
    out[15] = -0.5900435899266435 * (x * c - y * s)


@kernel
def basis_gradient(x: float, y: float, z: float, n_coef: int, g: Array) -> None:
    """Write the partial derivatives of the basis by x, y, z (taken as free) to ``g[16, 3]``."""
    for k in range(MAX_COEFFICIENTS):
        for j in range(3):
            g[k, j] = 0.0
    if n_coef < 4:
        return
    g[1, 1] = -C1
    g[2, 2] = C1
    g[3, 0] = -C1
    if n_coef < 9:
        return
    a = 0.5462742152960395
    b = -1.092548430592079
    g[4, 0] = 2.0 * a * y
    g[4, 1] = 2.0 * a * x
    g[5, 1] = b * z
    g[5, 2] = b * y
    g[6, 2] = 2.0 * 0.9461746957575601 * z
    g[7, 0] = b * z
    g[7, 2] = b * x
    g[8, 0] = 2.0 * a * x
    g[8, 1] = -2.0 * a * y
    if n_coef < MAX_COEFFICIENTS:
        return
    z2 = z * z
    c = x * x - y * y
    s = 2.0 * x * y
    ring = -2.285228997322329 * z2 + 0.4570457994644658
    ring_z = -2.0 * 2.285228997322329 * z
    d = 1.445305721320277
    e = -0.5900435899266435
    g[9, 0] = e * 3.0 * s
    g[9, 1] = e * 3.0 * c
    g[10, 0] = 2.0 * d * z * y
    g[10, 1] = 2.0 * d * z * x
    g[10, 2] = d * s
    g[11, 1] = ring
    g[11, 2] = ring_z * y
    g[12, 2] = 3.0 * 1.865881662950577 * z2 - 1.119528997770346
    g[13, 0] = ring
    g[13, 2] = ring_z * x
    g[14, 0] = 2.0 * d * z * x
    g[14, 1] = -2.0 * d * z * y
    g[14, 2] = d * c
    g[15, 0] = e * 3.0 * c
    g[15, 1] = -e * 3.0 * s
