#!/bin/sh
# Create .venv if it does not exist, and install a requirements file into it, with uv if it is installed, else with pip.
#
# WHEELS=folder           install from this folder, which `make wheelhouse` fills, without a network
# VENV=folder             the virtual environment; the default is .venv
# LOCK=requirements.lock  install the exact versions of this file, which are those of the last complete test
# PYTHON=...              the interpreter for a new environment; the default is python3 or, if its version does not fit,
#                         the newest of python3.15 to python3.11
set -eu
requirements=$1
venv=${VENV:-.venv}
newest=15 # the newest Python 3.x for which all packages have wheels
set --
if [ -n "${WHEELS:-}" ]; then
    [ -d "$WHEELS" ] || { echo "there is no folder $WHEELS to install from: make wheelhouse fills one" >&2 && exit 2; }
    set -- --no-index --find-links "$WHEELS"
fi
if [ -n "${LOCK:-}" ]; then
    [ -f "$LOCK" ] || { echo "there is no lock file $LOCK: requirements.lock is the one of the series" >&2 && exit 2; }
    set -- "$@" --constraint "$LOCK"
fi

fits() { # whether a command runs a Python from 3.11 to 3.$newest; a shim of pyenv exists but may not run
    "$1" -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, $newest))" >/dev/null 2>&1
}

choose_python() { # print the first of PYTHON, python3, and python3.15 down to python3.11 that fits
    minor=$newest
    candidates=${PYTHON:-python3}
    # A Python that the user has named is used or refused, but not replaced with another one.
    while [ "$candidates" = python3 ] && [ "$minor" -ge 11 ]; do
        ! fits python3 || break
        ! fits "python3.$minor" || candidates=python3.$minor
        minor=$((minor - 1))
    done
    if fits "$candidates"; then
        echo "$candidates"
    else
        echo "Python 3.11 to 3.$newest is needed, and $candidates is" \
            "$("$candidates" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || echo "not there")." \
            "Install one of them, or name one that you have: make PYTHON=python3.13 ..." \
            "Or install uv, which downloads a Python that fits." >&2
        return 2
    fi
}

if command -v uv >/dev/null 2>&1; then
    if [ ! -x "$venv/bin/python" ]; then
        if python=$(choose_python 2>/dev/null); then
            uv venv --quiet --python "$python" "$venv"
        elif [ "${PYTHON:-python3}" = python3 ]; then
            uv venv --quiet --python ">=3.11,<3.$((newest + 1))" "$venv" # uv downloads one
        else
            choose_python # prints what is wrong with the named Python
        fi
    fi
    uv pip install --quiet --python "$venv/bin/python" "$@" -r "$requirements"
else
    # An environment that was created by uv has no pip. In this case venv adds it.
    if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        python=$(choose_python)
        "$python" -m venv "$venv"
    fi
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@" -r "$requirements"
fi
