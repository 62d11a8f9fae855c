"""The two kinds of bundles: a classifier of faces, and a detector that finds them; each as its manifest says it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefer import grid, letterbox
from edgefer import manifest as parts
from edgefer.errors import BundleError
from edgefer.labels import is_label
from edgefer.manifest import MANIFEST, MAX_TEMPERATURE, MIN_TEMPERATURE, SCHEMA, Artifact, File, Recommendation, Size
from edgefer.preprocess import Preprocess

if TYPE_CHECKING:
    from typing_extensions import Self

SUFFIX = ".edgefer"
MAX_LABELS = 1000
INPUT_CONTRACT = {"dtype": "uint8", "layout": "NHWC", "range": [0, 255]}
DETECT = "detect"
"""What a detector's manifest says under `task`; that of a classifier has no such key."""
FACE = ("face",)
"""The labels of a detector."""
LETTERBOX = {"method": letterbox.METHOD}
"""How a frame becomes the picture that a detector takes."""
GRID = {"dtype": "float32", "shape": [None, None, None, grid.CHANNELS], "meaning": grid.METHOD}
"""What a detector gives: fifteen numbers for each cell of a grid."""
BEST_FIRST = ("int8", "fp16", "fp32", "dynamic")


class Stored:
    """What both kinds of bundles have. `read` gives an artifact's bytes, checked against the manifest."""

    path: Path
    architecture: str
    artifacts: tuple[Artifact, ...]
    metrics: Mapping[str, Any]
    recipe: Mapping[str, Any]
    versions: Mapping[str, str]
    parent: str | None

    @property
    def name(self) -> str:
        """The directory's name without `.edgefer`."""
        return self.path.name.removesuffix(SUFFIX)

    @property
    def files(self) -> tuple[File, ...]:
        """Every file that the manifest lists."""
        return tuple(file for a in self.artifacts for file in (a.file, *a.companions))

    def artifact(self, format: str, precision: str | None = None) -> Artifact:
        """Return the artifact of that format; without `precision` int8 is preferred to fp16 to fp32.

        int8 weights alone (`dynamic`) come last. Raises BundleError that lists what the bundle has.
        """
        found = self._best(format, precision, self.artifacts)
        if found is None:
            raise self._lacks(format, precision)
        return found

    @staticmethod
    def _best(format: str, precision: str | None, among: tuple[Artifact, ...]) -> Artifact | None:
        for wanted in [precision] if precision else BEST_FIRST:
            for artifact in among:
                if (artifact.format, artifact.precision) == (format, wanted):
                    return artifact
        return None

    def _lacks(self, format: str, precision: str | None, size: Size | None = None) -> BundleError:
        runnable = [str(a) for a in self.artifacts if a.format != "keras"]
        advice = f"it has: {', '.join(runnable)}" if runnable else f"make it with: edgefer export {self.path} --int8"
        details = f"{f' in {precision}' if precision else ''}{f' for {parts.size_name(size)}' if size else ''}"
        return BundleError(f"{self.path} has no {format} artifact{details}; {advice}")

    def read(self, file: File) -> bytes:
        """Return the bytes of a file of the bundle after checking size and SHA-256; what is checked is what is used.

        Raises BundleError when the file is missing or changed.
        """
        path = self.path / file.path
        try:
            with path.open("rb") as stream:
                data = stream.read(file.bytes + 1)
        except OSError as error:
            raise BundleError(f"{path}: cannot be read ({error.strerror}); get the bundle again") from error
        if len(data) != file.bytes:
            found = path.stat().st_size
            raise BundleError(
                f"{path}: the manifest says {file.bytes} bytes, found {found};"
                " it was changed or cut short: get the bundle again"
            )
        digest = hashlib.sha256(data).hexdigest()
        if digest != file.sha256:
            raise BundleError(
                f"{path}: SHA-256 is {digest[:12]}…, the manifest says {file.sha256[:12]}…;"
                " it was changed: get the bundle again"
            )
        return data

    def verify(self) -> Self:
        """Read every file once and return the bundle; raises BundleError for the first that is not as it must be."""
        for file in self.files:
            self.read(file)
        return self

    def digest(self) -> str:
        """Return the SHA-256 of the manifest as it is on disk: the identity of the whole bundle."""
        return hashlib.sha256((self.path / MANIFEST).read_bytes()).hexdigest()

    def manifest(self) -> dict[str, Any]:
        """Return the manifest as plain data."""
        raise NotImplementedError

    def _history(self) -> dict[str, Any]:
        """Return the part of the manifest that is alike for both kinds."""
        return {
            "artifacts": [a.as_dict() for a in self.artifacts],
            "metrics": dict(self.metrics),
            "recipe": dict(self.recipe),
            "versions": dict(self.versions),
            "parent": self.parent,
        }


