"""What came of joining the boxes: transforms, moves and seams."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pycolmap

from citysplat_core.mapping.city_graph import CityGraph
from citysplat_core.mapping.graph import Alignment, Floats
from citysplat_core.mapping.seams import count_groups

_POSITION = ["east_m", "north_m", "up_m"]


@dataclass(frozen=True, kw_only=True)
class Joined:
    """The joined city.

    Attributes:
        nodes: (box, component) of each component.
        before: All registrations as georegistered, one row each.
        aligned: The same after one similarity a component.
        rows: The same in the end: adjusted where that was done.
        ties: What tied the components.
        alignment: Their similarities.
        adjusted: What is told of each box's adjustment; empty if none was asked for.
    """

    nodes: list[tuple[str, int]]
    before: pd.DataFrame
    aligned: pd.DataFrame
    rows: pd.DataFrame
    ties: CityGraph
    alignment: Alignment
    adjusted: list[dict[str, Any]]


def similarities_of(alignment: Alignment) -> list[pycolmap.Sim3d]:
    """Give the similarity of each component."""
    quaternions = alignment.rotation.as_quat().reshape(-1, 4)
    return [
        pycolmap.Sim3d(float(scale), pycolmap.Rotation3d(quaternion), translation)
        for scale, quaternion, translation in zip(
            alignment.scale, quaternions, alignment.translation(), strict=True
        )
    ]


def transforms_of(joined: Joined) -> list[dict[str, Any]]:
    """Give the rows of ``transforms.json``."""
    alignment = joined.alignment
    translation = alignment.translation()
    quaternions = alignment.rotation.as_quat(canonical=True).reshape(-1, 4)
    return [
        {
            "box": box,
            "component": component,
            "scale": float(alignment.scale[k]),
            "rotation_wxyz": [float(quaternions[k][i]) for i in (3, 0, 1, 2)],
            "translation_m": [float(v) for v in translation[k]],
        }
        for k, (box, component) in enumerate(joined.nodes)
    ]


def describe_joined(joined: Joined) -> dict[str, Any]:
    """Name the ties that were left out, and tell of each component and each adjusted box."""
    strained = [[list(joined.nodes[k]) for k in pair] for pair in joined.ties.strained]
    moves = _moves(joined)
    return {"components": moves, "strained_ties": strained, "adjusted": joined.adjusted}


def _moves(joined: Joined) -> list[dict[str, Any]]:
    """Say how far each component was moved: a large move is a warning."""
    graph, alignment = joined.ties.graph, joined.alignment
    groups = count_groups(graph.n_nodes, graph.cameras.node[graph.seams])
    turned_deg = np.degrees(alignment.rotation.magnitude()).reshape(-1)
    sizes = np.bincount(graph.cameras.node, minlength=graph.n_nodes)
    return [
        {
            "box": box,
            "component": component,
            "n_images": int(sizes[k]),
            "group": int(groups[k]),
            "is_tied": bool((groups == groups[k]).sum() > 1),
            "moved_m": round(float(np.linalg.norm(alignment.shift[k])), 3),
            "turned_deg": round(float(turned_deg[k]), 3),
            "scale": round(float(alignment.scale[k]), 5),
        }
        for k, (box, component) in enumerate(joined.nodes)
    ]


def count_joined(
    joined: Joined, cameras: pd.DataFrame, fringes: pd.DataFrame
) -> dict[str, int | float | str]:
    """Give the flat numbers of joining.

    Args:
        joined: The joined city.
        cameras: The rows of ``cameras.parquet``.
        fringes: The rows of ``fringes.parquet``.
    """
    graph = joined.ties.graph
    groups = count_groups(graph.n_nodes, graph.cameras.node[graph.seams])
    scale = joined.alignment.scale
    return {
        "n_boxes": len({box for box, _ in joined.nodes}),
        "n_components": len(joined.nodes),
        "n_groups": len(set(groups.tolist())),
        "n_images": len(cameras),
        "n_seams": len(joined.ties.all_seams),
        "n_strained_ties": len(joined.ties.strained),
        "n_fringes": len(fringes),
        "n_tied_fringes": int(fringes["state"].isin(["tied", "apart"]).sum()),
        "n_apart_fringes": int((fringes["state"] == "apart").sum()),
        "n_adjusted_boxes": sum(not told["refused"] for told in joined.adjusted),
        **_seam_gaps(joined),
        "gps_residual_median_m": round(float(cameras["gps_residual_m"].median()), 3),
        "gps_residual_p90_m": round(float(cameras["gps_residual_m"].quantile(0.9)), 3),
        "largest_scale_change": round(float(np.expm1(np.abs(np.log(scale)).max())), 5),
    }


def _seam_gaps(joined: Joined) -> dict[str, float]:
    """Measure the seams as georegistered, after alignment, and in the end."""
    seams = joined.ties.all_seams
    if not len(seams):
        return {}
    found = {}
    states = {"before": joined.before, "aligned": joined.aligned, "after": joined.rows}
    for name, rows in states.items():
        center: Floats = rows[_POSITION].to_numpy(float)
        gap = np.linalg.norm(center[seams[:, 0]] - center[seams[:, 1]], axis=1)
        found[f"seam_{name}_median_m"] = round(float(np.median(gap)), 4)
        found[f"seam_{name}_p90_m"] = round(float(np.percentile(gap, 90)), 4)
    return found
