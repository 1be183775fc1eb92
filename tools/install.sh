#!/bin/sh
# Make .venv if there is none and install a requirements file into it: with uv where it is found, else with pip.
# WHEELS=folder: from that folder, filled by `make wheelhouse`, and without a network. VENV=folder: not .venv but that.
set -eu
requirements=$1
venv=${VENV:-.venv}
wanted='>=3.11' # of uv; with VENV, PYTHON says which
[ -z "${VENV:-}" ] || wanted=$PYTHON
set --
if [ -n "${WHEELS:-}" ]; then
    [ -d "$WHEELS" ] || { echo "there is no folder $WHEELS to install from: make wheelhouse fills one" >&2 && exit 2; }
    set -- --no-index --find-links "$WHEELS"
fi
if command -v uv >/dev/null 2>&1; then
    [ -x "$venv/bin/python" ] || uv venv --quiet --python "$wanted" "$venv"
    uv pip install --quiet --python "$venv/bin/python" "$@" -r "$requirements"
else
    python=${PYTHON:-python3}
    "$python" -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else
        "Python 3.11 or newer is needed, and this is %d.%d. Name another one: make PYTHON=python3.13 ..." % sys.version_info[:2])'
    # One made by uv has no pip: venv then adds it.
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@" -r "$requirements"
fi
