"""The rows of the matching table: what each peer proposes, and CitySplat as a user gets it."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pycolmap
from matching_store import Pairs, PeerStore, label_pairs, unordered

from citysplat_core.features import create_database, quiet_colmap
from citysplat_core.matching import match_box
from citysplat_core.settings import MatchingSettings
from citysplat_core.simulation.overlap import Sight
from citysplat_core.storage import Progress, no_progress


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one way of matching did.

    Attributes:
        name: Its name in the table.
        proposed: Pairs that it wanted to match.
        kept: Its verified pairs with their labels, as `label_pairs` gives them.
        cpu_s: CPU seconds of proposing, matching and verifying; NaN if not measured.
        wall_s: The same on the clock.
        note: What is particular about it.
    """

    name: str
    proposed: int
    kept: pd.DataFrame
    cpu_s: float
    wall_s: float
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Town:
    """What the rows work on: a town's folder of photos and features, and the truth.

    Attributes:
        folder: For what the rows leave behind.
        box_images: Like the artifact ``box_images``.
        box_features: The artifact ``box_features``.
        images: Rows of ``images.parquet``.
        sights: The photos with their depth.
        store: Pairs matched with COLMAP's defaults.
    """

    folder: Path
    box_images: Path
    box_features: Path
    images: pd.DataFrame
    sights: list[Sight]
    store: PeerStore


def match_as_a_user(town: Town, n_threads: int, progress: Progress = no_progress) -> Row:
    """Run the step ``box_matches`` with the default settings."""
    folder = town.folder / "citysplat"
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("out", "work"):
        (folder / name).mkdir(parents=True)
    wall, cpu = time.perf_counter(), time.process_time()
    match_box(
        "town",
        box_images=town.box_images,
        box_features=town.box_features,
        out=folder / "out",
        work=folder / "work",
        settings=MatchingSettings(),
        n_threads=n_threads,
        progress=progress,
    )
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    table = pd.read_parquet(folder / "out" / "pairs.parquet")
    tried = table["state"] != "refused"
    tried |= table["n_matches"] > 0  # refused after matching
    kept = label_pairs(folder / "out" / "matches.db", town.sights)
    refused = table.loc[table["state"] == "refused", "reason"].value_counts()
    note = ", ".join(f"{reason} {count}" for reason, count in refused.items())
    return Row(
        name="CitySplat",
        proposed=int(tried.sum()),
        kept=kept,
        cpu_s=cpu,
        wall_s=wall,
        note=f"refused: {note}" if note else "",
    )


def match_as_peer(
    town: Town,
    name: str,
    propose: Callable[[], Pairs],
    *,
    note: str = "",
    progress: Progress = no_progress,
) -> Row:
    """Match what a peer proposes with COLMAP's defaults."""
    wall, cpu = time.perf_counter(), time.process_time()
    pairs = propose()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return peer_row(town, name, pairs, cpu, wall, note=note, progress=progress)


def peer_row(
    town: Town,
    name: str,
    pairs: Pairs,
    cpu_s: float,
    wall_s: float,
    *,
    note: str = "",
    progress: Progress = no_progress,
) -> Row:
    """Match pairs with COLMAP's defaults and add their cost to that of proposing them."""
    town.store.match(pairs, progress)
    match_cpu, match_wall = town.store.cost(pairs)
    kept = verified_of(town, pairs)
    return Row(
        name=name,
        proposed=len(pairs),
        kept=kept,
        cpu_s=cpu_s + match_cpu,
        wall_s=wall_s + match_wall,
        note=note,
    )


def verified_of(town: Town, pairs: Pairs) -> pd.DataFrame:
    """Give the labels of those of some pairs that COLMAP verified."""
    labels = town.store.labels(town.sights)
    inside = [pair in pairs for pair in zip(labels["a"], labels["b"], strict=True)]
    return labels[np.array(inside, bool)].reset_index(drop=True)


