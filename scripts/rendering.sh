#!/usr/bin/env bash
# See that pictures can be drawn without a screen; where they cannot, install what Debian and Ubuntu need
# for it if that is allowed, or say what to install. Never an error: all but pictures works without.
#
# Writes true or false to ANSWER.
#
#   scripts/rendering.sh .venv/bin/python ANSWER
set -euo pipefail

usage="usage: scripts/rendering.sh PYTHON ANSWER"
python=${1:?$usage}
answer=$(realpath -m "${2:?$usage}")
cd "$(dirname "$0")/.."

draws() {
  "$python" -c 'from dactyl_tl.rendering.offscreen import check_renderer; check_renderer()' >/dev/null 2>&1
}

if draws; then echo true >"$answer"; exit 0; fi
packages=$("$python" -c 'from dactyl_tl.rendering.offscreen import DEBIAN_PACKAGES; print(*DEBIAN_PACKAGES)')
as_root=()
if [ "$(id -u)" != 0 ]; then as_root=(sudo -n); fi
if command -v apt-get >/dev/null && "${as_root[@]}" true 2>/dev/null; then
  echo "Installing $packages, with which pictures are drawn without a screen ..."
  # Nothing below may stop the set-up: what counts is whether it draws in the end.
  { "${as_root[@]}" apt-get update -qq &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $packages
  } >/dev/null 2>&1 || true
fi
if draws; then echo true >"$answer"; exit 0; fi
echo false >"$answer"
cat >&2 <<MESSAGE
Pictures cannot be drawn on this machine, so there will be no video. All else works. To have them:
  Debian, Ubuntu:  apt-get install $packages
  elsewhere:       an EGL library with a software or GPU driver (Mesa's, for one)
then remove $answer and run make again.
MESSAGE
