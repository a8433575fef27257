"""Scores of every image that need no photo: light, motion, trust in positions, crossings."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from citysplat_core.geography.sun import sun_elevation_deg
from citysplat_core.imagery.crossings import at_crossing, courses_deg
from citysplat_core.imagery.motion import jump_m, still_runs
from citysplat_core.imagery.tracks import Bools, Floats, Ints, Tracks, medians_by_sequence

SCORES_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("sun_elevation_deg", pa.float64()),
        ("is_night", pa.bool_()),
        ("sequence_index", pa.int32()),
        ("sequence_length", pa.int32()),
        ("step_m", pa.float64()),
        ("speed_m_s", pa.float64()),
        ("gps_jump_m", pa.float64()),
        ("computed_jump_m", pa.float64()),
        ("bias_east_m", pa.float64()),
        ("bias_north_m", pa.float64()),
        ("still_run", pa.int32()),
        ("still_rank", pa.int32()),
        ("still_length", pa.int32()),
        ("course_deg", pa.float64()),
        ("turn_deg", pa.float64()),
        ("is_crossing", pa.bool_()),
    ]
)
"""One row a row of the catalog, in its order; missing floats are NaN."""

NIGHT_DEG = -6.0
"""Sun below which it is night: the end of civil twilight, degrees."""

_NEEDED = ["sequence_id", "captured_at", "lon", "lat", "computed_lon", "computed_lat"]
_EARTH_M_PER_DEG = 111_194.93
_DECIMALS = {
    "sun_elevation_deg": 2,
    "step_m": 2,
    "speed_m_s": 2,
    "gps_jump_m": 1,
    "computed_jump_m": 1,
    "bias_east_m": 1,
    "bias_north_m": 1,
    "course_deg": 1,
    "turn_deg": 1,
}
"""More digits mean nothing, and would differ with every further photo of a sequence."""
_MIN_BIAS_PHOTOS = 3
_SPEED_STEPS = 2


def metadata_scores(catalog: pa.Table) -> pa.Table:
    """Score every image of a catalog by its metadata alone.

    Views cut from one panorama count once and share its scores. Positions are the computed ones
    where there are any, else GPS shifted by the sequence's bias. Images without a position get NaN.
    1.2 million rows take some seconds.

    Args:
        catalog: ``CATALOG_SCHEMA``, any order; ``panorama_id`` may be missing.

    Returns:
        ``SCORES_SCHEMA`` in the catalog's order. Biases are medians of GPS minus computed position
        over a sequence, metres; jumps see ``motion.jump_m``, runs ``motion.still_runs``: a run is
        named by its sequence and the place of its first photo in it, ``still_run``, -1 for none.
    """
    ids = catalog.column("image_id")
    owner = _owners(catalog)
    needed = catalog.select(_NEEDED)
    own = np.unique(owner)
    if len(own) == catalog.num_rows:
        return _scored(needed, ids)
    scored = _scored(needed.take(pa.array(own)), ids.take(pa.array(own)))
    table = scored.take(pa.array(np.searchsorted(own, owner)))
    return table.set_column(0, "image_id", ids).cast(SCORES_SCHEMA)


def _owners(catalog: pa.Table) -> Ints:
    """Return for each row the row that it shares scores with: its panorama's, else itself."""
    rows = np.arange(catalog.num_rows)
    if "panorama_id" not in catalog.column_names:
        return rows
    found = pc.index_in(catalog.column("panorama_id"), catalog.column("image_id"))
    owner = found.to_numpy().astype(np.float64)
    return np.where(np.isfinite(owner), owner, rows).astype(np.int64)


def _scored(catalog: pa.Table, ids: pa.ChunkedArray) -> pa.Table:
    lon, lat = _floats(catalog, "lon"), _floats(catalog, "lat")
    times_ms = _times_ms(catalog)
    gps, computed = _metres(catalog)
    sequence = _sequence_numbers(catalog)
    bias = _bias(sequence, gps - computed)
    best = np.where(np.isfinite(computed), computed, gps - np.nan_to_num(bias))
    scores: dict[str, object] = {
        "image_id": ids,
        "sun_elevation_deg": (sun := sun_elevation_deg(times_ms, lon, lat)),
        "is_night": sun < NIGHT_DEG,
        "bias_east_m": bias[:, 0],
        "bias_north_m": bias[:, 1],
    }
    order = np.lexsort((np.arange(len(lon)), np.nan_to_num(times_ms), sequence))
    seconds = times_ms / 1000.0
    for name, positions in (("gps_jump_m", gps), ("computed_jump_m", computed)):
        scores[name] = _jumps(order, sequence, positions, seconds)
    scores |= _motion(order, sequence, best, seconds)
    for name, decimals in _DECIMALS.items():
        scores[name] = np.round(np.asarray(scores[name], np.float64), decimals)
    return pa.table({name: scores[name] for name in SCORES_SCHEMA.names}).cast(SCORES_SCHEMA)


