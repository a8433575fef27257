"""The views of panoramas as rows of the catalog."""

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from citysplat_core.imagery.panorama.rig import (
    View,
    is_covered,
    view_from_panorama,
    view_id_of,
    views_of_rig,
)
from citysplat_core.imagery.panorama.telling import SPHERICAL_TYPES, coverage_of, is_panorama
from citysplat_core.settings import PanoramaSettings

EXCLUDED_BY_SETTING: Final = "panorama: left out by panoramas.use"
_NOT_COVERED: Final = "panorama: it shows none of the rig's views whole"
_TOLD_BY: Final = ("camera_type", "is_pano", "source", "make", "model", "width", "height")
_CROP: Final = ("pano_left", "pano_top", "pano_width", "pano_height")
_ROTATION: Final = ("rotation_x", "rotation_y", "rotation_z")
_Floats = NDArray[np.float64]


def add_views(described: pa.Table, settings: PanoramaSettings) -> pa.Table:
    """Replace each listed panorama by its views, and keep it beside them.

    A panorama's own row stays, with ``is_pano`` and status ``cut``, or ``excluded`` with a reason:
    what takes listed photos never sees it. Its views are rows with camera type ``perspective``,
    exact focal ratio, no distortion, heading and rotation of the view, and its own ``panorama_id``.
    Each direction of view is a sequence of its own (``<sequence>~v<k>``), since photos of one
    sequence are thought to follow each other and to look the same way against their motion.

    Args:
        described: ``DESCRIBED_SCHEMA``.
        settings: The rig, or that panoramas are left out.

    Returns:
        The same columns; new rows at the end.
    """
    panoramas = _are_panoramas(described)
    listed = np.asarray(pc.equal(described.column("status"), "listed").to_numpy(), dtype=bool)
    described = _set(described, "is_pano", pa.array(panoramas))
    chosen = np.flatnonzero(panoramas & listed)
    if not len(chosen):
        return described
    rig: list[list[View | None]] = []
    reasons: list[str] = []
    known: dict[tuple[Any, ...], tuple[list[View | None], str]] = {}
    for row in described.select(("width", "height", *_CROP)).take(chosen).to_pylist():
        key = tuple(repr(value) for value in row.values())
        if key not in known:
            known[key] = _views_of(row, settings)
        shown, reason = known[key]
        rig.append(shown)
        reasons.append(reason)
    described = _marked(described, chosen, reasons)
    views = [
        _view_rows(described, chosen, [each[number] for each in rig], number)
        for number in range(len(settings.yaw_deg))
    ]
    return pa.concat_tables([described, *views])


def _are_panoramas(described: pa.Table) -> NDArray[np.bool_]:
    """Apply ``is_panorama`` to every row; a service's rows all at once, for cities are large."""
    kinds = pa.array(sorted(SPHERICAL_TYPES))
    said = pc.or_kleene(
        pc.is_in(described.column("camera_type"), kinds), described.column("is_pano")
    )
    panoramas = np.array(
        pc.equal(said, pa.scalar(value=True)).fill_null(pa.scalar(value=False)), dtype=bool
    )
    of_folder = pc.equal(described.column("source"), "folder").fill_null(pa.scalar(value=False))
    open_rows = np.flatnonzero(~panoramas & np.asarray(of_folder, dtype=bool))
    told = described.select(_TOLD_BY).take(open_rows).to_pylist()
    panoramas[open_rows] = [is_panorama(row) for row in told]
    return panoramas


def _views_of(row: dict[str, Any], settings: PanoramaSettings) -> tuple[list[View | None], str]:
    """Return the views of a panorama (None where it does not show one whole), or why none."""
    nothing: list[View | None] = [None] * len(settings.yaw_deg)
    if settings.use == "exclude":
        return nothing, EXCLUDED_BY_SETTING
    coverage = coverage_of(row)
    if isinstance(coverage, str):
        return nothing, coverage
    width = row["width"]
    if width and settings.download_px:
        width = min(width, settings.download_px)
    views = [
        view if is_covered(view, coverage) else None
        for view in views_of_rig(settings, width / coverage.width if width else None)
    ]
    return views, "" if any(views) else _NOT_COVERED


