"""hloc's file formats, both ways: ``features.h5``, ``matches.h5`` and ``pairs.txt``.

What another program extracted or matched can be used here, and what was made here there. hloc puts
(0, 0) at the centre of the first pixel, COLMAP at its corner: 0.5 is added on the way in and taken
off on the way out. Only h5py is needed, not hloc.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import pycolmap
from numpy.typing import NDArray

from citysplat_core.errors import FeatureError
from citysplat_core.features.database import connected
from citysplat_core.features.learned_store import has_table, read_features
from citysplat_core.storage import published

_MOST: Final = 32767
"""Keypoints an image may have: hloc stores match rows in 16 bits."""
_UNIT: Final = 512.0
"""Length of a SIFT descriptor in COLMAP's bytes."""


@contextmanager
def opened_h5(path: Path, mode: str = "r") -> Iterator[Any]:
    """Open an HDF5 file.

    Raises:
        FeatureError: h5py is not installed, or the file is none of HDF5.
    """
    if find_spec("h5py") is None:
        raise FeatureError(
            f"{path.name} is an HDF5 file and h5py is not installed",
            expected="the package h5py",
            fix="Run `pip install 'citysplat[hloc]'`.",
        )
    import h5py

    try:
        file = h5py.File(path, mode)
    except OSError as error:
        raise FeatureError(
            f"{path} cannot be opened as HDF5: {error}",
            expected="a whole file as hloc writes it",
            fix="Make it again.",
        ) from error
    with file:
        yield file


@contextmanager
def _written_h5(out: Path) -> Iterator[Any]:
    """Write an HDF5 file that takes its name only when the block ends well."""
    part = out.with_name(f".{out.name}.part")
    try:
        with opened_h5(part, "w") as file:
            yield file
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)


def export_features(database: Path, out: Path, *, names: Collection[str] | None = None) -> int:
    """Write keypoints and descriptors of a feature database as hloc's ``features.h5``.

    Keypoints are float32 (hloc's own default of 16 bits is a grid of one pixel above 1024 px).
    Where an image has both kinds, only SIFT or only learned descriptors would fit its rows: then
    keypoints are written without descriptors.

    Args:
        database: ``features.db`` of a box, or any COLMAP database with keypoints.
        out: The file to make; replaced if it exists.
        names: Images to write; None for all.

    Returns:
        How many images were written.

    Raises:
        FeatureError: h5py is not installed, or an image has more keypoints than hloc can count.
    """
    query = (
        "SELECT i.image_id, i.name, c.width, c.height FROM images i"
        " JOIN cameras c ON i.camera_id = c.camera_id ORDER BY i.image_id"
    )
    with _written_h5(out) as file, connected(database, read_only=True) as connection:
        images = connection.execute(query).fetchall()
        images = [row for row in images if names is None or row[1] in names]
        learned = has_table(connection)
        for image_id, name, width, height in images:
            points, sift = _read_image(connection, image_id)
            if len(points) > _MOST:
                raise FeatureError(
                    f"{name} has {len(points)} keypoints",
                    expected=f"at most {_MOST}, which hloc's 16-bit match rows can name",
                    fix="Lower features.max_features in city.toml.",
                )
            own = read_features(connection, image_id) if learned else None
            group = file.create_group(name)
            group["keypoints"] = points - np.float32(0.5)
            group["keypoints"].attrs["uncertainty"] = 1.0
            group["image_size"] = np.array([width, height])
            group["scores"] = np.linspace(1, 0, len(points), endpoint=False, dtype=np.float32)
            for values in (sift, own.descriptors if own else None):
                if values is not None and len(values) == len(points):
                    group["descriptors"] = np.ascontiguousarray(values.T)
                    break
    return len(images)


