#!/bin/sh
# Make .venv if there is none and install a requirements file into it: with uv where it is found, else with pip.
# WHEELS=folder: from that folder, filled by `make wheelhouse`, and without a network. VENV=folder: not .venv but that.
# LOCK=requirements.lock: exactly the versions of that file, which are those of the last full test.
# PYTHON=...: the interpreter for a new environment. Without it python3, or else the newest of 3.15 down to 3.11.
set -eu
requirements=$1
venv=${VENV:-.venv}
newest=15 # the newest 3.x that all packages are known to have wheels for
set --
if [ -n "${WHEELS:-}" ]; then
    [ -d "$WHEELS" ] || { echo "there is no folder $WHEELS to install from: make wheelhouse fills one" >&2 && exit 2; }
    set -- --no-index --find-links "$WHEELS"
fi
if [ -n "${LOCK:-}" ]; then
    [ -f "$LOCK" ] || { echo "there is no lock file $LOCK: requirements.lock is the one of the series" >&2 && exit 2; }
    set -- "$@" --constraint "$LOCK"
fi

fits() { # is that command a Python from 3.11 to 3.$newest? (The stand-ins of pyenv are found, but do not run.)
    "$1" -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, $newest))" >/dev/null 2>&1
}

choose_python() { # print the first of PYTHON, python3, and python3.15 down to python3.11 that fits
    minor=$newest
    candidates=${PYTHON:-python3}
    # A Python that was named is taken or refused, and never replaced by another one.
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
            choose_python # says what is wrong with the one that was named
        fi
    fi
    uv pip install --quiet --python "$venv/bin/python" "$@" -r "$requirements"
else
    # One made by uv has no pip: venv then adds it.
    if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        python=$(choose_python)
        "$python" -m venv "$venv"
    fi
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@" -r "$requirements"
fi
