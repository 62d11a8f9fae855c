"""Export: a trained network → files for every engine, kept only when they answer as what was trained.

Nothing is written to a bundle before every artifact has run in its real engine and passed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgefer.bundle import Bundle, write_bundle
from edgefer.errors import ExportError
from edgefer.metrics import agree, measure
from edgefer.optimize import exporters, layers, plan, rewrite, stages, worker
from edgefer.optimize.calibrate import calibration_faces, choosing_faces
from edgefer.optimize.convert import Choice, Converted, Job, convert
from edgefer.optimize.plan import Plan
from edgefer.optimize.stages import Outcome, Step
from edgefer.optimize.stored import Stored, artifacts_of
from edgefer.optimize.take_apart import take_apart
from edgefer.optimize.tune import Faces
from edgefer.optimize.verify import Parity, Reference, verify
from edgefer.train import network_file
from edgefer.train.data import Dataset
from edgefer.train.recipe import of_bundle
from edgefer.train.step import targets_of
from edgefer.train.temperature import fit_temperature

LAYER_FACES = 48
"""Faces that a refused int8 model is looked at with, layer by layer."""


@dataclass(frozen=True)
class ExportResult:
    """The written bundle, and how each new artifact compares with the trained network."""

    bundle: Bundle
    parities: tuple[Parity, ...]
    steps: tuple[Step, ...] = ()
    """What the stages of fine-tuning did."""
    choices: tuple[Choice, ...] = ()
    """How the ways to calibrate compare."""
    skipped: tuple[str, ...] = ()
    """Artifacts that were there already and are what they were."""
    macs: int | None = None
    parameters: int | None = None


def export(
    bundle: Bundle,
    train: Dataset,
    validation: Dataset,
    wanted: Plan = Plan(),  # noqa: B008 - frozen
    *,
    out: Path | None = None,
    force: bool = False,
    resume: bool = False,
    tune_on: Dataset | None = None,
    teacher: Bundle | None = None,
    listener: worker.Listener | None = None,
) -> ExportResult:
    """Export the trained network of `bundle`, in place or to a new bundle `out`.

    `train` gives the faces for calibration, `tune_on` (without: `train`) those for fine-tuning, `validation` (never
    the test split) those for the gate. In place, what the bundle holds stays; an artifact of that format and
    precision is left alone unless `force`. `teacher` is what fine-tuning learns from, the trained network itself
    without one. Fine-tuning keeps its state beside the bundle, and `resume` goes on from it.

    Raises ExportError when the network is missing or cannot be tuned as planned, the conversion fails or an artifact
    is refused; MissingDependencyError when a converter or an engine is not installed; DataError when the data has
    labels that the bundle lacks; BundleError when the bundle cannot be read or written. The bundle is then what it was.
    """
    listen = listener or (lambda message: None)
    plan.check(wanted, bundle)
    if out is None and set(wanted.stages) - {"qat"}:
        raise ExportError(
            f"{', '.join(s for s in wanted.stages if s != 'qat')} changes the trained weights; write a new bundle with"
            " --out, so that they are not lost"
        )
    missing, skipped = rewrite.divided(bundle, wanted.artifacts, out, force)
    if not missing:
        return ExportResult(bundle, (), skipped=skipped)
    if "qat" in wanted.stages and all(precision != "int8" for _, precision in missing):
        raise ExportError("qat is for int8, which the bundle has already; --force makes it anew")
    stored = plan.stored(bundle)
    target = bundle.path if out is None else out
    train, validation = train.ordered(bundle.labels), validation.ordered(bundle.labels)
    pictures = _prepared(bundle, validation)
    calibration = calibration_faces(train, bundle.preprocess, wanted.calibration, wanted.seed)
    outcome = Outcome(None, None, None, ())
    states = target.with_name(target.name + ".tuning")
    if wanted.tunings:
        tuning = (
            train if tune_on is None else tune_on.ordered(bundle.labels),
            validation.labels,
            pictures,
            calibration,
        )
        outcome = _tuned(bundle, stored, wanted, *tuning, teacher, states, resume, listen)
    job = Job(
        name=bundle.architecture,
        stored=stored,
        calibration=calibration,
        choosing=choosing_faces(train, bundle.preprocess, wanted.calibration, wanted.seed),
        verification=pictures,
        artifacts=missing,
        settings=wanted,
        tuned=outcome.tuned,
        int8=outcome.int8,
        ranges=outcome.ranges,
    )
    converted = convert(job, listen)
    parities = _gate(bundle, converted, pictures, validation, wanted, listen)
    listen({"say": f"writing {target}"})
    written = _write(bundle, target, converted, parities, outcome, wanted, validation)
    stages.remove(states)
    return ExportResult(
        written, parities, outcome.steps, converted.choices, skipped, converted.macs, converted.parameters
    )


def _prepared(bundle: Bundle, data: Dataset) -> Any:
    """Return the faces as the network gets them, uint8 [n, size, size, 1]."""
    return np.stack([bundle.preprocess(face) for face in data.images])


def _tuned(
    bundle: Bundle,
    stored: Stored,
    wanted: Plan,
    tune_on: Dataset,
    labels: Any,
    pictures: Any,
    calibration: Any,
    teacher: Bundle | None,
    states: Path,
    resume: bool,
    listen: worker.Listener,
) -> Outcome:
    """Run the stages of fine-tuning."""
    if states.exists() and not resume:
        raise ExportError(f"{states} holds unfinished fine-tuning; go on with --resume, or remove it")
    if resume and not states.exists():
        raise ExportError(f"there is nothing to resume: {states} does not exist; leave out --resume")
    network, said = take_apart(stored, pictures, listen)
    stages.check(network, wanted.tunings, wanted.keep_float)
    taught = network
    if teacher is not None:
        if teacher.labels != bundle.labels:
            raise ExportError(
                f"the teacher {teacher.path} has the labels {', '.join(teacher.labels)}, the bundle has"
                f" {', '.join(bundle.labels)}; they must be the same, in the same order"
            )
        taught, _ = take_apart(plan.stored(teacher), pictures[:1], listen)
    recipe = of_bundle(bundle.recipe)
    faces = Faces(_prepared(bundle, tune_on), targets_of(tune_on, recipe), calibration, pictures, labels)
    accuracy = float((said.argmax(axis=1) == labels).mean())
    try:
        return stages.run_stages(
            network,
            accuracy,
            taught,
            wanted.tunings,
            faces,
            recipe.augmentation.at_the_end(),
            wanted.keep_float,
            wanted.max_drop,
            states,
            listen,
        )
    except OSError as error:
        raise ExportError(f"cannot write beside {bundle.path}: {error.strerror or error}; make room") from error
    finally:
        if not any(states.glob("*/state.npz")):  # nothing was trained yet: nothing to go on from
            stages.remove(states)


def _gate(
    bundle: Bundle, converted: Converted, pictures: Any, validation: Dataset, wanted: Plan, listen: worker.Listener
) -> tuple[Parity, ...]:
    """Run each artifact in its engine; raises ExportError that names every one that is refused."""
    parities: list[Parity] = []
    artifacts, contents = artifacts_of(converted.files)
    with tempfile.TemporaryDirectory(prefix="edgefer-verify-") as folder:
        candidate = write_bundle(replace(bundle, path=Path(folder) / "candidate", artifacts=artifacts), contents)
        int8 = None
        for format, precision in converted.files:
            engine = exporters.load(format).ENGINE
            listen({"say": f"checking {format} {precision} in {engine} on {len(pictures)} faces"})
            source = converted.int8 if precision == "int8" else converted.tuned
            reference = Reference(pictures, validation.labels, converted.trained, source)
            parity, found = verify(candidate, engine, precision, reference, wanted.max_drop)
            if precision == "int8" and format == "tflite":
                int8 = found
            elif precision == "int8" and int8 is not None:
                parity = replace(parity, int8_agreement=100 * agree(found, int8).top1)
            parities.append(parity)
    refused = [p for p in parities if not p.passed]
    if refused:
        n = len(pictures)
        said = "; ".join(f"{p.artifact} in {p.engine} {p.reason} (McNemar p = {p.p_value:.2g})" for p in refused)
        raise ExportError(
            f"refused, measured on {n} faces (one is {100 / n:.2f} points): {said}."
            f"{_blame(converted, refused, pictures)} Nothing was written"
        )
    return tuple(parities)


def _blame(converted: Converted, refused: Sequence[Parity], pictures: Any) -> str:
    """Return which layers of a refused int8 model lose most, and what to do."""
    files = converted.files.get(("tflite", "int8"))
    if all(p.precision != "int8" for p in refused) or files is None or converted.network is None:
        return " Train with other settings, or allow more with --max-drop."
    [model] = files.values()
    try:
        losses = layers.layer_losses(converted.float_core, model, pictures[:LAYER_FACES], converted.network)
    except ExportError as error:
        return f" Which layers lose most cannot be told: {error}."
    advice = layers.advice(losses)
    if not advice:
        return " No layer stands out; try --qat, or another --calibrate."
    return f" Layers that lose most in int8: {' | '.join(advice)}."


def _write(
    bundle: Bundle,
    target: Path,
    converted: Converted,
    parities: Sequence[Parity],
    outcome: Outcome,
    wanted: Plan,
    validation: Dataset,
) -> Bundle:
    """Write the old bundle with the new artifacts, and the tuned network with its figures where there is one."""
    measured = {p.artifact: p.as_metrics() for p in parities}
    for parity in parities:
        if parity.precision == "int8":
            measured[parity.artifact]["quantisation"] = _quantisation(parity.format, converted, outcome, wanted)
    made, temperature = converted.files, bundle.temperature
    if outcome.tuned is not None:
        assert converted.network is not None
        weights, network = f"{bundle.architecture}.weights.h5", f"{bundle.architecture}.network.json"
        stored = {weights: converted.weights, network: network_file.as_json(converted.network)}
        made = {("keras", "fp32"): stored, **made}
        temperature = fit_temperature(np.log(np.maximum(converted.tuned, 1e-12)), validation.labels)
        figures = measure(converted.tuned, validation.labels, bundle.labels).as_dict()
        measured[weights] = figures | {
            "split": "validation",
            "engine": "keras on tensorflow",
            "parameters": converted.parameters,
            "macs": converted.macs,
            "steps": [s.as_dict() for s in outcome.steps if s.tuning.stage != "qat"],
        }
    recommended = {device: r for device, r in bundle.recommended.items() if r.artifact not in measured}
    changed = replace(bundle, temperature=temperature, recommended=recommended)
    # A tuned network is another one: nothing that was made of the old one stays.
    return rewrite.write(changed, target, made, measured, keep=outcome.tuned is None)


def _quantisation(format: str, converted: Converted, outcome: Outcome, wanted: Plan) -> dict[str, Any]:
    """Return how an int8 artifact came to be, for the manifest."""
    for step in outcome.steps:
        if step.tuning.stage == "qat":
            return {"method": "qat", **step.as_dict(), **rewrite.float_layers(wanted)}
    return rewrite.quantisation(format, converted.choices, wanted, {"calibration_faces": wanted.calibration})
