#!/usr/bin/env bash
# The one place where system packages are named. All else comes by pip.
#
#   scripts/system-packages.sh demo   nothing beyond Python 3.11 with venv: only checked
#   scripts/system-packages.sh test   chromium, for the viewer tests
#
# Installs only as root on a system with apt. Anywhere else it says what is missing and goes on:
# the demo needs nothing from here, and the viewer tests skip with a reason.
set -euo pipefail

have_chromium() {
    [[ -n ${CITYSPLAT_CHROMIUM:-} ]] || command -v chromium >/dev/null ||
        command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null
}

install_chromium() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -y -qq --no-install-recommends \
        chromium libgl1-mesa-dri fonts-liberation >/dev/null
}

case ${1:-} in
demo) ;;
test)
    if have_chromium; then
        exit 0
    elif [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
        echo "system-packages: Chromium is missing; the viewer tests will be skipped." >&2
        echo "  Install it (Debian: sudo apt-get install chromium) or set CITYSPLAT_CHROMIUM." >&2
    elif ! install_chromium; then
        echo "system-packages: apt could not install chromium; the viewer tests will be skipped." >&2
    fi
    ;;
*)
    echo "usage: scripts/system-packages.sh demo|test" >&2
    exit 2
    ;;
esac
