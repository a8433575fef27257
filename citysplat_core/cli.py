"""``citysplat``: what needs no orchestrator. The commands that run Dagster are added on top."""

import json
import threading
from pathlib import Path

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from citysplat_core.city.exports import EXPORTED, Exported, export_part
from citysplat_core.city.new_city import new_city
from citysplat_core.city.picture_report import write_city_report
from citysplat_core.city.server import serving
from citysplat_core.city.status import box_rows, coverage_line, skip_reasons
from citysplat_core.city.summary import summarize
from citysplat_core.errors import CitySplatError, ConfigError
from citysplat_core.imagery.export import Format
from citysplat_core.settings import City, load_city
from citysplat_core.storage import ArtifactStore, read_failures

console = Console()

city_option = click.option(
    "--city",
    "city_path",
    type=click.Path(path_type=Path),
    default=Path(),
    show_default="this folder",
    help="city.toml, or the folder that holds it.",
)


class _Group(click.Group):
    """Shows our own errors as one line and exits with 2; anything else is a defect and traces."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except CitySplatError as error:
            click.echo(f"citysplat: {error}", err=True)
            ctx.exit(2)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="citysplat")
def main() -> None:
    """Turn street-level photos into a walkable, georeferenced city of Gaussian splats.

    Start with `citysplat demo` (no token, no GPU), or with `citysplat init` for a city of your own.
    """


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--area", required=True, help="west,south,east,north in degrees, or a GeoJSON file.")
@click.option("--name", default="", help="Name of the city; the folder's name if not given.")
@click.option("--photos", type=click.Path(path_type=Path), help="A folder of your own photos.")
@click.option(
    "--positions", type=click.Path(path_type=Path), help="A CSV of their positions, else EXIF GPS."
)
@click.option(
    "--gpx",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A GPX track they were taken along, or a folder of tracks; may be given several times.",
)
@click.option("--panoramax", is_flag=True, help="Take the photos from Panoramax; needs no token.")
def init(
    folder: Path,
    area: str,
    name: str,
    photos: Path | None,
    positions: Path | None,
    gpx: tuple[Path, ...],
    *,
    panoramax: bool,
) -> None:
    """Write FOLDER/city.toml for an area and a source of photos.

    Without --photos and --panoramax the source is Mapillary: get a free token at
    mapillary.com/dashboard/developers and put it into the environment variable MAPILLARY_TOKEN
    before `citysplat run`.
    """
    city = new_city(
        folder,
        area=area,
        name=name,
        photos=photos,
        positions=positions,
        gpx=gpx,
        panoramax=panoramax,
    )
    console.print(f"Wrote {city.file}")
    if city.settings.source.kind == "mapillary":
        console.print("Next: export MAPILLARY_TOKEN=..., then")
    console.print(f"Next: citysplat run --city {folder}")


@main.command()
@city_option
def status(city_path: Path) -> None:
    """Show where each box stands, and what failed."""
    city = load_city(city_path)
    columns, rows = box_rows(city)
    table = Table(title=city.settings.name, header_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(columns):
        # Nothing is cut: keys are copied into other commands.
        cells = [row[number] for row in rows]
        table.add_column(name, no_wrap=True, min_width=max(map(len, [name, *cells])))
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for line in filter(None, [coverage_line(city)]):
        console.print(line, soft_wrap=True, highlight=False)
    for line in skip_reasons(city):
        console.print(f"[yellow]skipped[/] {line}", soft_wrap=True, highlight=False)
    failures = read_failures(city.root)
    for failure in failures:
        console.print(
            f"[red]{failure.asset} {failure.partition}[/] {failure.failed_at}: {failure.message}",
            soft_wrap=True,
        )
    if failures:
        console.print("Run again to try what failed; finished work is kept.")


@main.command()
@city_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def summary(city_path: Path, *, as_json: bool) -> None:
    """Print the numbers of a city."""
    values = summarize(load_city(city_path))
    if as_json:
        click.echo(json.dumps(values, indent=1))
        return
    print_summary(values)


@main.command()
@city_option
def report(city_path: Path) -> None:
    """Write report.html: the city's numbers and pictures in one page."""
    city = load_city(city_path)
    console.print(f"Wrote {write_city_report(city, summarize(city))}")


