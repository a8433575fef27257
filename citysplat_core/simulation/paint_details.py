"""Windows, doors, shops, signs, cars and what lies on the road, painted with numpy."""

import cv2
import numpy as np

from citysplat_core.simulation.paint import Picture, noise, shade, solid

_SYLLABLES = (
    *("ba", "ke", "lo", "mi", "nu", "ra", "so", "ti", "va", "zu"),
    *("fer", "gan", "hol", "lin", "mar", "nor", "pel", "rin", "sal", "tor"),
)
Colour = tuple[float, float, float]


def vivid(rng: np.random.Generator) -> Colour:
    """Draw a saturated colour."""
    hue = rng.uniform(0, 179)
    hsv = np.array([[[hue, rng.integers(70, 200), rng.integers(80, 235)]]], np.uint8)
    red, green, blue = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))[0, 0].tolist()
    return float(red), float(green), float(blue)


def muted(rng: np.random.Generator) -> Colour:
    """Draw a colour as of cloth: half of it is grey."""
    red, green, blue = vivid(rng)
    grey = 0.5 * (red + green + blue) / 3
    return 0.5 * red + grey, 0.5 * green + grey, 0.5 * blue + grey


def _fill(picture: Picture, box: tuple[float, float, float, float], rgb: Colour) -> None:
    """Fill a box (left, top, right, bottom, as shares of the picture)."""
    height, width = picture.shape[:2]
    corner = (round(box[0] * width), round(box[1] * height))
    other = (round(box[2] * width) - 1, round(box[3] * height) - 1)
    cv2.rectangle(picture, corner, other, (*rgb, 255.0), -1)


def word(rng: np.random.Generator) -> str:
    """Invent a name of two or three syllables."""
    return "".join(rng.choice(_SYLLABLES, int(rng.integers(2, 4)))).upper()


def write(picture: Picture, text: str, box: tuple[float, float, float, float], rgb: Colour) -> None:
    """Write text as large as a box (shares of the picture) allows."""
    height, width = picture.shape[:2]
    (text_w, text_h), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, 1.0, 2)
    scale = min((box[2] - box[0]) * width / text_w, (box[3] - box[1]) * height / text_h)
    left = (box[0] + box[2]) / 2 * width - text_w * scale / 2
    base = (box[1] + box[3]) / 2 * height + text_h * scale / 2
    ink = np.zeros((height, width), np.uint8)  # OpenCV 5 writes on bytes only
    corner, thick = (round(left), round(base)), max(1, round(2 * scale))
    cv2.putText(ink, text, corner, cv2.FONT_HERSHEY_DUPLEX, scale, 255, thick, cv2.LINE_AA)
    share = (ink / np.float32(255))[..., None]
    picture[..., :3] += share * (np.array(rgb, np.float32) - picture[..., :3])


def window(rng: np.random.Generator, *, size: int) -> Picture:
    """Paint a window: frame, panes, and what one sees behind them."""
    frame_tone = float(rng.choice([235, 225, 70, 120, 45]))
    picture = solid(size, size, (frame_tone, frame_tone, frame_tone * 0.97))
    tone = float(rng.uniform(28, 70))
    glass = (tone * 0.85, tone, tone * float(rng.uniform(1.0, 1.2)))
    _fill(picture, (0.07, 0.06, 0.93, 0.94), glass)
    kind = int(rng.integers(6))
    if kind < 2:  # curtains
        cloth = muted(rng) if kind == 0 else (215.0, 210.0, 198.0)
        open_to = float(rng.uniform(0.2, 0.42))
        for left, right in ((0.07, open_to), (1 - open_to, 0.93)):
            _fill(picture, (left, 0.06, right, 0.94), cloth)
            for fold in np.arange(left, right, 0.05):
                _fill(
                    picture,
                    (fold, 0.06, fold + 0.018, 0.94),
                    (cloth[0] * 0.7, cloth[1] * 0.7, cloth[2] * 0.7),
                )
    elif kind < 4:  # a blind, partly down
        down = float(rng.uniform(0.15, 0.9))
        tone = float(rng.uniform(140, 225))
        for top in np.arange(0.06, down, 0.045):
            _fill(picture, (0.07, top, 0.93, top + 0.03), (tone, tone * 0.98, tone * 0.9))
    else:  # a sky and roofs mirrored in the pane
        _fill(picture, (0.07, 0.06, 0.93, float(rng.uniform(0.25, 0.6))), (150, 165, 185))
        for _ in range(4):
            x, y = rng.uniform(0.07, 0.7), rng.uniform(0.3, 0.7)
            _fill(
                picture, (x, y, x + 0.2, y + 0.2), (glass[0] * 1.5, glass[1] * 1.4, glass[2] * 1.3)
            )
    if rng.random() < 0.35:  # a plant or a lamp on the sill
        x = float(rng.uniform(0.2, 0.7))
        _fill(picture, (x, 0.75, x + 0.12, 0.94), muted(rng))
    frame = (frame_tone, frame_tone, frame_tone * 0.97)
    for bar in (
        [(0.47, 0, 0.53, 1)] if rng.random() < 0.6 else [(0.31, 0, 0.35, 1), (0.65, 0, 0.69, 1)]
    ):
        _fill(picture, bar, frame)
    if rng.random() < 0.6:
        y = float(rng.choice([0.3, 0.5]))
        _fill(picture, (0, y, 1, y + 0.045), frame)
    return shade(picture, 4 * noise(rng, size, size, slope=0.7))


