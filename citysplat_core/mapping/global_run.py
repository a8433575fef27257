"""The global mapper in a process of its own: COLMAP cannot stop it, ending the process can.

Run as a script; it imports nothing of the package, so that it starts fast. The job is one line of
JSON on standard input, which the parent keeps open: when it closes, the parent is gone, and so is
this process.
"""

import json
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pycolmap


def solve(job: Mapping[str, Any]) -> None:
    """Map a database and leave the models, a folder each, under ``models`` of ``out``.

    Args:
        job: ``database``, ``photos``, ``out`` (paths), ``keeps_intrinsics``, and ``options`` of
            ``pycolmap.GlobalPipelineOptions``. ``models`` appears whole or not at all.
    """
    options = pycolmap.GlobalPipelineOptions(**job["options"])
    if job["keeps_intrinsics"]:
        options.mapper.bundle_adjustment.refine_focal_length = False
        options.mapper.bundle_adjustment.refine_extra_params = False
    out = Path(job["out"])
    raw, part = out / "raw", out / "part"
    raw.mkdir()
    part.mkdir()
    models = pycolmap.global_mapping(job["database"], job["photos"], raw, options)
    for number, model in models.items():
        (part / str(number)).mkdir()
        model.write(part / str(number))
    part.rename(out / "models")


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    told = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    pycolmap.logging.minloglevel = told["log_level"]
    solve(told)
