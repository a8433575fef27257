"""Matchers by name: descriptors of two images in, pairs of keypoint rows out.

COLMAP's SIFT matcher is the default and works inside the database. Learned features have a matcher
of their own. An image that has both kinds is matched by both, and geometry is verified on the
union.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import pycolmap
from numpy.typing import NDArray

from citysplat_core.errors import MatchingError
from citysplat_core.features import connected, kinds_of, pair_id_of

Pair = tuple[int, int]


class Matcher(Protocol):
    """Finds the matches of image pairs from the descriptors in a database."""

    def match(
        self, database: Path, pairs: Sequence[Pair], *, n_threads: int
    ) -> Mapping[Pair, NDArray[np.uint32]]:
        """Match image pairs; nothing is written.

        Args:
            database: Feature database; it is only read.
            pairs: Colmap ids of the two images, each image with keypoints.
            n_threads: Pairs at a time; the result does not depend on it.

        Returns:
            For every pair the rows of the two images' keypoints, shape (M, 2).
        """


def _lighterglue() -> Matcher:
    from citysplat_core.matching.lighterglue import LighterGlueMatcher

    return LighterGlueMatcher()


MATCHERS: Final[dict[str, Callable[[], Matcher]]] = {"lighterglue": _lighterglue}
"""Matcher name to a function that makes it. ``sift`` is COLMAP's own and needs none."""
_MATCHER_OF: Final = {"sift": "sift", "xfeat": "lighterglue"}


def matchers_for(database: Path, name: str) -> tuple[str, ...]:
    """Say which matchers work on a database.

    Args:
        database: Feature database of the images that will be matched.
        name: ``auto`` (one for each kind of features that is there), ``sift``, ``lighterglue``, or
            ``hloc:CONFIGURATION`` for features of hloc.

    Returns:
        Names, ``sift`` first.

    Raises:
        MatchingError: No such matcher, or the database lacks the descriptors that it takes.
    """
    _refuse_bare_keypoints(database)
    kinds = kinds_of(database)
    if ("hloc" in kinds) != name.startswith("hloc:"):
        raise MatchingError(
            f"matcher {name} was asked for and the features are {' and '.join(kinds) or 'none'}",
            expected="a matcher of hloc for learned features of hloc, and for no others",
            fix='Set matching.matcher = "hloc:NAME" together with features.backend = "hloc:NAME",'
            ' else "auto".',
        )
    if name.startswith("hloc:"):
        return (name,)
    there = tuple(_MATCHER_OF[kind] for kind in kinds if kind in _MATCHER_OF)
    if name == "auto":
        return there or ("sift",)
    if name != "sift" and name not in MATCHERS:
        raise MatchingError(
            f"matcher {name!r} is unknown",
            expected=f"auto, sift or one of {', '.join(sorted(MATCHERS))}",
            fix="Correct matching.matcher in city.toml.",
        )
    if there and name not in there:
        raise MatchingError(
            f"matcher {name} was asked for and the features are for {' and '.join(there)}",
            expected="features that the matcher takes",
            fix='Set matching.matcher = "auto", or change features.backend in city.toml.',
        )
    return (name,)


def _refuse_bare_keypoints(database: Path) -> None:
    """Keypoints without any descriptors would match nothing, which looks like an empty box."""
    query = "SELECT 1 FROM keypoints WHERE rows > 0 LIMIT 1"
    with connected(database, read_only=True) as connection:
        has_keypoints = connection.execute(query).fetchone() is not None
    if has_keypoints and not kinds_of(database):
        raise MatchingError(
            f"{database.name} has keypoints and no descriptors",
            expected="descriptors of at least one kind",
            fix="Run again; if it stays, materialize box_features again.",
        )


def matcher_named(name: str) -> Matcher:
    """Make a matcher other than ``sift``: a name of `MATCHERS`, or ``hloc:CONFIGURATION``.

    Raises:
        MatchingError: hloc is asked for and not installed.
        FeatureError: The extra ``learned`` is not installed.
    """
    if name.startswith("hloc:"):
        from citysplat_core.matching.hloc_matcher import HlocMatcher

        return HlocMatcher(name.removeprefix("hloc:"))
    return MATCHERS[name]()


def add_matches(
    database: Path,
    pairs: Sequence[Pair],
    matcher: Matcher,
    *,
    n_threads: int,
) -> None:
    """Match pairs and put what is found behind the matches that the database has for them.

    Args:
        database: Feature database that nobody else has open.
        pairs: Colmap ids of the two images.
        matcher: What finds them.
        n_threads: Pairs at a time.
    """
    found = matcher.match(database, pairs, n_threads=n_threads)
    with (
        pycolmap.Database.open(database) as opened,
        pycolmap.DatabaseTransaction(opened),
    ):
        for pair, rows in found.items():
            before = np.zeros((0, 2), dtype=np.uint32)
            if opened.exists_matches(*pair):
                before = opened.read_matches(*pair)
                opened.delete_matches(*pair)
            opened.write_matches(*pair, np.vstack([before, rows]).astype(np.uint32))


def clear_matches(database: Path, pairs: Sequence[Pair]) -> None:
    """Delete raw matches of pairs; a killed run may have left those of one matcher only."""
    keys = [(pair_id_of(*pair),) for pair in pairs]
    with connected(database) as connection:
        connection.executemany("DELETE FROM matches WHERE pair_id = ?", keys)
