#!/usr/bin/env bash
# Write constraints.txt: the exact version of everything that `citysplat[dev,learned]` pulls in.
#
#   scripts/lock.sh            resolve again, keeping the present pins where they still fit
#   scripts/lock.sh --upgrade  resolve without the present pins
#
# Nothing is installed: pip resolves and reports, and the report becomes the lock. It holds names
# and versions only (no index, no path), so it is valid with any index, and local build tags such
# as torch's `+cpu` are dropped, so it is valid for CPU and CUDA builds alike.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-.venv/bin/python}
report=$(mktemp)
trap 'rm -f "$report"' EXIT

keep=(--constraint constraints.txt)
if [[ ${1:-} == --upgrade || ! -f constraints.txt ]]; then
    keep=()
fi
"$python" -m pip install --quiet --quiet --dry-run --ignore-installed --report "$report" \
    "${keep[@]}" ".[dev,learned]"
"$python" scripts/lock_from_report.py "$report" constraints.txt
