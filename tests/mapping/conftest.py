"""Streets made of points: known cameras, projected points, databases without any photo."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pycolmap
import pytest
from scipy.spatial.transform import Rotation

from citysplat_core.features import quiet_colmap
from citysplat_core.features.database import create_database, finish_database

CAMERA_ID = 7
WIDTH, HEIGHT, FOCAL = 640, 480, 450.0


def _pose(center: np.ndarray, heading_deg: float, pitch_deg: float, roll_deg: float):
    """Give cam_from_world of a camera: heading clockwise from north, z forward, y down."""
    level = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])  # looks north, upright
    turn = Rotation.from_euler("z", heading_deg, degrees=True).as_matrix()
    nod = Rotation.from_euler("xz", [pitch_deg, roll_deg], degrees=True).as_matrix()
    rotation = nod @ level @ turn
    return pycolmap.Rigid3d(pycolmap.Rotation3d(rotation), -rotation @ center)


@dataclass
class Street:
    """Cameras along a line of (east, north) corners, facades left and right."""

    n_photos: int = 30
    corners: tuple[tuple[float, float], ...] = ((0, 0), (90, 0))
    gps_noise_m: float = 0.3
    has_altitude: bool = True
    looks_down: bool = False
    seed: int = 1
    first_id: int = 100
    focal_guess: float = 1.0
    poses: list[pycolmap.Rigid3d] = field(init=False)
    gps: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        line = np.array(self.corners, float)
        steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
        along = np.concatenate([[0], np.cumsum(steps)])
        at = np.linspace(0, along[-1], self.n_photos)
        place = np.stack([np.interp(at, along, line[:, k]) for k in (0, 1)], axis=1)
        ahead = np.stack([np.interp(at + 1e-3, along, line[:, k]) for k in (0, 1)], axis=1)
        ahead[-1], place_last = place[-1], place[-2]
        way = ahead - place
        way[-1] = place[-1] - place_last
        heading = np.degrees(np.arctan2(way[:, 0], way[:, 1]))
        height = 40.0 if self.looks_down else 2.0
        jitter = rng.normal(0, [0.05, 0.05, 0.02], (self.n_photos, 3))
        self.centers = np.column_stack([place, np.full(self.n_photos, height)]) + jitter
        pitch = 90.0 if self.looks_down else 0.0
        self.poses = [
            _pose(c, h, pitch + p, r)
            for c, h, (p, r) in zip(
                self.centers, heading, rng.normal(0, 1.0, (self.n_photos, 2)), strict=True
            )
        ]
        self.points = self._facades(rng, line, along)
        self.gps = self.centers + rng.normal(0, self.gps_noise_m, (self.n_photos, 3))
        if not self.has_altitude:
            self.gps[:, 2] = np.nan
        self._rng = rng
        self._keypoints, self._seen = zip(*(self._project(p) for p in self.poses), strict=True)

    def _facades(self, rng, line, along) -> np.ndarray:
        n = int(7 * (along[-1] + 60))
        at = rng.uniform(-10, along[-1] + 50, n)
        side = rng.choice([-1.0, 1.0], n) * rng.uniform(6, 12, n)
        out = []
        for s, offset, z in zip(at, side, rng.uniform(0, 9, n), strict=True):
            k = int(np.clip(np.searchsorted(along, s, side="right") - 1, 0, len(line) - 2))
            way = (line[k + 1] - line[k]) / np.linalg.norm(line[k + 1] - line[k])
            out.append(
                [*(line[k] + way * (s - along[k]) + offset * np.array([way[1], -way[0]])), z]
            )
        return np.array(out)

    def _project(self, pose) -> tuple[np.ndarray, np.ndarray]:
        local = self.points @ pose.rotation.matrix().T + pose.translation
        xy = FOCAL * local[:, :2] / np.maximum(local[:, 2:], 1e-6) + (WIDTH / 2, HEIGHT / 2)
        inside = (xy > 0).all(axis=1) & (xy < (WIDTH, HEIGHT)).all(axis=1)
        seen = np.flatnonzero(inside & (local[:, 2] > 2) & (local[:, 2] < 60))
        noise = self._rng.normal(0, 0.4, (len(seen), 2))
        return (xy[seen] + noise).astype(np.float32), seen

    def repeat(self, row: int, over: int) -> None:
        """Make a photo a copy of another one, byte for byte."""
        self.poses[over], self.centers[over], self.gps[over] = (
            self.poses[row],
            self.centers[row],
            self.gps[row],
        )
        keypoints, seen = list(self._keypoints), list(self._seen)
        keypoints[over], seen[over] = keypoints[row], seen[row]
        self._keypoints, self._seen = keypoints, seen

    def replace_file(self, row: int, *, matches_hold: bool = True) -> None:
        """Give a photo its keypoints in another order; matches may then be all wrong."""
        order = self._rng.permutation(len(self._seen[row]))
        keypoints, seen = list(self._keypoints), list(self._seen)
        keypoints[row] = keypoints[row][order]
        seen[row] = seen[row][order] if matches_hold else seen[row]
        self._keypoints, self._seen = keypoints, seen

    @property
    def ids(self) -> list[int]:
        return [self.first_id + i for i in range(self.n_photos)]

    def images(self, rows: list[int] | None = None) -> pd.DataFrame:
        rows = list(range(self.n_photos)) if rows is None else rows
        return pd.DataFrame(
            {
                "image_id": [f"photo{self.first_id + i}" for i in rows],
                "colmap_id": [self.first_id + i for i in rows],
                "camera_id": CAMERA_ID,
                "status": "ok",
                "east_m": self.gps[rows, 0],
                "north_m": self.gps[rows, 1],
                "up_m": self.gps[rows, 2],
            }
        )

    def cameras(self) -> pd.DataFrame:
        row = {
            "camera_id": CAMERA_ID,
            "camera_key": "k",
            "model": "SIMPLE_RADIAL",
            "width": WIDTH,
            "height": HEIGHT,
            "params": [self.focal_guess * FOCAL, WIDTH / 2, HEIGHT / 2, 0.0],
            "has_prior_focal": self.focal_guess == 1.0,
        }
        return pd.DataFrame([row])

    def shared(self, i: int, j: int) -> np.ndarray:
        """Give the keypoint matches of two photos."""
        _, a, b = np.intersect1d(self._seen[i], self._seen[j], return_indices=True)
        return np.stack([a, b], axis=1).astype(np.uint32)

    def write_database(self, path: Path, rows: list[int], pairs) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        create_database(path, self.cameras(), self.images(rows))
        with pycolmap.Database.open(path) as database:
            for i in rows:
                database.write_keypoints(self.first_id + i, self._keypoints[i])
            for i, j in pairs:
                matches = self.shared(i, j)
                if len(matches) < 20:
                    continue
                geometry = pycolmap.TwoViewGeometry()
                geometry.config = pycolmap.TwoViewGeometryConfiguration.CALIBRATED
                geometry.inlier_matches = matches
                geometry.cam2_from_cam1 = self.poses[j] * self.poses[i].inverse()
                a, b = self.first_id + i, self.first_id + j
                database.write_two_view_geometry(a, b, geometry)
        finish_database(path)

    def model(self) -> pycolmap.Reconstruction:
        """Give the true cameras as a reconstruction in a random frame, without points."""
        model = pycolmap.Reconstruction()
        camera = pycolmap.Camera(
            camera_id=CAMERA_ID,
            model="SIMPLE_RADIAL",
            width=WIDTH,
            height=HEIGHT,
            params=[FOCAL, WIDTH / 2, HEIGHT / 2, 0.0],
        )
        model.add_camera_with_trivial_rig(camera)
        for image_id, pose in zip(self.ids, self.poses, strict=True):
            image = pycolmap.Image(
                name=f"photo{image_id}.jpg", camera_id=CAMERA_ID, image_id=image_id
            )
            model.add_image_with_trivial_frame(image, pose)
        turn = Rotation.random(random_state=self.seed).as_matrix()
        model.transform(pycolmap.Sim3d(0.37, pycolmap.Rotation3d(turn), np.array([5.0, -3, 8])))
        return model

    def solved(self) -> pycolmap.Reconstruction:
        """Give the true cameras and points as a reconstruction in a random frame."""
        model = self.model()
        for image_id, keypoints in zip(self.ids, self._keypoints, strict=True):
            points = [pycolmap.Point2D(xy) for xy in keypoints.astype(float)]
            model.image(image_id).points2D = pycolmap.Point2DList(points)
        city_from_model = pycolmap.estimate_sim3d(
            np.array([model.image(i).projection_center() for i in self.ids]), self.centers
        )
        tracks: dict[int, pycolmap.Track] = {}
        for image_id, seen in zip(self.ids, self._seen, strict=True):
            for row, point in enumerate(seen.tolist()):
                tracks.setdefault(point, pycolmap.Track()).add_element(image_id, row)
        model_from_city = city_from_model.inverse()
        for point, track in tracks.items():
            if track.length() > 1:
                model.add_point3D(
                    model_from_city * self.points[point], track, np.zeros(3, np.uint8)
                )
        return model

    def positions(self) -> dict[int, np.ndarray]:
        return dict(zip(self.ids, self.gps, strict=True))


def bend_gps(street: Street) -> None:
    """Let a receiver drift to and fro, by more than its noise in every part of the drive."""
    turn = np.linspace(0, 4 * np.pi, street.n_photos)
    street.gps[:, 0] += 15 * np.sin(turn)
    street.gps[:, 1] += 15 * np.cos(0.7 * turn)


@dataclass
class Artifacts:
    """A street cut into boxes, written as the artifacts that the steps read."""

    root: Path
    street: Street
    boxes: dict[str, list[int]]

    @property
    def box_images(self) -> dict[str, Path]:
        return {box: self.root / "box_images" / box for box in self.boxes}

    @property
    def box_matches(self) -> dict[str, Path]:
        return {box: self.root / "box_matches" / box for box in self.boxes}

    @property
    def fringe_matches(self) -> dict[str, Path]:
        return {path.name: path for path in sorted((self.root / "fringe_matches").glob("*"))}

    def inputs(self, box: str) -> dict[str, object]:
        """Give the keyword arguments of `solve_box` that name its inputs."""
        return {
            "box_images": self.box_images,
            "box_matches": self.box_matches[box],
            "fringe_matches": {k: v for k, v in self.fringe_matches.items() if box in k},
            "fringe_images": self.root / "fringe_images.parquet",
            "neighbour_matches": {k: v for k, v in self.box_matches.items() if k != box},
        }

    @property
    def plan_images(self) -> Path:
        return self.root / "plan_images.parquet"


def write_artifacts(
    root: Path,
    street: Street,
    n_boxes: int = 1,
    n_fringe: int = 6,
    *,
    without: Collection[int] = (),
    is_pair: Callable[[int, int], bool] = lambda i, j: j <= i + 4,
) -> Artifacts:
    cut = np.array_split([i for i in range(street.n_photos) if i not in without], n_boxes)
    boxes = {f"03{k}": part.tolist() for k, part in enumerate(cut)}
    names = list(boxes)
    near = [(i, j) for i, j in combinations(range(street.n_photos), 2) if is_pair(i, j)]
    fringe_rows, plan = [], []
    for box, rows in boxes.items():
        folder = root / "box_images" / box
        (folder / "photos").mkdir(parents=True)
        street.images(rows).to_parquet(folder / "images.parquet")
        street.cameras().to_parquet(folder / "cameras.parquet")
        own = [(i, j) for i, j in near if i in rows and j in rows]
        street.write_database(root / "box_matches" / box / "matches.db", rows, own)
        plan.append(street.images(rows).assign(box=box, lon=0.0, lat=0.0))
    for a, b in pairwise(names):
        rows = boxes[a][-n_fringe:] + boxes[b][:n_fringe]
        across = [(i, j) for i, j in near if i in boxes[a] and j in boxes[b]]
        across = [(i, j) for i, j in across if i in rows and j in rows]
        street.write_database(root / "fringe_matches" / f"{a}--{b}" / "matches.db", rows, across)
        for box in (a, b):
            mine = [i for i in rows if i in boxes[box]]
            fringe_rows.append(street.images(mine).assign(fringe=f"{a}--{b}", box=box))
    columns = ["fringe", "box", "image_id", "colmap_id"]
    fringes = pd.concat(fringe_rows)[columns] if fringe_rows else pd.DataFrame(columns=columns)
    fringes.to_parquet(root / "fringe_images.parquet")
    pd.concat(plan).to_parquet(root / "plan_images.parquet")
    return Artifacts(root, street, boxes)


@pytest.fixture(scope="session")
def make_street() -> type[Street]:
    return Street


@pytest.fixture
def flight() -> Street:
    """Photos from the air, in three lines beside each other; each place is seen many times."""
    lines = ((0, 0), (48, 0), (48, 12), (0, 12), (0, 24), (48, 24))
    return Street(n_photos=42, corners=lines, looks_down=True)


@pytest.fixture(scope="session")
def solved_street(tmp_path_factory):
    """A street round a corner, its model with points, and the cache of its database."""
    street = Street(n_photos=40, corners=((0, 0), (70, 0), (110, 30)))
    street.root = tmp_path_factory.mktemp("solved_street")
    near = [(i, j) for i in range(40) for j in range(i + 1, min(i + 5, 40))]
    street.write_database(street.root / "street.db", list(range(40)), near)
    options = pycolmap.IncrementalPipelineOptions(
        num_threads=1, extract_colors=False, random_seed=1, ba_refine_focal_length=False,
        ba_refine_extra_params=False,
    )  # fmt: skip
    options.mapper.init_min_tri_angle = 4.0
    options.mapper.init_max_forward_motion = 1.0
    folder = street.root / "models"
    folder.mkdir()
    with quiet_colmap():
        models = pycolmap.incremental_mapping(
            street.root / "street.db", street.root, folder, options
        )
    with pycolmap.Database.open(street.root / "street.db") as database:
        cache = pycolmap.DatabaseCache.create(database, pycolmap.DatabaseCacheOptions())
    assert models[0].num_reg_images() == 40
    return street, models[0], cache


@pytest.fixture(scope="session")
def artifact_writer() -> Callable[..., Artifacts]:
    return write_artifacts


@pytest.fixture
def make_artifacts(tmp_path: Path) -> Callable[..., Artifacts]:
    def make(street: Street, n_boxes: int = 1, n_fringe: int = 6) -> Artifacts:
        return write_artifacts(tmp_path / "city", street, n_boxes, n_fringe)

    return make


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        return folder

    return make
