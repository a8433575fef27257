"""The folder that all cities of one machine share: how often a host was asked, and its blocks."""

import os
from pathlib import Path

MACHINE_VARIABLE = "CITYSPLAT_MACHINE_DIR"


def machine_dir() -> Path:
    """Give the machine's folder.

    ``CITYSPLAT_MACHINE_DIR``, else ``citysplat`` in the user's state folder (``XDG_STATE_HOME``,
    by default ``~/.local/state``). Users who share a machine, and containers that share an
    address, need the same one: hosts count requests by address.
    """
    named = os.environ.get(MACHINE_VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "citysplat"
