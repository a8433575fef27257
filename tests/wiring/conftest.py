"""A city of four boxes whose steps are tiny: what is tested is the wiring, not the algorithms."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from citysplat_core.geography import Area
from citysplat_core.imagery.tables import TILES_SCHEMA, table_of, write_table
from citysplat_core.settings import load_city
from citysplat_core.storage import StepReport, write_json
from citysplat_dagster import worker
from citysplat_dagster.build import build_defs
from citysplat_dagster.resources import CityResource

CITY_TOML = """
name = "tiny"
area = "13.1900,55.6900,13.1930,55.6915"
[frame]
origin_lon = 13.1915
origin_lat = 55.69075
[source]
kind = "folder"
path = "photos"
[boxes]
min_zoom = 18
max_zoom = 18
[splat]
iterations = 100
"""


@dataclass
class TinySteps:
    """Stands in for the core's steps; counts how often each is really run."""

    catalog: pd.DataFrame
    calls: list[tuple[str, str]] = field(default_factory=list)
    fails: set[tuple[str, str]] = field(default_factory=set)
    skips: dict[tuple[str, str], str] = field(default_factory=dict)
    earlier: dict[tuple[str, str], Path | None] = field(default_factory=dict)
    open_tiles: int = 0
    failed_descriptions: int = 0

    def ran(self, asset: str) -> list[str]:
        return sorted(key for name, key in self.calls if name == asset)

    def _step(self, asset: str, key: str, out: Path, **counts: Any) -> StepReport:
        self.calls.append((asset, key))
        if (asset, key) in self.fails:
            raise OSError(f"{asset} {key} fails on purpose")
        (out / "content.txt").write_text(f"{asset} {key}")
        return StepReport(counts=counts, skipped=self.skips.get((asset, key), ""))

    def discover_images(self, _area: Area, *, out: Path, **_: Any) -> StepReport:
        images, is_there = self.catalog[["image_id", "lon", "lat"]], self.catalog.status == "listed"
        images[is_there].to_parquet(out / "found.parquet")
        images[~is_there].to_parquet(out / "gone.parquet")
        rows = [{"z": 14, "x": 1, "y": 1, "state": "failed" if self.open_tiles else "complete"}]
        write_table(table_of(rows, TILES_SCHEMA), out / "tiles.parquet")
        tiles = {"tiles_failed": self.open_tiles, "tiles_unknown": 0, "tiles_complete": 1}
        return self._step("tile_ledger", "", out, images_found=len(self.catalog), **tiles)

    def build_catalog(self, _ledger: Path, *, out: Path, **_: Any) -> StepReport:
        self.catalog.to_parquet(out / "catalog.parquet")
        self.catalog[["image_id"]].to_parquet(out / "scores.parquet")
        counts = {"listed": len(self.catalog), "failed_to_retry": self.failed_descriptions}
        return self._step("image_catalog", "", out, **counts)

    def fetch_box_images(self, box: str, *, out: Path, **_: Any) -> StepReport:
        none = dict.fromkeys(("superfluous", "gone", "failed", "failed_to_retry"), 0)
        return self._step("box_images", box, out, images=10, ok=9, rejected=1, **none)

    def extract_box_features(
        self, box: str, *, out: Path, earlier: Path | None, **_: Any
    ) -> StepReport:
        self.earlier["box_features", box] = earlier
        return self._step("box_features", box, out, n_images=9)

    def _pairs(self, asset: str, key: str, out: Path) -> StepReport:
        numbers = {"proposed": 9, "matched": 8, "verified": 7, "refused": 1}
        rates = {"matched": 0.889, "verified": 0.778}
        spans = {"edges": [0, 10], "proposed": [9, 0], "verified": [7, 0]}
        between = {"proposed": 0, "verified": 0}
        report = {
            "sources": {"spatial": numbers},
            "rounds": {"0": numbers},
            "rates": {"sources": {"spatial": rates}, "rounds": {"0": rates}, "total": rates},
            "refused": {"heading": 1},
            "unmatched": {"too few matches": 1},
            "not_proposed": {},
            "spans": {"distance_m": spans, "rank": spans, "between_sequences": between},
            "components": {"count": 1, "sizes": [9], "largest_share": 1.0},
            "bridges": {"count": 0, "of_one_photo": 0, "strongest": []},
            "photos_without_pair": {"count": 0, "image_ids": []},
        }
        write_json(out / "report.json", report)
        numbers |= {"reused": 0, "compared": 9}
        counts = {f"pairs_{k}": v for k, v in numbers.items()}
        return self._step(asset, key, out, n_images=9, **counts)

    def match_box(self, box: str, *, out: Path, earlier: Path | None, **_: Any) -> StepReport:
        self.earlier["box_matches", box] = earlier
        return self._pairs("box_matches", box, out)

    def match_fringe(self, fringe: str, *, out: Path, earlier: Path | None, **_: Any) -> StepReport:
        self.earlier["fringe_matches", fringe] = earlier
        return self._pairs("fringe_matches", fringe, out)

    def solve_box(self, box: str, *, out: Path, earlier: Path | None, **_: Any) -> StepReport:
        self.earlier["sparse_model", box] = earlier
        counts = {"n_images": 9, "n_home_registered": 8, "gps_residual_median_m": 1.0}
        return self._step("sparse_model", box, out, n_components=1, **counts)

    def align_city(self, *, out: Path, sparse_models: dict[str, Path], **_: Any) -> StepReport:
        one = {
            "component": 0,
            "scale": 1.0,
            "rotation_wxyz": [1, 0, 0, 0],
            "translation_m": [0] * 3,
        }
        rows = [{"box": box, **one} for box in sparse_models]
        write_json(out / "transforms.json", {"version": 1, "components": rows})
        columns = ["image_id", "east_m", "north_m", "up_m", "gps_residual_m"]
        pd.DataFrame({c: [] for c in columns}).to_parquet(out / "cameras.parquet")
        return self._step("city_alignment", "", out, n_tied_fringes=1, seam_after_median_m=0.02)

    def train_box(self, box: str, *, out: Path, **_: Any) -> StepReport:
        view = {"image_id": "1", "psnr_db": 22.0, "ssim": 0.8, "cc_psnr_db": 23.0}
        write_json(out / "metrics.json", {"views": [view]})
        return self._step("splat", box, out, psnr_db=22.0, n_gaussians=100)

    def build_city(self, *, out: Path, **_: Any) -> StepReport:
        return self._step("city_tiles", "", out, boxes=4)


