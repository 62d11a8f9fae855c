"""Draw how the models that ship were trained, from the histories in their bundles.

python benchmarks/curves.py benchmarks/runs/curves.png
"""

from __future__ import annotations

import json
import sys

from edgefer.bundle import open_bundle

NAMES = ("edge-m", "edge-s", "edge-xs")


def main() -> None:
    """Write the picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for name in NAMES:
        history = json.loads((open_bundle(name).path / "history.json").read_text(encoding="utf-8"))
        epochs = [e["epoch"] for e in history]
        (line,) = left.plot(epochs, [e["validation_accuracy"] for e in history], label=name)
        right.plot(epochs, [e["validation_loss"] for e in history], color=line.get_color(), label=f"{name}, PublicTest")
    left.set(xlabel="epoch", title="accuracy on PublicTest, averaged weights", ylim=(0.5, None))
    right.set(xlabel="epoch", title="cross-entropy on PublicTest", ylim=(None, 1.4))
    left.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(sys.argv[1], dpi=110)


if __name__ == "__main__":
    main()