def door(rng: np.random.Generator, *, size: int) -> Picture:
    """Paint a front door with panels, a window, a number and a letter box."""
    colour = vivid(rng)
    dark = (colour[0] * 0.6, colour[1] * 0.6, colour[2] * 0.6)
    picture = solid(size, size, (210, 205, 195))
    _fill(picture, (0.06, 0.04, 0.94, 1), colour)
    for left in (0.14, 0.55):
        for top, bottom in ((0.34, 0.6), (0.66, 0.95)):
            _fill(picture, (left, top, left + 0.31, bottom), dark)
            _fill(picture, (left + 0.04, top + 0.03, left + 0.27, bottom - 0.03), colour)
    _fill(picture, (0.14, 0.09, 0.86, 0.29), (60, 75, 90))
    write(picture, str(rng.integers(1, 99)), (0.3, 0.11, 0.7, 0.27), (240, 240, 230))
    _fill(picture, (0.4, 0.61, 0.6, 0.645), (200, 180, 90))
    _fill(picture, (0.84, 0.52, 0.9, 0.6), (230, 210, 120))
    return shade(picture, 6 * noise(rng, size, size, slope=0.8, stretch=0.2))


def shop(rng: np.random.Generator, *, size: int) -> Picture:
    """Paint a shop window with goods, shelves and posters."""
    frame = vivid(rng) if rng.random() < 0.5 else (60.0, 60.0, 64.0)
    picture = solid(size, size, frame)
    back = float(rng.uniform(40, 120))
    _fill(picture, (0.03, 0.05, 0.97, 0.86), (back, back * 0.95, back * 0.85))
    for shelf in np.linspace(0.34, 0.84, int(rng.integers(2, 5))):
        x = 0.05
        while x < 0.9:
            wide, tall = rng.uniform(0.03, 0.11), rng.uniform(0.06, 0.2)
            _fill(picture, (x, shelf - tall, x + wide, shelf), vivid(rng))
            if rng.random() < 0.4:
                _fill(
                    picture,
                    (x + wide * 0.2, shelf - tall * 0.7, x + wide * 0.8, shelf - tall * 0.4),
                    (240, 238, 230),
                )
            x += wide + rng.uniform(0.005, 0.05)
        _fill(picture, (0.03, shelf, 0.97, shelf + 0.015), (170, 160, 145))
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.uniform(0.05, 0.7), rng.uniform(0.08, 0.5)
        paper = vivid(rng)
        _fill(picture, (x, y, x + 0.2, y + 0.24), paper)
        write(picture, word(rng)[:5], (x + 0.01, y + 0.02, x + 0.19, y + 0.11), (250, 250, 245))
        _fill(picture, (x + 0.03, y + 0.14, x + 0.17, y + 0.21), (245, 240, 225))
    for bar in (0.32, 0.66):
        _fill(picture, (bar, 0.0, bar + 0.02, 0.9), frame)
    return shade(picture, 4 * noise(rng, size, size, slope=0.8))


