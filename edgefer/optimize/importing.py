"""Import: a model from outside → a bundle, whose artifacts take pixels and give probabilities like all others.

The file is read and converted in a process of its own. Every artifact is then run in its engine and compared with
what the model itself gives for the same faces, preprocessed by hand; nothing is written before that.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer import __version__, cartoon, metrics, plugins
from edgefer.bundle import Artifact, Bundle, write_bundle
from edgefer.errors import BundleError, EngineError, ExportError, MissingDependencyError
from edgefer.labels import FER2013_LABELS, canonical
from edgefer.optimize import exporters, importers
from edgefer.optimize.importers import Found, _doubts
from edgefer.optimize.importers._ask import Progress, Result, ask, contents
from edgefer.optimize.stored import artifacts_of
from edgefer.preprocess import Preprocess
from edgefer.runtime import engines
from edgefer.train import architectures
from edgefer.train.data import Dataset

ORDERS = {"fer2013": FER2013_LABELS, "alphabetical": tuple(sorted(FER2013_LABELS))}
"""Orders of labels that have a name."""
TOLERANCE = {"fp32": 1e-3, "fp16": 0.02, "int8": 0.05}
"""How far a probability may be from the model's own."""
TOOLS = ("keras", "tensorflow", "onnx", "tf2onnx", "openvino", "onnxruntime", "ai-edge-litert")
COMPARED = 512
"""Labelled faces on which engines are compared and doubts are looked for."""
USUAL_NAMES = r"(main|graph|main_graph|torch_jit|torch-jit-export|tf2onnx|model|functional|sequential)([-_]?\d+)?"
"""What tools call a model whose author gave it no name."""


@dataclass(frozen=True)
class Labelled:
    """Faces to measure on, and which split of a data set they are."""

    faces: Dataset
    split: str


@dataclass(frozen=True)
class Imported:
    """What was written, and what a person should know of it."""

    bundle: Bundle
    found: Found
    output: str
    """`probabilities` or `logits`: what the model itself gives."""
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        names = ("format", "name", "dtype", "layout", "size", "channels", "classes", "batch")
        return {
            "bundle": str(self.bundle.path),
            "architecture": self.bundle.architecture,
            "labels": list(self.bundle.labels),
            "found": {name: getattr(self.found, name) for name in names},
            "output": self.output,
            "artifacts": [a.as_dict() for a in self.bundle.artifacts],
            "metrics": dict(self.bundle.metrics),
            "notes": list(self.notes),
            "warnings": list(self.warnings),
        }


def parse_labels(text: str) -> tuple[str, ...]:
    """Return the labels of `angry,disgust,…` or of a named order, in the usual spelling.

    Raises ExportError when fewer than two different names are left.
    """
    labels = ORDERS.get(text.strip().lower()) or tuple(canonical(name) for name in text.split(","))
    if len(labels) < 2 or not all(labels) or len(set(labels)) != len(labels):
        raise ExportError(
            f"--labels {text!r} must be different names with commas between, in the order of the model's outputs, or"
            f" one of: {', '.join(ORDERS)}"
        )
    return labels


def import_model(
    path: Path,
    labels: Sequence[str],
    out: Path,
    preprocess: str | None = None,
    output: str = "auto",
    data: Labelled | None = None,
    progress: Progress | None = None,
) -> Imported:
    """Make the bundle `out` of the model file `path`, whose outputs are called `labels` in this order.

    `preprocess` says how the model wants its pixels (`importers.parse_scaling`), `output` what it gives: `auto`,
    `probabilities` or `logits`. With `data`, accuracy is measured and what looks wrong is in the warnings.

    Raises ExportError when the file cannot be read, does not fit the labels or answers otherwise after conversion;
    BundleError when `out` exists or cannot be written; MissingDependencyError; DataError. Nothing is written then.
    """
    say = progress or (lambda line: None)
    if out.exists():
        raise BundleError(f"{out} exists; choose another name or remove it")
    model = contents(path)
    importers.for_file(path)
    if preprocess is not None:
        importers.parse_scaling(preprocess)
    drawn, _ = cartoon.dataset(2, 0)
    faces = None
    if data is not None:
        ordered = data.faces.ordered(tuple(labels))
        faces = ordered.take(np.random.default_rng(0).permutation(len(ordered)))
    with tempfile.TemporaryDirectory(prefix="edgefer-import-") as name:
        folder = Path(name)
        shown = drawn if faces is None else np.concatenate([drawn, _sample(faces, path).images])
        result = ask(path, model, labels, preprocess, output, shown, len(drawn), folder, say)
        imported = {"file": path.name, "sha256": hashlib.sha256(model).hexdigest(), "format": result.found.format}
        artifacts, files = artifacts_of(result.files)
        bundle = Bundle(
            path=folder / "candidate",
            architecture=_architecture(result.found.name),
            labels=tuple(labels),
            preprocess=Preprocess(size=result.found.size),
            artifacts=artifacts,
            recipe={"imported": imported | {"preprocess": preprocess, "output": result.output}},
            versions={"edgefer": __version__, **plugins.versions(TOOLS)},
        )
        bundle = _checked(write_bundle(bundle, files), result, shown, say)
    warnings = list(result.warnings)
    if faces is not None and data is not None:
        say(f"measuring on {len(faces)} faces of the {data.split} split")
        sample = _sample(faces, path)
        chosen = result.answers[""][len(drawn) :]
        bundle = replace(bundle, metrics=_measured(bundle, files, chosen, faces, data.split))
        others = {name: given for name, given in result.answers.items() if name}
        warnings += _doubts.doubts(chosen, others, sample.labels, bundle.labels, ORDERS)
    say(f"writing {out}")
    files = {f.path: files[f.path] for a in bundle.artifacts for f in (a.file, *a.companions)}
    written = write_bundle(replace(bundle, path=out), files)
    return Imported(written, result.found, result.output, tuple(result.notes), tuple(warnings))


