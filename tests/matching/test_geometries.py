import sqlite3
from contextlib import closing

import pytest

from citysplat_core.matching.geometries import fit_geometries, forget_geometries
from citysplat_core.matching.verify import match_pairs
from citysplat_core.settings import MatchingSettings

GEOMETRIES = "SELECT * FROM two_view_geometries ORDER BY pair_id"


def rows_of(database):
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(GEOMETRIES).fetchall()


@pytest.mark.parametrize("n_threads", [1, 3])
def test_geometries_fitted_to_matches_are_those_of_colmaps_matching(street, box_of, n_threads):
    _, features = box_of("a", street.cameras(), street)
    database, settings = features / "features.db", MatchingSettings()
    # From next ones to photos that share nothing.
    pairs = [(101, 101 + step) for step in range(1, 12)]
    match_pairs(database, pairs)
    expected = rows_of(database)
    assert {row[1] > 0 for row in expected} == {True, False}
    forget_geometries(database, pairs)
    assert rows_of(database) == []
    fit_geometries(database, pairs, settings, n_threads=n_threads)
    assert rows_of(database) == expected
    fit_geometries(database, pairs[:3], settings, n_threads=n_threads)
    assert rows_of(database) == expected


def test_a_pair_without_matches_counts_as_tried(street, box_of):
    _, features = box_of("a", street.cameras(), street)
    fit_geometries(features / "features.db", [(101, 102)], MatchingSettings(), n_threads=1)
    ((*_, rows),) = [row[:2] for row in rows_of(features / "features.db")]
    assert rows == 0
