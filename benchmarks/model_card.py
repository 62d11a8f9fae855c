"""Write the model card of a bundle: every figure in it stands in its manifest or in its evaluations.

    edgefer evaluate edge-m --data publictest.npz --all --json > edge-m-evaluations.json
    edgefer evaluate edge-m --data publictest.npz --engine litert --precision int8 --robustness --json > robustness.json
    python benchmarks/model_card.py edge-m edge-m-evaluations.json robustness.json

`publictest.npz` is FER2013's PublicTest with FER+ votes. The card goes into the bundle's directory.
"""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

from edgefer import files
from edgefer.bench.evaluation import Evaluation, read_evaluations
from edgefer.bundle import Bundle, open_bundle
from edgefer.train.start import names_bundle

TEMPLATE = """# Model card: {name}

A small convolutional network that tells seven emotions from the picture of one face, 48×48 grey pixels.
{architecture}, {parameters:,} parameters; int8 TFLite of {kilobytes:.0f} kB.

## Figures

PublicTest of FER2013 ({n:,} faces), single pass, no averaging over views, the very file in the very engine:

| artifact | bytes | engine | accuracy | 95 % interval | macro F1 | calibration error |
|---|---|---|---|---|---|---|
{rows}

The trained network itself (float32, Keras): {float_accuracy:.4f}.
**The epoch, the temperature{floor} were chosen on this same PublicTest**, so expect a little less on faces that nothing
was chosen by. PrivateTest was not looked at. People agree with FER2013's labels on about 65 ± 5 % of the pictures.

Per class, {artifact} in {engine}:

| emotion | precision | recall | F1 | faces |
|---|---|---|---|---|
{classes}

**By people's votes.** Held against what most of ten people saw (FER+, {voted_n:,} faces on which they have a majority
for one of the seven) instead of FER2013's label: {voted:.4f} ({voted_low:.4f}–{voted_high:.4f}). On {relabelled:,} of
these faces the two labels differ. Of the {wrong:,} answers that are wrong by FER2013's label, people side with the
model on {with_model:.0%}, with the label on {with_label:.0%}, with neither on {with_neither:.0%}.

**On spoilt pictures** (eight ways, five strengths each; [evaluate](../../../docs/evaluate.md)) it keeps {kept:.3f} of
{clean:.3f} on average, {relative:.0%}: {corruptions}.

## Data

FER2013 (Goodfellow et al., 2013), Training split: {train:,} faces. Left out: pictures without a face, and 901 Training
pictures that stand exactly or nearly in a test split. PublicTest: {n:,} of 3,589 (the others show no face). {track}
No other data, no pre-trained weights. The pictures were gathered from the web for research; they are not part of this
package.

## Recipe

{epochs} epochs, {hours:.1f} hours on a core of a shared server ({backend}); best epoch {best}. {before}The whole recipe
stands in `manifest.json`, the course of the training in `history.json`. Int8: {int8}, per-channel weights; ONNX and
OpenVINO are translated from the TFLite model.

{commands}

## Limits, and what it is not for

- It names the expression that people would read from a picture, not what somebody feels.
- FER2013 is web pictures, mostly of adults facing the camera, unbalanced in age and skin colour; how the figures differ
  between groups of people was not measured. Weakest: {weak}.
- Confidence: the calibration errors above (15 bins) are of PublicTest; elsewhere they may be larger.
- Faces come from the detector `det-s` in `edgefer run`, whose card says what it misses; those get no emotion.
- **In the EU, inferring emotions at work and in education is prohibited** (AI Act, Article 5, since 2025-02-02). It is
  biometric processing everywhere: tell people, and keep no frames that you do not need.
- Not for decisions about people, and not for medical or safety use.
"""

FLOOR = " and the biases that give every class a recall of {floor} (`recall_floor`)"
FIRST = "It is the second stage: it starts from a network of the recipe `{recipe}`. "
TRACKS = {
    True: "FER+'s votes on the training pictures (Barsoum et al., 2016) were a second signal (track B).",
    False: "No FER+ votes (track A).",
}


