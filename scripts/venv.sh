#!/bin/sh
# Makes the virtual environment .venv, unless it is there, and installs into it:  scripts/venv.sh PIP-ARGUMENT…
# Uses python3, or the interpreter that $PYTHON names.
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "edgefer: $*" >&2; }

python=${PYTHON:-python3}
if ! command -v "$python" >/dev/null 2>&1; then
    say "there is no $python here; install Python 3.10 to 3.13, or name one in PYTHON, and run this again"
    exit 1
fi
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
case $version in
    3.10 | 3.11 | 3.12 | 3.13) ;;
    *)
        say "$python is Python $version; edgefer needs 3.10 to 3.13. Name another in PYTHON, as in PYTHON=python3.12, and run this again"
        exit 1
        ;;
esac

# Debian and Ubuntu keep the part of Python that makes virtual environments in a package of its own.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if ! command -v apt-get >/dev/null 2>&1; then
        say "$python cannot make virtual environments: its module ensurepip is missing; install it and try again"
        exit 1
    fi
    root=
    [ "$(id -u)" -eq 0 ] || root=sudo
    say "installing the system package python$version-venv"
    $root apt-get -q update >&2
    $root env DEBIAN_FRONTEND=noninteractive apt-get -qy install "python$version-venv" >&2
fi

if [ "$(.venv/bin/python -c 'import pip, sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" != "$version" ]; then
    say "making .venv with Python $version"
    "$python" -m venv --clear .venv
fi

say "installing into .venv: $* (up to 0.9 GB to fetch the first time, some minutes)"
export PIP_DISABLE_PIP_VERSION_CHECK=1
.venv/bin/python -m pip install --quiet "$@"
say "installed"
