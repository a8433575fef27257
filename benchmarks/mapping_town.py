"""The town part of the mapping benchmark: CitySplat and COLMAP's mappers beside the truth."""

import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from mapping_city import City, match_city, plan_city, whole_database
from mapping_models import map_city, solved_places
from mapping_peers import (
    PeerRun,
    Places,
    by_colmap,
    by_gravity,
    cameras_of,
    placed,
    run_peer,
)
from mapping_score import (
    MOST_TURN_DEG,
    MapScores,
    Solved,
    connectable,
    score,
    seam_gaps,
    true_pairs,
)
from matching_score import overlapping_pairs
from matching_store import PeerStore, label_pairs
from town_box import TownBox, make_town_box

from citysplat_core.features import read_pair_counts
from citysplat_core.geography import CityFrame
from citysplat_core.settings import (
    AlignSettings,
    BoxSettings,
    MappingSettings,
    MatchingSettings,
)
from citysplat_core.simulation import TownSettings
from citysplat_core.storage import Progress, published

Tell = Callable[[str], Progress]
KEYS = (
    *("registered_share", "gross_errors", "rel_inside_m", "rel_across_m", "rel_across_p95_m"),
    *("abs_m", "seam_m"),
)
MARKS = {
    "registered_share": ">= 0.95", "gross_errors": "0", "rel_inside_m": "<= 0.10",
    "rel_across_m": "<= 0.3", "rel_across_p95_m": "<= 1", "abs_m": "<= 1.5", "seam_m": "<= 0.05",
}  # fmt: skip
DATABASES = {"gated": "matches", "ungated": "raw"}
_PHOTOS = ("box/photos/*.jpg", "depth/*.npy")


def town_settings(n_photos: int, width_px: int, *, computed: bool) -> TownSettings:
    """Give the look-alike town of the marks: GPS noise 3 m, bias 2 m a sequence.

    Args:
        n_photos: Photos.
        width_px: Of a photo.
        computed: Whether the photo service has solved 92 % of the positions and headings itself
            (bias as GPS, noise 0.35 m); else there are only GPS and compass.
    """
    settings = TownSettings(
        n_photos=n_photos, lookalike_share=0.6, seed=11, photo_width_px=width_px,
        gps_noise_m=3.0, gps_bias_m=2.0,
    )  # fmt: skip
    return settings if computed else settings.model_copy(update={"computed_missing_share": 1.0})


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way of mapping in the table."""

    name: str
    scores: MapScores
    cpu_s: float
    wall_s: float
    own_abs_m: float = math.nan
    note: str = ""


@dataclass(frozen=True)
class TownRun:
    """A town, its city of boxes, and the truth about its cameras."""

    box: TownBox
    city: City
    truth_of: dict[int, np.ndarray]
    wanted: set[int]

    @property
    def gps(self) -> Places:
        """What GPS says, by colmap id."""
        places = solved_places(self.box.images)
        return dict(zip(self.box.images["colmap_id"].tolist(), places, strict=True))


def prepare(
    folder: Path, settings: TownSettings, zoom: int, n_threads: int, tell: Tell, *, keep: bool
) -> TownRun:
    """Make the town, cut it into boxes, match them and find the connectable photos.

    Args:
        folder: Where; what is finished there is used.
        settings: The town.
        zoom: Of the boxes.
        n_threads: Threads of all steps.
        tell: Where progress goes.
        keep: Use finished pairs even if the code of matching has changed since.
    """
    box, city = plan_town(folder, settings, zoom, n_threads, tell)
    match_city(city, MatchingSettings(), keep=keep)
    return TownRun(box, city, truth_of(box), _connectable(folder, box, city, n_threads, tell))


def plan_town(
    folder: Path, settings: TownSettings, zoom: int, n_threads: int, tell: Tell
) -> tuple[TownBox, City]:
    """Make the town's photos and cut them into boxes; what is finished is used."""
    frame = CityFrame(settings.origin_lon, settings.origin_lat, settings.origin_alt_m)
    _borrow_photos(folder, settings)
    box = make_town_box(folder, settings, n_threads=n_threads, progress=tell("rendering"))
    city = plan_city(
        folder / "city", box.box_images, frame, BoxSettings(min_zoom=zoom), n_threads=n_threads,
        tell=tell,
    )  # fmt: skip
    return box, city


def truth_of(box: TownBox) -> dict[int, np.ndarray]:
    """Give the true centre of every photo by colmap id, metres."""
    return {k + 1: sight.capture.centre for k, sight in enumerate(box.sights)}


def _borrow_photos(folder: Path, settings: TownSettings) -> None:
    """Copy the photos of a town beside this one that differs in its sensors only."""
    if (folder / "box" / "photos").exists():
        return
    sensors = {"gps_noise_m", "gps_bias_m", "computed_noise_m", "computed_missing_share"}
    for other in sorted(folder.parent.glob("*/town.json")):
        known = TownSettings.model_validate_json(other.read_bytes())
        if known.model_dump(exclude=sensors) == settings.model_dump(exclude=sensors):
            for pattern in _PHOTOS:
                for source in sorted(other.parent.glob(pattern)):
                    target = folder / source.relative_to(other.parent)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    part = target.with_suffix(".part")
                    shutil.copy2(source, part)
                    part.replace(target)
            return