@dataclass(frozen=True)
class Bundle(Stored):
    """An opened bundle of a classifier: a face in, a probability for each label out."""

    path: Path
    architecture: str
    labels: tuple[str, ...]
    preprocess: Preprocess
    artifacts: tuple[Artifact, ...]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """Figures by artifact path; each names its split, count and how it was measured."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    parent: str | None = None
    """SHA-256 of the manifest that this bundle was made from."""
    temperature: float = 1.0
    """What the network's logits are divided by before the softmax, so that probabilities say how sure to be.

    The model files give softmax(logits); the engines apply this to what they give (Guo et al., 2017).
    """
    recommended: Mapping[str, Recommendation] = field(default_factory=dict)
    """By the name of a device profile."""

    def manifest(self) -> dict[str, Any]:
        """Return the manifest as plain data; a recommendation of what the bundle no longer has is left out."""
        paths = {a.path for a in self.artifacts}
        recommended = {target: vars(r) for target, r in self.recommended.items() if r.artifact in paths}
        return {
            "schema": SCHEMA,
            "architecture": self.architecture,
            "labels": list(self.labels),
            "input": INPUT_CONTRACT | {"shape": [None, self.preprocess.size, self.preprocess.size, 1]},
            "output": {"dtype": "float32", "shape": [None, len(self.labels)], "meaning": "probabilities"},
            "temperature": self.temperature,
            "preprocess": self.preprocess.as_dict(),
            **self._history(),
            **({"recommended": recommended} if recommended else {}),
        }


@dataclass(frozen=True)
class DetectorBundle(Stored):
    """An opened bundle of a face detector: a letterboxed grey picture in, numbers for each cell of a grid out."""

    path: Path
    architecture: str
    artifacts: tuple[Artifact, ...]
    """One for each format, precision and size; the weights that training wrote have no size."""
    threshold: float
    """Score (0–1) from which a find is a face; chosen in training."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """Figures by artifact path; each names its split, count and how it was measured."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    parent: str | None = None
    """SHA-256 of the manifest that this bundle was made from."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What it finds."""
        return FACE

    def sizes(self, format: str, precision: str | None = None) -> tuple[Size, ...]:
        """Return the (height, width) that there are files of that format for, the smallest first."""
        found = {a.size for a in self.artifacts if a.format == format and precision in (None, a.precision) and a.size}
        return tuple(sorted(found, key=lambda size: (size[0] * size[1], size)))

    def sized(self, format: str, precision: str | None = None, size: Size | None = None) -> Artifact:
        """Return the artifact of that format for pictures of `size`, height and width.

        Without `precision` int8 is preferred to fp16 to fp32, and `dynamic` comes last; without `size` it is the first
        that the manifest lists. Raises BundleError that lists what the bundle has.
        """
        among = tuple(a for a in self.artifacts if size in (None, a.size))
        found = self._best(format, precision, among)
        if found is None:
            raise self._lacks(format, precision, size)
        return found

    def manifest(self) -> dict[str, Any]:
        """Return the manifest as plain data."""
        return {
            "schema": SCHEMA,
            "task": DETECT,
            "architecture": self.architecture,
            "labels": list(FACE),
            "input": INPUT_CONTRACT | {"shape": [None, None, None, 1]},
            "output": GRID,
            "threshold": self.threshold,
            "preprocess": LETTERBOX,
            **self._history(),
        }


