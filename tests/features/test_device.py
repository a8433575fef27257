import ctypes

import pycolmap
import pytest

from citysplat_core.features.device import colmap_device, has_gpu


@pytest.fixture(autouse=True)
def forgotten():
    has_gpu.cache_clear()
    yield
    has_gpu.cache_clear()


class Driver:
    def __init__(self, n_devices: int) -> None:
        self.n_devices = n_devices

    def cuInit(self, _flags: int) -> int:  # noqa: N802 - the driver's own name
        return 0

    def cuDeviceGetCount(self, count) -> int:  # noqa: N802 - the driver's own name
        ctypes.cast(count, ctypes.POINTER(ctypes.c_int)).contents.value = self.n_devices
        return 0


def test_the_cpu_build_runs_on_the_cpu(monkeypatch):
    monkeypatch.setattr(pycolmap, "has_cuda", False)
    assert colmap_device() == pycolmap.Device.cpu


def test_the_cuda_build_without_a_driver_runs_on_the_cpu(monkeypatch):
    def no_driver(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(pycolmap, "has_cuda", True)
    monkeypatch.setattr(ctypes, "CDLL", no_driver)
    assert colmap_device() == pycolmap.Device.cpu


@pytest.mark.parametrize(("n_devices", "expected"), [(0, "cpu"), (1, "cuda")])
def test_the_cuda_build_needs_a_device(monkeypatch, n_devices, expected):
    monkeypatch.setattr(pycolmap, "has_cuda", True)
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: Driver(n_devices))
    assert colmap_device() == getattr(pycolmap.Device, expected)