def _jumps(order: Ints, sequence: Ints, positions: Floats, seconds: Floats) -> Floats:
    rows = order[np.isfinite(positions[order]).all(axis=1)]
    jumps = np.full(len(sequence), np.nan)
    jumps[rows] = jump_m(Tracks(sequence[rows], positions[rows], seconds[rows]))
    return jumps


def _motion(order: Ints, sequence: Ints, best: Floats, seconds: Floats) -> dict[str, object]:
    """Score what needs whole tracks of the best positions."""
    rows = order[np.isfinite(best[order]).all(axis=1)]
    tracks = Tracks(sequence[rows], best[rows], seconds[rows])
    number = np.arange(len(rows))
    before, _ = tracks.around(1)
    course, turn = courses_deg(tracks)
    run, rank, length = still_runs(tracks)
    step = np.where(before < number, tracks.distance_m(before, number), np.nan)
    values: dict[str, tuple[Any, float]] = {
        "sequence_index": (number - tracks.first, -1),
        "sequence_length": (tracks.last - tracks.first + 1, 0),
        "step_m": (step, np.nan),
        "speed_m_s": (tracks.speed_m_s(_SPEED_STEPS), np.nan),
        "still_run": (run, -1),
        "still_rank": (rank, 0),
        "still_length": (length, 0),
        "course_deg": (course, np.nan),
        "turn_deg": (turn, np.nan),
        "is_crossing": (at_crossing(tracks.east_north_m, course, turn), False),
    }
    spread: dict[str, object] = {}
    for name, (known, missing) in values.items():
        column = np.full(len(sequence), missing, known.dtype)
        column[rows] = known
        spread[name] = column
    return spread


def _bias(sequence: Ints, offset: Floats) -> Floats:
    """Return the median offset of each photo's sequence; NaN where fewer than 3 photos tell."""
    bias = np.full((len(sequence), 2), np.nan)
    for axis in (0, 1):
        numbers, medians, counts = medians_by_sequence(sequence, offset[:, axis])
        numbers, medians = numbers[counts >= _MIN_BIAS_PHOTOS], medians[counts >= _MIN_BIAS_PHOTOS]
        known: Bools = np.isin(sequence, numbers)
        bias[known, axis] = medians[np.searchsorted(numbers, sequence[known])]
    return bias


def _metres(catalog: pa.Table) -> tuple[Floats, Floats]:
    """Return GPS and computed positions in metres of a flat map, (N, 2) each.

    The map hangs on the city's latitude to 0.1 degrees and on nothing else, so that new images
    elsewhere in the city change no score.
    """
    gps = np.column_stack([_floats(catalog, "lon"), _floats(catalog, "lat")])
    computed = np.column_stack([_floats(catalog, "computed_lon"), _floats(catalog, "computed_lat")])
    known = gps[np.isfinite(gps).all(axis=1), 1]
    latitude = round(float(np.median(known)), 1) if len(known) else 0.0
    scale = _EARTH_M_PER_DEG * np.array([np.cos(np.radians(latitude)), 1.0])
    return gps * scale, computed * scale


def _sequence_numbers(catalog: pa.Table) -> Ints:
    """Number the sequences; an image without one is a sequence of its own."""
    column = catalog.column("sequence_id").combine_chunks()
    codes = column.dictionary_encode().indices
    alone = codes.is_null().to_numpy(zero_copy_only=False)
    numbers: Ints = codes.fill_null(0).to_numpy().astype(np.int64)
    numbers[alone] = numbers.max(initial=0) + 1 + np.arange(int(alone.sum()))
    return numbers


def _times_ms(catalog: pa.Table) -> Floats:
    times = catalog.column("captured_at").cast(pa.int64())
    return np.asarray(times.cast(pa.float64()).to_numpy(), np.float64)


def _floats(catalog: pa.Table, name: str) -> Floats:
    return np.asarray(catalog.column(name).to_numpy(), np.float64)