def parse(path: Path, data: Mapping[str, Any]) -> Bundle | DetectorBundle:
    """Return the bundle that a manifest describes; raises BundleError, KeyError, TypeError or ValueError."""
    task = data.get("task")
    if task == DETECT:
        return _detector(path, data)
    if "task" in data:
        raise BundleError(
            f"{path}: the task {ascii(task)[:40]} is not known to this version, which has {DETECT!r};"
            " install a newer edgefer"
        )
    return _classifier(path, data)


def _classifier(path: Path, data: Mapping[str, Any]) -> Bundle:
    labels = data["labels"]
    if (
        not isinstance(labels, list)
        or not 2 <= len(labels) <= MAX_LABELS
        or not all(is_label(n) for n in labels)
        or len(set(labels)) != len(labels)
    ):
        raise BundleError(f"{path}: labels must be 2–{MAX_LABELS} different names, found {ascii(labels)[:80]}")
    classes = data["output"]["shape"][1]
    if classes != len(labels):
        raise BundleError(f"{path}: the model gives {classes} probabilities but there are {len(labels)} labels")
    preprocess = Preprocess.from_dict(data["preprocess"])
    _check_input(path, data["input"], [None, preprocess.size, preprocess.size, 1])
    artifacts = parts.artifacts(path, data["artifacts"])
    for artifact in artifacts:
        if artifact.size is not None:
            raise BundleError(f"{path}: {artifact.path!r} has a size, which only a detector's file has")
    temperature = data.get("temperature", 1.0)
    return Bundle(
        labels=tuple(labels),
        preprocess=preprocess,
        temperature=parts.number(path, "temperature", temperature, MIN_TEMPERATURE, MAX_TEMPERATURE),
        recommended=parts.recommended(path, data.get("recommended", {}), artifacts),
        **_common(path, data, artifacts),
    )


def _detector(path: Path, data: Mapping[str, Any]) -> DetectorBundle:
    if data["labels"] != list(FACE):
        raise BundleError(f"{path}: a detector's labels must be {list(FACE)}, found {ascii(data['labels'])[:80]}")
    _check_input(path, data["input"], [None, None, None, 1])
    for name, known in (("output", GRID), ("preprocess", LETTERBOX)):
        if data[name] != known:
            raise BundleError(
                f"{path}: {name} is {ascii(data[name])[:120]}, this version knows {known}; install a newer edgefer"
            )
    artifacts = parts.artifacts(path, data["artifacts"])
    for artifact in artifacts:
        if (artifact.size is None) != (artifact.format == "keras"):
            what = "is weights, which have no size" if artifact.size else "needs a size, height and width"
            raise BundleError(f"{path}: {artifact.path!r} {what}")
    kinds = [str(artifact) for artifact in artifacts]
    if twice := sorted({kind for kind in kinds if kinds.count(kind) > 1}):
        raise BundleError(f"{path}: there is more than one artifact for {', '.join(twice)}")
    return DetectorBundle(
        threshold=parts.number(path, "threshold", data["threshold"], 0.0, 1.0), **_common(path, data, artifacts)
    )


def _check_input(path: Path, found: Any, shape: list[int | None]) -> None:
    if found != INPUT_CONTRACT | {"shape": shape}:
        raise BundleError(f"{path}: the input contract must be uint8 NHWC {shape}, found {str(found)[:120]}")


def _common(path: Path, data: Mapping[str, Any], artifacts: tuple[Artifact, ...]) -> dict[str, Any]:
    return {
        "path": path,
        "architecture": parts.text(data["architecture"]),
        "artifacts": artifacts,
        "metrics": dict(data["metrics"]),
        "recipe": dict(data["recipe"]),
        "versions": {parts.text(k): parts.text(v) for k, v in dict(data["versions"]).items()},
        "parent": None if data["parent"] is None else parts.text(data["parent"]),
    }
