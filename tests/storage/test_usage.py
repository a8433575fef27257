import subprocess
import sys

import numpy as np
import psutil

from citysplat_core.storage.usage import Usage, cpu_seconds

SIZE_MB = 300
HOLDS = f"""
import time
held = bytearray({SIZE_MB} * 2**20)
held[::4096] = b"x" * len(held[::4096])
time.sleep(1.5)
"""


def now_mb():
    """Memory of this process and of those that earlier tests of it have left running."""
    own = psutil.Process()
    return sum(each.memory_info().rss for each in (own, *own.children(recursive=True))) / 2**20


def test_the_peak_is_that_of_the_block_and_not_of_what_ran_before():
    held = np.ones(SIZE_MB * 2**17)
    before_mb = now_mb()
    del held
    with Usage() as usage:
        small_mb = now_mb()
    assert before_mb - small_mb > SIZE_MB / 2
    assert usage.peak_rss_mb < before_mb - SIZE_MB / 2


def test_the_memory_of_a_process_below_counts_at_the_same_moment():
    base_mb = now_mb()
    with Usage() as usage:
        subprocess.run([sys.executable, "-c", HOLDS], check=True)
    assert usage.peak_rss_mb > base_mb + SIZE_MB
    assert usage.seconds > 1.4


def test_a_process_that_ends_while_it_is_looked_at_disturbs_nothing():
    with Usage() as usage:
        for _ in range(8):
            subprocess.run([sys.executable, "-S", "-c", ""], check=True)
    assert usage.peak_rss_mb >= now_mb() / 2
    assert usage.cpu_seconds > 0
    assert cpu_seconds() >= usage.cpu_seconds