def _connectable(folder: Path, box: TownBox, city: City, n_threads: int, tell: Tell) -> set[int]:
    """Find the photos that true pairs tie together, among ours and all that overlap."""
    kept = city.folder / "matches" / "connectable.parquet"
    if not kept.exists():
        raw = whole_database(city, "raw")
        ours = read_pair_counts(raw)
        known = set(zip(ours["colmap_id_a"].tolist(), ours["colmap_id_b"].tolist(), strict=True))
        store = PeerStore(folder / "truth", whole_database(city, "features"), n_threads)
        overlapping = overlapping_pairs(folder, box.sights)
        store.match(overlapping - known, tell("pairs that the truth names"))
        pairs = true_pairs(label_pairs(raw, box.sights)) | true_pairs(store.labels(box.sights))
        ids = pd.DataFrame({"colmap_id": sorted(connectable(pairs))})
        with published(kept) as stream:
            ids.to_parquet(stream, index=False)
    return set(pd.read_parquet(kept)["colmap_id"].tolist())


def judge_pairs(run: TownRun) -> dict[str, dict[str, int]]:
    """Count the pairs that CitySplat keeps and those before its gates, and how many are wrong."""
    found = {}
    for kind, name in DATABASES.items():
        labels = label_pairs(whole_database(run.city, name), run.box.sights)
        false = 2 * labels["n_true"] < labels["n"]
        turned = ~false & (labels["turn_error_deg"] > MOST_TURN_DEG)
        counts = {"verified": len(labels), "false": int(false.sum())}
        found[kind] = {**counts, "wrong_turn": int(turned.sum())}
    return found


def measure_ours(run: TownRun, strategy: str) -> tuple[Row, dict[str, float]]:
    """Solve and align with one of CitySplat's strategies; give its row and the seams."""
    settings = MappingSettings.model_validate({"strategy": strategy})
    mapped = map_city(run.city, settings, AlignSettings(), name=strategy)
    cameras, every = mapped.cameras(), mapped.registrations()
    numbers = {key: k for k, key in enumerate(sorted({*_parts(cameras), *_parts(every)}))}
    solved, all_solved = (
        Solved(
            colmap_id=table["colmap_id"].to_numpy(np.int64),
            component=np.array([numbers[key] for key in _parts(table)], dtype=np.int64),
            centre=solved_places(table),
        )
        for table in (cameras, every)
    )
    scores = score(solved, all_solved, run.truth_of, run.wanted)
    gaps = seam_gaps(every)
    extra = {
        "seam_m": float(np.median(gaps)) if len(gaps) else math.nan,
        "seam_p95_m": float(np.percentile(gaps, 95)) if len(gaps) else math.nan,
        "n_seams": float(len(gaps)),
    }
    return Row(
        name=f"CitySplat {strategy}", scores=scores, cpu_s=mapped.cost.cpu_s,
        wall_s=mapped.cost.wall_s,
    ), extra  # fmt: skip


def _parts(table: pd.DataFrame) -> list[tuple[str, int]]:
    boxes, components = table["solved_in"].astype(str), table["component"].astype(int)
    return list(zip(boxes.tolist(), components.tolist(), strict=True))


def measure_peer(run: TownRun, mapper: str, pairs: str, n_threads: int, limit_s: int) -> Row:
    """Run a mapper of COLMAP on all photos at once.

    Args:
        run: The town.
        mapper: Of `mapping_peers.PEERS`.
        pairs: ``gated``: the pairs that CitySplat keeps; ``ungated``: those before its gates.
        n_threads: Threads of the mapper.
        limit_s: See `run_peer`.
    """
    database = whole_database(run.city, DATABASES[pairs])
    out = run.city.folder / "matches" / "peers" / f"{mapper}-{pairs}"
    done: PeerRun = run_peer(mapper, database, out, n_threads=n_threads, limit_s=limit_s)
    by_ours = cameras_of(placed(done.models, run.gps, by_gravity))
    # The mapper with priors has already placed its models in the frame of the priors.
    own = done.models if mapper == "priors" else placed(done.models, run.gps, by_colmap)
    theirs = cameras_of(own).once()
    truth = np.array([run.truth_of[int(k)] for k in theirs.colmap_id]).reshape(-1, 3)
    off = np.linalg.norm((theirs.centre - truth)[:, :2], axis=1)
    return Row(
        name=f"{mapper}, {pairs}",
        scores=score(by_ours.once(), by_ours, run.truth_of, run.wanted, by_component=True),
        cpu_s=done.cpu_s,
        wall_s=done.wall_s,
        own_abs_m=float(np.median(off)) if len(off) else math.nan,
        note=done.note,
    )


def table_of(rows: list[Row]) -> str:
    """Give the table of the rows, for a terminal; metres."""
    head = (
        "                        registered  share correct models gross inside  shape across    p95"
        "     abs abs own   CPU s  wall s\n"
    )
    lines = [
        f"{row.name:24s}{s.registered:10d} {s.registered_share:6.1%} {s.correct:7d} {s.models:6d}"
        f" {s.gross_errors:5d} {s.rel_inside_m:6.2f} {s.rel_shape_m:6.2f} {s.rel_across_m:6.2f}"
        f" {s.rel_across_p95_m:6.2f} {s.abs_m:7.2f} {row.own_abs_m:7.2f} {row.cpu_s:7.1f}"
        f" {row.wall_s:7.1f}  {row.note}"
        for row, s in ((row, row.scores) for row in rows)
    ]
    return head + "\n".join(lines) + "\n"


def values_of(row: Row) -> dict[str, float | str | None]:
    """Give a row as JSON values; what is not known is null."""
    values = {
        **asdict(row.scores),
        "own_abs_m": row.own_abs_m,
        "cpu_s": row.cpu_s,
        "wall_s": row.wall_s,
    }
    return {**{key: known(value) for key, value in values.items()}, "note": row.note}


def known(value: float) -> float | None:
    """Round a figure; None if it is NaN."""
    return None if math.isnan(value) else round(value, 4)
