"""Tileable noise and the surfaces of walls, pavements and roads, painted with numpy."""

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]
"""Height x width x 4 (red, green, blue, alpha), 0 to 255."""


def noise(
    rng: np.random.Generator, height: int, width: int, *, slope: float, stretch: float = 1.0
) -> Picture:
    """Draw tileable noise.

    Args:
        rng: Source of chance.
        height: Rows.
        width: Columns.
        slope: Fall of the amplitude with frequency; 0 is white, 1 grainy, 2 cloudy.
        stretch: How much longer the shapes are along the columns than along the rows.

    Returns:
        Zero mean, unit deviation, float32, shape (height, width).
    """
    fy = np.fft.fftfreq(height)[:, None] * height * stretch
    fx = np.fft.rfftfreq(width)[None, :] * width
    radius = np.sqrt(fx * fx + fy * fy)
    radius[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((height, width))) / radius**slope
    field = np.fft.irfft2(spectrum, s=(height, width))
    return np.asarray((field - field.mean()) / field.std(), np.float32)


def solid(height: int, width: int, rgb: tuple[float, float, float], alpha: float = 255) -> Picture:
    """Give a picture of one colour."""
    return np.full((height, width, 4), (*rgb, alpha), np.float32)


def shade(picture: Picture, amount: Picture) -> Picture:
    """Add ``amount`` (height x width) to the three colours and keep them in range."""
    picture[..., :3] = np.clip(picture[..., :3] + amount[..., None], 0, 255)
    return picture


def bricks(
    rng: np.random.Generator, *, size: int, columns: int, rows: int, mortar: float, spread: float
) -> Picture:
    """Lay a tileable running bond in white; a house's tint gives it its colour.

    Args:
        rng: Source of chance.
        size: Rows and columns of the picture, pixels.
        columns: Bricks in a row.
        rows: Rows of bricks (even, so that the bond tiles).
        mortar: Brightness of the joints, 0 to 255.
        spread: Deviation of the bricks' brightness.
    """
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) + 0.5
    row = (y * rows / size).astype(int)
    along = x * columns / size + 0.5 * (row % 2)
    brick = np.floor(along).astype(int) % columns
    tone = 205 + spread * rng.standard_normal((rows, columns)).astype(np.float32)
    warm = 8 * rng.standard_normal((rows, columns)).astype(np.float32)
    picture = np.empty((size, size, 4), np.float32)
    picture[..., 0] = (tone + warm)[row, brick]
    picture[..., 1] = tone[row, brick]
    picture[..., 2] = (tone - warm)[row, brick]
    picture[..., 3] = 255
    joint_px = 1.1
    in_row = np.abs((y * rows / size) % 1 - 0.5) > 0.5 - joint_px * rows / size / 2
    in_brick = np.abs(along % 1 - 0.5) > 0.5 - joint_px * columns / size / 2
    picture[in_row | in_brick, :3] = mortar
    return shade(picture, 6 * noise(rng, size, size, slope=0.4))


def plaster(rng: np.random.Generator, *, size: int, grain: float) -> Picture:
    """Paint a rough rendered wall with speckles."""
    rough = grain * noise(rng, size, size, slope=0.55) + 5 * noise(rng, size, size, slope=1.4)
    picture = shade(solid(size, size, (205, 204, 200)), rough)
    speckle = noise(rng, size, size, slope=0.9)
    return shade(picture, np.where(speckle > 1.9, -38, np.where(speckle < -2.1, 22, 0)))


def ashlar(rng: np.random.Generator, *, size: int) -> Picture:
    """Lay large stones with dark joints."""
    picture = bricks(rng, size=size, columns=7, rows=14, mortar=120, spread=16)
    return shade(picture, 9 * noise(rng, size, size, slope=1.0))


def panels(rng: np.random.Generator, *, size: int) -> Picture:
    """Set concrete panels with bolts and runs of dirt."""
    picture = bricks(rng, size=size, columns=3, rows=6, mortar=95, spread=9)
    shade(picture, 9 * noise(rng, size, size, slope=1.2, stretch=0.2))
    step_x, step_y = size / 3, size / 6
    for row in range(6):
        for column in range(3):
            for dx in (0.08, 0.92):
                x = (column + dx - 0.5 * (row % 2)) * step_x % size
                cv2.circle(picture, (int(x), int((row + 0.15) * step_y)), 2, (70, 70, 70, 255), -1)
    return picture


