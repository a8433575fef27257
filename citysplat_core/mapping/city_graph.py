"""From the registrations of a city to its pose graph."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation

from citysplat_core.mapping.drives import usual_mounts
from citysplat_core.mapping.graph import (
    Cameras,
    Floats,
    Graph,
    Ints,
    Sigmas,
    Turns,
    gps_weights,
)
from citysplat_core.mapping.nearness import find_nearness
from citysplat_core.mapping.seams import find_seams
from citysplat_core.mapping.sequences import order_sequences
from citysplat_core.mapping.strained_ties import strained_ties
from citysplat_core.mapping.turns import turns_of
from citysplat_core.settings import AlignSettings

_POSITION = ["east_m", "north_m", "up_m"]


@dataclass(frozen=True)
class CityGraph:
    """The pose graph of a city, and what is not in it.

    Attributes:
        graph: With the seams that GPS does not contradict.
        all_seams: All seams, row pairs of its cameras, shape (S, 2).
        strained: The pairs of components whose seams were left out, see ``strained_ties``.
    """

    graph: Graph
    all_seams: Ints
    strained: list[tuple[int, int]]


def build_graph(
    rows: pd.DataFrame,
    n_nodes: int,
    plan: pd.DataFrame,
    settings: AlignSettings,
    *,
    turns: pd.DataFrame | None = None,
) -> CityGraph:
    """Say what ties the components.

    Args:
        rows: One row a registration: colmap_id, node, place and rotation in the city frame.
        n_nodes: Number of components; each has a row.
        plan: One row a photo: colmap_id, positions; sequence_id if it is known.
        settings: Expected errors, and how many positions take part.
        turns: Turns between components, see ``turns_of``; None: none are known.
    """
    node = rows["node"].to_numpy(np.int64)
    center = rows[_POSITION].to_numpy(float)
    pivots = np.array([center[node == k].mean(axis=0) for k in range(n_nodes)])
    quaternions = rows.reindex(columns=["qx", "qy", "qz", "qw"]).to_numpy(float)
    rotation = Rotation.from_quat(quaternions)
    drive = _drives(rows, plan)
    cameras = Cameras(node=node, center=center, rotation=rotation, drive=drive)
    gps = plan.set_index("colmap_id")[_POSITION].reindex(rows["colmap_id"]).to_numpy(float)
    held = _draw_gps_rows(node, gps, settings)
    seams = find_seams(rows["colmap_id"].to_numpy(), node, min_shared=settings.min_shared)
    strained = strained_ties(
        cameras, gps, seams, noise_m=settings.gps_sigma_m, shared_m=settings.gps_shared_m,
        seed=settings.seed,
    )  # fmt: skip
    graph = Graph(
        n_nodes=n_nodes,
        pivots=pivots.reshape(-1, 3),
        cameras=cameras,
        seams=_without(seams, node, strained),
        gps_rows=held,
        gps=gps[held],
        nearness=find_nearness(
            cameras, _order(rows, plan, drive), ground_m=settings.ground_sigma_m
        ),
        turns=Turns.none() if turns is None else turns_of(turns, rows, cameras),
        gps_weight=gps_weights(node[held], np.bincount(node[np.isfinite(gps[:, 0])])),
        mounts=usual_mounts(rotation, drive, cameras.n_drives),
    )
    return CityGraph(graph, seams, strained)


def sigmas_of(settings: AlignSettings) -> Sigmas:
    """Give the expected errors of the settings."""
    return Sigmas(
        seam_m=settings.seam_sigma_m,
        seam_deg=settings.seam_sigma_deg,
        gps_m=settings.gps_sigma_m,
        gps_up_m=settings.gps_sigma_up_m,
        up_deg=settings.up_sigma_deg,
        log_scale=settings.scale_sigma,
        shared_m=settings.gps_shared_m,
        shared_up_m=settings.gps_shared_up_m,
    )


def _without(seams: Ints, node: Ints, strained: list[tuple[int, int]]) -> Ints:
    left_out = set(strained)
    pairs = np.sort(node[seams], axis=1).tolist()
    kept = [(a, b) not in left_out for a, b in pairs]
    return np.asarray(seams[np.array(kept, dtype=bool)])


def _drives(rows: pd.DataFrame, plan: pd.DataFrame) -> Ints:
    """Number the drives of registrations, -1 where the plan knows none."""
    if "sequence_id" not in plan:
        return np.full(len(rows), -1)
    names = plan.set_index("colmap_id")["sequence_id"].reindex(rows["colmap_id"])
    return np.asarray(pd.factorize(names.to_numpy(object), sort=True)[0], dtype=np.int64)


def _order(rows: pd.DataFrame, plan: pd.DataFrame, drive: Ints) -> pd.DataFrame:
    """Say which photo of its drive each registration is; see ``find_nearness``."""
    order = pd.DataFrame({"drive": drive, "place": -1, "time_s": np.nan})
    places = {i: k for ids in order_sequences(plan) for k, i in enumerate(ids)}
    if places:
        at = pd.to_datetime(plan["captured_at"], utc=True).set_axis(plan["colmap_id"])
        since = (at - at.min()).dt.total_seconds()
        order["place"] = rows["colmap_id"].map(places).fillna(-1).to_numpy(np.int64)
        order["time_s"] = since.reindex(rows["colmap_id"]).to_numpy(float)
    return order


def _draw_gps_rows(node: Ints, gps: Floats, settings: AlignSettings) -> Ints:
    rng = np.random.default_rng(settings.seed)
    known = np.isfinite(gps[:, 0])
    drawn = [np.zeros(0, np.int64)]
    for k in range(node.max() + 1 if len(node) else 0):
        mine = np.flatnonzero(known & (node == k))
        n = min(len(mine), settings.max_gps_per_component)
        drawn.append(np.sort(rng.choice(mine, n, replace=False)))
    return np.concatenate(drawn)
