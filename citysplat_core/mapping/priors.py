"""Where each photo should stand, and how sure that is, before anything is solved.

A prior is east, north and up in the city frame with a covariance of its own. What a position is
worth depends on who gave it (the photo's GPS, or the source's own solution) and on its sequence:
one that zigzags is noisy. An altitude that is missing is never 0 by silence: it is the median of
its sequence, else of the box, with a wide deviation, and the table says which.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pycolmap
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from citysplat_core.settings import PriorSettings

Floats = NDArray[np.float64]

PRIOR_SCHEMA: Final = pa.schema(
    [
        *[("image_id", pa.string()), ("colmap_id", pa.int32()), ("position_source", pa.string())],
        *[(name, pa.float64()) for name in ("east_m", "north_m", "up_m", "sigma_m", "sigma_up_m")],
        ("up_source", pa.string()),
        *[(name, pa.float64()) for name in ("gravity_x", "gravity_y", "gravity_z", "heading_deg")],
    ]
)
"""``priors.parquet``: one row a photo, sorted by colmap_id. Positions are in the city frame, sigmas
along each axis. ``up_source``: ``measured``, ``sequence`` or ``box`` (whose median it is), or
``none`` (no photo has an altitude: 0). ``gravity``: the direction down in the camera's axes (x
right, y down, z forward), NaN where no rotation is known. A photo without a position has NaN and no
prior."""

_MIN_RUN: Final = 5
_MAD: Final = 1.4826
_JUMP_SIGMAS: Final = 4.0


@dataclass(frozen=True, slots=True)
class PriorCounts:
    """What the priors of a database are, read back from it.

    Attributes:
        n_priors: Photos with a prior.
        n_without_position: Photos that have none because no finite position is known.
        n_undefined: Priors with a position or covariance that is not finite, a covariance that is
            not positive, or a coordinate system other than the city frame's (CARTESIAN).
        n_heights_missing: Priors whose altitude is taken over from other photos.
        n_gravity: Priors with a known direction of gravity.
    """

    n_priors: int
    n_without_position: int
    n_undefined: int
    n_heights_missing: int
    n_gravity: int


def choose_priors(images: pd.DataFrame, settings: PriorSettings) -> pd.DataFrame:
    """Give every photo its prior.

    Args:
        images: One row a photo: image_id, colmap_id, east_m, north_m, up_m (NaN where unknown),
            sequence_id, captured_at, heading_deg, rotation_x, rotation_y, rotation_z (axis-angle,
            camera from city frame) and position_source; columns that are absent are unknown.
        settings: What a position is worth.

    Returns:
        The columns of ``PRIOR_SCHEMA``, in the order of ``images``.
    """
    table = images.reindex(columns=sorted({*images.columns, *_OPTIONAL}))
    place = table[["east_m", "north_m"]].to_numpy(float)
    known = np.isfinite(place).all(axis=1)
    computed = (table["position_source"] == "computed").to_numpy(bool)
    sigma = np.where(computed, settings.sigma_computed_m, settings.sigma_gps_m)
    noise, jump = np.zeros(len(table)), np.zeros(len(table))
    for rows in _runs(table, known):
        noise[rows], jump[rows] = _zigzag(place[rows])
    sigma = np.hypot(sigma, noise)
    leaps = (jump > settings.jump_m) & (jump > _JUMP_SIGMAS * sigma)
    up, up_source = _heights(table, known)
    gravity = _gravity(table[["rotation_x", "rotation_y", "rotation_z"]].to_numpy(float))
    is_measured = up_source == "measured"
    return pd.DataFrame(
        {
            "image_id": table["image_id"].astype(str),
            "colmap_id": table["colmap_id"].astype("int32"),
            "position_source": table["position_source"].astype(object).fillna("gps").astype(str),
            "east_m": np.where(known, place[:, 0], np.nan),
            "north_m": np.where(known, place[:, 1], np.nan),
            "up_m": np.where(known, up, np.nan),
            "sigma_m": np.where(known, np.where(leaps, jump, sigma), np.nan),
            "sigma_up_m": np.where(
                known,
                np.where(is_measured, settings.sigma_up_m, settings.missing_up_sigma_m),
                np.nan,
            ),
            "up_source": np.where(known, up_source, ""),
            **{f"gravity_{axis}": gravity[:, k] for k, axis in enumerate("xyz")},
            "heading_deg": table["heading_deg"].to_numpy(float),
        }
    )


_OPTIONAL: Final = (
    *("position_source", "sequence_id", "captured_at", "heading_deg"),
    *("rotation_x", "rotation_y", "rotation_z"),
)


def _runs(table: pd.DataFrame, known: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
    """Give the rows of each sequence in the order of capture, placed photos only."""
    placed = table.assign(row=np.arange(len(table)))[
        known & table["sequence_id"].notna().to_numpy()
    ]
    ordered = placed.sort_values(["captured_at", "colmap_id"])
    return [g.to_numpy() for _, g in ordered.groupby("sequence_id", sort=True)["row"]]


def _zigzag(place: Floats) -> tuple[float, Floats]:
    """Estimate a drive's noise across its way, and how far each position leaps from its neighbours.

    Across the way of three successive photos the middle one leaves the line between the others by
    the square root of 1.5 of one position's noise, whatever the speed was. Noise that neighbours
    share does not show: what the settings expect stays beneath.
    """
    if len(place) < _MIN_RUN:
        return 0.0, np.zeros(len(place))
    way = place[2:] - place[:-2]
    length = np.hypot(way[:, 0], way[:, 1])
    moving = length > 1e-6
    off = place[1:-1] - (place[2:] + place[:-2]) / 2
    across = np.abs(off[:, 0] * way[:, 1] - off[:, 1] * way[:, 0])[moving] / length[moving]
    noise = _MAD * float(np.median(across)) / np.sqrt(1.5) if len(across) else 0.0
    padded = np.pad(place, ((2, 2), (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 5, axis=0)
    leap: Floats = np.linalg.norm(place - np.median(windows, axis=2), axis=1)
    steps = np.linalg.norm(np.diff(place, axis=0), axis=1)
    return noise, np.maximum(leap - 2 * float(np.median(steps)), 0.0)


def _heights(table: pd.DataFrame, known: NDArray[np.bool_]) -> tuple[Any, NDArray[np.str_]]:
    """Fill missing altitudes: the median of the sequence, else of the box, else 0."""
    up = table["up_m"].astype(float).where(np.isfinite(table["up_m"].astype(float)) & known)
    of_sequence = up.groupby(table["sequence_id"]).transform("median").reindex(up.index)
    of_box = float(up.median()) if up.notna().any() else float("nan")
    source: NDArray[np.str_] = np.select(
        [up.notna(), of_sequence.notna(), np.full(len(up), np.isfinite(of_box))],
        ["measured", "sequence", "box"],
        "none",
    ).astype(str)
    filled = up.fillna(of_sequence).fillna(of_box if np.isfinite(of_box) else 0.0)
    return filled.to_numpy(np.float64), source


def _gravity(rotvec: Floats) -> Floats:
    """Turn "down" into the camera's axes."""
    down = np.full((len(rotvec), 3), np.nan)
    known = np.isfinite(rotvec).all(axis=1)
    if known.any():
        down[known] = Rotation.from_rotvec(rotvec[known]).apply([0.0, 0.0, -1.0])
    return down


