"""The peers' environments: one virtual environment each, made once and kept.

Versions are pinned here. A peer that cannot be installed is told of and left out; its figures are
never guessed.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / ".peers"
"""Where the environments lie; not part of the repository, may be deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A package to compare with.

    Attributes:
        name: Name on PyPI.
        version: The version measured.
        needs: What its downloader imports, where its whole list of dependencies is not installed.
    """

    name: str
    version: str
    needs: tuple[str, ...] = ()

    @property
    def python(self) -> Path:
        """The interpreter of its environment."""
        return FOLDER / f"{self.name}-{self.version}" / "bin" / "python"


SDK = Peer(name="mapillary", version="1.0.16")
DOWNLOADER = Peer(name="mapillary-downloader", version="0.12.0")
ZENSVI = Peer(
    name="zensvi",
    version="1.7.0",
    needs=(
        *("geojson", "geopandas", "haversine", "mapbox-vector-tile", "mercantile", "networkx"),
        *("osmnx", "pandas", "pillow", "pyproj", "requests", "shapely", "tqdm", "turfpy"),
        "vt2geojson",
    ),
)
MVT = Peer(name="mapbox-vector-tile", version="2.2.0")
PEERS = (SDK, DOWNLOADER, ZENSVI, MVT)


def install(peer: Peer, *, base_python: str = sys.executable) -> str:
    """Make a peer's environment, unless it is there.

    Args:
        peer: Which.
        base_python: The interpreter to make it with.

    Returns:
        Why it is not to be had, empty if it is.
    """
    folder = peer.python.parents[1]
    if (folder / "complete").exists():
        return ""
    FOLDER.mkdir(exist_ok=True)
    pinned = f"{peer.name}=={peer.version}"
    pip = [str(peer.python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    commands = [[base_python, "-m", "venv", "--clear", str(folder)]]
    if peer.needs:
        commands += [[*pip, *peer.needs], [*pip, "--no-deps", pinned]]
    else:
        commands += [[*pip, pinned]]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            return (lines or done.stderr.splitlines() or ["pip failed"])[-1]
    (folder / "complete").touch()
    return ""
