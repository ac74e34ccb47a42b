#!/usr/bin/env bash
# Make .venv and install what is missing, operating-system packages included. Safe to run again.
# What cannot be installed is named at the end, with what it costs; only Python is indispensable.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()

find_python() {
  local candidate
  for candidate in python3.11 python3 python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  echo "error: Python 3.11 is needed (all pins are tested with it) and was not found." >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

apt_install() {  # PACKAGE, what it costs to be without
  if dpkg -s "$1" >/dev/null 2>&1; then return; fi
  if ! command -v apt-get >/dev/null; then
    missing+=("$1: $2")
    return
  fi
  echo "installing $1"
  if [ -z "${apt_updated:-}" ]; then
    as_root apt-get update -qq >/dev/null 2>&1 || true
    apt_updated=1
  fi
  DEBIAN_FRONTEND=noninteractive as_root apt-get install -y -qq --no-install-recommends "$1" \
    >/dev/null 2>&1 || missing+=("$1: $2")
}

install_python_packages() {
  local wanted
  wanted=$(cat pyproject.toml constraints.txt | sha256sum | cut -d' ' -f1)
  if [ "$(cat .venv/installed 2>/dev/null)" = "$wanted" ]; then return; fi
  echo "installing the Python packages into .venv (a minute or two the first time)"
  [ -x .venv/bin/python ] || "$(find_python)" -m venv .venv
  .venv/bin/python -m pip install -q -c constraints.txt -e '.[dev]'
  echo "$wanted" > .venv/installed
}

install_python_packages
apt_install bubblewrap "no sandbox, so grading refuses unless it is told --unsafe-no-sandbox"
apt_install util-linux "no setpriv and prlimit, without which the sandbox cannot start"
apt_install libseccomp2 "no filter of system calls around student code; each report says so"
if [ "${1:-}" = slow ]; then
  apt_install postgresql "the gradebook is not tried on PostgreSQL"
fi
apt_install dataset-fashion-mnist "Fashion-MNIST must come from the hub or by hand"

for line in ${missing[@]+"${missing[@]}"}; do
  echo "could not install $line" >&2
done