def write_priors(database: Path, priors: pd.DataFrame) -> None:
    """Replace the priors of a COLMAP database: CARTESIAN, city frame, each with its covariance.

    Args:
        database: Its images have the ids of ``priors``; ids that it does not hold are passed over.
        priors: The columns of ``PRIOR_SCHEMA``.
    """
    with pycolmap.Database.open(database) as opened, pycolmap.DatabaseTransaction(opened):
        opened.clear_pose_priors()
        held = {image.image_id: image for image in opened.read_all_images()}
        rows: Any = priors.dropna(subset=["east_m", "north_m"]).itertuples(index=False)
        for row in rows:
            image = held.get(int(row.colmap_id))
            if image is None:
                continue
            prior = pycolmap.PosePrior(
                corr_data_id=image.data_id,
                position=np.array([row.east_m, row.north_m, row.up_m]),
                position_covariance=np.diag(np.square([row.sigma_m, row.sigma_m, row.sigma_up_m])),
                coordinate_system=pycolmap.PosePriorCoordinateSystem.CARTESIAN,
                gravity=np.array([row.gravity_x, row.gravity_y, row.gravity_z]),
            )
            prior.pose_prior_id = image.image_id
            opened.write_pose_prior(prior, use_pose_prior_id=True)


def count_priors(database: Path, priors: pd.DataFrame) -> PriorCounts:
    """Read the priors of a database back and say what they are.

    Args:
        database: The workspace database.
        priors: What was chosen; says which heights are taken over and which photos have no place.
    """
    with pycolmap.Database.open(database) as opened:
        found = opened.read_all_pose_priors()
    ids = {int(prior.corr_data_id.id) for prior in found}
    filled = priors["up_source"].isin(["sequence", "box", "none"])
    return PriorCounts(
        n_priors=len(found),
        n_without_position=int(priors["east_m"].isna().sum()),
        n_undefined=sum(not _is_defined(prior) for prior in found),
        n_heights_missing=int((filled & priors["colmap_id"].isin(ids)).sum()),
        n_gravity=sum(bool(np.isfinite(prior.gravity).all()) for prior in found),
    )


def _is_defined(prior: pycolmap.PosePrior) -> bool:
    covariance = np.asarray(prior.position_covariance)
    return bool(
        prior.coordinate_system == pycolmap.PosePriorCoordinateSystem.CARTESIAN
        and np.isfinite(prior.position).all()
        and np.isfinite(covariance).all()
        and (np.linalg.eigvalsh((covariance + covariance.T) / 2) > 0).all()
    )
