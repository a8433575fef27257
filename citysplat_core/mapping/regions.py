"""Which photos are adjusted together with a box: its own, and its neighbours' around them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from citysplat_core.mapping.graph import Ints

_PLACE: Final = ["east_m", "north_m", "up_m"]
_MOST_GAP_M: Final = 3.0
"""A photo that two components put further apart is wrong in one of them: it ties nothing."""


@dataclass(frozen=True, kw_only=True)
class Region:
    """A box with what is around it.

    Attributes:
        box: Key of the box.
        nodes: Components that take part, the box's own first, shape (N,).
        n_own: So many of them are the box's own.
        rows: Registrations that take part, of all these components, shape (R,).
        starts: The registration that each photo starts from, by colmap id.
        own: Colmap ids of the photos of the box's own components; only their poses are kept.
    """

    box: str
    nodes: Ints
    n_own: int
    rows: Ints
    starts: dict[int, int]
    own: frozenset[int]


class Neighbourhoods:
    """Which rows belong to each component, and which components are tied: asked for each box."""

    def __init__(self, rows: pd.DataFrame, seams: Ints) -> None:
        """Index a city.

        Args:
            rows: All registrations of the city after alignment: colmap_id, node, solved_in, east_m,
                north_m, up_m, and rank (the lowest of a photo is the one that the city shows).
            seams: Row pairs that are one photo in two components and tie them, shape (S, 2).
        """
        self._rows = rows
        node = rows["node"].to_numpy(np.int64)
        self._order = np.argsort(node, kind="stable")
        self._ends = np.searchsorted(node[self._order], np.arange(node.max(initial=-1) + 2))
        first = rows.drop_duplicates("node")
        self._nodes_of = first.groupby("solved_in")["node"].apply(sorted).to_dict()
        self._tied: dict[int, set[int]] = {}
        for a, b in np.unique(node[seams], axis=0).tolist():
            self._tied.setdefault(a, set()).add(b)
            self._tied.setdefault(b, set()).add(a)

    def rows_of(self, nodes: Iterable[int]) -> Ints:
        """Give the rows of components, sorted."""
        parts = [self._order[self._ends[k] : self._ends[k + 1]] for k in nodes]
        return np.sort(np.concatenate([np.zeros(0, np.int64), *parts]))

    def rows_of_box(self, box: str) -> Ints:
        """Give the rows of a box's components, sorted."""
        return self.rows_of(self._nodes_of.get(box, []))

    def region(self, box: str, *, reach_m: float) -> Region | None:
        """Find what is adjusted together with a box.

        Args:
            box: Key of the box.
            reach_m: Photos of tied components at most so far from the box's own take part.

        Returns:
            The region; None if no component of the box is tied to another one.
        """
        mine = self._nodes_of.get(box, [])
        own = [k for k in mine if k in self._tied]
        around = sorted({other for k in own for other in self._tied[k]} - set(mine))
        if not own:
            return None
        at = self.rows_of([*own, *around])
        table = self._rows.iloc[at].assign(row=at)
        table = _agreeing(table.sort_values(["colmap_id", "rank"], kind="stable"))
        ids = set(table.loc[table["node"].isin(own), "colmap_id"].tolist())
        first = table.drop_duplicates("colmap_id")
        here = first["colmap_id"].isin(ids)
        tree = cKDTree(first.loc[here, _PLACE[:2]].to_numpy(float))
        away, _ = tree.query(first[_PLACE[:2]].to_numpy(float))
        taken = first[here | (away <= reach_m)]
        kept = table[table["colmap_id"].isin(taken["colmap_id"])]
        return Region(
            box=box,
            nodes=np.array([*own, *around], np.int64),
            n_own=len(own),
            rows=np.sort(kept["row"].to_numpy(np.int64)),
            starts=dict(zip(taken["colmap_id"].tolist(), taken["row"].tolist(), strict=True)),
            own=frozenset(ids),
        )


def _agreeing(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out registrations that stand elsewhere than the first one of their photo."""
    first = table.groupby("colmap_id", sort=False)[_PLACE].transform("first")
    off = table[_PLACE].to_numpy(float) - first.to_numpy(float)
    agreeing: pd.DataFrame = table[np.linalg.norm(off, axis=1) <= _MOST_GAP_M]
    return agreeing