def _marked(described: pa.Table, chosen: NDArray[np.intp], reasons: list[str]) -> pa.Table:
    """Write status and reason of the panoramas' own rows."""
    own = np.zeros(described.num_rows, dtype=bool)
    own[chosen] = True
    mask = pa.array(own)
    status = pa.array(["excluded" if why else "cut" for why in reasons], pa.string())
    reason = pa.array([why or None for why in reasons], pa.string())
    for name, values in (("status", status), ("reason", reason)):
        column = described.column(name).combine_chunks()
        described = _set(described, name, pc.replace_with_mask(column, mask, values))
    return described


def _view_rows(
    described: pa.Table, chosen: NDArray[np.intp], views: list[View | None], number: int
) -> pa.Table:
    """Return the rows of one direction of view, of all panoramas that show it."""
    shown = np.array([view is not None for view in views], dtype=bool)
    taken = [view for view in views if view is not None]
    table = described.take(chosen[shown])
    own_ids = table.column("image_id").to_pylist()
    sequences = table.column("sequence_id").to_pylist()
    n_rows = table.num_rows
    values: dict[str, Any] = {
        "image_id": [view_id_of(own_id, number) for own_id in own_ids],
        "panorama_id": own_ids,
        "sequence_id": [None if s is None else view_id_of(s, number) for s in sequences],
        "camera_type": ["perspective"] * n_rows,
        "is_pano": [False] * n_rows,
        "status": ["listed"] * n_rows,
        "reason": [None] * n_rows,
        "focal_ratio": [view.focal_ratio for view in taken],
        "k1": np.zeros(n_rows),
        "k2": np.zeros(n_rows),
        "width": [view.width for view in taken],
        "height": [view.height for view in taken],
        "view_yaw_deg": [view.yaw_deg for view in taken],
        "view_pitch_deg": [view.pitch_deg for view in taken],
    }
    values |= _directions(table, taken)
    for name, column in values.items():
        table = _set(table, name, pa.array(column, table.schema.field(name).type))
    return table


def _directions(table: pa.Table, views: list[View]) -> dict[str, _Floats]:
    """Turn headings and rotations from the panoramas' to the views'.

    The rotations are composed exactly: view from local East-North-Up = view from panorama times
    panorama from local East-North-Up. A solved heading is then that of the view's optical axis.
    """
    yaw = np.array([view.yaw_deg for view in views], float)
    solved = np.stack([table.column(name).to_numpy() for name in _ROTATION], axis=1)
    turned = np.full_like(solved, np.nan)
    heading = np.mod(table.column("heading_deg").to_numpy() + yaw, 360.0)
    computed = np.mod(table.column("computed_heading_deg").to_numpy() + yaw, 360.0)
    known = np.isfinite(solved).all(axis=1)
    if known.any():
        panorama_from_enu = Rotation.from_rotvec(solved[known]).as_matrix()
        turns = np.stack([view_from_panorama(v.yaw_deg, v.pitch_deg) for v in views])[known]
        view_from_enu = turns @ panorama_from_enu
        turned[known] = Rotation.from_matrix(view_from_enu).as_rotvec()
        ahead = view_from_enu[:, 2, :]
        computed[known] = np.degrees(np.arctan2(ahead[:, 0], ahead[:, 1])) % 360.0
    named = dict(zip(_ROTATION, turned.T, strict=True))
    return {"heading_deg": heading, "computed_heading_deg": computed, **named}


def _set(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), table.schema.field(name), column)


def count_panoramas(catalog: pa.Table) -> dict[str, int]:
    """Count panoramas, those of them that are cut and excluded, and the views.

    Args:
        catalog: With ``is_pano``, ``status`` and ``panorama_id``.
    """
    of_panoramas = catalog.filter(pc.equal(catalog.column("is_pano"), pa.scalar(value=True)))
    status = of_panoramas.column("status").to_pylist()
    return {
        "panoramas": len(status),
        "panoramas_cut": status.count("cut"),
        "panoramas_excluded": status.count("excluded"),
        "views": catalog.num_rows - catalog.column("panorama_id").null_count,
    }
