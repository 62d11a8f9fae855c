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

# Arguments may choose tests of one kind alone; pytest calls it 5 when it then finds none.
tests() {
    check pytest -rs "$@" || [ $? -eq 5 ]
}

check ruff check
check ruff format --check
check mypy
check lint-imports
# What measures time has the machine to itself; the rest runs in two processes, a file in one of them.
tests -m alone "$@"
tests -m 'not alone' -n 2 --dist loadfile "$@"
