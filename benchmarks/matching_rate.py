"""How fast pairs are matched and verified: CitySplat's step beside COLMAP's own, features ready."""

import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pycolmap
from matching_rows import spatial_pairs
from matching_store import colmap_defaults, names_of

from citysplat_core.features import colmap_device, merge_databases, quiet_colmap
from citysplat_core.matching.verify import match_pairs
from citysplat_core.settings import MatchingSettings
from citysplat_core.storage import no_progress

NEIGHBOURS, DISTANCE_M = 20, 40.0


def measure_rate(
    folder: Path,
    features: Path,
    images: pd.DataFrame,
    *,
    n_photos: int,
    n_threads: int,
    repeats: int = 5,
) -> dict[str, float]:
    """Match the same pairs with CitySplat and with ``pycolmap.match_spatial``, in turns.

    Each repetition begins with the one that the repetition before ended with (A B B A A B ...), so
    that a load on the machine that rises or falls weighs on both alike.

    Args:
        folder: For the databases; emptied.
        features: A ``features.db``.
        images: Rows of its ``images.parquet``.
        n_photos: The photos nearest to the middle of the town take part.
        n_threads: Threads of both.
        repeats: Runs of each.

    Returns:
        ``match_rate_ratio``, CitySplat's pairs a second over COLMAP's, by the median of each on the
        clock; ``match_cpu_ratio``, the same by CPU seconds; ``match_rate_pairs``; pairs a second of
        both.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    position = images[["east_m", "north_m"]].to_numpy()
    nearest = np.argsort(np.hypot(*(position - np.median(position, axis=0)).T))[:n_photos]
    chosen = images.iloc[nearest]
    whole = folder / "whole.db"
    ids = set(chosen["colmap_id"].astype(int).tolist())
    merge_databases([features], whole, keep_descriptors=True, image_ids=ids, keep_pairs=False)
    pairs = sorted(spatial_pairs(whole, max_distance_m=DISTANCE_M, neighbours=NEIGHBOURS))
    names = names_of(chosen)
    seconds: dict[str, list[tuple[float, float]]] = {"ours": [], "colmap": []}
    for number in range(repeats):
        for who in ("ours", "colmap") if number % 2 else ("colmap", "ours"):
            database = folder / f"{who}.db"
            shutil.copy(whole, database)
            wall, cpu = time.perf_counter(), time.process_time()
            if who == "ours":
                settings = MatchingSettings()
                match_pairs(
                    database, pairs, names,
                    settings=settings, n_threads=n_threads, progress=no_progress,
                )  # fmt: skip
            else:
                _match_spatial(database, n_threads)
            seconds[who].append((time.perf_counter() - wall, time.process_time() - cpu))
            for file in folder.glob(f"{who}.db*"):
                file.unlink()
    ours, colmap = (np.median(seconds[who], axis=0) for who in ("ours", "colmap"))
    return {
        "match_rate_ratio": round(float(colmap[0] / ours[0]), 3),
        "match_cpu_ratio": round(float(colmap[1] / ours[1]), 3),
        "match_rate_pairs": len(pairs),
        "match_pairs_per_s": round(float(len(pairs) / ours[0]), 2),
        "colmap_pairs_per_s": round(float(len(pairs) / colmap[0]), 2),
    }


def _match_spatial(database: Path, n_threads: int) -> None:
    matching, verification = colmap_defaults(n_threads)
    pairing = pycolmap.SpatialPairingOptions(
        max_distance=DISTANCE_M, max_num_neighbors=NEIGHBOURS, num_threads=n_threads
    )
    with quiet_colmap():
        pycolmap.match_spatial(database, matching, pairing, verification, colmap_device())