def spatial_pairs(database: Path, *, max_distance_m: float = 100.0, neighbours: int = 50) -> Pairs:
    """Propose as ``pycolmap.match_spatial`` does, by the position priors; COLMAP's defaults."""
    options = pycolmap.SpatialPairingOptions(
        max_distance=max_distance_m, max_num_neighbors=neighbours, num_threads=1
    )
    with quiet_colmap(), pycolmap.Database.open(database) as opened:
        return unordered(pycolmap.SpatialPairGenerator(options, opened).all_pairs())


def sequential_pairs(town: Town) -> Pairs:
    """Propose as ``pycolmap.match_sequential`` does, with the photos named in order of capture.

    COLMAP knows no sequences: the last photos of one are paired with the first of the next.
    """
    ordered = town.images.sort_values(["sequence_id", "captured_at"])
    names = [f"{number:07d}" for number in range(len(ordered))]
    database = town.folder / "ordered.db"
    database.unlink(missing_ok=True)
    cameras = pd.read_parquet(town.box_images / "cameras.parquet")
    create_database(database, cameras, ordered.assign(image_id=names))
    with quiet_colmap(), pycolmap.Database.open(database) as opened:
        generator = pycolmap.SequentialPairGenerator(pycolmap.SequentialPairingOptions(), opened)
        return unordered(generator.all_pairs())


def vocabulary_pairs(town: Town, *, neighbours: int, words: int, n_threads: int) -> Pairs:
    """Propose the nearest photos by a vocabulary tree of the town's own descriptors."""
    tree = town.folder / "tree.bin"
    ids = town.images["colmap_id"].astype(int).tolist()
    sample = ids[:: max(1, len(ids) // 60)]
    build = pycolmap.VisualIndex.BuildOptions()
    build.num_visual_words, build.num_iterations = words, 10
    build.num_rounds, build.num_threads = 1, n_threads
    options = pycolmap.VocabTreePairingOptions()
    options.vocab_tree_path, options.num_threads = tree, n_threads
    options.num_images = neighbours + 1  # a photo is its own nearest
    with quiet_colmap(), pycolmap.Database.open(town.store.database) as opened:
        data = np.concatenate([opened.read_descriptors(k).to_float().data for k in sample])
        index = pycolmap.VisualIndex.create(128, 64)
        sift = pycolmap.FeatureExtractorType.SIFT
        floats = pycolmap.FeatureDescriptorsFloat(type=sift, data=np.ascontiguousarray(data))
        index.build(build, floats)
        index.write(tree)
        return unordered(pycolmap.VocabTreePairGenerator(options, opened, []).all_pairs())


def log_recipe(
    town: Town, *, rounds: int, max_pairs: int, progress: Progress = no_progress
) -> list[Row]:
    """Match as CityZero's log: spatial, then rounds of expansion without any gate.

    A round proposes every pair of photos that have a common partner with at least 30 inliers. One
    row for each round; it ends before a round that would pass ``max_pairs`` pairs in all.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    pairs = spatial_pairs(town.store.database, max_distance_m=50.0)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    rows = [peer_row(town, "log: spatial 50 m", pairs, cpu, wall, progress=progress)]
    for number in range(1, rounds + 1):
        strong = rows[-1].kept
        strong = strong[strong["n"] >= 30]
        fresh = partners_of_partners(strong, len(town.images)) - pairs
        if not fresh:
            break
        if len(pairs) + len(fresh) > max_pairs:
            note = f"{rows[-1].note} (round {number} would add {len(fresh)} pairs)"
            rows[-1] = Row(**{**vars(rows[-1]), "note": note.strip()})
            break
        pairs = pairs | fresh
        note = f"adds {len(fresh)}"
        name = f"log: + round {number}"
        rows.append(peer_row(town, name, pairs, cpu, wall, note=note, progress=progress))
    return rows


def partners_of_partners(strong: pd.DataFrame, n_images: int) -> Pairs:
    """Give the pairs that are two steps apart in the graph of strong pairs."""
    linked = np.zeros((n_images, n_images), np.float32)
    a, b = strong["a"].to_numpy() - 1, strong["b"].to_numpy() - 1
    linked[a, b] = linked[b, a] = 1
    found = np.argwhere(np.triu(linked @ linked, k=1) > 0) + 1
    return {(int(i), int(j)) for i, j in found}
