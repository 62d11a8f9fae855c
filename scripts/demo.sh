#!/bin/sh
# From a fresh checkout to the demo: makes .venv, installs edgefer with everything in it, runs `edgefer demo`.
# The first time this fetches about 0.9 GB and takes 3 GB of disk. Arguments go to `edgefer demo`.
set -eu
cd "$(dirname "$0")/.."
scripts/venv.sh '.[all]'
exec .venv/bin/edgefer demo "$@"
