"""Run one client in its own process and check what it brought home."""

import csv
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from acquisition_peers import Peer
from acquisition_server import Server

SCRIPTS = Path(__file__).parent / "peers"
TIMEOUT_S = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What one client did.

    Attributes:
        client: Its name and how it was called.
        asked: Items it was asked for.
        right: Items that came and are right.
        cpu_ms: CPU of the client's process and children, milliseconds an item.
        rate: Items a second of wall time.
        note: What fell short, or why it did not run.
    """

    client: str
    asked: int
    right: int = 0
    cpu_ms: float = float("nan")
    rate: float = float("nan")
    note: str = ""


def run_script(
    script: str, given: dict[str, Any], peer: Peer | None = None
) -> tuple[dict[str, Any], str]:
    """Run a client's script.

    Args:
        script: Name of a file in ``peers``.
        given: Its options.
        peer: In whose environment; None for ours.

    Returns:
        Its JSON line (empty if it failed) and the last line of its complaints.
    """
    python = sys.executable if peer is None else str(peer.python)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "options.json"
        file.write_text(json.dumps(given))
        try:
            done = subprocess.run(  # noqa: S603
                [python, str(SCRIPTS / script), str(file)],
                capture_output=True,
                text=True,
                check=False,
                timeout=TIMEOUT_S,
                env=(os.environ if peer is None else {})
                | {"HOME": folder, "XDG_CACHE_HOME": folder},
            )
        except subprocess.TimeoutExpired:
            return {}, f"longer than {TIMEOUT_S} s"
    if done.returncode:
        return {}, (done.stderr.strip().splitlines() or ["it failed"])[-1]
    return json.loads(done.stdout.strip().splitlines()[-1]), ""


def best_of(
    repeats: int,
    client: str,
    asked: int,
    work: Callable[[Path], tuple[dict[str, Any], str]],
    right: Callable[[Path], int],
) -> Figure:
    """Run a client some times in fresh folders and keep the run with the least CPU.

    Other programs on the machine can only add to a CPU time, so the least is the fairest.

    Args:
        repeats: Runs.
        client: Its name.
        asked: Items it is asked for.
        work: Runs it in a folder; returns its JSON line and its complaint.
        right: Counts the right items in that folder.
    """
    best = Figure(client=client, asked=asked, note="did not run")
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            said, complaint = work(Path(folder))
            if complaint:
                return Figure(client=client, asked=asked, note=complaint[:120])
            n_right = right(Path(folder))
        cpu_ms = 1e3 * said["cpu_s"] / max(1, n_right)
        if not best.cpu_ms <= cpu_ms:
            short = asked - n_right
            note = f"{short} of {asked} missing or wrong" if short else ""
            rate = n_right / said["wall_s"]
            best = Figure(
                client=client, asked=asked, right=n_right, cpu_ms=cpu_ms, rate=rate, note=note
            )
    return best


def right_catalog(folder: Path, server: Server) -> int:
    """Count our catalog's rows that agree with the world."""
    table = pq.read_table(folder / "artifact" / "catalog.parquet")
    usable = pc.is_in(table.column("status"), pa.array(["listed", "cut", "excluded"]))
    table = table.filter(usable)  # a panorama is there, beside the views it is cut into
    names = ("image_id", "lon", "width")
    rows = zip(*(table.column(name).to_pylist() for name in names), strict=True)
    return _count_right(rows, server)


def right_json(folder: Path, server: Server) -> int:
    """Count the SDK's answers that agree with the world; one that lost its position may pass."""
    rows = json.loads((folder / "metadata.json").read_text())
    return _count_right(((r["id"], _lon(r), r["width"]) for r in rows), server)


def _lon(row: dict[str, Any]) -> float | None:
    return float(row["geometry"]["coordinates"][0]) if row["geometry"] else None


def right_csv(folder: Path, server: Server) -> int:
    """Count zensvi's rows that agree with the world."""
    with (folder / "pids_urls.csv").open() as stream:
        rows = [(r["id"], _lon(eval_geometry(r)), int(r["width"])) for r in csv.DictReader(stream)]
    return _count_right(rows, server)


def eval_geometry(row: dict[str, str]) -> dict[str, Any]:
    """Read the geometry that was written as a Python literal."""
    return {"geometry": json.loads(row["geometry"].replace("'", '"'))}


def _count_right(rows: Any, server: Server) -> int:  # noqa: ANN401
    columns = server.world.columns
    known = dict(
        zip(
            server.ids,
            zip(columns["lon"].tolist(), columns["width"].tolist(), strict=True),
            strict=True,
        )
    )
    right = set()
    for image_id, lon, width in rows:
        truth = known.get(str(image_id))
        if truth is not None and width == truth[1] and (lon is None or abs(lon - truth[0]) < 1e-9):
            right.add(str(image_id))
    return len(right)


def right_photos(folder: Path, digests: dict[str, str], *, rewritten: bool = False) -> int:
    """Count the photos that came whole.

    Args:
        folder: Where the client put them, in whatever sub-folders, named by id.
        digests: SHA-256 of each id's photo.
        rewritten: The client writes EXIF into the file, so only its end can be compared.
    """
    right = set()
    for file in [*folder.rglob("*.jpg"), *folder.rglob("*.png")]:
        if file.stem not in digests:
            continue
        body = file.read_bytes()
        whole = body[:2] == b"\xff\xd8" and body[-2:] == b"\xff\xd9"
        if rewritten:
            right |= {file.stem} if whole else set()
        elif hashlib.sha256(body).hexdigest() == digests[file.stem]:
            right.add(file.stem)
    return len(right)
