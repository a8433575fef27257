"""Trained Gaussians read, thinned and written for the web."""

import os
import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import gsply
import numpy as np
from numpy.typing import NDArray

from citysplat_core.errors import ViewerError

_SH_REST = {0: 0, 1: 3, 2: 8, 3: 15}
_NGSP = 0x5053474E
_POSITION_BITS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaussians:
    """Gaussians as the 3DGS PLY stores them, in one local frame.

    Attributes:
        means: Centres, East-North-Up metres in the box's local frame, float32, shape (N, 3).
        scales: Natural logarithm of the standard deviations in metres, shape (N, 3).
        quats: Rotations, wxyz, shape (N, 4).
        opacities: Logits, shape (N,).
        sh0: Constant colour coefficient, shape (N, 3).
        sh_rest: Higher coefficients, shape (N, K, 3), K = 0, 3, 8 or 15.
    """

    means: NDArray[np.float32]
    scales: NDArray[np.float32]
    quats: NDArray[np.float32]
    opacities: NDArray[np.float32]
    sh0: NDArray[np.float32]
    sh_rest: NDArray[np.float32]

    def __len__(self) -> int:
        """Count them."""
        return len(self.means)

    def take(self, mask: NDArray[np.bool_]) -> "Gaussians":
        """Give those where the mask is true, in order."""
        return Gaussians(
            means=self.means[mask],
            scales=self.scales[mask],
            quats=self.quats[mask],
            opacities=self.opacities[mask],
            sh0=self.sh0[mask],
            sh_rest=self.sh_rest[mask],
        )

    def with_sh_degree(self, degree: int) -> "Gaussians":
        """Drop the colour coefficients above a degree (0 to 3); fewer stay fewer."""
        return replace(self, sh_rest=self.sh_rest[:, : _SH_REST[degree]])


@dataclass(frozen=True, slots=True, kw_only=True)
class SpzHeader:
    """The head of an SPZ file.

    Attributes:
        version: Format version.
        n_gaussians: Number of Gaussians.
        sh_degree: Degree of the view-dependent colour.
        fractional_bits: Fixed-point bits of the positions after the point.
    """

    version: int
    n_gaussians: int
    sh_degree: int
    fractional_bits: int


def read_ply(path: Path, *, box: str | None = None) -> Gaussians:
    """Read a 3DGS PLY file.

    Raises:
        ViewerError: It is missing or is no 3DGS PLY.
    """
    try:
        _require_header(path)
        data = gsply.plyread(path)
    except (OSError, ValueError) as error:
        raise ViewerError(
            f"{path.name} cannot be read ({error})",
            expected="the 3DGS PLY that the splat step wrote",
            fix="Materialize the splat of this box again.",
            box=box,
        ) from error
    return _from_gsply(data)


def _require_header(path: Path) -> None:
    """Refuse a file without the end of a PLY header, which the reader would look for for ever."""
    with path.open("rb") as stream:
        head = stream.read(65536)
    if not head.startswith(b"ply") or b"end_header" not in head:
        raise ValueError("it has no PLY header")


def read_spz(path: Path) -> Gaussians:
    """Read an SPZ file back, with its rounding.

    Raises:
        ViewerError: It is missing or no SPZ file.
    """
    try:
        data = gsply.read_spz(path)
    except (OSError, ValueError) as error:
        raise ViewerError(
            f"{path.name} cannot be read ({error})",
            expected="an SPZ file",
            fix="Materialize city_tiles again.",
        ) from error
    return _from_gsply(data)


def _from_gsply(data: gsply.GSData) -> Gaussians:
    n = len(data.means)
    # Without Gaussians or without higher colour coefficients the shape says nothing of degrees.
    has_rest = data.shN is not None and data.shN.size > 0
    rest = np.asarray(data.shN).reshape(n, -1, 3) if has_rest else np.zeros((n, 0, 3))
    return Gaussians(
        means=np.asarray(data.means, np.float32),
        scales=np.asarray(data.scales, np.float32),
        quats=np.asarray(data.quats, np.float32),
        opacities=np.asarray(data.opacities, np.float32).reshape(n),
        sh0=np.asarray(data.sh0, np.float32),
        sh_rest=rest.astype(np.float32),
    )


