import sqlite3
import time
from concurrent.futures import ProcessPoolExecutor

import pytest

from citysplat_core.errors import StorageError
from citysplat_core.imagery.sqlite_file import create_tables, sqlite_file, transaction


def make_and_fill(job):
    path, number, start = job
    time.sleep(max(0.0, start - time.time()))
    with sqlite_file(path, purpose="in a test", fix="None.") as connection:
        create_tables(connection, "CREATE TABLE IF NOT EXISTS t (n INTEGER)")
        connection.execute("INSERT INTO t VALUES (?)", (number,))


def test_processes_that_start_together_share_one_new_file(tmp_path):
    with ProcessPoolExecutor(4) as pool:
        list(pool.map(abs, range(4)))  # the workers are up before the race begins
        for attempt in range(6):
            path, start = tmp_path / f"{attempt}.sqlite", time.time() + 0.05
            list(pool.map(make_and_fill, [(path, n, start) for n in range(4)]))
            with sqlite_file(path, purpose="in a test", fix="None.") as connection:
                rows = connection.execute("SELECT n FROM t ORDER BY n").fetchall()
            assert rows == [(0,), (1,), (2,), (3,)]


def test_what_is_not_committed_is_undone(tmp_path):
    path = tmp_path / "a.sqlite"
    with sqlite_file(path, purpose="in a test", fix="None.") as connection:
        create_tables(connection, "CREATE TABLE t (n INTEGER)")

    def half_done():
        with sqlite_file(path, purpose="in a test", fix="None.") as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO t VALUES (1)")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half_done()
    with sqlite_file(path, purpose="in a test", fix="None.") as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_a_transaction_takes_effect_whole_or_not_at_all_and_its_file_goes_on(tmp_path):
    with sqlite_file(tmp_path / "a.sqlite", purpose="in a test", fix="None.") as connection:
        create_tables(connection, "CREATE TABLE t (n INTEGER)")
        with pytest.raises(KeyError), transaction(connection):  # noqa: PT012
            connection.execute("INSERT INTO t VALUES (1)")
            raise KeyError
        with transaction(connection):
            connection.execute("INSERT INTO t VALUES (2)")
            connection.execute("INSERT INTO t VALUES (3)")
        assert connection.execute("SELECT n FROM t").fetchall() == [(2,), (3,)]


def test_a_damaged_file_says_what_to_do(tmp_path):
    (tmp_path / "a.sqlite").write_bytes(b"no database" * 200)

    def read():
        with sqlite_file(tmp_path / "a.sqlite", purpose="in a test", fix="Delete it.") as found:
            found.execute("SELECT * FROM t")

    with pytest.raises(StorageError, match=r"cannot be used in a test .*Delete it\.") as caught:
        read()
    assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)
