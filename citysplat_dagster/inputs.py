"""Versions of the slices that a box or fringe reads of a city-wide table.

A box hangs on its own rows only: news elsewhere in the city leave its recipe as it is.
"""

from pathlib import Path

import pandas as pd

from citysplat_core.storage import digest_of, digest_of_frame, read_json


def box_rows(box: str, plan: Path, catalog: Path) -> str:
    """Digest what plan and catalog say of a box's photos."""
    placed = pd.read_parquet(plan / "images.parquet", filters=[("box", "==", box)])
    ids = placed["image_id"].tolist()
    listed = pd.read_parquet(catalog / "catalog.parquet", filters=[("image_id", "in", ids)])
    plain = listed.drop(columns=["geometry"], errors="ignore")
    return digest_of([digest_of_frame(placed), digest_of_frame(plain)])


def fringe_members(plan: Path, *fringes: str) -> str:
    """Digest which photos belong to some fringes; none belong to none."""
    if not fringes:
        return digest_of([])
    members = pd.read_parquet(
        plan / "fringe_images.parquet", filters=[("fringe", "in", list(fringes))]
    )
    return digest_of_frame(members)


def placement(alignment: Path, box: str) -> str:
    """Digest a box's own transforms, to 0.1 mm and 1e-7: other boxes' moves do not count."""
    transforms = read_json(alignment / "transforms.json")["components"]
    own = [
        [
            t["component"],
            round(t["scale"], 7),
            [round(v, 7) for v in t["rotation_wxyz"]],
            [round(v, 4) for v in t["translation_m"]],
        ]
        for t in transforms
        if t["box"] == box
    ]
    return digest_of(sorted(own))
