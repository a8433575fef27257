"""The built page that shows a city, shipped with the package."""

import shutil
from importlib.resources import as_file, files
from pathlib import Path

from citysplat_core.errors import ViewerError


def copy_viewer(out: Path) -> list[str]:
    """Copy the page into a city's folder.

    Args:
        out: The folder that holds ``city.json``.

    Returns:
        What was copied, relative paths, sorted.

    Raises:
        ViewerError: The installed package lacks the built page.
    """
    with as_file(files("citysplat_core.city") / "viewer_dist") as built:
        if not (built / "index.html").is_file():
            raise ViewerError(
                f"{built} has no index.html",
                expected="the built viewer inside the package",
                fix="Install citysplat from a wheel or a full checkout, "
                "or run `npm ci && npm run build` in viewer/.",
            )
        shutil.copytree(built, out, dirs_exist_ok=True)
        return sorted(str(p.relative_to(built)) for p in built.rglob("*") if p.is_file())
