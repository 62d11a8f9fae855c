#!/bin/sh
# From a fresh checkout to the tests: makes .venv, installs edgefer with everything in it, runs every check.
# The first time this fetches about 0.9 GB and takes 3 GB of disk. Arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."
scripts/venv.sh -e '.[all,dev]'
PATH=$PWD/.venv/bin:$PATH
export PATH

check() {
    printf '%s\n' "== $*"
    "$@"
}

check ruff check
check ruff format --check
check mypy
check lint-imports
check pytest "$@"
