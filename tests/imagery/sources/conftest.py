"""The three sources behind one set of handles, so that one test can be asked of all of them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.request import Request, urlopen

import numpy as np
import pytest

from citysplat_core.geography import Area
from citysplat_core.imagery import (
    FolderSource,
    ImageSource,
    MapillarySource,
    PanoramaxSource,
    PhotoRequest,
    PhotoResult,
    PhotoStore,
    Token,
)
from citysplat_core.imagery.services.patience import Patience
from citysplat_core.settings import SourceSettings
from citysplat_core.simulation.server import (
    RunningServer,
    SyntheticScenes,
    SyntheticSpec,
    run_in_thread,
    synthetic_world,
)
from citysplat_core.simulation.server.stac_items import picture_id
from citysplat_core.storage import Progress, no_progress

QUICK = Patience(
    tries=4, base_s=0.002, cap_s=0.01, limit_pause_s=0.01, max_pause_s=0.02, max_pauses=3
)
# The world reaches beyond the area on every side, and the area across two discovery tiles.
WORLD = (8.5460, 47.3710, 8.5500, 47.3750)
AREA = (8.5466, 47.3714, 8.5495, 47.3746)
_EDGE_DEG = 3e-5


class Harness(Protocol):
    """What a test may do to a source's world."""

    folder: Path
    n_asked: int

    def source(self) -> ImageSource: ...
    def inside(self) -> set[str]: ...
    def add(self) -> set[str]: ...
    def delete(self, image_id: str) -> None: ...
    def break_photo(self, image_id: str) -> None: ...
    def original(self, image_id: str) -> bytes: ...
    def go_down(self) -> None: ...
    def come_back(self) -> None: ...
    def asked(self) -> int: ...


def area() -> Area:
    return Area.from_bounds(",".join(map(str, AREA)))


class Looker:
    """One user of a source: a work folder, a store of photos, and every call made anew."""

    def __init__(self, harness: Harness, name: str = "user") -> None:
        self.area = area()
        self.harness, self.root = harness, harness.folder / name
        self.store = PhotoStore(self.root / "photos")
        self._works = 0

    def discover(self, *, refresh: bool = False, work: str = "", progress: Progress = no_progress):
        self._works += not work
        path = self.root / "work" / (work or str(self._works))
        path.mkdir(parents=True, exist_ok=True)
        source = self.harness.source()
        return source.discover(self.area, work=path, refresh=refresh, progress=progress)

    def wanted(self, most: int) -> list[PhotoRequest]:
        """Ask for the first photos of the area, as the catalog lists them."""
        rows = self.describe(self.discover().found).to_pylist()
        return [
            PhotoRequest(image_id=row["image_id"], photo_ref=row["photo_ref"])
            for row in rows[:most]
        ]

    def describe(self, found: Any, *, progress: Progress = no_progress) -> Any:
        path = self.root / "describing"
        path.mkdir(parents=True, exist_ok=True)
        return self.harness.source().describe(found, work=path, progress=progress)

    def fetch(
        self, wanted: list[PhotoRequest], *, size_px: int = 0, progress: Progress = no_progress
    ) -> list[PhotoResult]:
        return self.harness.source().fetch_photos(
            wanted, self.store, size_px=size_px, n_threads=2, progress=progress
        )


class _Served:
    """A source behind the local server."""

    def __init__(self, folder: Path, server: RunningServer) -> None:
        self.folder, self.server = folder, server
        world = server.state.world
        self._deleted_at_edge = world.delete(self._ids(self._near_edge()))

    def _near_edge(self) -> Any:
        """Say which photos a tile's rounding may put on the other side of the area's edge."""
        world, (west, south, east, north) = self.server.state.world, AREA
        lon, lat = world.columns["lon"], world.columns["lat"]
        away = np.minimum.reduce([abs(lon - west), abs(lon - east), abs(lat - south),
                                  abs(lat - north)])  # fmt: skip
        return away < _EDGE_DEG

    def _ids(self, mask: Any) -> list[str]:
        return [str(i) for i in self.server.state.world.columns["image_id"][mask]]

    def name_of(self, image_id: str) -> str:
        return image_id

    def _own(self, name: str) -> str:
        world = self.server.state.world
        return next(str(i) for i in world.row_of if self.name_of(str(i)) == name)

    def inside(self) -> set[str]:
        world = self.server.state.world
        inside = area().contains(world.columns["lon"], world.columns["lat"]) & world.alive
        return {self.name_of(i) for i in self._ids(inside)}

    def control(self, what: str, **values: Any) -> Any:
        request = Request(  # noqa: S310 - our own server
            f"{self.server.url}/_emu/{what}", data=json.dumps(values).encode()
        )
        with urlopen(request, timeout=30) as answer:  # noqa: S310 - our own server
            return json.loads(answer.read())

    def add(self) -> set[str]:
        before = self.inside()
        self.control("add", n=60, seed=5)
        self.server.state.world.delete(self._ids(self._near_edge()))
        return self.inside() - before

    def delete(self, image_id: str) -> None:
        self.control("delete", ids=[self._own(image_id)])

    def break_photo(self, image_id: str) -> None:
        self.control("script", kind="cdn_truncate", match=image_id, times=10_000)

    def original(self, image_id: str) -> bytes:
        return self.server.state.images.jpeg(self._own(image_id))

    def _set_down(self, chance: float) -> None:
        faults = ("p_tile_500", "p_graph_500", "p_cdn_500", "p_stac_500")
        self.control("config", **dict.fromkeys(faults, chance))

    def go_down(self) -> None:
        self._set_down(1.0)

    def come_back(self) -> None:
        self._set_down(0.0)

    def asked(self) -> int:
        counters = self.server.state.counters
        return sum(counters[name] for name in ("tile", "graph", "stac", "cdn"))