def main() -> None:
    """Fill the template and write MODEL_CARD.md into the bundle's directory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("evaluations", type=Path)
    parser.add_argument("robustness", type=Path)
    arguments = parser.parse_args()
    bundle = open_bundle(arguments.bundle)
    (main,) = read_evaluations(arguments.robustness)
    text = card(bundle, read_evaluations(arguments.evaluations), main)
    files.write_text(bundle.path / "MODEL_CARD.md", "\n\n".join(map(_wrapped, text.split("\n\n"))))


def _wrapped(block: str) -> str:
    """Return a paragraph with lines of 120 columns; tables, commands, headings and lists stay as they are."""
    if block.startswith(("|", "    ", "#", "- ")):
        return block
    return textwrap.fill(" ".join(block.split()), 120, break_long_words=False, break_on_hyphens=False) + (
        "\n" if block.endswith("\n") else ""
    )


def card(bundle: Bundle, evaluations: tuple[Evaluation, ...], main: Evaluation) -> str:
    """Return the model card; `main` is the int8 TFLite file's evaluation, on spoilt pictures too.

    Raises SystemExit when they are not all that the card tells.
    """
    if any(e.bundle.digest != bundle.digest() for e in (*evaluations, main)):
        raise SystemExit("these are evaluations of another bundle; evaluate this one")
    if main.votes is None or main.robustness is None:
        raise SystemExit("the card needs votes and --robustness; evaluate with both")
    trained = next(m for path, m in bundle.metrics.items() if path.endswith(".weights.h5"))
    recipe, votes, robustness = bundle.recipe, main.votes, main.robustness
    wrong = votes.with_model + votes.with_label + votes.with_neither
    int8 = bundle.metrics[main.artifact]["quantisation"]
    second_stage = names_bundle(str(recipe.get("weights", "none")))
    return TEMPLATE.format(
        name=bundle.name,
        architecture=bundle.architecture,
        parameters=trained["parameters"],
        kilobytes=main.bytes / 1000,
        n=main.accuracy.n,
        rows="\n".join(map(_row, evaluations)),
        float_accuracy=trained["accuracy"],
        floor=FLOOR.format(floor=recipe["recall_floor"]) if recipe.get("recall_floor") else "",
        artifact=main.artifact,
        engine=f"{main.engine} {main.engine_version}",
        classes="\n".join(
            f"| {name} | {c.precision:.3f} | {c.recall:.3f} | {c.f1:.3f} | {c.support} |"
            for name, c in main.accuracy.per_class.items()
        ),
        voted_n=votes.accuracy.n,
        voted=votes.accuracy.accuracy,
        voted_low=votes.accuracy.ci95[0],
        voted_high=votes.accuracy.ci95[1],
        relabelled=votes.relabelled,
        wrong=wrong,
        with_model=votes.with_model / wrong,
        with_label=votes.with_label / wrong,
        with_neither=votes.with_neither / wrong,
        kept=robustness.mean,
        clean=robustness.clean,
        relative=robustness.part(robustness.mean),
        corruptions=", ".join(f"{row.name} {row.mean:.3f}" for row in sorted(robustness.rows, key=lambda r: r.mean)),
        train=trained["train_pictures"],
        track=TRACKS[bool(recipe["distill"].get("votes"))],
        epochs=trained["epochs"],
        hours=trained["train_seconds"] / 3600,
        backend=trained["engine"],
        best=trained["best_epoch"],
        before=FIRST.format(recipe=f"{bundle.name}-first") if second_stage else "",
        int8=_quantised(int8),
        commands=_commands(bundle.name, second_stage, int8.get("method") == "qat"),
        weak=" and ".join(f"`{name}`" for name, c in main.accuracy.per_class.items() if c.f1 < 0.55) or "None",
    )


def _row(e: Evaluation) -> str:
    low, high = e.accuracy.ci95
    return (
        f"| {e.artifact} | {e.bytes:,} | {e.engine} {e.engine_version} | {e.accuracy.accuracy:.4f}"
        f" | {low:.4f}–{high:.4f} | {e.accuracy.macro_f1:.4f} | {e.accuracy.ece:.3f} |"
    )


def _quantised(how: dict[str, object]) -> str:
    return (
        "trained with its rounding (QAT)"
        if how.get("method") == "qat"
        else "after training, calibrated on training faces"
    )


def _commands(name: str, second_stage: bool, qat: bool) -> str:
    train = "edgefer train --data fer2013 --drop-rows train_rows_seen_in_test.csv --recipe"
    tuned = " --qat --drop-rows train_rows_seen_in_test.csv" if qat else ""
    teacher = " --teacher edge-s0.edgefer"
    lines = [f"{train} edge-s0 --out edge-s0.edgefer"]
    if second_stage:
        first = dict.fromkeys((f"{name}-first", "edge-m-first", "edge-s-first"))
        lines += [f"{train} {recipe}{teacher} --out {recipe}.edgefer" for recipe in first]
        teacher += " --teacher edge-m-first.edgefer --teacher edge-s-first.edgefer"
        teacher += f" --weights {name}-first.edgefer"
    lines += [
        f"{train} {name}{teacher} --out {name}.edgefer",
        f"edgefer export {name}.edgefer --int8{tuned} --data fer2013",
    ]
    return "\n".join(f"    {line}" for line in lines)


if __name__ == "__main__":
    main()
