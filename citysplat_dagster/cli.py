"""The ``citysplat`` command: the library's commands, and those that run Dagster."""

import os
import subprocess
import sys
from importlib.resources import as_file, files
from pathlib import Path

import click

from citysplat_core.city.picture_report import write_city_report
from citysplat_core.city.summary import summarize, write_summary
from citysplat_core.cli import city_option, console, main, open_city, print_summary
from citysplat_core.errors import ConfigError
from citysplat_core.imagery import IdentityRegistry
from citysplat_core.settings import City
from citysplat_core.storage import ArtifactStore
from citysplat_core.storage.backup import list_backups
from citysplat_core.storage.restore import restore_artifacts
from citysplat_dagster.demo import build_demo
from citysplat_dagster.display import Display
from citysplat_dagster.resources import CITY_VARIABLE, THREADS_VARIABLE, bucket_of
from citysplat_dagster.runner import Run, dagster_home, this_machine

__all__ = ["main"]

workers_option = click.option(
    "--workers", type=click.IntRange(1, 64), default=None, help="Processes at once; default: cores."
)


@main.command()
@city_option
@click.option("--box", "boxes", multiple=True, help="Only this box (repeat for more).")
@click.option("--refetch", is_flag=True, help="Look for new and removed photos first.")
@workers_option
def run(city_path: Path, boxes: tuple[str, ...], workers: int | None, *, refetch: bool) -> None:
    """Build what is missing or stale of a city, through Dagster, and print its numbers.

    May be stopped at any time and run again: finished work is kept. A box that fails does not stop
    the others; the command then ends with 1.
    """
    city = open_city(city_path)
    failed = build(city, boxes=boxes, workers=workers, refetch=refetch)
    sys.exit(1 if failed else 0)


@main.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("demo-city"),
    show_default=True,
    help="Folder of the demo city.",
)
@click.option("--photos", type=click.IntRange(24, 20_000), help="Photos of the town.")
@click.option("--small", is_flag=True, help="A smoke run: about 40 photos, 2 boxes, few steps.")
@workers_option
def demo(out: Path, photos: int | None, workers: int | None, *, small: bool) -> None:
    """Simulate a town, serve it like Mapillary does, and build its city: no token, no GPU.

    Run again after a stop, it goes on where it was.
    """
    with build_demo(out, n_photos=photos, is_small=small, say=console.print) as city:
        failed = build(city, workers=workers)
    where = out if out.is_absolute() else Path(os.path.relpath(out))
    console.print(f"\nWalk through it:  citysplat view --city {where}     (make view)")
    console.print(f"Look at the runs: citysplat dev --city {where}      (make dev)")
    sys.exit(1 if failed else 0)


def build(
    city: City, *, boxes: tuple[str, ...] = (), workers: int | None = None, refetch: bool = False
) -> bool:
    """Run a city with progress, then print and write its numbers.

    Returns:
        Whether any task failed.
    """
    with Display(console) as display:
        outcomes = Run(city, this_machine(workers), display).all(boxes=boxes, refetch=refetch)
    values = summarize(city)
    summary_file = write_summary(city)
    console.print()
    print_summary(values)
    if (city.root / "plan.json").is_file():
        console.print(f"Report:  {write_city_report(city, values)}")
    console.print(f"Numbers: {summary_file}")
    failed = [o.task for o in outcomes.values() if not o.is_success]
    if failed:
        console.print(f"[red]{len(failed)} tasks failed:[/] {', '.join(failed[:5])}")
        console.print("Their errors stand above and in `citysplat status`; run again to retry.")
    return bool(failed)


@main.command()
@city_option
@click.option("--port", default=3000, show_default=True)
def dev(city_path: Path, port: int) -> None:
    """Start Dagster's webserver and daemon over a city, until Ctrl-C.

    There, materialize a box or a whole backfill, start the re-fetch schedule, look at every run.
    """
    city = open_city(city_path)
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(dagster_home(city)),
        CITY_VARIABLE: str(city.file),
        THREADS_VARIABLE: str(os.cpu_count() or 1),
    }
    console.print(f"Dagster opens at http://127.0.0.1:{port} (Ctrl-C ends)")
    with as_file(files("citysplat_dagster") / "workspace.yaml") as workspace:
        arguments = ["-w", str(workspace), "-h", "127.0.0.1", "-p", str(port)]
        command = [sys.executable, "-m", "dagster", "dev", *arguments]
        sys.exit(subprocess.run(command, env=environment, check=False).returncode)  # noqa: S603


@main.command()
@city_option
@click.option("--box", "boxes", multiple=True, help="Only this box (repeat for more).")
@workers_option
def backup(city_path: Path, boxes: tuple[str, ...], workers: int | None) -> None:
    """Copy finished artifacts to the bucket of [backup], verified; what is there is not sent again.

    The keys are read from CITYSPLAT_S3_KEY_ID and CITYSPLAT_S3_SECRET.
    """
    city = open_city(city_path)
    bucket_of(city)  # a missing setting is told before any work
    with Display(console) as display:
        outcomes = Run(city, this_machine(workers), display).backup(boxes)
    sys.exit(0 if all(o.is_success for o in outcomes.values()) else 1)


@main.command()
@city_option
@click.option("--box", "boxes", multiple=True, help="Only this box and what it reads of the city.")
def restore(city_path: Path, boxes: tuple[str, ...]) -> None:
    """Bring artifacts back from the bucket, byte for byte, and put them in force."""
    city = open_city(city_path)
    bucket = bucket_of(city)
    refs = [
        ref
        for ref in list_backups(bucket)
        if not boxes or not ref.partition or set(boxes) & set(ref.partition.split("--"))
    ]
    if not refs:
        raise ConfigError(
            f"the bucket holds nothing for {', '.join(boxes) or city.settings.name}",
            expected="a backup made by `citysplat backup`",
            fix="Check [backup] in city.toml and the box keys of `citysplat status`.",
        )
    store = ArtifactStore(city.root)
    with Display(console) as display:
        display("total", len(refs))
        counts = restore_artifacts(
            refs, bucket, store, progress=lambda d, t, n: display("tell", (n, "", f"{d}/{t}"))
        )
    _adopt_identity(city, store)
    plan = store.find("box_plan")
    if plan is not None and not (city.root / "plan.json").exists():
        (city.root / "plan.json").write_bytes((plan.path / "plan.json").read_bytes())
    console.print(
        f"{counts.artifacts} artifacts restored ({counts.artifacts_present} were there already), "
        f"{counts.bytes_moved / 2**20:.1f} MiB fetched"
    )


def _adopt_identity(city: City, store: ArtifactStore) -> None:
    """Take over the image numbers of a restored catalog, so that later photos get others."""
    import pandas as pd

    catalog = store.find("image_catalog")
    if catalog is None:
        return
    table = pd.read_parquet(catalog.path / "catalog.parquet", columns=["image_id", "colmap_id"])
    numbers = dict(zip(table["image_id"], table["colmap_id"].astype(int).tolist(), strict=True))
    IdentityRegistry(city.root / "identity.sqlite").adopt(numbers)
