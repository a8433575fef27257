"""No secret leaves the process that uses it: a search through everything that runs left behind."""

import base64
import gzip
import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest

from citysplat_core.simulation.server import (
    ServerConfig,
    SyntheticScenes,
    run_in_thread,
    synthetic_world,
)
from citysplat_core.simulation.server.running import RunningServer
from citysplat_core.simulation.server.synthetic_world import SyntheticSpec

CITYSPLAT = str(Path(sys.executable).with_name("citysplat"))
TOKEN = "MLY|4711471147114711|pr1vacyprobe0pr1vacyprobe0pr1vacy"  # noqa: S105
BUCKET_KEY, BUCKET_SECRET = "pr1vate-key-id-of-a-bucket", "pr1vate/secret+of/a+bucket=="
BBOX = (8.5400, 47.3700, 8.5412, 47.3708)
SIGNED = re.compile(rb"[?&](oh|oe)(=|%3D)[0-9A-Za-z_]{6,}")


def forms_of(secret: str) -> set[bytes]:
    """Every way a secret is commonly written: plain, in addresses, in JSON, as base64."""
    forms = {secret, quote(secret, safe=""), quote(secret), quote(secret, safe="").lower()}
    forms |= {json.dumps(secret)[1:-1], secret.rsplit("|", maxsplit=1)[-1]}
    found = {form.encode() for form in forms} | {secret.encode("utf-16-le")}
    for shift in range(3):  # base64 of a longer text that holds the secret, at each alignment
        whole = base64.b64encode(b"x" * shift + secret.encode())
        found.add(whole[4:-8] if shift else whole[:-8])
    return found


def contents_of(file: Path) -> bytes:
    """A file's bytes, and what they say when they are unpacked."""
    body = file.read_bytes()
    if body[:2] == b"\x1f\x8b":
        return body + gzip.decompress(body)
    if body[:4] == b"PAR1":
        table = pq.read_table(file)
        return body + repr(table.schema).encode() + repr(table.to_pylist()).encode()
    return body


def leaks(folder: Path, said: bytes, needles: set[bytes]) -> list[str]:
    files = [p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()]
    assert files
    bodies = [(str(p.relative_to(folder)), contents_of(p)) for p in files]
    return [
        f"{name}: {needle!r}"
        for name, body in [*bodies, ("stdout and stderr", said)]
        for needle in needles
        if needle in body
    ]


class User:
    """Somebody at a terminal whose environment holds secrets; remembers what was printed."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.said = b""
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "CITYSPLAT_"))},
            "HOME": str(home),
            "CITYSPLAT_LOCAL_TOKEN": TOKEN,
            "CITYSPLAT_S3_KEY_ID": BUCKET_KEY,
            "CITYSPLAT_S3_SECRET": BUCKET_SECRET,
        }

    def runs(self, *arguments: object) -> int:
        done = subprocess.run(
            [CITYSPLAT, *map(str, arguments)],
            capture_output=True,
            check=False,
            env=self.environment,
            cwd=self.home,
            timeout=280,
        )
        self.said += done.stdout + done.stderr
        return done.returncode


def tell(server: RunningServer, what: str, **values: object) -> None:
    request = urllib.request.Request(  # noqa: S310 - our own server
        f"{server.url}/_emu/{what}", data=json.dumps(values).encode(), method="POST"
    )
    urllib.request.urlopen(request).close()  # noqa: S310


def new_city(user: User, server: RunningServer, name: str) -> Path:
    city = user.home / name
    assert user.runs("init", city, "--area", ",".join(map(str, BBOX))) == 0
    toml = city / "city.toml"
    source = f'tiles_url = "{server.url}"\ngraph_url = "{server.url}"\ntiles_per_min = 60000\n'
    text = toml.read_text().replace("[source]\n", f"[source]\n{source}")
    small = "[features]\nmax_features = 256\n\n[splat]\niterations = 10\nwidth_px = 64\n"
    backup = '[backup]\nendpoint_url = "http://127.0.0.1:9"\nbucket = "nowhere"\n'
    toml.write_text(f"{text}\n{small}\n{backup}")
    return city


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> User:
    """A user after a week of bad luck: a token refused, a block, faults, then a city."""
    user = User(tmp_path_factory.mktemp("home"))
    world = synthetic_world(SyntheticSpec(n_images=24, bbox=BBOX))
    config = ServerConfig(token=TOKEN)
    with run_in_thread(world, config, SyntheticScenes(size=(160, 120))) as server:
        refused = new_city(user, server, "refused")
        tell(server, "config", token="MLY|1|another")  # noqa: S106
        assert user.runs("run", "--city", refused, "--workers", "1") == 1
        tell(server, "config", token=TOKEN, p_cdn_html=0.2, p_cdn_500=0.2, p_graph_500=0.3)
        city = new_city(user, server, "city")
        user.runs("run", "--city", city, "--workers", "1")
        assert list(city.glob("artifacts/box_images/*/current"))
        user.runs("status", "--city", city)
        user.runs("backup", "--city", city)
        for ending in ("csv", "gpkg", "geojson", "parquet"):
            assert user.runs("export", city, "--out", user.home / f"photos.{ending}") == 0
        blocked = new_city(user, server, "blocked")
        tell(server, "config", tiles_ip_per_min=1)
        for _ in range(2):
            with_token = f"{server.url}/maps/vtp/mly1_public/2/14/0/0?access_token={quote(TOKEN)}"
            with urllib.request.urlopen(with_token) as answer:  # noqa: S310
                answer.read()
        assert user.runs("run", "--city", blocked, "--workers", "1") == 1
    assert b"refused the token" in user.said
    assert b"blocks this machine" in user.said
    return user


pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_no_form_of_the_token_is_in_any_file_or_output(user: User) -> None:
    assert leaks(user.home, user.said, forms_of(TOKEN)) == []


def test_no_form_of_the_bucket_s_keys_is_in_any_file_or_output(user: User) -> None:
    needles = forms_of(BUCKET_SECRET) | forms_of(BUCKET_KEY)
    assert leaks(user.home, user.said, needles) == []


def test_no_signed_address_of_a_photo_is_in_any_file_or_output(user: User) -> None:
    bodies = [contents_of(p) for p in user.home.rglob("*") if p.is_file()]
    assert [m.group() for body in [*bodies, user.said] for m in SIGNED.finditer(body)] == []


def test_the_search_finds_what_it_looks_for(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(f"x {TOKEN}".encode()))
    (tmp_path / "b").write_bytes(base64.b64encode(f"log: {TOKEN} end".encode()))
    (tmp_path / "c").write_bytes(quote(TOKEN, safe="").encode())
    found = leaks(tmp_path, b"", forms_of(TOKEN))
    assert {line.split(":")[0] for line in found} == {"a.gz", "b", "c"}
