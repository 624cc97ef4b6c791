#!/usr/bin/env bash
# Make a virtual environment with the pinned dependencies and the project, editable.
#
#   PYTHON=python3.12 scripts/install.sh .venv
#
# The constraints stay on every line: without them another package's open range could replace the pinned
# torch by the newest one, with gigabytes of libraries for a GPU.
set -euo pipefail

venv=${1:?usage: scripts/install.sh FOLDER}
python=${PYTHON:-python3}
cd "$(dirname "$0")/.."

fail() { echo "error: $*" >&2; exit 1; }

command -v "$python" >/dev/null ||
  fail "$python not found. Install Python 3.11, 3.12 or 3.13, or name one: make PYTHON=/path/to/python3"
found=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
case $found in
  3.11 | 3.12 | 3.13) ;;
  *) fail "$python is Python $found; dactyl_tl needs 3.11, 3.12 or 3.13: make PYTHON=/path/to/python3" ;;
esac

if [ ! -x "$venv/bin/pip" ]; then
  "$python" -m venv "$venv" || fail "cannot make $venv. On Debian or Ubuntu: apt-get install python3-venv"
fi
echo "Installing the pinned dependencies into $venv (a few minutes the first time) ..."
# The build back end comes from the same constraints, so nothing is built with an unpinned one.
"$venv/bin/pip" install -qq -c constraints.txt setuptools wheel
"$venv/bin/pip" install -qq -c constraints.txt --no-build-isolation -e ".[dev]"
