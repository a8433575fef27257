"""hloc's matchers, where hloc is installed: features go out and matches come back as files."""

import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from citysplat_core.errors import MatchingError
from citysplat_core.features import connected
from citysplat_core.features.hloc_adapter import INSTALL
from citysplat_core.features.hloc_files import export_features, find_rows, opened_h5

_PREFIX: Final = "hloc:"


class HlocMatcher:
    """One of hloc's matcher configurations, as ``superpoint+lightglue`` or ``disk+lightglue``.

    Args:
        conf: Name of the configuration in ``hloc.match_features.confs``.

    Raises:
        MatchingError: hloc is not installed.
    """

    def __init__(self, conf: str) -> None:
        """Refuse at once what cannot work."""
        if find_spec("hloc") is None or find_spec("h5py") is None:
            raise MatchingError(
                f"matcher {_PREFIX}{conf} was asked for and hloc is not installed",
                expected="the packages hloc and h5py",
                fix=f'Install it with `{INSTALL}`, or set matching.matcher = "auto".',
            )
        self._conf = conf

    def match(
        self, database: Path, pairs: Sequence[tuple[int, int]], *, n_threads: int
    ) -> Mapping[tuple[int, int], NDArray[np.uint32]]:
        """Match image pairs by hloc.

        Args:
            database: Feature database whose features came from hloc; it is only read.
            pairs: Colmap ids of the two images.
            n_threads: Threads over which torch splits an operation on the CPU; another number can
                change last digits.

        Returns:
            For every pair the rows of the two images' keypoints, shape (M, 2).

        Raises:
            MatchingError: hloc has no such configuration.
        """
        from hloc import match_features

        from citysplat_core.features.torch_threads import split_over

        if self._conf not in match_features.confs:
            raise MatchingError(
                f"hloc has no matcher {self._conf!r}",
                expected=f"one of {', '.join(sorted(match_features.confs))}",
                fix="Correct matching.matcher in city.toml.",
            )
        with connected(database, read_only=True) as connection:
            names = dict(connection.execute("SELECT image_id, name FROM images"))
        wanted = {names[key] for pair in pairs for key in pair}
        with tempfile.TemporaryDirectory(dir=database.parent) as place:
            folder = Path(place)
            export_features(database, folder / "features.h5", names=wanted)
            lines = "".join(f"{names[a]} {names[b]}\n" for a, b in pairs)
            (folder / "pairs.txt").write_text(lines)
            with split_over(n_threads):
                match_features.main(
                    match_features.confs[self._conf],
                    folder / "pairs.txt",
                    features=folder / "features.h5",
                    matches=folder / "matches.h5",
                )
            with opened_h5(folder / "matches.h5") as file:
                return {(a, b): find_rows(file, (names[a], names[b])) for a, b in pairs}
