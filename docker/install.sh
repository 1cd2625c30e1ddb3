#!/bin/sh
# Install the package and its locked dependencies, without the development tools.
#
#   install.sh dependencies VENV   make VENV and fill it from requirements/runtime.txt
#   install.sh package VENV        build the package from this tree and add it to VENV
#
# Two steps, so that an image keeps its large first layer when only the package changes. Both need
# nothing but Python >= 3.11 with venv (PYTHON names another than python3) and a network.
set -eu

usage() {
  echo "usage: $0 dependencies|package VENV" >&2
  exit 2
}

[ $# -eq 2 ] || usage
step=$1
venv=$2
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
"$python" -m venv "$tools/venv"
"$tools/venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
  -r "$root/requirements/bootstrap.txt"
uv="$tools/venv/bin/uv"

case $step in
  dependencies)
    "$python" -m venv --without-pip "$venv"
    "$uv" pip sync --python "$venv/bin/python" --require-hashes --no-build \
      "$root/requirements/runtime.txt"
    ;;
  package)
    (cd "$root" && "$tools/venv/bin/python" -m hatchling build -t wheel -d "$tools/dist")
    "$uv" pip install --python "$venv/bin/python" --no-deps --no-index "$tools"/dist/*.whl
    ;;
  *) usage ;;
esac