def _sample(faces: Dataset, path: Path) -> Dataset:
    """Return the faces that the process answers for: all for a Keras model, which no engine runs."""
    whole = importers.for_file(path).__name__.endswith(".keras")
    return faces if whole else faces.take(np.arange(min(len(faces), COMPARED)))


def _checked(bundle: Bundle, result: Result, faces: npt.NDArray[np.uint8], say: Progress) -> Bundle:
    """Run each artifact in its engine and return the bundle with those that answer like the model itself.

    OpenVINO's is left out when it does not, with a note in `result`; raises ExportError for another.
    """
    pictures = np.stack([bundle.preprocess(face) for face in faces])
    kept = []
    for artifact in bundle.artifacts:
        problem = ""
        if artifact.format != "keras":
            engine = exporters.load(artifact.format).ENGINE
            say(f"checking {artifact.path} in {engine} on {len(pictures)} faces")
            try:
                difference = np.abs(_run(bundle, engine, artifact, pictures)[0] - result.answers[""]).max()
            except (EngineError, MissingDependencyError) as error:
                problem = str(error)
            else:
                limit = TOLERANCE[artifact.precision]
                if not difference <= limit:
                    problem = (
                        f"probabilities differ from the model's own by {difference:.3g}, at most {limit:g} is fine"
                    )
        if problem and artifact.format != "openvino":
            raise ExportError(f"{artifact.path} does not do what the model does: {problem}; nothing was written")
        if problem:
            result.notes.append(f"no OpenVINO artifact: {problem}")
        else:
            kept.append(artifact)
    return replace(bundle, artifacts=tuple(kept))


def _run(
    bundle: Bundle, engine: str, artifact: Artifact, pictures: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.float32], dict[str, str]]:
    """Return probabilities, and what gave them."""
    loaded = engines.open_engine(bundle, engine, artifact.precision)
    try:
        facts = {"engine": engine, "engine_version": loaded.engine.version, "provider": loaded.engine.provider}
        return loaded.engine.run(pictures), facts
    finally:
        loaded.engine.close()


def _measured(
    bundle: Bundle, files: Mapping[str, bytes], chosen: npt.NDArray[np.float32], faces: Dataset, split: str
) -> dict[str, Any]:
    """Return the manifest's metrics: each artifact in its engine on all `faces`; Keras's by what it answered itself."""
    pictures = np.stack([bundle.preprocess(face) for face in faces.images])
    entries = {}
    with tempfile.TemporaryDirectory(prefix="edgefer-import-") as folder:
        needed = {f.path: files[f.path] for a in bundle.artifacts for f in (a.file, *a.companions)}
        candidate = write_bundle(replace(bundle, path=Path(folder) / "candidate"), needed)
        for artifact in candidate.artifacts:
            probabilities, facts = chosen, {"engine": "keras", "engine_version": bundle.versions.get("keras", "")}
            if artifact.format != "keras":
                engine = exporters.load(artifact.format).ENGINE
                probabilities, facts = _run(candidate, engine, artifact, pictures)
            figures = metrics.measure(probabilities, faces.labels, bundle.labels)
            entry = {"split": split, "n": figures.n, "accuracy": figures.accuracy, "ci95": list(figures.ci95)}
            entries[artifact.path] = entry | {"macro_f1": figures.macro_f1} | facts
    return entries


def _architecture(name: str) -> str:
    """Return the model's own name when it is plain and no architecture of ours, else `imported`."""
    name = name.strip().lower().replace(" ", "-")
    plain = re.fullmatch(r"[a-z][a-z0-9_.-]{1,39}", name) and not re.fullmatch(USUAL_NAMES, name)
    return name if plain and name not in architectures.architecture_names() else "imported"