def planks(rng: np.random.Generator, *, size: int) -> Picture:
    """Nail weathered boards side by side."""
    n_boards = 24
    tone = 190 + 22 * rng.standard_normal(n_boards).astype(np.float32)
    x = np.arange(size) * n_boards / size
    picture = solid(size, size, (0, 0, 0))
    picture[..., :3] = tone[x.astype(int)][None, :, None]
    picture[:, (x % 1) < 0.09, :3] = 70
    shade(picture, 13 * noise(rng, size, size, slope=0.8, stretch=0.12))
    for _ in range(90):
        centre = (int(rng.integers(size)), int(rng.integers(size)))
        cv2.ellipse(picture, centre, (2, 5), 0, 0, 360, (90, 84, 78, 255), -1)
    return picture


def stains(rng: np.random.Generator, *, size: int) -> Picture:
    """Paint what weather leaves on walls, as a factor: 200 is clean."""
    clouds = 11 * noise(rng, size, size, slope=1.6) + 6 * noise(rng, size, size, slope=0.9)
    runs = noise(rng, size, size, slope=1.1, stretch=0.07)
    picture = shade(solid(size, size, (200, 200, 200)), clouds - 9 * np.maximum(runs - 0.6, 0))
    layer = np.zeros((size, size), np.float32)
    for _ in range(70):
        x, y = (int(v) for v in rng.integers(size, size=2))
        half = (int(rng.integers(2, 15)), int(rng.integers(2, 9)))
        cv2.rectangle(layer, (x, y), (x + half[0], y + half[1]), float(rng.uniform(-42, 30)), -1)
    for _ in range(60):
        points = rng.integers(size) + np.cumsum(rng.integers(-6, 7, (12, 2)), axis=0)
        cv2.polylines(layer, [points.astype(np.int32)], isClosed=False, color=-45.0, thickness=1)
    return shade(picture, layer)


def asphalt(rng: np.random.Generator, *, size: int) -> Picture:
    """Paint worn asphalt with stones and tarred cracks."""
    grain = 10 * noise(rng, size, size, slope=0.25) + 7 * noise(rng, size, size, slope=1.3)
    picture = shade(solid(size, size, (104, 104, 107)), grain)
    for _ in range(26):
        start = rng.integers(0, size, 2)
        points = (start + np.cumsum(rng.integers(-14, 15, (14, 2)), axis=0)).astype(np.int32)
        dark = float(rng.uniform(38, 66))
        cv2.polylines(picture, [points], isClosed=False, color=(dark, dark, dark, 255), thickness=2)
    return picture


def paving(rng: np.random.Generator, *, size: int, columns: int, rows: int) -> Picture:
    """Lay pavement slabs, some of them replaced, with chewing gum and cracks."""
    picture = bricks(rng, size=size, columns=columns, rows=rows, mortar=92, spread=15)
    picture[..., :3] *= 0.86
    for _ in range(140):
        centre = (int(rng.integers(size)), int(rng.integers(size)))
        dark = float(rng.uniform(60, 130))
        cv2.circle(picture, centre, int(rng.integers(1, 4)), (dark, dark, dark, 255), -1)
    return shade(
        picture, 7 * noise(rng, size, size, slope=0.6) + 7 * noise(rng, size, size, slope=1.5)
    )


def clouds(rng: np.random.Generator, *, size: int) -> Picture:
    """Paint a ceiling of broken clouds; alpha is how much they cover."""
    field = noise(rng, size, size, slope=1.75)
    cover = np.clip((field - 0.15) / 1.3, 0, 1)
    body = 232 + 16 * noise(rng, size, size, slope=1.9) - 26 * cover**2
    picture = solid(size, size, (0, 0, 0))
    picture[..., :3] = np.clip(body, 150, 255)[..., None]
    picture[..., 3] = 235 * cover
    return picture


def leaves(rng: np.random.Generator, *, size: int) -> Picture:
    """Scatter leaves; alpha is 0 where one sees through."""
    picture = solid(size, size, (36, 54, 26), 0)
    for _ in range(int(size * size / 26)):
        x, y = (int(v) for v in rng.integers(size, size=2))
        tone = rng.uniform(0.4, 1.6)
        colour = (62 * tone, 96 * tone, 38 * tone, 255.0)
        axes = (int(rng.integers(2, 7)), int(rng.integers(1, 4)))
        angle = float(rng.uniform(0, 180))
        for shift_x in (-size, 0, size) if x < 8 or x > size - 8 else (0,):
            cv2.ellipse(picture, (x + shift_x, y), axes, angle, 0, 360, colour, -1)
    return picture
