"""The interface of a feature extractor, and the registry that finds one by name."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Final, Protocol

from citysplat_core.errors import FeatureError
from citysplat_core.settings import FeatureSettings


class FeatureBackend(Protocol):
    """Writes keypoints and descriptors of photos into a COLMAP database.

    Attributes:
        kinds: The descriptors that an image has when it is done: ``sift`` in COLMAP's own table,
            any other name in the table of learned ones (`features.learned_store`).
    """

    kinds: ClassVar[tuple[str, ...]]

    def extract(
        self,
        database: Path,
        photos: Path,
        names: Sequence[str],
        *,
        settings: FeatureSettings,
        n_threads: int,
    ) -> None:
        """Extract the features of some images that the database already lists.

        Must be safe to kill and to repeat: an image that has keypoints and descriptors is done.

        Args:
            database: COLMAP database with the images' rows.
            photos: Folder of the photos; an image's name is its file name there.
            names: Image names to work on.
            settings: The whole feature settings.
            n_threads: Threads to use.
        """


def _sift(conf: str) -> FeatureBackend:
    from citysplat_core.features.sift import SiftBackend

    _refuse_conf("sift", conf)
    return SiftBackend()


def _xfeat(conf: str) -> FeatureBackend:
    from citysplat_core.features.package_weights import need_learned

    need_learned()
    from citysplat_core.features.xfeat import XFeatBackend

    _refuse_conf("xfeat", conf)
    return XFeatBackend()


def _hybrid(conf: str) -> FeatureBackend:
    from citysplat_core.features.package_weights import need_learned

    need_learned()
    from citysplat_core.features.hybrid import HybridBackend

    _refuse_conf("hybrid", conf)
    return HybridBackend()


def _refuse_conf(name: str, conf: str) -> None:
    if conf:
        raise FeatureError(
            f"feature backend {name} was asked for configuration {conf!r}",
            expected=f"{name} without a configuration",
            fix=f'Set features.backend = "{name}" in city.toml.',
        )


def _hloc(conf: str) -> FeatureBackend:
    from citysplat_core.features.hloc_adapter import HlocBackend

    return HlocBackend(conf)


BACKENDS: Final[dict[str, Callable[[str], FeatureBackend]]] = {
    "sift": _sift,
    "xfeat": _xfeat,
    "hybrid": _hybrid,
    "hloc": _hloc,
}
"""Family name to a function that makes a backend from the part of the name after the colon."""


def backend_named(name: str) -> FeatureBackend:
    """Make the backend that a setting names, as ``family`` or ``family:configuration``.

    Raises:
        FeatureError: No such backend, or what it needs is not installed.
    """
    family, _, conf = name.partition(":")
    if family not in BACKENDS:
        raise FeatureError(
            f"feature backend {name!r} is unknown",
            expected=f"one of {', '.join(sorted(BACKENDS))}",
            fix="Correct features.backend in city.toml.",
        )
    return BACKENDS[family](conf)
