"""How cameras of one drive turn from one component of a box to another one.

Where a camera turns on the spot, or looks along the street, two photos see too little depth in
common to be in one model, or look-alikes have put one of them a house off: the models part. But
their matches still say by how much the camera has turned, which GPS tells a short model by ten
degrees only.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pycolmap
from scipy.spatial.transform import Rotation

from citysplat_core.mapping.components import Component
from citysplat_core.mapping.graph import Cameras, Turns
from citysplat_core.mapping.sequences import Sequences, find_beside

_STEPS: Final = 8
"""Photos of a drive this near each other show one place: their look-alikes turn alike."""
_LEAST_MATCHES: Final = 30
_SURE: Final = (
    int(pycolmap.TwoViewGeometryConfiguration.CALIBRATED),
    int(pycolmap.TwoViewGeometryConfiguration.UNCALIBRATED),
)
"""A plane, the third kind, has two poses: in a simulated town they are six times less exact."""
_TURN: Final = ["qw", "qx", "qy", "qz"]


def find_turns(
    database: Path, components: Sequence[Component], sequences: Sequences
) -> list[dict[str, float]]:
    """List how cameras turn between components, by the verified pairs of one drive.

    Args:
        database: The workspace: verified pairs with their relative poses.
        components: As the artifact has them; only accepted ones count.
        sequences: Photos of every sequence in their order.

    Returns:
        Rows of ``turns.parquet``: pairs of photos at most eight places apart that no component
        holds both, once for any two components that hold one of them each.
    """
    held: dict[int, list[int]] = {}
    for number, component in enumerate(components):
        for image_id in component.image_ids if component.accepted else ():
            held.setdefault(image_id, []).append(number)
    beside = find_beside(sequences, _STEPS)
    wanted = [
        (i, j)
        for i in sorted(held)
        for j in beside.get(i, ())
        if i < j and j in held and not set(held[i]) & set(held[j])
    ]
    rows: list[dict[str, float]] = []
    if not wanted:
        return rows
    with pycolmap.Database.open(database) as opened:
        for i, j in sorted(wanted):
            if not opened.exists_two_view_geometry(i, j):
                continue
            geometry = opened.read_two_view_geometry(i, j)
            pose, n_matches = geometry.cam2_from_cam1, len(geometry.inlier_matches)
            if pose is None or int(geometry.config) not in _SURE or n_matches < _LEAST_MATCHES:
                continue
            x, y, z, w = np.asarray(pose.rotation.quat).tolist()
            told = {"colmap_id_a": i, "colmap_id_b": j, "qw": w, "qx": x, "qy": y, "qz": z}
            rows += [
                {**told, "component_a": a, "component_b": b, "n_matches": n_matches}
                for a in held[i]
                for b in held[j]
            ]
    return rows


def turns_of(table: pd.DataFrame, rows: pd.DataFrame, cameras: Cameras) -> Turns:
    """Give the turns of a city as its pose graph wants them.

    Args:
        table: Turns of all boxes: colmap_id_a, colmap_id_b, the nodes ``node_a`` and ``node_b``,
            and the rotation of camera b from camera a.
        rows: One row a registration: colmap_id and node.
        cameras: The registrations, in that order.
    """
    if not len(table):
        return Turns.none()
    held = rows[["colmap_id", "node"]].assign(row=np.arange(len(rows)))
    for side in "ab":
        names = {name: f"{name}_{side}" for name in held}
        table = table.merge(held.rename(columns=names), on=[f"colmap_id_{side}", f"node_{side}"])
    a, b = (table[f"row_{side}"].to_numpy(np.int64) for side in "ab")
    b_from_a = Rotation.from_quat(table[_TURN].to_numpy(float), scalar_first=True)
    nodes = np.stack([cameras.node[a], cameras.node[b]], axis=1)
    return Turns(nodes, cameras.rotation[a], b_from_a.inv() * cameras.rotation[b])
