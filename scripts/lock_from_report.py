"""Turn pip's installation report into a constraints file.

Usage: ``python scripts/lock_from_report.py report.json constraints.txt``
"""

import json
import platform
import re
import sys
from pathlib import Path

OWN_NAME = "citysplat"
# torch pins its CUDA libraries itself; a CPU build has none, and one lock serves both.
PINNED_BY_TORCH = re.compile(r"^(nvidia-|cuda-|triton$)")


def lock_lines(report: dict[str, object]) -> list[str]:
    """List ``name==version`` for everything that would be installed, sorted by name.

    Args:
        report: pip's installation report, format version 1.

    Returns:
        Lines without local version tags, without our own package.
    """
    lines = []
    for item in report["install"]:  # type: ignore[attr-defined]
        meta = item["metadata"]
        name = re.sub(r"[-_.]+", "-", meta["name"]).lower()
        if name != OWN_NAME and not PINNED_BY_TORCH.match(name):
            lines.append(f"{name}=={meta['version'].split('+')[0]}")
    return sorted(lines)


def main(report_path: Path, target: Path) -> None:
    """Write the constraints file and say how many packages it pins."""
    lines = lock_lines(json.loads(report_path.read_text()))
    header = [
        "# Exact versions that the tests and the demo ran with. Written by scripts/lock.sh.",
        f"# Python {platform.python_version()}, {platform.system()} {platform.machine()}.",
        "# torch: the default index serves a CUDA build for Linux; see README for the CPU build.",
    ]
    target.write_text("\n".join([*header, *lines]) + "\n")
    print(f"{target}: {len(lines)} packages")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
