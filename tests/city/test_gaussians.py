"""Reading, thinning and writing Gaussians."""

import gzip
import struct

import gsply
import numpy as np
import pytest

from citysplat_core.city.gaussians import (
    Gaussians,
    position_bits,
    read_ply,
    read_spz,
    read_spz_header,
    visible,
    write_spz,
)
from citysplat_core.errors import ViewerError


def some(n=500, reach_m=80.0, n_rest=8, seed=0):
    random = np.random.default_rng(seed)

    def draw(*shape, spread=1.0):
        return random.normal(0, spread, (n, *shape)).astype(np.float32)

    return Gaussians(
        means=random.uniform(-reach_m, reach_m, (n, 3)).astype(np.float32),
        scales=draw(3, spread=0.8) - 2,
        quats=draw(4) * 3,
        opacities=draw() * 2,
        sh0=draw(3, spread=0.7),
        sh_rest=draw(n_rest, 3, spread=0.2),
    )


def test_a_file_reads_back_within_the_formats_rounding(tmp_path):
    wrote = some()
    write_spz(tmp_path / "a.spz", wrote)
    read = read_spz(tmp_path / "a.spz")
    assert np.abs(read.means - wrote.means).max() <= 0.5 / 4096 + 1e-5
    assert np.abs(read.scales - wrote.scales).max() <= 0.5 / 16 + 1e-5
    assert np.abs(read.sh0 - wrote.sh0).max() < 0.02
    assert np.abs(read.sh_rest - wrote.sh_rest).max() < 0.005
    unit = wrote.quats / np.linalg.norm(wrote.quats, axis=1, keepdims=True)
    assert np.abs((unit * read.quats).sum(axis=1)).min() > 0.99999


def test_the_layout_is_that_of_the_format(tmp_path):
    wrote = some(7, n_rest=3)
    write_spz(tmp_path / "a.spz", wrote)
    raw = gzip.decompress((tmp_path / "a.spz").read_bytes())
    assert struct.unpack("<IIIBBBB", raw[:16]) == (0x5053474E, 3, 7, 1, 12, 0, 0)
    assert len(raw) == 16 + 7 * (9 + 1 + 3 + 3 + 4 + 9)
    first = np.frombuffer(raw[16:25], np.uint8).reshape(3, 3).astype(np.int32)
    fixed = first @ [1, 1 << 8, 1 << 16]
    fixed = np.where(fixed >= 1 << 23, fixed - (1 << 24), fixed)
    assert fixed / 4096 == pytest.approx(wrote.means[0], abs=2e-4)


def test_a_second_reader_finds_the_same(tmp_path):
    wrote = some()
    write_spz(tmp_path / "a.spz", wrote)
    other = gsply.read_spz(tmp_path / "a.spz")
    assert np.array_equal(other.means, read_spz(tmp_path / "a.spz").means)
    head = read_spz_header(tmp_path / "a.spz")
    assert (head.version, head.n_gaussians, head.sh_degree) == (3, 500, 2)


def test_far_positions_keep_their_place_with_coarser_steps(tmp_path):
    far = some(reach_m=100_000.0)
    assert position_bits(far.means) == 6
    write_spz(tmp_path / "a.spz", far)
    assert np.abs(read_spz(tmp_path / "a.spz").means - far.means).max() <= 0.5 / 64 + 0.01
    assert position_bits(np.zeros((0, 3), np.float32)) == 12
    assert position_bits(np.full((1, 3), 1e9, np.float32)) == 4


def test_an_empty_set_is_a_whole_file(tmp_path):
    write_spz(tmp_path / "a.spz", some(0))
    assert len(read_spz(tmp_path / "a.spz")) == 0


def test_invisible_and_broken_gaussians_are_told_apart():
    gaussians = some(6)
    gaussians.opacities[:] = 3.0
    gaussians.opacities[0] = np.log((1 / 256) / (1 - 1 / 256))
    gaussians.opacities[1] = np.nan
    gaussians.means[2, 1] = np.inf
    gaussians.sh_rest[3, 0, 0] = np.nan
    assert visible(gaussians, min_opacity=1 / 255).tolist() == [False] * 4 + [True] * 2


def test_files_that_are_something_else_are_named(tmp_path):
    bad = tmp_path / "bad.ply"
    for content in (b"", b"ply\nformat binary_little_endian 1.0\n", b"\x00" * 100):
        bad.write_bytes(content)
        with pytest.raises(ViewerError, match=r"Box 012: bad\.ply cannot be read"):
            read_ply(bad, box="012")
    with pytest.raises(ViewerError, match=r"gone\.ply cannot be read"):
        read_ply(tmp_path / "gone.ply")
    for content in (b"", b"hello", gzip.compress(b"0123456789abcdef" * 4)):
        bad.write_bytes(content)
        with pytest.raises(ViewerError, match=r"bad\.ply (has no SPZ header|starts with)"):
            read_spz_header(bad)
        with pytest.raises(ViewerError, match=r"bad\.ply cannot be read"):
            read_spz(bad)


def test_a_cut_off_file_is_named(tmp_path):
    whole = some(50)
    data = gsply.GSData(
        means=whole.means,
        scales=whole.scales,
        quats=whole.quats,
        opacities=whole.opacities,
        sh0=whole.sh0,
        shN=whole.sh_rest,
    )
    gsply.plywrite(tmp_path / "a.ply", data)
    assert len(read_ply(tmp_path / "a.ply")) == 50
    (tmp_path / "a.ply").write_bytes((tmp_path / "a.ply").read_bytes()[:-100])
    with pytest.raises(ViewerError, match=r"a\.ply cannot be read"):
        read_ply(tmp_path / "a.ply")
