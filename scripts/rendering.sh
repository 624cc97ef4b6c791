#!/usr/bin/env bash
# See that pictures can be drawn without a screen; where they cannot, install what Debian and Ubuntu need
# for it if that is allowed, or say what to install. Never an error: all but pictures works without.
#
# Writes to ANSWER true or false: whether the classic renderer draws, which makes videos. Filament, which
# draws what a pose network learns from, is looked at after it.
#
#   scripts/rendering.sh .venv/bin/python ANSWER
set -euo pipefail

usage="usage: scripts/rendering.sh PYTHON ANSWER"
python=${1:?$usage}
answer=$(realpath -m "${2:?$usage}")
cd "$(dirname "$0")/.."

classic=(dactyl_tl.rendering.offscreen check_renderer)
filament=(dactyl_tl.rendering.filament check_filament)

draws() { "$python" -c "from $1 import $2; $2()" >/dev/null 2>&1; }

packages() { "$python" -c "from $1 import DEBIAN_PACKAGES; print(*DEBIAN_PACKAGES)"; }

as_root=()
if [ "$(id -u)" != 0 ]; then as_root=(sudo -n); fi

install() {
  command -v apt-get >/dev/null && "${as_root[@]}" true 2>/dev/null || return 0
  echo "Installing $*, with which pictures are drawn without a screen ..."
  # Nothing below may stop the set-up: what counts is whether it draws in the end.
  { "${as_root[@]}" apt-get update -qq &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@"
  } >/dev/null 2>&1 || true
}

explain() {
  cat >&2 <<MESSAGE
$1 All else works. To have it:
  Debian, Ubuntu:  apt-get install $2
  elsewhere:       $3
then remove $answer and run make again.
MESSAGE
}

if ! draws "${classic[@]}"; then install $(packages "${classic[@]}"); fi
if ! draws "${filament[@]}"; then install $(packages "${filament[@]}"); fi

if draws "${classic[@]}"; then
  echo true >"$answer"
else
  echo false >"$answer"
  explain "Pictures cannot be drawn on this machine, so there will be no video." "$(packages "${classic[@]}")" \
    "an EGL library with a software or GPU driver (Mesa's, for one)"
fi
if ! draws "${filament[@]}"; then
  explain "Filament cannot draw on this machine, so train.py experiment=pose will not run." \
    "$(packages "${filament[@]}")" "a Vulkan loader with a software or GPU driver (Mesa's, for one)"
fi