STEPS_OF = {
    "citysplat_dagster.assets.imagery": ("discover_images", "build_catalog", "fetch_box_images"),
    "citysplat_dagster.assets.features": ("extract_box_features",),
    "citysplat_dagster.assets.matching": ("match_box", "match_fringe"),
    "citysplat_dagster.assets.mapping": ("solve_box", "align_city"),
    "citysplat_core.splatting": ("train_box",),
    "citysplat_dagster.assets.city": ("build_city",),
}


def make_catalog() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    n = 120
    return pd.DataFrame(
        {
            "image_id": [str(94399395803743793 + i) for i in range(n)],
            "colmap_id": np.arange(1, n + 1, dtype="int32"),
            "lon": 13.1900 + rng.uniform(0, 0.0026, n),
            "lat": 55.6900 + rng.uniform(0, 0.0014, n),
            "altitude_m": np.nan,
            "computed_lon": np.nan,
            "computed_lat": np.nan,
            "computed_altitude_m": np.nan,
            "heading_deg": 0.0,
            "computed_heading_deg": np.nan,
            "status": "listed",
        }
    )


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> TinySteps:
    tiny = TinySteps(make_catalog())
    for module, names in STEPS_OF.items():
        for name in names:
            monkeypatch.setattr(f"{module}.{name}", getattr(tiny, name))
    return tiny


@dataclass
class TinyCity:
    """A city on disk, and Dagster over it."""

    root: Path
    instance: dg.DagsterInstance

    def resource(self) -> CityResource:
        return CityResource(city=load_city(self.root), threads=1)

    def defs(self) -> dg.Definitions:
        return build_defs(self.resource())

    def change(self, old: str, new: str) -> None:
        text = (self.root / "city.toml").read_text()
        assert old in text
        (self.root / "city.toml").write_text(text.replace(old, new))

    def boxes(self) -> list[str]:
        plan = json.loads((self.root / "plan.json").read_text())
        return [b["key"] for b in plan["boxes"]]

    def fringes(self) -> list[str]:
        plan = json.loads((self.root / "plan.json").read_text())
        return [f["key"] for f in plan["fringes"]]

    def run(self, job: str, key: str = "", **config: Any) -> dg.ExecuteInProcessResult:
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        definition = self.defs().resolve_job_def(job)
        result = definition.execute_in_process(
            instance=self.instance,
            partition_key=key or None,
            run_config={**quiet, **config},
            raise_on_error=False,
        )
        for message in worker.errors_of(result):
            print(message)  # noqa: T201 - shown by pytest when the test fails
        return result

    def run_all(self) -> None:
        """Everything, in the order of the flow."""
        assert self.run("discover_city").success
        for box in self.boxes():
            self.run("prepare_box", box)
        for fringe in self.fringes():
            self.run("match_fringe", fringe)
        for box in self.boxes():
            self.run("solve_box", box)
        self.run("align_city")
        for box in self.boxes():
            self.run("train_box", box)
        self.run("publish_city")


@pytest.fixture
def city(tmp_path: Path, steps: TinySteps) -> TinyCity:
    del steps
    (tmp_path / "city.toml").write_text(CITY_TOML)
    (tmp_path / "photos").mkdir()
    with dg.DagsterInstance.ephemeral() as instance:
        yield TinyCity(tmp_path, instance)