@main.command()
@city_option
@click.option("--port", default=8080, show_default=True, help="0 takes a free one.")
def view(city_path: Path, port: int) -> None:
    """Serve the city's page on this machine until Ctrl-C."""
    tiles = ArtifactStore(load_city(city_path).root).need("city_tiles")
    with serving(tiles.path, port) as url:
        console.print(f"Open {url} (Ctrl-C ends)")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


@main.command(epilog="Example: citysplat export my-city --what boxes --out boxes.geojson")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--what",
    type=click.Choice(EXPORTED),
    default="images",
    show_default=True,
    help="The catalog's photos, the discovery tiles with their states, the plan's parts, the "
    "solved camera poses, or a box's model for COLMAP or nerfstudio.",
)
@click.option("--box", default="", help="This box's poses or model; a model needs one.")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["gpkg", "csv", "geojson", "geoparquet"]),
    help="Default: by the ending of --out (.gpkg, .csv, .geojson, .parquet).",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="The file to write; for a model the folder to make.",
)
@click.option("--photos/--no-photos", default=True, help="A model: with its photos (the default).")
@click.option("--overwrite", is_flag=True, help="Replace a file or an earlier export.")
def export(
    folder: Path,
    what: Exported,
    box: str,
    file_format: Format | None,
    out: Path,
    *,
    photos: bool,
    overwrite: bool,
) -> None:
    """Write photos, boxes, camera poses or models of the city in FOLDER for other programs.

    Positions are longitude and latitude in EPSG:4326. Ids are text in every format, because most
    programs round numbers of 17 digits; when reading the CSV with pandas, say
    dtype={"image_id": str}. ATTRIBUTION.md is written beside the file: whoever passes the data on
    passes it on as well (Mapillary: CC BY-SA 4.0).
    """
    city = load_city(folder)
    with console.status(f"Exporting {what}") as shown:
        written = export_part(
            city,
            what,
            out,
            box=box,
            file_format=file_format,
            with_photos=photos,
            overwrite=overwrite,
            progress=lambda done, total, note: shown.update(f"{note}: {done:,} of {total:,}"),
        )
    console.print(f"Wrote {written} to {out}", soft_wrap=True, highlight=False)


@main.command("serve-town")
@click.argument("town", type=click.Path(path_type=Path))
@click.option("--port", default=8765, show_default=True)
def serve_town(town: Path, port: int) -> None:
    """Serve a simulated TOWN by the protocols of Mapillary and Panoramax until Ctrl-C.

    Panoramax's is at the address with /api at its end (source.panoramax_url).
    """
    from citysplat_core.simulation.town_server import serve_town_forever

    serve_town_forever(
        town, port=port, on_ready=lambda url: console.print(f"Serving {url} and {url}/api")
    )


def open_city(path: Path) -> City:
    """Read a city and its area, so that a wrong one is told before any work starts.

    Raises:
        ConfigError: The city file or its area cannot be used.
    """
    city = load_city(path)
    city.area()
    if city.settings.boxes.min_zoom > city.settings.boxes.max_zoom:
        raise ConfigError(
            f"boxes.min_zoom {city.settings.boxes.min_zoom} is finer than max_zoom",
            expected="min_zoom <= max_zoom",
            fix=f"Correct [boxes] in {city.file}.",
        )
    return city


def print_summary(values: dict[str, object]) -> None:
    """Print a summary as a table, its stages as another, and what was skipped or failed."""
    table = Table("what", "value", show_header=False)
    for key, value in values.items():
        if key in ("stages", "skipped", "failed", "pairs"):
            continue
        text = json.dumps(value) if isinstance(value, dict | list) else str(value)
        table.add_row(key, text)
    for source, counts in _entries(values["pairs"]):
        text = ", ".join(f"{name} {number}" for name, number in _entries(counts))
        table.add_row(f"pairs: {source}", text)
    console.print(table)
    for key in ("skipped", "failed"):
        for name, reason in _entries(values[key]):
            console.print(f"{key}: {name}: {reason}", soft_wrap=True, highlight=False)
    stages = Table("stage", "runs", "seconds", "peak MB", title="stages", header_style="bold")
    rows = values["stages"]
    if isinstance(rows, list):
        for row in rows:
            cells = (row["name"], row["runs"], row["seconds"], row["peak_rss_mb"])
            stages.add_row(*(str(cell) for cell in cells))
    console.print(stages)


def _entries(value: object) -> list[tuple[str, object]]:
    return list(value.items()) if isinstance(value, dict) else []
