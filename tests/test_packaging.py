"""What is shipped: files in the wheel, the lock, the pinned set, the CI's own check."""

import ast
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
LOCK_LINES = [
    line
    for line in (REPOSITORY / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
LOCK = dict(line.split("==") for line in LOCK_LINES)


def load_script(name: str):
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_lock_holds_names_and_versions_only():
    for line in LOCK_LINES:
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line), line
    assert sorted(LOCK_LINES) == LOCK_LINES
    assert len(LOCK) == len(LOCK_LINES)


def test_every_direct_dependency_is_locked_within_its_bounds():
    extras = PROJECT["project"]["optional-dependencies"]
    for text in [*PROJECT["project"]["dependencies"], *extras["dev"], *extras["learned"]]:
        requirement = Requirement(text)
        assert requirement.name in LOCK, f"{text}: run scripts/lock.sh"
        assert requirement.specifier.contains(LOCK[requirement.name]), text


OPTIONAL_IMPORTS = {"gsplat", "hloc", "h5py", "kornia"}


def third_party_imports(*folders: str) -> set[str]:
    own = {"citysplat_core", "citysplat_dagster", "conftest"}
    found = set()
    ours = (p for folder in folders for p in (REPOSITORY / folder).rglob("*.py"))
    ours = (p for p in ours if p.parent.name != "peers")  # run by interpreters of their own
    for path in (p for p in ours if not any(part.startswith(".") for part in p.parts)):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add((node.module or "").split(".")[0])
    return found - set(sys.stdlib_module_names) - own


def declared(*groups: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for group in groups for text in group}


def test_every_import_of_the_packages_is_a_declared_dependency():
    known = declared(PROJECT["project"]["dependencies"])
    owners = packages_distributions()
    for name in third_party_imports("citysplat_core", "citysplat_dagster") - OPTIONAL_IMPORTS:
        dists = {canonicalize_name(d) for d in owners.get(name, [name])}
        assert dists & known, f"import {name} ({sorted(dists)}) is not in pyproject.toml"


def test_every_import_of_the_tests_is_a_declared_dependency():
    extras = PROJECT["project"]["optional-dependencies"]
    known = declared(PROJECT["project"]["dependencies"], extras["dev"])
    own = ("tests", "benchmarks")
    local = {p.stem for name in own for p in (REPOSITORY / name).rglob("*.py")}
    local |= {p.name for p in (REPOSITORY / "tests").rglob("*") if p.is_dir()} | {"tests"}
    owners = packages_distributions()
    for name in third_party_imports("tests", "scripts", "benchmarks") - OPTIONAL_IMPORTS - local:
        dists = {canonicalize_name(d) for d in owners.get(name, [name])}
        assert dists & known, f"import {name} ({sorted(dists)}) is not in pyproject.toml"


def test_every_dependency_is_imported_or_is_a_program_that_we_start():
    started = {"dagster-webserver"}
    owners = packages_distributions()
    imported = {
        canonicalize_name(d)
        for name in third_party_imports("citysplat_core", "citysplat_dagster")
        for d in owners.get(name, [])
    }
    assert declared(PROJECT["project"]["dependencies"]) - started <= imported


def test_the_compose_file_and_the_image_name_what_exists():
    compose = yaml.safe_load((REPOSITORY / "docker" / "compose.yaml").read_text())
    assert set(compose["services"]) == {"webserver", "daemon"}
    for service in compose["services"].values():
        build = service["build"]
        assert (REPOSITORY / "docker" / build["context"] / build["dockerfile"]).is_file()
        assert service["volumes"] == ["cities:/cities"]
    for line in (REPOSITORY / "docker" / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY "):
            assert all((REPOSITORY / name).exists() for name in line.split()[1:-1]), line


def test_dagster_is_locked_as_one_set():
    names = ("dagster", "dagster-webserver", "dagster-graphql", "dagster-pipes", "dagster-shared")
    assert {LOCK[name] for name in names} == {LOCK["dagster"]}


@pytest.mark.parametrize("name", ["dagster", "pycolmap", "torch", "numba", "numpy"])
def test_the_tests_run_with_the_locked_versions(name):
    assert version(name).split("+")[0] == LOCK[name]


def test_the_workspace_names_the_code_location_that_pyproject_names():
    module = PROJECT["tool"]["dg"]["project"]["code_location_target_module"]
    assert f"module_name: {module}\n" in (REPOSITORY / "workspace.yaml").read_text()


@pytest.mark.slow
def test_the_wheel_holds_the_viewer_the_types_and_the_command(tmp_path):
    source = tmp_path / "source"  # building in place would leave, and ship again, a build/ folder
    for name in ("citysplat_core", "citysplat_dagster"):
        shutil.copytree(REPOSITORY / name, source / name)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source / name)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(source)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("citysplat-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        entry = next(n for n in names if n.endswith("entry_points.txt"))
        assert "citysplat = " in archive.read(entry).decode()
    assert "citysplat_core/py.typed" in names
    assert "citysplat_dagster/dagster.yaml" in names
    assert "citysplat_dagster/workspace.yaml" in names
    assert "citysplat_core/city/viewer_dist/index.html" in names
    assert any(n.endswith("/LICENSE") for n in names)
    assert {n.split("/")[0].split("-")[0] for n in names} == {
        "citysplat_core", "citysplat_dagster", "citysplat",
    }  # fmt: skip


GOOD = {
    "images_true": 40, "images_found": 40, "images_used": 38, "boxes": 2, "fringes": 1,
    "registered": 36, "components": 2, "splats": 2, "psnr_db": 21.5, "ssim": 0.7,
    "total_seconds": 300.0, "gps_residual_m": 1.2,
    "position_error_m": {"median": 0.5, "p90": 1.0},
    "pairs": {"spatial": {"proposed": 100, "verified": 60}},
    "stages": [{"name": "splat", "seconds": 10.0, "peak_rss_mb": 500.0}],
}  # fmt: skip


def test_a_complete_summary_passes():
    script = load_script("check_summary")
    assert script.find_problems(GOOD, min_boxes=2, min_fringes=1) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"splats": 0}, "splats is 0; expected a positive whole number"),
        ({"psnr_db": None}, "psnr_db is None; expected a finite number"),
        ({"psnr_db": float("nan")}, "psnr_db is nan"),
        ({"boxes": 1}, "1 boxes and 1 fringes"),
        ({"registered": 39}, "registered (39) is above images_used (38)"),
        ({"pairs": {}}, "pairs is {}"),
        ({"pairs": {"spatial": {"proposed": 1, "verified": 2}}}, "more verified than proposed"),
        ({"stages": [{"name": "splat"}]}, "lacks name, seconds or peak_rss_mb"),
        ({"position_error_m": {"median": 1.0}}, "expected finite median and p90"),
        ({"components": 0}, "components is 0"),
    ],
)
def test_a_summary_that_does_not_add_up_is_refused(change, message):
    script = load_script("check_summary")
    problems = script.find_problems({**GOOD, **change}, min_boxes=2, min_fringes=1)
    assert any(message in problem for problem in problems), problems


