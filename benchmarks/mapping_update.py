"""What adding photos to a finished box costs beside solving it again, and how exact both are."""

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from mapping_city import City, digest_of, extract_city
from mapping_models import solved_places
from mapping_score import GROSS_M, Solved, place_errors, relative_errors, shaped
from mapping_town import Tell, known, plan_town, truth_of

from citysplat_core.features import merge_databases
from citysplat_core.mapping import read_registered, solve_box
from citysplat_core.matching import match_box
from citysplat_core.settings import MappingSettings, MatchingSettings, UpdateSettings
from citysplat_core.simulation import TownSettings
from citysplat_core.storage import Artifact, ArtifactStore, StepReport, read_json

DEFINITIONS = """\
update_cost_share   CPU seconds of the step sparse_model that adds the new photos to the finished
                    model, over those of the step that solves the box with them from nothing; both
                    with all that a step does: database, colours, report, picture
  of the mapper     the same without what is around: registering and judging over mapping and
                    judging
  of matching       the same of the step box_matches, which compares the pairs of new photos only
gross, inside and shape are gross_errors (among neighbours of the same component), rel_inside_m and
rel_shape_m of the part "town", of this one box; "old photos": of those that stood before
"""
NEW_SHARE = 0.05
_SEED = 7


@dataclass(frozen=True, kw_only=True)
class UpdateRow:
    """One way to come to a model of all photos."""

    name: str
    registered: int
    new_registered: int
    components: int
    gross_errors: int
    rel_inside_m: float
    rel_shape_m: float
    old_inside_m: float
    old_shape_m: float
    cpu_s: float
    mapper_cpu_s: float
    made_by: str


def measure_update(
    folder: Path, settings: TownSettings, zoom: int, n_threads: int, tell: Tell
) -> tuple[str, dict[str, object]]:
    """Solve a box without one photo in twenty, add them, and solve it whole.

    Args:
        folder: Of the town; its photos and features are used if they are there.
        settings: The town.
        zoom: Of the boxes; the one with most photos is taken.
        n_threads: Threads of all steps.
        tell: Where progress goes.

    Returns:
        A table for people, and the figures.
    """
    town, city = plan_town(folder, settings, zoom, n_threads, tell)
    box = max(city.plan.boxes, key=lambda each: (each.n_images, each.key)).key
    extract_city(city, [box])
    images = pd.read_parquet(city.at("box_images", box) / "images.parquet")
    ids = images["colmap_id"].to_numpy()
    rng = np.random.default_rng(_SEED)
    held = set(rng.choice(ids, max(round(NEW_SHARE * len(ids)), 1), replace=False).tolist())
    bench = _Bench(city, box, folder / "update", digest_of("matching", "mapping"))
    before, after = bench.photos("before", held), bench.photos("after", set())
    whole_pairs = bench.match("whole_matches", after)
    first_pairs = bench.match("box_matches", before, earlier=whole_pairs)
    pairs = bench.match("box_matches", after, earlier=first_pairs)
    first, updated, solved = bench.map_all(before, after, first_pairs, pairs)
    truth = truth_of(town)
    old = set(read_registered(first.path)["colmap_id"].tolist())
    rows = [
        _row(name, made, truth, held, old)
        for name, made in (("before", first), ("updated", updated), ("solved again", solved))
    ]
    share = {
        "update_cost_share": rows[1].cpu_s / rows[2].cpu_s,
        "update_mapper_cost_share": rows[1].mapper_cpu_s / rows[2].mapper_cpu_s,
        "update_matching_cost_share": _cpu_s(pairs) / _cpu_s(whole_pairs),
    }
    figures: dict[str, object] = {
        **{name: round(value, 4) for name, value in share.items()},
        "update_rel_inside_m": known(rows[1].rel_inside_m),
        "resolve_rel_inside_m": known(rows[2].rel_inside_m),
        "update_rel_shape_m": known(rows[1].rel_shape_m),
        "resolve_rel_shape_m": known(rows[2].rel_shape_m),
        "update_old_shape_m": [known(row.old_shape_m) for row in rows],
        "update_registered": rows[1].registered,
        "resolve_registered": rows[2].registered,
        "update_n_photos": len(ids),
        "update_n_new": len(held),
        "update_made_by": rows[1].made_by,
    }
    told = f"box {box}: {len(ids)} photos, of which {len(held)} are new\n"
    return f"{DEFINITIONS}\n{told}{_table(rows, share)}", figures


