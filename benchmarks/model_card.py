"""Write the model card of a bundle from its manifest: every figure in it was measured and stands there.

    python benchmarks/model_card.py edgefer/models/edge-s.edgefer --data FER2013_FOLDER

Per-class figures are measured anew, on the validation split of --data, with the int8 TFLite model in ai-edge-litert.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from edgefer import files
from edgefer.bench.accuracy import evaluate
from edgefer.bundle import open_bundle
from edgefer.runtime.engines import open_engine
from edgefer.train import data

TEMPLATE = """# Model card: {name}

A small convolutional network that tells seven emotions from the picture of one face, 48×48 grey pixels.
{architecture}, {parameters:,} parameters; int8 TFLite of {kilobytes:.0f} kB.

## Figures

PublicTest of FER2013 ({n:,} faces), single pass, the very file in the very engine:

| artifact | bytes | engine | accuracy | 95 % interval | macro F1 | drop against float, points | same label as float |
|---|---|---|---|---|---|---|---|
{rows}

The trained network itself (float32, Keras): {float_accuracy:.4f}.
Which faces calibrate int8 moves it: three draws each of 512, 1,024 and 4,096 faces gave 0.6597–0.6653
(`benchmarks/calibration.py`); 512 was taken because it agrees best with the float network on training faces.
**The epoch was chosen on this same PublicTest**, so expect a little less on faces that nothing was chosen by.
PrivateTest was not looked at. People agree with FER2013's labels on about 65 ± 5 % of the pictures.

Per class, int8 TFLite in ai-edge-litert {version}:

| emotion | precision | recall | F1 | faces |
|---|---|---|---|---|
{classes}

## Data

FER2013 (Goodfellow et al., 2013), Training split: {train:,} faces. Left out: pictures without a face, and 901 Training
pictures that stand exactly or nearly in a test split. PublicTest: 3,579 of 3,589 (the others show no face). No other
data, no pre-trained weights, no FER+ votes (track A). The pictures were gathered from the web for research; they are
not part of this package.

## Recipe

`edgefer train --recipe edge-s`, {epochs} epochs ({hours:.1f} hours on 2 shared CPU cores, {backend}); best epoch
{best}. The whole recipe stands in `manifest.json`, the course of the training in `history.json`. Int8: post-training,
calibrated on 512 class-balanced training faces, per-channel weights; ONNX and OpenVINO are
translated from the TFLite model.

    edgefer train --data FER2013 --recipe edge-s --out edge-s.edgefer
    edgefer export edge-s.edgefer --int8 --data FER2013
    python benchmarks/model_card.py edge-s.edgefer --data FER2013

## Limits, and what it is not for

- It names the expression that people would read from a picture, not what somebody feels.
- FER2013 is web pictures, mostly of adults facing the camera, unbalanced in age and skin colour; how the figures differ
  between groups of people was not measured. `disgust` and `fear` are weak, as the table shows.
- Confidence: expected calibration error {ece:.3f} on PublicTest (int8 TFLite, 15 bins); elsewhere it may be larger.
- Faces come from a Haar detector in `edgefer run`; faces that it misses get no emotion.
- **In the EU, inferring emotions at work and in education is prohibited** (AI Act, Article 5, since 2025-02-02). It is
  biometric processing everywhere: tell people, and keep no frames that you do not need.
- Not for decisions about people, and not for medical or safety use.
"""


def main() -> None:
    """Measure the classes, fill the template, write MODEL_CARD.md into the bundle's directory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    bundle = open_bundle(arguments.bundle)
    loaded = open_engine(bundle, "litert", "int8")
    split, faces = data.pick(data.read(arguments.data), "validation")
    evaluation = evaluate(bundle, faces, loaded, split=split)
    trained = next(m for path, m in bundle.metrics.items() if path.endswith(".weights.h5"))
    rows = []
    for artifact in bundle.artifacts:
        m = bundle.metrics[artifact.path]
        if artifact.format == "keras":
            continue
        low, high = m["ci95"]
        rows.append(
            f"| {artifact.path} | {artifact.bytes:,} | {m['engine']} {m['engine_version']} | {m['accuracy']:.4f}"
            f" | {low:.4f}–{high:.4f} | {m['macro_f1']:.4f} | {m['drop_points']:+.2f}"
            f" | {m['agreement_with_float']:.2%} |"
        )
    classes = [
        f"| {name} | {c.precision:.3f} | {c.recall:.3f} | {c.f1:.3f} | {c.support} |"
        for name, c in evaluation.accuracy.per_class.items()
    ]
    card = TEMPLATE.format(
        name=bundle.name,
        architecture=bundle.architecture,
        parameters=trained["parameters"],
        kilobytes=loaded.artifact.bytes / 1000,
        n=evaluation.accuracy.n,
        rows="\n".join(rows),
        float_accuracy=trained["accuracy"],
        version=loaded.engine.version,
        classes="\n".join(classes),
        ece=evaluation.accuracy.ece,
        train=trained["train_pictures"],
        epochs=trained["epochs"],
        hours=trained["train_seconds"] / 3600,
        backend=trained["engine"],
        best=trained["best_epoch"],
    )
    files.write_text(bundle.path / "MODEL_CARD.md", card)


if __name__ == "__main__":
    main()
