"""Write the model card of a detector: every figure in it stands in its manifest or in its records.

    python benchmarks/detectors.py --pictures SCENES --model yunet.onnx CLIP... --json detectors.json
    python benchmarks/detector_card.py det-s detectors.json

The card goes into the bundle's directory.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path

from edgefer import files
from edgefer.bench.detection import DetectionRecord, Row
from edgefer.bundle import DetectorBundle, open_detector_bundle

TEMPLATE = """# Model card: {name}

A small convolutional network that finds faces in grey pictures: how sure it is, a box and five points for each cell of
8×8 pixels. {parameters:,} parameters; int8 TFLite of {kilobytes:.0f} kB, in one XNNPACK partition.

## Figures

{n} photographs that training did not see, with {faces:,} faces; {empty} of them without one. They are the {split}
split: the weights were chosen on them, the threshold was not. A find is right from an overlap of .5. Sizes are the
longer side of a face in pixels when the picture's longer side is brought to the size. `edge` looks at its size and
again at each smaller one, as in `edgefer run`. Milliseconds are of frames of 640 pixels on one core of an x86 server;
**they say nothing about your board**.

{head}
{rows}

Average precision by size of face, in brackets how many:

{sizes}

{against}

The labels are another network's, YuNet's on the colour picture at its own and at half its size. So YuNet's figures are
flattered, and what both overlook does not show.

## Data

{train:,} photographs with {train_faces:,} faces: Caltech 10,000 Web Faces, one picture of each ImageNet class, the 15
scene categories and a small clothing set. All but the last are for research; they are not part of this package. Boxes
and points were made by YuNet (2026may); the network's scores aim at its scores. Drawn faces, those of `edgefer demo`,
were mixed in. No pre-trained weights.

## Recipe

{steps:,} steps of {batch} views of {width}×{height} pixels (every fourth: a quarter as many, twice as wide and high);
{minutes:.0f} minutes on two cores of a server beside other work, {backend}; the weights of step {best:,} were the best
on validation. The whole recipe stands in `manifest.json`, the course in `history.json`. The threshold, {threshold:g},
is the lowest that leaves no more than {false_rate:g} false faces a training picture without a face at any of the three
sizes. int8 after training, without fine-tuning; ONNX and OpenVINO are translated from the TFLite model.

    edgefer train --task detect --data SCENES --recipe {recipe} --out {recipe}.edgefer
    edgefer export {recipe}.edgefer --int8 --precision int8 --data SCENES

## Limits

- **Profiles, masks, shade**: the faces of training look at the camera (95 % within 6.5° of upright, few profiles).
  Rotation (up to 30°) and things in front of faces were made, not photographed.
- **Tiny faces**: of those below 16 pixels at the size that it looks at it overlooks many (see the table); take a larger
  size. **Huge ones**: the network sees none whole that is wider than some 170 pixels, hence the second look.
- **Skin colours and ages**: web pictures of the 2000s, mostly of adults, many of them light-skinned. The data has
  no such labels, so how the figures differ between groups of people was not measured.
- Faces of drawings, statues and dolls are found, too.
- It finds faces and tells nobody apart; what is done with them is biometric processing. Tell the people.
"""

HEAD = (
    "detector, size",
    "average precision, faces ≥ 24 px (95 %)",
    "recall at .1 false faces a picture",
    "recall, precision at its threshold",
    "false faces in pictures without one",
    "ms",
)


def main() -> None:
    """Fill the template and write MODEL_CARD.md into the bundle's directory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("record", type=Path)
    arguments = parser.parse_args()
    bundle = open_detector_bundle(arguments.bundle)
    record = DetectionRecord.from_dict(json.loads(arguments.record.read_text(encoding="utf-8")))
    files.write_text(bundle.path / "MODEL_CARD.md", card(bundle, record))


def card(bundle: DetectorBundle, record: DetectionRecord) -> str:
    """Return the model card; raises SystemExit when the record is of another bundle."""
    if record.bundle is None or record.bundle.digest != bundle.digest():
        raise SystemExit("this is a record of another bundle; evaluate this one")
    trained = next(m for path, m in bundle.metrics.items() if path.endswith(".weights.h5"))
    recipe = bundle.recipe
    first = record.rows[0]
    bins = [f"{b.low:g}–{b.high:g} px" if math.isfinite(b.high) else f"≥ {b.low:g} px" for b in first.every.by_size]
    sizes = [
        [_name(row), *(f"{b.average_precision:.3f} ({b.faces})" for b in row.every.by_size)] for row in record.rows
    ]
    return TEMPLATE.format(
        name=bundle.name,
        parameters=trained["parameters"],
        kilobytes=bundle.sized("tflite", "int8", (240, 320)).bytes / 1000,
        n=f"{record.pictures:,}",
        faces=first.every.faces,
        empty=first.every.empty,
        split=record.split,
        head=_line(HEAD) + "\n" + _line(["---"] * len(HEAD)),
        rows="\n".join(_line(_row(row)) for row in record.rows),
        sizes="\n".join(map(_line, [["", *bins], ["---"] * (len(bins) + 1), *sizes])),
        against="\n".join(_against(record)),
        train=trained["train_pictures"],
        train_faces=trained["train_faces"],
        steps=recipe["steps"],
        batch=recipe["batch"],
        width=recipe["views"]["width"],
        height=recipe["views"]["height"],
        minutes=trained["train_seconds"] / 60,
        backend=trained["engine"],
        best=trained["best_step"],
        threshold=bundle.threshold,
        false_rate=recipe["false_rate"],
        recipe=bundle.architecture,
    )


def _name(row: Row) -> str:
    return f"{row.detector} {row.size}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _row(row: Row) -> list[str]:
    large, (low, high) = row.large, row.large.ci95
    fit = f"; {row.fitted[0]:.3f} with boxes as labels have them" if row.fitted else ""
    return [
        _name(row),
        f"{large.average_precision:.3f} ({low:.3f}–{high:.3f}){fit}",
        f"{large.recall_at_few:.3f}",
        f"{large.recall:.3f}, {large.precision:.3f}",
        f"{row.every.false_in_empty} in {row.every.empty}",
        f"{row.ms.p50:.2f}",
    ]


def _against(record: DetectionRecord) -> list[str]:
    """Return the comparisons, a line each."""
    lines = []
    for one in record.against:
        precision = ""
        if one.accuracy is not None:
            low, high = one.accuracy.ratio_ci95
            precision = f"{one.accuracy.ratio:.3f} of its average precision ({low:.3f}–{high:.3f}), "
        lines.append(
            f"- {one.detector} against {one.other} at {one.size}: {precision}{one.ms:.2f} of its time"
            f" ({one.ms_range[0]:.2f}–{one.ms_range[1]:.2f}, in rounds)"
        )
    return lines


if __name__ == "__main__":
    main()