def sign(rng: np.random.Generator, *, height: int, width: int) -> Picture:
    """Paint a shop's sign board with an invented name and a logo."""
    ground, ink = vivid(rng), (245.0, 242.0, 230.0)
    if rng.random() < 0.35:
        ground, ink = ink, vivid(rng)
    picture = solid(height, width, ground)
    tall = height > width
    if tall:
        text, box = word(rng)[:4], (0.08, 0.1, 0.92, 0.4)
    else:
        text, box = word(rng), (0.26, 0.18, 0.95, 0.82)
    write(picture, text, box, ink)
    centre = (width // 2, int(height * 0.7)) if tall else (int(width * 0.13), height // 2)
    radius = int(0.36 * min(height, width))
    cv2.circle(picture, centre, radius, (*ink, 255.0), -1)
    points = rng.uniform(-0.8, 0.8, (int(rng.integers(3, 7)), 2)) * radius + np.array(centre)
    cv2.fillPoly(picture, [points.astype(np.int32)], (*vivid(rng), 255.0))
    cv2.rectangle(
        picture, (0, 0), (width - 1, height - 1), (*(0.5 * np.array(ink)).tolist(), 255.0), 3
    )
    return shade(picture, 5 * noise(rng, height, width, slope=1.0))


def car_side(rng: np.random.Generator, *, height: int, width: int) -> Picture:
    """Paint the lower side of a car in white (a tint colours it): wheels, doors, handles."""
    picture = solid(height, width, (214, 214, 214))
    _fill(picture, (0, 0.78, 1, 1), (50, 50, 52))
    for x in (0.36, 0.6, 0.22):
        _fill(picture, (x, 0.05, x + 0.006, 0.8), (80, 80, 80))
    for x in (0.32, 0.56):
        _fill(picture, (x, 0.22, x + 0.035, 0.28), (110, 110, 112))
    _fill(picture, (0, 0.28, 0.05, 0.42), (200, 60, 50))
    _fill(picture, (0.94, 0.28, 1, 0.42), (250, 245, 225))
    for x in (0.19, 0.81):
        centre = (int(x * width), int(0.72 * height))
        for radius, tone in ((0.4, 18.0), (0.34, 35.0), (0.22, 165.0), (0.07, 60.0)):
            cv2.circle(picture, centre, int(radius * height), (tone, tone, tone, 255.0), -1)
    return shade(picture, 5 * noise(rng, height, width, slope=1.3))


def car_end(rng: np.random.Generator, *, height: int, width: int) -> Picture:
    """Paint a car's front or rear in white: lights, grille, number plate."""
    picture = solid(height, width, (210, 210, 210))
    light = (255.0, 250.0, 235.0) if rng.random() < 0.5 else (190.0, 40.0, 35.0)
    for left in (0.04, 0.76):
        _fill(picture, (left, 0.15, left + 0.2, 0.38), light)
    _fill(picture, (0.28, 0.2, 0.72, 0.42), (45, 45, 48))
    _fill(picture, (0, 0.72, 1, 1), (55, 55, 58))
    _fill(picture, (0.34, 0.5, 0.66, 0.68), (245, 240, 215))
    write(
        picture, f"{word(rng)[:2]} {rng.integers(100, 999)}", (0.36, 0.53, 0.64, 0.65), (25, 25, 30)
    )
    return shade(picture, 5 * noise(rng, height, width, slope=1.3))


def car_glass(rng: np.random.Generator, *, height: int, width: int) -> Picture:
    """Paint a car's cabin: panes between pillars."""
    picture = solid(height, width, (205, 205, 205))
    _fill(picture, (0.06, 0.1, 0.47, 1), (38, 46, 54))
    _fill(picture, (0.51, 0.1, 0.94, 1), (38, 46, 54))
    _fill(picture, (0.1, 0.14, 0.4, 0.34), (120, 135, 150))
    return shade(picture, 5 * noise(rng, height, width, slope=1.2))


def railing(rng: np.random.Generator, *, height: int, width: int) -> Picture:
    """Paint a balcony's railing; alpha is 0 between the bars."""
    tone = float(rng.uniform(35, 90))
    picture = solid(height, width, (tone, tone, tone), 0)
    _fill(picture, (0, 0, 1, 0.1), (tone, tone, tone))
    _fill(picture, (0, 0.86, 1, 0.94), (tone, tone, tone))
    for x in np.arange(0, 1, 1 / 16):
        _fill(picture, (x, 0, x + 0.02, 1), (tone, tone, tone))
    return picture


def road_decal(rng: np.random.Generator, kind: int, *, size: int) -> Picture:
    """Paint what lies on a road: a manhole (0), a grate (1), a patch (2) or an oil stain (3)."""
    middle = size // 2
    picture = solid(size, size, (80, 80, 82), 0)
    if kind == 0:
        cv2.circle(picture, (middle, middle), int(size * 0.46), (62.0, 60.0, 58.0, 255.0), -1)
        cv2.circle(picture, (middle, middle), int(size * 0.4), (104.0, 100.0, 95.0, 255.0), 3)
        for x in np.arange(0.2, 0.85, 0.1):
            for y in np.arange(0.2, 0.85, 0.1):
                if (x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.12 and rng.random() < 0.85:
                    _fill(picture, (x, y, x + 0.05, y + 0.05), (118, 114, 108))
    elif kind == 1:
        _fill(picture, (0.1, 0.2, 0.9, 0.8), (95, 92, 88))
        for x in np.arange(0.16, 0.84, 0.09):
            _fill(picture, (x, 0.26, x + 0.05, 0.74), (22, 22, 24))
    elif kind == 2:
        tone = float(rng.uniform(58, 150))
        _fill(
            picture,
            (0.04, float(rng.uniform(0.05, 0.25)), 0.96, float(rng.uniform(0.7, 0.95))),
            (tone, tone, tone),
        )
        shade(picture, 9 * noise(rng, size, size, slope=0.4))
    else:
        blob = noise(rng, size, size, slope=1.8)
        y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
        picture[..., 3] = np.clip(150 * (1.0 + 0.5 * blob - 1.6 * np.hypot(x, y)), 0, 190)
        picture[..., :3] = 48
    return picture
