"""Export: trained weights → TFLite, ONNX and OpenVINO files in float32 and int8, kept only when they agree.

Nothing is written to a bundle before every artifact has run in its real engine and passed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import numpy as np

from edgefer import __version__, plugins
from edgefer.bundle import MANIFEST, Artifact, Bundle, describe, write_bundle
from edgefer.errors import BundleError, ExportError, MissingDependencyError
from edgefer.metrics import agree
from edgefer.optimize import exporters
from edgefer.optimize.calibrate import CALIBRATION_FACES, calibration_faces
from edgefer.optimize.convert import Converted, Job, convert
from edgefer.optimize.verify import MAX_DROP, Parity, Reference, verify
from edgefer.runtime import engines
from edgefer.train import architectures
from edgefer.train.data import Dataset

FORMATS = ("tflite", "onnx", "openvino")
PRECISIONS = ("fp32", "int8")
TOOLS = ("tensorflow", "onnx", "tf2onnx", "openvino", "onnxruntime", "ai-edge-litert")

Progress = Callable[[str], None]
"""Called with one line on what is done now."""


@dataclass(frozen=True)
class ExportResult:
    """The written bundle, and how each new artifact compares with the trained network."""

    bundle: Bundle
    parities: tuple[Parity, ...]


def export(
    bundle: Bundle,
    train: Dataset,
    validation: Dataset,
    formats: Sequence[str] = FORMATS,
    precisions: Sequence[str] = PRECISIONS,
    max_drop: float = MAX_DROP,
    out: Path | None = None,
    calibration: int = CALIBRATION_FACES,
    seed: int = 0,
    progress: Progress | None = None,
) -> ExportResult:
    """Export the trained weights of `bundle`, in place or to a new bundle `out`.

    `train` gives the faces for calibration, `validation` (never the test split) those for the gate. What the bundle
    held stays, other than artifacts of a format and precision that are made anew. Raises ExportError when the
    weights are missing, the conversion fails or an artifact is refused; MissingDependencyError when a converter or
    an engine is not installed; DataError when the data has labels that the bundle lacks; BundleError when the bundle
    cannot be read or written. The bundle on disk is then what it was.
    """
    say = progress or (lambda line: None)
    formats = [name for name in FORMATS if name in formats] + [name for name in formats if name not in FORMATS]
    _check(bundle, formats, precisions, max_drop)
    if out is not None and out.exists():
        raise BundleError(f"{out} exists; choose another name or remove it")
    weights = _weights(bundle)
    train, validation = train.ordered(bundle.labels), validation.ordered(bundle.labels)
    pictures = np.stack([bundle.preprocess(face) for face in validation.images])
    faces = calibration_faces(train, bundle.preprocess, calibration, seed)
    say(f"converting {bundle.architecture} to {', '.join(formats)} in {', '.join(precisions)}")
    converted = convert(
        Job(bundle.architecture, len(bundle.labels), weights, faces, pictures, tuple(formats), tuple(precisions))
    )
    reference = Reference(pictures, validation.labels, converted.reference)
    parities = _gate(bundle, converted, reference, max_drop, say)
    target = bundle.path if out is None else out
    say(f"writing {target}")
    return ExportResult(_write(bundle, target, converted, parities), parities)


def _check(bundle: Bundle, formats: Sequence[str], precisions: Sequence[str], max_drop: float) -> None:
    """Refuse at once what would fail after minutes."""
    if not formats or not precisions:
        raise ExportError(f"nothing to export: name formats ({', '.join(FORMATS)}) and precisions (fp32, int8)")
    for precision in precisions:
        if precision not in PRECISIONS:
            raise ExportError(f"cannot export to the precision {precision!r}; choose one of: {', '.join(PRECISIONS)}")
    if not max_drop >= 0:
        raise ExportError(f"max-drop must be 0 or more points, found {max_drop}")
    known = architectures.architecture_names()
    if bundle.architecture not in known:
        raise ExportError(
            f"{bundle.path}: the architecture {bundle.architecture!r} is not known; choose one of: {', '.join(known)}"
        )
    trainer = architectures.facts()[bundle.architecture].trainer
    if trainer != "keras":
        raise ExportError(
            f"{bundle.architecture} is no network: training wrote its only form, which runs as it is; try"
            f" edgefer evaluate {bundle.path}"
        )
    for name in formats:
        exporter = exporters.load(name)
        engine = engines.load(exporter.ENGINE)
        needed = [(module, "optimize") for module in exporter.NEEDS if module != engine.MODULE]
        for module, extra in (*needed, (engine.MODULE, engine.EXTRA)):
            if not plugins.installed(module):
                raise MissingDependencyError(
                    f"exporting to {name} needs the package {module.split('.')[0]!r}, which is not installed:"
                    f" pip install 'edgefer{f'[{extra}]' if extra else ''}'"
                )


def _weights(bundle: Bundle) -> bytes:
    """Return the trained weights, checked against the manifest."""
    for artifact in bundle.artifacts:
        if (artifact.format, artifact.precision) == ("keras", "fp32"):
            if not artifact.path.endswith(".weights.h5"):
                raise ExportError(f"{bundle.path}: weights must be a .weights.h5 file, found {artifact.path}")
            return bundle.read(artifact.file)
    raise ExportError(
        f"{bundle.path} holds no trained weights (a keras artifact), which an export starts from;"
        " export the bundle that edgefer train wrote"
    )


def _gate(
    bundle: Bundle, converted: Converted, reference: Reference, max_drop: float, say: Progress
) -> tuple[Parity, ...]:
    """Run each artifact in its engine; raises ExportError that names every one that is refused."""
    parities: list[Parity] = []
    with tempfile.TemporaryDirectory(prefix="edgefer-verify-") as folder:
        artifacts, contents = _artifacts(converted)
        candidate = write_bundle(replace(bundle, path=Path(folder) / "candidate", artifacts=artifacts), contents)
        int8 = None
        for format, precision in converted.files:
            engine = exporters.load(format).ENGINE
            say(f"checking {format} {precision} in {engine} on {len(reference.pictures)} pictures")
            parity, found = verify(candidate, engine, precision, reference, max_drop)
            if precision == "int8" and format == "tflite":
                int8 = found
            elif precision == "int8" and int8 is not None:
                parity = replace(parity, int8_agreement=100 * agree(found, int8).top1)
            parities.append(parity)
    refused = [f"{p.artifact} in {p.engine} {p.reason}" for p in parities if not p.passed]
    if refused:
        n = len(reference.pictures)
        raise ExportError(
            f"refused, measured on {n} pictures (one is {100 / n:.2f} points): {'; '.join(refused)}."
            " Nothing was written; train with other settings, or allow more with --max-drop"
        )
    return tuple(parities)


def _artifacts(converted: Converted) -> tuple[tuple[Artifact, ...], dict[str, bytes]]:
    """Return manifest entries and contents of what was converted."""
    artifacts: list[Artifact] = []
    contents: dict[str, bytes] = {}
    for (format, precision), files in converted.files.items():
        first, *others = [describe(name, data) for name, data in files.items()]
        artifacts.append(Artifact(first, format, precision, tuple(others)))
        contents |= files
    return tuple(artifacts), contents


def _write(bundle: Bundle, target: Path, converted: Converted, parities: Sequence[Parity]) -> Bundle:
    """Write the old bundle's contents with the new artifacts in the place of those that they replace."""
    new, contents = _artifacts(converted)
    kept = tuple(a for a in bundle.artifacts if (a.format, a.precision) not in converted.files)
    replaced = {a.path for a in bundle.artifacts} - {a.path for a in kept}
    metrics = {path: entry for path, entry in bundle.metrics.items() if path not in replaced}
    written = replace(
        bundle,
        path=target,
        artifacts=kept + new,
        metrics=metrics | {p.artifact: p.as_metrics() for p in parities},
        versions={**bundle.versions, **_versions()},
        parent=bundle.parent if target == bundle.path else bundle.digest(),
    )
    old = {f.path: bundle.read(f) for a in kept for f in (a.file, *a.companions)}
    return write_bundle(written, {**_extras(bundle), **old, **contents}, replace_existing=target == bundle.path)


def _extras(bundle: Bundle) -> Mapping[str, bytes]:
    """Return the files of the bundle's directory that the manifest does not list, such as a model card."""
    listed = {f.path for a in bundle.artifacts for f in (a.file, *a.companions)} | {MANIFEST}
    try:
        return {
            path.relative_to(bundle.path).as_posix(): path.read_bytes()
            for path in sorted(bundle.path.rglob("*"))
            if path.is_file() and not path.is_symlink() and path.relative_to(bundle.path).as_posix() not in listed
        }
    except OSError as error:
        raise BundleError(f"{error.filename}: cannot be read ({error.strerror}); nothing was changed") from error


def _versions() -> dict[str, str]:
    """Return the versions of edgefer and of the tools that are installed."""
    found = {"edgefer": __version__}
    for name in TOOLS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
