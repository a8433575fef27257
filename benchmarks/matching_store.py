"""Pairs that COLMAP has matched with its defaults, each once, with what they cost.

The peers of the benchmark differ in the pairs they propose and not in how they match them. So every
pair is matched once, the first time a peer asks for it, and a peer's seconds are those of its
pairs. A killed run goes on after the last chunk.
"""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pycolmap

from citysplat_core.features import (
    colmap_device,
    connected,
    copy_database,
    has_gpu,
    image_name,
    pair_id_of,
    quiet_colmap,
)
from citysplat_core.simulation.overlap import Sight, true_matches
from citysplat_core.storage import Progress, no_progress, published

CHUNK: Final = 512
Pairs = set[tuple[int, int]]


def colmap_defaults(n_threads: int) -> tuple[pycolmap.FeatureMatchingOptions, object]:
    """Give COLMAP's own options of matching and verification, with a seed and the relative pose."""
    matching = pycolmap.FeatureMatchingOptions(num_threads=n_threads, use_gpu=has_gpu())
    verification = pycolmap.TwoViewGeometryOptions(compute_relative_pose=True)
    verification.ransac.random_seed = 0
    return matching, verification


class PeerStore:
    """A database of pairs matched with COLMAP's defaults.

    Attributes:
        database: The COLMAP database, with all features.
        n_threads: Threads of the matcher.
    """

    def __init__(self, folder: Path, features: Path, n_threads: int) -> None:
        """Open the store of a folder, or begin it with the features of a ``features.db``."""
        folder.mkdir(parents=True, exist_ok=True)
        self.database, self.n_threads = folder / "pairs.db", n_threads
        self._costs = folder / "costs.parquet"
        self._labels: pd.DataFrame | None = None
        if not self.database.exists():
            part = folder / "part.db"
            part.unlink(missing_ok=True)
            copy_database(features, part)
            part.rename(self.database)

    def match(self, pairs: Pairs, progress: Progress = no_progress) -> None:
        """Match those of some pairs of colmap ids that are not matched yet."""
        todo = sorted(pairs - self._matched())
        with connected(self.database) as connection:
            names = dict(connection.execute("SELECT image_id, name FROM images"))
        listed = self.database.with_name("pairs.txt")
        matching, verification = colmap_defaults(self.n_threads)
        pairing = pycolmap.ImportedPairingOptions(match_list_path=listed)
        for first in range(0, len(todo), CHUNK):
            progress(first, len(todo), "pairs")
            chunk = todo[first : first + CHUNK]
            listed.write_text("".join(f"{names[a]} {names[b]}\n" for a, b in chunk))
            wall, cpu = time.perf_counter(), time.process_time()
            with quiet_colmap():
                pycolmap.match_image_pairs(
                    self.database, matching, pairing, verification, colmap_device()
                )
            self._add_costs(chunk, time.perf_counter() - wall, time.process_time() - cpu)
        progress(len(todo), len(todo), "pairs")

    def _matched(self) -> Pairs:
        with connected(self.database) as connection:
            keys = [int(row[0]) for row in connection.execute("SELECT pair_id FROM matches")]
        return {pycolmap.pair_id_to_image_pair(key) for key in keys}

    def _add_costs(self, chunk: list[tuple[int, int]], wall_s: float, cpu_s: float) -> None:
        rows = pd.DataFrame(
            {
                "pair": [pair_id_of(*pair) for pair in chunk],
                "wall_s": wall_s / len(chunk),
                "cpu_s": cpu_s / len(chunk),
            }
        )
        known = [pd.read_parquet(self._costs)] if self._costs.exists() else []
        with published(self._costs) as stream:
            pd.concat([*known, rows]).to_parquet(stream, index=False)

    def labels(self, sights: list[Sight]) -> pd.DataFrame:
        """Give the labels of all verified pairs, see `label_pairs`."""
        self._labels = label_pairs(self.database, sights, self._labels)
        return self._labels

    def cost(self, pairs: Pairs) -> tuple[float, float]:
        """Give CPU and wall seconds that matching these pairs took (each its chunk's mean)."""
        if not pairs:
            return 0.0, 0.0
        costs = pd.read_parquet(self._costs).set_index("pair")
        costs = costs.reindex([pair_id_of(*pair) for pair in pairs])
        mean = costs.mean()  # of a chunk that was killed between matching and writing its cost
        cpu, wall = (float(costs[name].fillna(mean[name]).sum()) for name in ("cpu_s", "wall_s"))
        return cpu, wall


def label_pairs(
    database: Path, sights: list[Sight], known: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Compare the verified pairs of a town's database with the truth.

    Args:
        database: A COLMAP database of the town; row k of the sights has colmap id k + 1.
        sights: The town's photos with their depth.
        known: What an earlier call said of the same database: only newer pairs are compared.

    Returns:
        a, b (colmap ids), n (inliers), n_true (those that agree with the depth), turn_error_deg
        (of the relative rotation; NaN without one), sorted by a and b.
    """
    with pycolmap.Database.open(database) as opened:
        keys, geometries = opened.read_two_view_geometries()
        places = {
            image.image_id: np.asarray(opened.read_keypoints(image.image_id))[:, :2].astype(float)
            for image in opened.read_all_images()
        }
    names = ["a", "b", "n", "n_true", "turn_error_deg"]
    rows = [] if known is None else list(known[names].itertuples(index=False, name=None))
    done = {(row[0], row[1]) for row in rows}
    for key, geometry in zip(keys, geometries, strict=True):
        matches = np.asarray(geometry.inlier_matches)
        a, b = pycolmap.pair_id_to_image_pair(key)
        if not len(matches) or (a, b) in done:
            continue
        one, two = sights[a - 1], sights[b - 1]
        good = true_matches(one, places[a][matches[:, 0]], two, places[b][matches[:, 1]])
        rows.append((a, b, len(matches), int(good.sum()), _turn_error(one, two, geometry)))
    table = pd.DataFrame(rows, columns=names)
    return table.sort_values(["a", "b"], ignore_index=True)


def _turn_error(one: Sight, two: Sight, geometry: pycolmap.TwoViewGeometry) -> float:
    if geometry.cam2_from_cam1 is None:
        return float("nan")
    truth = two.capture.rotation @ one.capture.rotation.T
    said = geometry.cam2_from_cam1.rotation.matrix()
    return float(np.degrees(np.arccos(np.clip((np.trace(said @ truth.T) - 1) / 2, -1, 1))))


def unordered(pairs: Iterable[tuple[int, int]]) -> Pairs:
    """Give pairs of ids as (smaller, larger), each once, none of an image with itself."""
    return {(min(a, b), max(a, b)) for a, b in pairs if a != b}


def names_of(images: pd.DataFrame) -> dict[int, str]:
    """Give the COLMAP name of every colmap id of a table of images."""
    ids = images["colmap_id"].astype(int).tolist()
    return dict(zip(ids, map(image_name, images["image_id"].astype(str)), strict=True))
