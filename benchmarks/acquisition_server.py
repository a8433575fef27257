"""The local Mapillary server of the benchmark: in a process of its own, with prepared photos."""

import hashlib
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageFilter

from citysplat_core.simulation.server import synthetic_world
from citysplat_core.simulation.server.pictures import SyntheticScenes
from citysplat_core.simulation.server.synthetic_world import SyntheticSpec
from citysplat_core.simulation.server.world import World

BBOX = (8.530, 47.365, 8.550, 47.385)
_SCENES = 12
_QUALITY = 82


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server.

    Attributes:
        url: Its address.
        token: The token it accepts.
        world: What it knows: the truth that outcomes are compared with.
    """

    url: str
    token: str
    world: World

    @property
    def ids(self) -> list[str]:
        """Every image id, as text, in the world's order."""
        return [str(image_id) for image_id in self.world.columns["image_id"]]

    @property
    def users(self) -> list[str]:
        """Every creator's name."""
        return sorted({str(name) for name in self.world.columns["creator_username"]})


def make_photos(folder: Path, ids: list[str]) -> dict[str, str]:
    """Write a photo for each id: twelve drawn streets of 1024 x 768, about 120 kB each.

    Each file names its id in a comment, so that no two are the same and nobody can score one for
    all.

    Returns:
        SHA-256 of each id's photo.
    """
    folder.mkdir(parents=True)
    scenes = SyntheticScenes(size=(1024, 768), blurred_share=0.0)
    drawings = [_photo(scenes.jpeg(str(scene))) for scene in range(_SCENES)]
    digests = {}
    for number, image_id in enumerate(ids):
        drawing = drawings[number % _SCENES]
        comment = b"\xff\xfe" + (len(image_id) + 2).to_bytes(2, "big") + image_id.encode()
        body = drawing[:2] + comment + drawing[2:]
        (folder / f"{image_id}.jpg").write_bytes(body)
        digests[image_id] = hashlib.sha256(body).hexdigest()
    return digests


def _photo(drawing: bytes) -> bytes:
    """Make a drawing as large as a real photo: with the softer noise of a real camera."""
    stream = io.BytesIO()
    with Image.open(io.BytesIO(drawing)) as drawn:
        drawn.filter(ImageFilter.GaussianBlur(0.6)).save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()


@contextmanager
def running(n_images: int, *, latency_ms: float, photos: Path | None = None) -> Iterator[Server]:
    """Serve a synthetic world while the block lasts.

    Args:
        n_images: Images of the world.
        latency_ms: Wait before each answer, milliseconds.
        photos: Folder of ``<id>.jpg``; None draws them when they are asked for.

    Yields:
        The server.

    Raises:
        RuntimeError: The server does not start.
    """
    command = [sys.executable, "-m", "citysplat_core.simulation.server", "--port", "0"]
    command += ["--images", str(n_images), "--latency-ms", str(latency_ms)]
    command += ["--bbox", ",".join(map(str, BBOX)), "--set", "entity_per_min=0"]
    if photos is not None:
        command += ["--image-dir", str(photos)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            line = process.stdout.readline() if process.stdout else ""
            found = re.search(r"(http://\S+) token (\S+)", line)
            if found is None:
                raise RuntimeError(f"the local server said {line!r}")
            world = synthetic_world(SyntheticSpec(n_images=n_images, bbox=BBOX))
            yield Server(url=found.group(1), token=found.group(2), world=world)
        finally:
            process.terminate()
