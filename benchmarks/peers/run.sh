#!/usr/bin/env bash
# Every peer in one run: the engines by hand and by their own tools, OpenCV's dnn, and the PyPI package fer.
#
#     benchmarks/peers/run.sh FER_PYTHON CLIP.mp4 ...
#
# FER_PYTHON is the Python of an environment with requirements-fer.txt. Writes engines-HOST.json and fer-HOST.json to
# benchmarks/records ($HOST_NAME, or x86), and prints the tables.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python}
host=${HOST_NAME:-x86}
fer=$1
shift
"$python" "$here/engines.py" --json "$here/../records/engines-$host.json"
"$python" "$here/fer.py" --python "$fer" --json "$here/../records/fer-$host.json" "$@"
