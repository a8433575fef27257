"""Where COLMAP's SIFT and matcher run: on the GPU if the build and the machine both have it."""

import ctypes
from functools import cache

import pycolmap


@cache
def has_gpu() -> bool:
    """Say whether COLMAP can use a GPU: its CUDA build, a driver and at least one device.

    ``pycolmap.has_cuda`` alone speaks of the build; the CUDA build runs on the CPU too.
    """
    if not pycolmap.has_cuda:
        return False
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return False
    return count.value > 0


def colmap_device() -> pycolmap.Device:
    """Return the device to pass to COLMAP."""
    return pycolmap.Device.cuda if has_gpu() else pycolmap.Device.cpu