def _read_image(
    connection: Any,  # noqa: ANN401 - sqlite3
    image_id: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    query = "SELECT rows, cols, data FROM {} WHERE image_id = ?"
    rows, columns, data = connection.execute(query.format("keypoints"), (image_id,)).fetchone() or (
        0,
        2,
        b"",
    )
    points = np.frombuffer(data or b"", dtype=np.float32).reshape(rows, columns)[:, :2]
    found = connection.execute(query.format("descriptors"), (image_id,)).fetchone()
    if found is None or not found[0]:
        return points, None
    values = np.frombuffer(found[2], dtype=np.uint8).reshape(found[0], found[1])
    return points, np.asarray(values / np.float32(_UNIT), dtype=np.float32)


def export_matches(database: Path, matches: Path, pairs: Path) -> int:
    """Write verified matches of a database as hloc's ``matches.h5`` and ``pairs.txt``.

    Args:
        database: ``matches.db`` of a box or fringe: its inlier matches are written.
        matches: The HDF5 file to make; replaced if it exists.
        pairs: The list of pairs to make, ``name0 name1`` a line.

    Returns:
        How many pairs were written.

    Raises:
        FeatureError: h5py is not installed.
    """
    with pycolmap.Database.open(database) as opened:
        names = {image.image_id: image.name for image in opened.read_all_images()}
        n_points = {key: opened.num_keypoints_for_image(key) for key in names}
        keys, geometries = opened.read_two_view_geometries()
    lines = []
    with _written_h5(matches) as file:
        for key, geometry in zip(keys, geometries, strict=True):
            rows = np.asarray(geometry.inlier_matches, dtype=np.int64).reshape(-1, 2)
            if not len(rows):
                continue
            first, second = pycolmap.pair_id_to_image_pair(key)
            partner = np.full(n_points[first], -1, dtype=np.int16)
            partner[rows[:, 0]] = rows[:, 1]
            group = file.create_group(_pair_key(names[first], names[second]))
            group["matches0"] = partner
            group["matching_scores0"] = (partner >= 0).astype(np.float16)
            lines.append(f"{names[first]} {names[second]}\n")
    with published(pairs) as stream:
        stream.write("".join(lines).encode())
    return len(lines)


def _pair_key(first: str, second: str, joint: str = "/") -> str:
    """Name a pair's group as hloc does."""
    return joint.join(name.replace("/", "-") for name in (first, second))


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Read hloc's ``pairs.txt``.

    Raises:
        FeatureError: A line is not two names.
    """
    pairs = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        names = line.split()
        if names and len(names) != 2:
            raise FeatureError(
                f"line {number} of {path.name} is {line!r}",
                expected="two image names with a space between them",
                fix="Correct the file.",
            )
        if names:
            pairs.append((names[0], names[1]))
    return pairs


def import_matches(matches: Path, database: Path, pairs: Sequence[tuple[str, str]]) -> int:
    """Put the matches of hloc's ``matches.h5`` into a database, unverified.

    Verify them afterwards, as with ``pycolmap.verify_matches(database, pairs_path)``.

    Args:
        matches: hloc's file; a pair may stand in it in either order, also under hloc's older
            names.
        database: A database with the images and the keypoints that were matched; pairs that have
            matches there are passed over.
        pairs: Image names, as `read_pairs` gives them.

    Returns:
        How many matches were written.

    Raises:
        FeatureError: h5py is not installed, a pair or image is missing, or a match names a keypoint
            that is not there: the matches are of other features.
    """
    written = 0
    with (
        opened_h5(matches) as file,
        pycolmap.Database.open(database) as opened,
        pycolmap.DatabaseTransaction(opened),
    ):
        ids = {image.name: image.image_id for image in opened.read_all_images()}
        counts = {key: opened.num_keypoints_for_image(key) for key in ids.values()}
        for pair in pairs:
            unknown = [name for name in pair if name not in ids]
            if unknown:
                raise FeatureError(
                    f"photo {unknown[0]} is not in {database.name}",
                    expected="pairs of photos of this database",
                    fix="Correct the list of pairs.",
                )
            rows = find_rows(file, pair)
            key = (ids[pair[0]], ids[pair[1]])
            if len(rows) and (rows.max(axis=0) >= [counts[key[0]], counts[key[1]]]).any():
                raise FeatureError(
                    f"matches of {pair[0]} and {pair[1]} name keypoint rows {rows.max(axis=0)}"
                    f" of {counts[key[0]]} and {counts[key[1]]}",
                    expected="matches of the keypoints in the database",
                    fix="Import the features.h5 that these matches were made from.",
                )
            if not opened.exists_matches(*key):
                opened.write_matches(*key, rows)
                written += len(rows)
    return written


def find_rows(file: Any, pair: tuple[str, str]) -> NDArray[np.uint32]:  # noqa: ANN401 - h5py
    """Find a pair's matches under any of the names hloc has used; rows in the pair's order.

    Args:
        file: An open ``matches.h5``.
        pair: The two image names.

    Returns:
        Rows of the two images' keypoints, shape (M, 2).

    Raises:
        FeatureError: The pair is not in the file.
    """
    for joint in ("/", "_"):
        for turned in (False, True):
            key = _pair_key(*(pair[::-1] if turned else pair), joint)
            if key in file:
                partner = np.asarray(file[key]["matches0"][()], dtype=np.int64)
                first = np.flatnonzero(partner >= 0)
                rows = np.stack([first, partner[first]], axis=1).astype(np.uint32)
                return rows[:, ::-1].copy() if turned else rows
    raise FeatureError(
        f"the pair {pair[0]} {pair[1]} is not in {Path(file.filename).name}",
        expected="a group for every pair",
        fix="Run hloc's matcher on the list of pairs again.",
    )
