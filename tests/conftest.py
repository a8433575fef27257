"""What the tests need from the machine: said in the header, skipped with a reason."""

import contextlib
import json
import os
import platform
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
KEY_ID, SECRET_KEY = "test-key-id", "test-secret-key"
LIBRARIES = ("dagster", "pycolmap", "torch", "numpy", "numba", "gsplat")


@cache
def chromium_path() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CITYSPLAT_CHROMIUM") or next(
        filter(None, map(shutil.which, names)), None
    )


def real_data_path() -> Path:
    default = REPOSITORY.parent / "shared" / "data"
    return Path(os.environ.get("CITYSPLAT_REAL_DATA", default))


@cache
def has_cuda() -> bool:
    """Ask the driver, not torch: importing torch costs seconds in every test run."""
    return shutil.which("nvidia-smi") is not None and find_spec("gsplat") is not None


def pytest_report_header() -> list[str]:
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} missing")
    machine = (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, "
        f"cuda {'yes' if has_cuda() else 'no'}, chromium {chromium_path() or 'no'}, "
        f"real data {'yes' if real_data_path().is_dir() else 'no'}"
    )
    return [f"citysplat: {', '.join(found)}", f"machine: {machine}"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    must_browse = os.environ.get("CITYSPLAT_REQUIRE_CHROMIUM") == "1"
    for item in items:
        if item.get_closest_marker("browser") and not chromium_path() and not must_browse:
            item.add_marker(pytest.mark.skip(reason="no Chromium: scripts/system-packages.sh test"))
        if item.get_closest_marker("cuda") and not has_cuda():
            item.add_marker(pytest.mark.skip(reason="no CUDA device, or gsplat is not installed"))


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the browser; with CITYSPLAT_REQUIRE_CHROMIUM=1 a missing one is a failure."""
    path = chromium_path()
    if path is None:
        pytest.fail("Chromium is required and was not found: scripts/system-packages.sh test")
    return path


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with the real photo sets, which are never part of the repository."""
    path = real_data_path()
    if not path.is_dir():
        pytest.skip(f"no real photos at {path}; set CITYSPLAT_REAL_DATA")
    return path


@pytest.fixture(scope="session", autouse=True)
def _own_machine_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Requests of tests are not counted among those of the user who runs them."""
    os.environ["CITYSPLAT_MACHINE_DIR"] = str(tmp_path_factory.mktemp("machine"))


@dataclass(frozen=True)
class S3Server:
    endpoint_url: str
    key_id: str
    secret: str
    bucket: str


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server (SeaweedFS) on loopback, with one bucket; a development dependency."""
    for tries_left in (2, 1, 0):
        folder, ports = tmp_path_factory.mktemp("seaweedfs"), free_ports(4)
        server = start_weed(folder, ports)
        found = S3Server(f"http://127.0.0.1:{ports[3]}", KEY_ID, SECRET_KEY, "city")
        try:
            if not make_bucket_when_up(found, server):
                # Somebody took one of the ports between looking and starting.
                assert tries_left, f"no S3 server:\n{(folder / 'log').read_text()[-3000:]}"
                continue
            yield found
            return
        finally:
            server.kill()  # a polite end takes it 25 s, and its data is thrown away
            server.wait()
            remove_sockets(ports)


def start_weed(folder: Path, ports: list[int]) -> subprocess.Popen[bytes]:
    (folder / "data").mkdir()
    key = {"accessKey": KEY_ID, "secretKey": SECRET_KEY}
    identity = {"name": "tests", "credentials": [key], "actions": ["Admin"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(weed_command(folder, ports), stdout=log, stderr=log, cwd=folder)


def remove_sockets(ports: list[int]) -> None:
    for port in (*ports, *(port + 10_000 for port in ports)):
        for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108 - where it puts them
            left.unlink(missing_ok=True)


def weed_command(folder: Path, ports: list[int]) -> list[str]:
    master, volume, filer, s3 = ports
    return [
        str(Path(sys.executable).with_name("weed")),
        "server",
        f"-dir={folder / 'data'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-master.port={master}",
        "-master.volumeSizeLimitMB=64",
        "-master.telemetry=false",
        f"-volume.port={volume}",
        "-volume.max=20",
        "-filer=true",
        f"-filer.port={filer}",
        "-s3",
        f"-s3.port={s3}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.config={folder / 's3.json'}",
    ]


def free_ports(count: int) -> list[int]:
    """Ports p that are free together with p + 10000, where SeaweedFS puts its gRPC."""
    found: list[int] = []
    while len(found) < count:
        candidate = random.SystemRandom().randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", candidate))
            two.bind(("127.0.0.1", candidate + 10_000))
            found.append(candidate)
    return found


def make_bucket_when_up(found: S3Server, server: subprocess.Popen[bytes]) -> bool:
    """Wait for the server and make its bucket; False if the server ended."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.client(
        "s3",
        endpoint_url=found.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=found.key_id,
        aws_secret_access_key=found.secret,
    )
    deadline = time.monotonic() + 120
    while server.poll() is None and time.monotonic() < deadline:
        try:
            client.create_bucket(Bucket=found.bucket)
            client.put_object(Bucket=found.bucket, Key="up", Body=b"up")
            client.delete_object(Bucket=found.bucket, Key="up")
        except (BotoCoreError, ClientError):
            time.sleep(0.3)
        else:
            client.close()
            return server.poll() is None
    return False
