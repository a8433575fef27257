"""What ties components that share no photo: cameras beside each other, and drives that go on.

Heights of GPS are off by many metres, but cameras on one street stand at about one height. And a
drive that leaves one component and enters another goes on as it went: the next photo stands about
where the last two point to. Both are weak, and many are wrong (bridges, turns); the solver takes
them so.
"""

from typing import Final

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from citysplat_core.mapping.graph import Cameras, Ints, Nearness

_CELL_M: Final = 8.0
_BESIDE_M: Final = 12.0
_MOST: Final = 24
"""More ties between two components say nothing new."""
_GAP: Final = 2
"""Places in a sequence that a step may skip."""
_LONGEST: Final = 3.0
"""A step is told from the one before it if it took at most so many times as long."""
_LEAST_M: Final = 0.5
_LONGEST_M: Final = 20.0
_TURNS: Final = 0.35
"""Error of a told step, as a share of its length: drives slow down and turn."""
_SLOPE: Final = 0.1


def find_nearness(cameras: Cameras, order: pd.DataFrame, *, ground_m: float) -> Nearness:
    """Find the cameras of different components that stand beside or behind each other.

    Args:
        cameras: All registrations.
        order: One row a registration, in their order: drive, place (rank in its sequence, counted
            over all planned photos; -1 where unknown) and time_s.
        ground_m: Expected difference in height of two cameras at most 12 m apart, metres.
    """
    return Nearness.join([_beside(cameras, ground_m), *_following(cameras, order)])


def _beside(cameras: Cameras, ground_m: float) -> Nearness:
    """Tie the heights of cameras at most 12 m apart, spread over all places where they meet."""
    cells = np.floor(cameras.center[:, :2] / _CELL_M)
    _, rows = np.unique(np.column_stack([cameras.node, cells]), axis=0, return_index=True)
    near = cKDTree(cameras.center[rows, :2]).query_pairs(_BESIDE_M, output_type="ndarray")
    pairs = rows[near]
    pairs = pairs[cameras.node[pairs[:, 0]] != cameras.node[pairs[:, 1]]]
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    pairs = _thin(pairs, np.sort(cameras.node[pairs], axis=1))
    sigma_m = np.tile([np.inf, np.inf, ground_m], (len(pairs), 1))
    return Nearness(cameras.node[pairs], cameras.center[pairs], sigma_m)


def _thin(pairs: Ints, nodes: Ints) -> Ints:
    """Keep about 24 pairs of every two components, evenly from their list."""
    _, of, counts = np.unique(nodes, axis=0, return_inverse=True, return_counts=True)
    of = of.ravel()
    order = np.argsort(of, kind="stable")
    place = np.empty(len(pairs), np.int64)
    place[order] = np.arange(len(pairs)) - np.repeat(np.cumsum(counts) - counts, counts)
    every = np.ceil(counts / _MOST).astype(np.int64)
    return np.asarray(pairs[place % every[of] == 0], dtype=np.int64)


def _following(cameras: Cameras, order: pd.DataFrame) -> list[Nearness]:
    """Tie the first photo of a drive in one component to where another one says it comes next."""
    table = order.assign(row=np.arange(len(order)), node=cameras.node)
    table = table[(table["place"] >= 0) & table["time_s"].notna()]
    backwards = table.assign(place=-table["place"], time_s=-table["time_s"])
    return [_told(cameras, _steps(table)), _told(cameras, _steps(backwards))]


def _steps(table: pd.DataFrame) -> pd.DataFrame:
    """List the steps between components, each with the step before it inside the first one.

    Returns:
        Columns before, row and after (rows of cameras), and ratio of the times that both took.
    """
    gaps = [
        table.merge(
            table.assign(place_next=table["place"], place=table["place"] - gap),
            on=["drive", "place"],
            suffixes=("", "_next"),
        )
        for gap in range(1, _GAP + 1)
    ]
    steps = pd.concat(gaps, ignore_index=True)  # the shorter ones first
    steps["took_s"] = steps["time_s_next"] - steps["time_s"]
    steps = steps[steps["took_s"] > 0]
    inside = steps[steps["node"] == steps["node_next"]].drop_duplicates("row_next")
    across = steps[(steps["node"] != steps["node_next"]) & ~_is_seam(steps, table)]
    across = across.drop_duplicates(["row", "node_next"])
    names = {"row": "before", "row_next": "row", "took_s": "took_before_s"}
    both = across[["row", "row_next", "took_s"]].merge(
        inside[list(names)].rename(columns=names), on="row"
    )
    both["ratio"] = both["took_s"] / both["took_before_s"]
    both = both[both["ratio"] <= _LONGEST]
    return both.rename(columns={"row_next": "after"})[["before", "row", "after", "ratio"]]


def _is_seam(steps: pd.DataFrame, table: pd.DataFrame) -> pd.Series:
    """Say which steps have an end that both components hold: that photo ties them better."""
    held = pd.MultiIndex.from_frame(table[["drive", "place", "node"]])
    ends = (("place", "node_next"), ("place_next", "node"))
    found = [
        pd.MultiIndex.from_arrays([steps["drive"], steps[place], steps[node]]).isin(held)
        for place, node in ends
    ]
    return pd.Series(found[0] | found[1], index=steps.index)


def _told(cameras: Cameras, steps: pd.DataFrame) -> Nearness:
    """Say where each step should lead: on from the step before it, as far as its time allows."""
    before, row, after = (steps[name].to_numpy(np.int64) for name in ("before", "row", "after"))
    ratio = steps["ratio"].to_numpy(float)
    step = (cameras.center[row] - cameras.center[before]) * ratio[:, None]
    length = np.linalg.norm(step, axis=1)
    use = length <= _LONGEST_M
    nodes = np.stack([cameras.node[row], cameras.node[after]], axis=1)
    places = np.stack([cameras.center[row] + step, cameras.center[after]], axis=1)
    flat, up = _LEAST_M + _TURNS * length, _LEAST_M + _SLOPE * length
    return Nearness(nodes[use], places[use], np.stack([flat, flat, up], axis=1)[use])