class _Mapillary(_Served):
    def source(self) -> ImageSource:
        settings = SourceSettings(
            tiles_url=self.server.url, graph_url=self.server.url, tiles_per_min=60_000,
            connections=8,
        )  # fmt: skip
        return MapillarySource(
            settings, Token(self.server.state.config.token), self.folder / "cache",
            patience=QUICK, clock=self.server.state.clock.now,
        )  # fmt: skip


class _Panoramax(_Served):
    def name_of(self, image_id: str) -> str:
        return picture_id(int(image_id))

    def source(self) -> ImageSource:
        settings = SourceSettings(
            kind="panoramax", panoramax_url=f"{self.server.url}/api", searches_per_min=60_000,
            search_limit=100, connections=8,
        )  # fmt: skip
        return PanoramaxSource(
            settings, self.folder / "cache", patience=QUICK, clock=self.server.state.clock.now
        )


class _Folder:
    """A folder that holds the same world as files."""

    def __init__(self, folder: Path, make_exif: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.photos = folder, folder / "mine"
        self._make_exif, self._aside = make_exif, folder / "aside"
        self._places: dict[str, tuple[float, float]] = {}
        self._read = 0
        world = synthetic_world(SyntheticSpec(n_images=300, bbox=WORLD))
        self._write(world, "a")
        self._count_reading(monkeypatch)

    def _count_reading(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from citysplat_core.imagery import folder as module
        from citysplat_core.imagery import folder_headers as headers

        def counted(function: Any) -> Any:
            def call(*args: Any) -> Any:
                self._read += 1
                return function(*args)

            return call

        monkeypatch.setattr(module, "prepared_photo", counted(module.prepared_photo))
        monkeypatch.setattr(headers, "read_exif", counted(headers.read_exif))

    def _write(self, world: Any, walk: str) -> set[str]:
        scenes, names = SyntheticScenes(size=(320, 240)), set()
        for row in range(len(world.columns["image_id"])):
            lon, lat = (float(world.columns[name][row]) for name in ("lon", "lat"))
            image_id = str(world.columns["image_id"][row])
            path = self.photos / walk / f"{image_id}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            import io

            import piexif

            stream = io.BytesIO()
            taken = {"Exif": {piexif.ExifIFD.DateTimeOriginal: b"2024:05:01 10:00:00"}}
            piexif.insert(self._make_exif(lon, lat, **taken), scenes.jpeg(image_id), stream)
            path.write_bytes(stream.getvalue())
            self._places[f"{walk}~{image_id}"] = (lon, lat)
            names.add(f"{walk}~{image_id}")
        return names

    def _path(self, image_id: str) -> Path:
        return self.photos / (image_id.replace("~", "/") + ".jpg")

    def source(self) -> ImageSource:
        return FolderSource(self.photos, cache_dir=self.folder / "cache")

    def inside(self) -> set[str]:
        names = [name for name in self._places if self._path(name).exists()]
        places = np.array([self._places[name] for name in names])
        kept = area().contains(places[:, 0], places[:, 1])
        return {name for name, is_inside in zip(names, kept, strict=True) if is_inside}

    def add(self) -> set[str]:
        before = self.inside()
        self._write(synthetic_world(SyntheticSpec(n_images=40, bbox=WORLD, seed=9)), "b")
        return self.inside() - before

    def delete(self, image_id: str) -> None:
        self._path(image_id).unlink()

    def break_photo(self, image_id: str) -> None:
        path = self._path(image_id)
        path.write_bytes(path.read_bytes()[:-500])

    def original(self, image_id: str) -> bytes:
        return self._path(image_id).read_bytes()

    def go_down(self) -> None:
        self.photos.rename(self._aside)  # as when a disk is not mounted
        self.photos.mkdir()

    def come_back(self) -> None:
        self.photos.rmdir()
        self._aside.rename(self.photos)

    def asked(self) -> int:
        return self._read


@pytest.fixture(params=["mapillary", "folder", "panoramax"])
def world(
    request: Any, tmp_path: Path, make_exif: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Harness]:
    """Give the handles of a source, of each kind in turn."""
    if request.param == "folder":
        yield _Folder(tmp_path, make_exif, monkeypatch)
        return
    served = synthetic_world(SyntheticSpec(n_images=300, bbox=WORLD))
    with run_in_thread(served, images=SyntheticScenes(size=(320, 240))) as server:
        yield (_Mapillary if request.param == "mapillary" else _Panoramax)(tmp_path, server)


@pytest.fixture
def user(world: Harness) -> Looker:
    return Looker(world)


@pytest.fixture
def other(world: Harness) -> Looker:
    return Looker(world, "other")
