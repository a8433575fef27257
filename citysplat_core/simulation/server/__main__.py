"""Serve a world from a file or a synthetic one: ``python -m citysplat_core.simulation.server``.

A simulated town, with photos rendered when they are asked for, is served by ``citysplat``.
"""

import argparse
import json
import sys
from pathlib import Path

from citysplat_core.simulation.server.config import ServerConfig
from citysplat_core.simulation.server.pictures import FolderImages, ImageMaker, SyntheticScenes
from citysplat_core.simulation.server.running import serve
from citysplat_core.simulation.server.synthetic_world import SyntheticSpec, synthetic_world
from citysplat_core.simulation.server.world import World, read_world


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and serve until interrupted; return the exit status."""
    options = _parser().parse_args(arguments)
    config = ServerConfig(latency_ms=options.latency_ms)
    try:
        config.change(dict(_setting(text) for text in options.set))
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    world = _world(options)
    serve(world, config, _images(options, world), port=options.port, announce=_say)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="citysplat_core.simulation.server", description=__doc__)
    parser.add_argument(
        "--port", type=int, default=8765, help="port on 127.0.0.1, 0 for a free one"
    )
    parser.add_argument("--world", type=Path, help="world.parquet; default: a synthetic world")
    parser.add_argument("--images", type=int, default=20_000, help="images of the synthetic world")
    parser.add_argument("--bbox", default="8.530,47.365,8.550,47.385", help="W,S,E,N, degrees")
    parser.add_argument("--image-dir", type=Path, help="folder with <image id>.jpg")
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    return parser


def _setting(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _world(options: argparse.Namespace) -> World:
    if options.world is not None:
        return read_world(options.world)
    west, south, east, north = (float(part) for part in options.bbox.split(","))
    return synthetic_world(SyntheticSpec(n_images=options.images, bbox=(west, south, east, north)))


def _images(options: argparse.Namespace, world: World) -> ImageMaker:
    if options.image_dir:
        return FolderImages(options.image_dir)
    return SyntheticScenes(panoramas=world.panorama_ids)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
