"""Write scores.toml, which `edgefer train --list` shows, and the table of docs/systems.md, from trained bundles.

    python benchmarks/systems.py runs/mlp.edgefer runs/cnn-6.edgefer …

Every figure is taken from the manifest of a bundle that `edgefer train` wrote.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from edgefer import files
from edgefer.bundle import Bundle, open_bundle
from edgefer.train.listing import Entry, listing
from edgefer.train.recipe import load_recipe

SCORES = Path(__file__).parent.parent / "edgefer" / "train" / "scores.toml"
PAGE = SCORES.parent.parent.parent / "docs" / "systems.md"
START, END = "<!-- systems: written by benchmarks/systems.py -->", "<!-- systems end -->"
HEAD = """\
# What our own runs reached, single pass, float, on PublicTest, for `edgefer train --list` and docs/systems.md. Made by
# benchmarks/systems.py. --data is a folder with FER2013's Training and PublicTest as train.npz and validation.npz, with
# rows; the 901 rows that --drop-rows names stand, exactly or nearly, in a test split.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="+", type=Path)
    arguments = parser.parse_args()
    bundles = [open_bundle(path) for path in arguments.bundles]
    scores = {bundle.architecture: score(bundle) for bundle in bundles}
    files.write_text(SCORES, HEAD + "".join(f"\n{scores[name]}" for name in sorted(scores)))
    print(f"wrote {SCORES}", file=sys.stderr)
    table = "| system | layers | parameters | MMACs | its document | ours | epochs |\n|---|---|---|---|---|---|---|\n"
    table += "".join(f"{row(entry)}\n" for entry in listing())
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(f"{START}\n")
    _, _, after = rest.partition(END)
    files.write_text(PAGE, f"{before}{START}\n{table}{END}{after}")
    print(f"wrote {PAGE}", file=sys.stderr)


def score(bundle: Bundle) -> str:
    """Return the table of scores.toml of a bundle."""
    figures = next(f for f in bundle.metrics.values() if f.get("split") == "validation")
    recipe = bundle.recipe
    epochs = figures.get("epochs", 0)
    command = f"edgefer train --data fer2013 --drop-rows train_rows_seen_in_test.csv --arch {bundle.architecture}"
    if epochs and recipe["epochs"] != load_recipe(bundle.architecture).epochs:
        command += f" --epochs {recipe['epochs']}"
    if not epochs:
        command += " --set data.split=[]"
    command += f" --seed {recipe['seed']} --out {bundle.architecture}.edgefer"
    lines = [
        f"[{bundle.architecture}]",
        f"accuracy = {figures['accuracy']:.4f}",
        f"low = {figures['ci95'][0]:.4f}",
        f"high = {figures['ci95'][1]:.4f}",
        'split = "PublicTest"',
        f"n = {figures['n']}",
        f"epochs = {epochs}",
        f"seed = {recipe['seed']}",
        f"command = {json.dumps(command)}",
    ]
    return "\n".join(lines) + "\n"


def row(entry: Entry) -> str:
    """Return a row of the table."""
    f, s = entry.facts, entry.score
    counts = f"{f.parameters:,}" + (f" ({f.trainable:,} trained)" if f.trainable != f.parameters else "")
    document = "ours" if f.document == "edgefer" else f"{f.document_score:.3f} {f.document_split}".replace("0.", ".", 1)
    ours = "not trained here" if s is None else f"{s.accuracy:.3f} ({s.low:.3f}–{s.high:.3f})".replace("0.", ".")
    cells = [
        f"`{entry.name}`",
        f.summary,
        counts if f.parameters else "–",
        f"{f.macs / 1e6:,.1f}" if f.macs else "–",
        document,
        ours,
        str(s.epochs) if s and s.epochs else "–",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