class _Bench:
    """The steps of one box, kept as artifacts."""

    def __init__(self, city: City, box: str, folder: Path, code: str) -> None:
        self.city, self.box, self.folder, self.code = city, box, folder, code
        kept = folder / "code"
        if not kept.exists() or kept.read_text() != code:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            kept.write_text(code)
        self.store = ArtifactStore(folder)
        empty = pd.DataFrame(columns=["fringe", "box", "image_id", "colmap_id"])
        empty.to_parquet(folder / "fringe_images.parquet")

    def photos(self, name: str, held: set[int]) -> Path:
        """Give a folder with ``images`` and ``features`` of the box without some photos."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "images").mkdir(parents=True)
        (folder / "features").mkdir()
        source = self.city.at("box_images", self.box)
        images = pd.read_parquet(source / "images.parquet")
        images = images[~images["colmap_id"].isin(held)]
        images.to_parquet(folder / "images" / "images.parquet", index=False)
        shutil.copy2(source / "cameras.parquet", folder / "images")
        for link in ("photos", "masks"):
            if (source / link).is_dir():
                (folder / "images" / link).symlink_to((source / link).resolve())
        ids = images["colmap_id"].tolist()
        features = self.city.at("box_features", self.box)
        target = folder / "features" / "features.db"
        merge_databases([features / "features.db"], target, keep_descriptors=True, image_ids=ids)
        table = pd.read_parquet(features / "features.parquet")
        table[table["colmap_id"].isin(ids)].to_parquet(folder / "features" / "features.parquet")
        return folder

    def match(self, asset: str, photos: Path, earlier: Artifact | None = None) -> Artifact:
        """Match the box; what an earlier version has compared is not compared again."""
        return self._produce(
            asset,
            photos,
            lambda out, work: match_box(
                self.box, box_images=photos / "images", box_features=photos / "features",
                out=out, work=work, settings=MatchingSettings(), n_threads=self.city.n_threads,
                progress=self.city.tell(f"pairs {photos.name}"),
                earlier=earlier.path if earlier else None,
            ),
        )  # fmt: skip

    def map_all(
        self, before: Path, after: Path, first_pairs: Artifact, pairs: Artifact
    ) -> tuple[Artifact, Artifact, Artifact]:
        """Solve the box without the new photos, update it, and solve it with them."""
        # All three or none: what is loaded once for all must not count for one of them.
        kept = self.folder / "artifacts"
        if not all((kept / asset).exists() for asset in ("sparse_model", "solved_again")):
            for asset in ("sparse_model", "solved_again"):
                shutil.rmtree(kept / asset, ignore_errors=True)
        first = self._map("sparse_model", before, first_pairs, None)
        updated = self._map("sparse_model", after, pairs, first)
        solved = self._map("solved_again", after, pairs, None)
        return first, updated, solved

    def _map(self, asset: str, photos: Path, pairs: Artifact, earlier: Artifact | None) -> Artifact:
        return self._produce(
            asset,
            photos,
            lambda out, work: solve_box(
                self.box, box_images={self.box: photos / "images"}, box_matches=pairs.path,
                fringe_matches={}, fringe_images=self.folder / "fringe_images.parquet", out=out,
                work=work, settings=MappingSettings(), n_threads=self.city.n_threads,
                progress=self.city.tell(f"model {photos.name}"),
                earlier=earlier.path if earlier else None, update=UpdateSettings(),
            ),
        )  # fmt: skip

    def _produce(
        self, asset: str, photos: Path, build: Callable[[Path, Path], StepReport]
    ) -> Artifact:
        return self.store.produce(
            asset,
            self.box,
            step_version=self.code,
            settings={"photos": photos.name},
            inputs={},
            build=build,
        )


def _cpu_s(made: Artifact) -> float:
    return float(made.manifest["cpu_seconds"])


def _row(
    name: str, made: Artifact, truth: dict[int, np.ndarray], held: set[int], old: set[int]
) -> UpdateRow:
    rows = read_registered(made.path)
    solved, places = _solved(rows, truth)
    both, places_of_both = _solved(rows[rows["colmap_id"].isin(old)], truth)
    off = place_errors(solved, places, by_component=True)
    report = read_json(made.path / "report.json")
    return UpdateRow(
        name=name,
        registered=len(rows),
        new_registered=int(rows["colmap_id"].isin(held).sum()),
        components=int(made.counts["n_components"]),
        gross_errors=int((off > GROSS_M).sum()),
        rel_inside_m=_median(relative_errors(solved, places)[0]),
        rel_shape_m=_median(relative_errors(shaped(solved, places), places)[0]),
        old_inside_m=_median(relative_errors(both, places_of_both)[0]),
        old_shape_m=_median(relative_errors(shaped(both, places_of_both), places_of_both)[0]),
        cpu_s=_cpu_s(made),
        mapper_cpu_s=sum(float(each["cpu_seconds"]) for each in report["attempts"]),
        made_by=str(made.counts["made_by"]),
    )


def _solved(rows: pd.DataFrame, truth: dict[int, np.ndarray]) -> tuple[Solved, np.ndarray]:
    solved = Solved(
        colmap_id=rows["colmap_id"].to_numpy(np.int64),
        component=rows["component"].to_numpy(np.int64),
        centre=solved_places(rows),
    )
    return solved, np.array([truth[int(k)] for k in solved.colmap_id]).reshape(-1, 3)


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else math.nan


def _table(rows: list[UpdateRow], share: dict[str, float]) -> str:
    head = (
        "                                                all photos     old photos   CPU s of the\n"
        "               registered  new components gross inside  shape inside  shape   step mapper"
    )
    lines = [
        f"{row.name:14s}{row.registered:11d}{row.new_registered:5d}{row.components:11d}"
        f"{row.gross_errors:6d} {row.rel_inside_m:6.3f} {row.rel_shape_m:6.3f}"
        f" {row.old_inside_m:6.3f} {row.old_shape_m:6.3f} {row.cpu_s:6.1f} {row.mapper_cpu_s:6.1f}"
        f"  {row.made_by}"
        for row in rows
    ]
    told = [f"{name:28s}{value:7.1%}" for name, value in share.items()]
    return "\n".join([head, *lines, "", *told]) + "\n"