def visible(gaussians: Gaussians, *, min_opacity: float) -> NDArray[np.bool_]:
    """Say which Gaussians can change a pixel: finite, and opaque enough.

    Args:
        gaussians: N of them.
        min_opacity: Least opacity, 0 to 1; 1/255 is the least that any renderer draws.

    Returns:
        Shape (N,).
    """
    finite = np.ones(len(gaussians), dtype=bool)
    columns = (gaussians.means, gaussians.scales, gaussians.quats, gaussians.sh0)
    for values in columns:
        finite &= np.isfinite(values).all(axis=1)
    finite &= np.isfinite(gaussians.opacities)
    finite &= np.isfinite(gaussians.sh_rest).all(axis=(1, 2))
    logit = np.log(min_opacity / (1.0 - min_opacity))
    shown: NDArray[np.bool_] = finite & (gaussians.opacities >= logit)
    return shown


def position_bits(means: NDArray[np.float32]) -> int:
    """Choose the fixed-point bits that hold all positions in SPZ's 24: at most 12 (0.24 mm).

    Returns:
        4 to 12; 12 reaches 2 km, each bit less doubles it.
    """
    reach = float(np.abs(means).max(initial=0.0))
    bits = 12
    while bits > 4 and reach * (1 << bits) > (1 << (_POSITION_BITS - 1)) - 1:
        bits -= 1
    return bits


def write_spz(path: Path, gaussians: Gaussians) -> None:
    """Write an SPZ file (version 3, gzip) in the local frame.

    The same Gaussians give the same bytes. Positions are rounded to 0.24 mm where they lie within
    2 km of the local origin, and coarser beyond.
    """
    data = gsply.GSData(
        means=np.ascontiguousarray(gaussians.means),
        scales=np.ascontiguousarray(gaussians.scales),
        quats=_unit(gaussians.quats),
        opacities=np.ascontiguousarray(gaussians.opacities),
        sh0=np.ascontiguousarray(gaussians.sh0),
        shN=np.ascontiguousarray(gaussians.sh_rest),
    )
    gsply.write_spz(path, data, version=3, fractional_bits=position_bits(gaussians.means))
    _forget_time(path)


def _unit(quats: NDArray[np.float32]) -> NDArray[np.float32]:
    norm = np.linalg.norm(quats, axis=1, keepdims=True)
    identity = np.array([1, 0, 0, 0], np.float32)
    unit: NDArray[np.float32] = np.where(norm > 0, quats / np.maximum(norm, 1e-30), identity)
    return unit.astype(np.float32)


def _forget_time(path: Path) -> None:
    """Zero the time in the gzip header, so that the file depends on its content alone; sync it."""
    with path.open("r+b") as stream:
        stream.seek(4)
        stream.write(b"\0\0\0\0")
        stream.flush()
        os.fsync(stream.fileno())


def read_spz_header(path: Path) -> SpzHeader:
    """Read the head of a gzip SPZ file without its Gaussians.

    Raises:
        ViewerError: It is missing, cut short, or no SPZ file of version 2 or 3.
    """
    try:
        with path.open("rb") as stream:
            head = zlib.decompressobj(wbits=31).decompress(stream.read(4096), 16)
        magic, version, count, degree, bits, _, _ = struct.unpack("<IIIBBBB", head)
    except (OSError, zlib.error, struct.error) as error:
        raise ViewerError(
            f"{path.name} has no SPZ header ({error})",
            expected="a gzip SPZ file",
            fix="Materialize city_tiles again.",
        ) from error
    if magic != _NGSP or version not in (2, 3):
        raise ViewerError(
            f"{path.name} starts with {magic:#x}, version {version}",
            expected="an SPZ file of version 2 or 3",
            fix="Materialize city_tiles again.",
        )
    return SpzHeader(version=version, n_gaussians=count, sh_degree=degree, fractional_bits=bits)