def test_the_summary_check_is_a_command_with_an_exit_status(tmp_path):
    path = tmp_path / "summary.json"
    script = REPOSITORY / "scripts" / "check_summary.py"
    for value, status in ((GOOD, 0), ({**GOOD, "splats": 0}, 1)):
        path.write_text(json.dumps(value))
        done = subprocess.run([sys.executable, script, path], check=False, capture_output=True)
        assert done.returncode == status


def test_the_lock_is_made_from_names_and_versions_without_local_tags():
    script = load_script("lock_from_report")
    packages = [("citysplat", "0.1.0"), ("torch", "2.13.0+cpu"), ("Some.Thing_x", "1.0")]
    packages += [("nvidia-cublas", "13.0"), ("triton", "3.0"), ("absl-py", "2")]
    report = {"install": [{"metadata": {"name": n, "version": v}} for n, v in packages]}
    assert script.lock_lines(report) == ["absl-py==2", "some-thing-x==1.0", "torch==2.13.0"]


def test_the_types_of_every_shipped_package_are_checked_strictly_before_a_change_lands():
    mypy = PROJECT["tool"]["mypy"]
    shipped = {p.parent.name for p in REPOSITORY.glob("*/__init__.py")}
    assert set(mypy["packages"]) == shipped
    assert mypy["strict"]
    assert "lint types" in (REPOSITORY / ".ci" / "run").read_text()
