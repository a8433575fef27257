"""The global and the hierarchical mapper in a process of their own.

COLMAP cannot stop them, ending the process can. Run as a script; it imports nothing of the
package, so that it starts fast. The job is one line of JSON on standard input, which the parent
keeps open: when it closes, the parent is gone, and so is this process.
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
        job: ``mapper`` (``global`` or ``hierarchical``), ``database``, ``photos``, ``out`` (paths),
            and ``options`` of ``pycolmap.GlobalPipelineOptions`` with ``keeps_intrinsics``, or of
            ``pycolmap.HierarchicalPipelineOptions``. ``models`` appears whole or not at all.
    """
    out = Path(job["out"])
    raw, part = out / "raw", out / "part"
    raw.mkdir()
    part.mkdir()
    run = _hierarchical if job["mapper"] == "hierarchical" else _global
    for number, model in run(job, raw).items():
        (part / str(number)).mkdir()
        model.write(part / str(number))
    part.rename(out / "models")


def _global(job: Mapping[str, Any], raw: Path) -> dict[int, pycolmap.Reconstruction]:
    options = pycolmap.GlobalPipelineOptions(**job["options"])
    if job["keeps_intrinsics"]:
        options.mapper.bundle_adjustment.refine_focal_length = False
        options.mapper.bundle_adjustment.refine_extra_params = False
    return pycolmap.global_mapping(job["database"], job["photos"], raw, options)


def _hierarchical(job: Mapping[str, Any], raw: Path) -> dict[int, pycolmap.Reconstruction]:
    options = pycolmap.HierarchicalPipelineOptions()
    told = dict(job["options"])
    incremental = told["incremental_options"]
    for each in (incremental, incremental["mapper"]):
        each["constant_cameras"] = set(each["constant_cameras"])  # JSON knows no sets
    options.mergedict(told)
    return pycolmap.hierarchical_mapping(job["database"], job["photos"], raw, options)


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    told = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    pycolmap.logging.minloglevel = told["log_level"]
    solve(told)
