"""Opening a SQLite file that several processes share, with errors that say what to do."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from citysplat_core.errors import StorageError

_WAIT_S = 60.0


@contextmanager
def sqlite_file(path: Path, *, purpose: str, fix: str) -> Iterator[sqlite3.Connection]:
    """Open a SQLite file for the length of a block.

    Statements take effect one by one unless the block begins a transaction; one that it does not
    commit is undone. Writers of other processes are waited for, up to a minute.

    Args:
        path: The file; made when missing.
        purpose: What it is for, after "cannot be used".
        fix: What a user does when the file is damaged.

    Yields:
        The connection, in autocommit mode.

    Raises:
        StorageError: The file is damaged, locked for too long, or the disk is full.
    """
    try:
        with closing(sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)) as connection:
            yield connection
    except sqlite3.DatabaseError as error:
        raise StorageError(
            f"{path} cannot be used {purpose} ({error})",
            expected="a SQLite file written by CitySplat, on a disk with free space",
            fix=fix,
        ) from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Make the statements of a block take effect together, or none if it raises.

    Args:
        connection: From ``sqlite_file``; other processes' writers are waited for.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.execute("COMMIT")


def create_tables(connection: sqlite3.Connection, *statements: str) -> None:
    """Run ``CREATE ... IF NOT EXISTS`` statements; processes that start together may all do it.

    The journal stays SQLite's own: switching it (to WAL) fails at once where others are writing.

    Args:
        connection: An open file.
        statements: The statements, one each.
    """
    with transaction(connection):
        for statement in statements:
            connection.execute(statement)
