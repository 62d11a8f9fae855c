"""Draw how the models that ship were trained, from what `edgefer train` said of each stage.

    python benchmarks/curves.py benchmarks/runs

The folder has NAME-first.txt and NAME.txt of each model; curves.png is written into it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

NAMES = ("edge-m", "edge-s", "edge-xs")
EPOCH = re.compile(r"^epoch +\d+/\d+ +loss [\d.]+ +accuracy ([\d.]+) +validation ([\d.]+)", re.MULTILINE)


def stage(path: Path) -> list[tuple[float, float]]:
    """Return the accuracy on training and on validation pictures after each epoch of a run."""
    return [(float(a), float(b)) for a, b in EPOCH.findall(path.read_text(encoding="utf-8"))]


def main() -> None:
    """Write the picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    folder = Path(sys.argv[1])
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained", sharey=True)
    for name in NAMES:
        first, second = stage(folder / f"{name}-first.txt"), stage(folder / f"{name}.txt")
        training, validation = zip(*first, *second, strict=True)
        epochs = range(1, len(training) + 1)
        (line,) = left.plot(epochs, validation, label=name)
        right.plot(epochs, training, color=line.get_color(), label=name)
        for axes in (left, right):
            axes.axvline(len(first) + 0.5, color=line.get_color(), linestyle=":", linewidth=1)
    left.set(xlabel="epoch", ylabel="accuracy", title="PublicTest, averaged weights", ylim=(0.5, None))
    right.set(xlabel="epoch", title="training pictures, augmented, while learning")
    left.legend(title="second stage from the dotted line on", title_fontsize="small")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(folder / "curves.png", dpi=110)


if __name__ == "__main__":
    main()
