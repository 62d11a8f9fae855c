"""How fast `edgefer train` reads a FER2013 CSV: parsed the first time, from the cache the second.

python benchmarks/read_csv.py fer2013.csv
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from edgefer.train import data


def main(path: Path) -> None:
    """Read `path` twice with an empty cache and print both."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        for what in ("parsed", "cached"):
            start = time.perf_counter()
            rows = sum(len(split) for split in data.read(path).values())
            elapsed = time.perf_counter() - start
            megabytes = path.stat().st_size / 1e6
            print(f"{what}: {rows:,} rows, {megabytes:.0f} MB in {elapsed:.2f} s = {rows / elapsed:,.0f} rows/s")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
