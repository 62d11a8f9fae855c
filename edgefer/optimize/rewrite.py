"""An exported bundle is the old one with artifacts replaced: which, how int8 came to be, and how it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefer import __version__, plugins
from edgefer.bundle import MANIFEST, Artifact, Kind, Stored, write_bundle
from edgefer.errors import BundleError
from edgefer.optimize.convert import OWN_METHODS, Choice, Key, Settings
from edgefer.optimize.stored import artifacts_of

if TYPE_CHECKING:
    from edgefer.optimize.detect.judge import DetectChoice

TOOLS = ("tensorflow", "tensorflow-model-optimization", "onnx", "tf2onnx", "nncf", "openvino", "onnxruntime",
         "ai-edge-litert")  # fmt: skip


def divided(
    bundle: Stored, wanted: Sequence[Key], out: Path | None, force: bool
) -> tuple[tuple[Key, ...], tuple[str, ...]]:
    """Return which of the `wanted` artifacts are to be made, and the paths of those that stay what they are.

    A new bundle `out` gets all of them, and so does the old one with `force`. Raises BundleError when `out` exists.
    """
    if out is not None and out.exists():
        raise BundleError(f"{out} exists; choose another name or remove it")
    there: dict[Any, str] = {} if out is not None or force else {_known_by(a): a.path for a in bundle.artifacts}
    return tuple(made for made in wanted if made not in there), tuple(there[made] for made in wanted if made in there)


def quantisation(
    format: str, choices: Sequence[Choice | DetectChoice], settings: Settings, calibrated: Mapping[str, int]
) -> dict[str, Any]:
    """Return how int8 after training came to be, for the manifest.

    `choices` are those between the ways to calibrate the network that it was made from, `calibrated` says on how many
    of what.
    """
    judged, quantiser, known = "tflite", "shared", settings.methods
    if settings.own:
        judged, quantiser = format, f"{format}'s own"
        known = tuple(m for m in OWN_METHODS[format] if m in settings.methods)
    chosen = [choice.method for choice in choices if choice.chosen and choice.format == judged]
    return {"method": (chosen or known)[0], "quantiser": quantiser, **calibrated, **float_layers(settings)}


def float_layers(settings: Settings) -> dict[str, list[str]]:
    """Return which layers int8 left in float, for the manifest."""
    return {"keep_float": list(settings.keep_float)} if settings.keep_float else {}


def write(
    bundle: Kind,
    target: Path,
    made: Mapping[Any, Mapping[str, bytes]],
    metrics: Mapping[str, Any],
    keep: bool = True,
) -> Kind:
    """Write `bundle` at `target`, in place or anew, with what was `made` in the place of what that replaces.

    `made` is as `artifacts_of` takes it, `metrics` has its entries for the manifest by path. The other artifacts stay
    with `keep` alone, files that the manifest does not list in any case. Raises BundleError; what is at `target` is
    then what it was.
    """
    new, contents = artifacts_of(made)
    kept = tuple(a for a in bundle.artifacts if keep and _known_by(a) not in made)
    replaced = {a.path for a in bundle.artifacts} - {a.path for a in kept}
    written = replace(
        bundle,
        path=target,
        artifacts=kept + new,
        metrics={path: entry for path, entry in bundle.metrics.items() if path not in replaced} | dict(metrics),
        versions={**bundle.versions, "edgefer": __version__, **plugins.versions(TOOLS)},
        parent=bundle.parent if target == bundle.path else bundle.digest(),
    )
    old = {file.path: bundle.read(file) for file in replace(bundle, artifacts=kept).files}
    return write_bundle(written, {**_extras(bundle), **old, **contents}, replace_existing=target == bundle.path)


def _known_by(artifact: Artifact) -> tuple[Any, ...]:
    known = artifact.format, artifact.precision
    return known if artifact.size is None else (*known, artifact.size)


def _extras(bundle: Stored) -> Mapping[str, bytes]:
    """Return the files of the bundle's directory that the manifest does not list, such as a model card."""
    listed = {file.path for file in bundle.files} | {MANIFEST}
    try:
        return {
            path.relative_to(bundle.path).as_posix(): path.read_bytes()
            for path in sorted(bundle.path.rglob("*"))
            if path.is_file() and not path.is_symlink() and path.relative_to(bundle.path).as_posix() not in listed
        }
    except OSError as error:
        raise BundleError(f"{error.filename}: cannot be read ({error.strerror}); nothing was changed") from error
