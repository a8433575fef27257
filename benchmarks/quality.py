"""Photos scored in one CPU second: the full scorer against the textbook's Laplacian variance.

    python benchmarks/quality.py

Real photos (``../shared/data`` or ``CITYSPLAT_REAL_DATA``) are scaled to cover 1024x768, cropped
and written at quality 85; without them, synthetic street scenes stand in and the table says so.
Ours gives blur (Crete's metric, Laplacian over contrast, both combined), exposure, clipped shares,
a perceptual hash and a strict integrity check; the textbook (``cv2.imread`` and the variance of a
64-bit Laplacian) gives one number that depends on the scene. One thread, CPU time, so load on the
machine matters little.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from citysplat_core.imagery.quality import score_photo
from citysplat_core.simulation.server import SyntheticScenes

_SIZE = (1024, 768)
_ROUNDS = 3
_DEFAULT_DATA = Path(__file__).parents[2] / "shared" / "data"


def measure_quality() -> dict[str, float | str]:
    """Measure both scorers on the same photos in this process.

    Returns:
        ``quality_images_per_cpu_s``, ``textbook_images_per_cpu_s``, ``quality_photos``,
        ``quality_mean_kb`` and ``quality_data`` (``real`` or ``synthetic``).
    """
    data = Path(os.environ.get("CITYSPLAT_REAL_DATA", _DEFAULT_DATA))
    bodies = list(_real(data)) or list(_synthetic())
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder) / f"{number}.jpg" for number in range(len(bodies))]
            for file, body in zip(files, bodies, strict=True):
                file.write_bytes(body)
            ours = _per_cpu_second(lambda file: score_photo(file.read_bytes()), files)
            textbook = _per_cpu_second(_textbook, files)
    finally:
        cv2.setNumThreads(threads)
    return {
        "quality_images_per_cpu_s": round(ours, 1),
        "textbook_images_per_cpu_s": round(textbook, 1),
        "quality_photos": len(bodies),
        "quality_mean_kb": round(float(np.mean([len(body) for body in bodies])) / 1000, 1),
        "quality_data": "real" if data.is_dir() else "synthetic",
    }


def _textbook(file: Path) -> float:
    gray = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
    return float(cv2.Laplacian(gray, cv2.CV_64F).var())


def _per_cpu_second(score: Callable[[Path], object], files: Sequence[Path]) -> float:
    """Return the rate of the best of some rounds, after a short warm-up."""
    for file in files[:5]:
        score(file)
    best = float("inf")
    for _ in range(_ROUNDS):
        started = time.process_time()
        for file in files:
            score(file)
        best = min(best, time.process_time() - started)
    return len(files) / best


def _real(data: Path) -> Iterator[bytes]:
    for path in sorted(data.glob("*/**/*.jpg")):
        pixels = cv2.imread(str(path))
        if pixels is not None:
            yield _encoded(_cropped(pixels))


def _synthetic() -> Iterator[bytes]:
    scenes = SyntheticScenes(size=_SIZE)
    for number in range(60):
        yield scenes.jpeg(str(number))


def _cropped(pixels: np.ndarray) -> np.ndarray:
    """Scale a photo until it covers the size, and cut out its middle."""
    high, wide = pixels.shape[:2]
    scale = max(_SIZE[0] / wide, _SIZE[1] / high)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    grown = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=way)
    top, left = (grown.shape[0] - _SIZE[1]) // 2, (grown.shape[1] - _SIZE[0]) // 2
    return np.ascontiguousarray(grown[top : top + _SIZE[1], left : left + _SIZE[0]])


def _encoded(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()


if __name__ == "__main__":
    print(json.dumps(measure_quality()))
