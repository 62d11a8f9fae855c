"""What an export shall do, and what it is refused for at once instead of after minutes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from edgefer import plugins
from edgefer.bundle import Bundle
from edgefer.errors import ExportError, MissingDependencyError
from edgefer.optimize import exporters
from edgefer.optimize.calibrate import CALIBRATION_FACES
from edgefer.optimize.convert import FORMATS, METHODS, OWN_METHODS, PRECISIONS, Settings
from edgefer.optimize.stored import Stored
from edgefer.optimize.tune import DEFAULTS, STAGES, Tuning
from edgefer.optimize.verify import MAX_DROP
from edgefer.runtime import engines
from edgefer.train import architectures

OPSETS = range(13, 19)
"""Of ONNX: per-channel quantisation came with 13, tf2onnx 1.17 ends at 18."""


@dataclass(frozen=True, kw_only=True)
class BasePlan(Settings):
    """What the plans for both kinds of bundles have."""

    formats: tuple[str, ...] = FORMATS
    precisions: tuple[str, ...] = ("fp32", "int8")
    max_drop: float = MAX_DROP
    """Points of accuracy, of a detector's average precision, that each artifact may lose against the trained network
    (of the same size)."""
    calibration: int = CALIBRATION_FACES
    """Faces, or scenes, that int8 is calibrated on."""
    seed: int = 0

    @property
    def stages(self) -> tuple[str, ...]:
        """Return the names of the stages of fine-tuning."""
        return ()


@dataclass(frozen=True, kw_only=True)
class Plan(BasePlan):
    """Artifacts of a classifier to make, and how."""

    tunings: tuple[Tuning, ...] = ()
    """Stages of fine-tuning before; one of a kind at most."""

    @property
    def artifacts(self) -> list[tuple[str, str]]:
        """Return every (format, precision) asked for."""
        return [(format, precision) for precision in self.precisions for format in self.formats]

    @property
    def stages(self) -> tuple[str, ...]:
        """Return the names of the stages of fine-tuning."""
        return tuple(tuning.stage for tuning in self.tunings)


def check(plan: Plan, bundle: Bundle) -> None:
    """Raise ExportError for a plan that cannot work, MissingDependencyError for a package that it needs."""
    check_values(plan)
    _check_network(bundle)


def check_values(plan: BasePlan) -> None:
    """Raise as `check` does for a plan that can work with no network."""
    if not plan.formats or not plan.precisions:
        raise ExportError(
            f"nothing to export: name formats ({', '.join(FORMATS)}) and precisions ({', '.join(PRECISIONS)})"
        )
    for what, values, known in (("precision", plan.precisions, PRECISIONS), ("calibration", plan.methods, METHODS)):
        for value in values:
            if value not in known:
                raise ExportError(f"there is no {what} called {value!r}; choose one of: {', '.join(known)}")
    if not plan.max_drop >= 0:
        raise ExportError(f"max-drop must be 0 or more points, found {plan.max_drop}")
    if plan.opset not in OPSETS:
        raise ExportError(f"the ONNX opset must be {OPSETS[0]} to {OPSETS[-1]}, found {plan.opset}")
    if plan.batch is not None and not 1 <= plan.batch <= 1024:
        raise ExportError(f"the batch must be 1 to 1024 pictures, found {plan.batch}")
    if len(set(plan.stages)) != len(plan.stages):
        raise ExportError(f"each stage of fine-tuning can be done once, found {', '.join(plan.stages)}")
    _check_int8(plan)
    _check_packages(plan)


def _check_int8(plan: BasePlan) -> None:
    quantised = [name for name, on in (("qat", "qat" in plan.stages), ("keep-float", plan.keep_float)) if on]
    if quantised and "int8" not in plan.precisions:
        raise ExportError(f"{quantised[0]} is for int8, which is not asked for; add --int8")
    if plan.own and quantised:
        raise ExportError(f"{quantised[0]} needs the shared quantiser: leave out --quantizer own")
    for format in plan.formats if plan.own else ():
        if not set(OWN_METHODS[format]) & set(plan.methods):
            raise ExportError(
                f"{format}'s own quantiser cannot calibrate by {', '.join(plan.methods)}; it knows"
                f" {', '.join(OWN_METHODS[format])}"
            )


def _check_network(bundle: Bundle) -> None:
    if any(a.format == "keras" and a.companions for a in bundle.artifacts):  # its layers lie beside its weights
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", bundle.architecture):
            raise ExportError(f"{bundle.path}: files cannot be called after the architecture {bundle.architecture!r}")
        return
    known = architectures.architecture_names()
    if bundle.architecture not in known:
        raise ExportError(
            f"{bundle.path}: the architecture {bundle.architecture!r} is not known; choose one of: {', '.join(known)}"
        )
    if architectures.facts()[bundle.architecture].trainer != "keras":
        raise ExportError(
            f"{bundle.architecture} is no network: training wrote its only form, which runs as it is; try"
            f" edgefer evaluate {bundle.path}"
        )


def _check_packages(plan: BasePlan) -> None:
    for name in plan.formats:
        exporter = exporters.load(name)
        engine = engines.load(exporter.ENGINE)
        own = exporter.OWN_NEEDS if plan.own or "dynamic" in plan.precisions else ()
        needed = [(module, "optimize") for module in (*exporter.NEEDS, *own) if module != engine.MODULE]
        for module, extra in (*needed, (engine.MODULE, engine.EXTRA)):
            _need(module, extra, f"exporting to {name}")
    for stage in plan.stages:
        _need("tensorflow_model_optimization", "optimize", f"the stage {stage}")


def _need(module: str, extra: str | None, purpose: str) -> None:
    if not plugins.installed(module):
        raise MissingDependencyError(
            f"{purpose} needs the package {module.split('.')[0]!r}, which is not installed:"
            f" pip install 'edgefer{f'[{extra}]' if extra else ''}'"
        )


def stored(bundle: Bundle) -> Stored:
    """Return the trained network of a bundle, checked against the manifest; raises ExportError when it has none."""
    for artifact in bundle.artifacts:
        if (artifact.format, artifact.precision) == ("keras", "fp32"):
            if not artifact.path.endswith(".weights.h5"):
                raise ExportError(f"{bundle.path}: weights must be a .weights.h5 file, found {artifact.path}")
            layers = bundle.read(artifact.companions[0]) if artifact.companions else None
            return Stored(bundle.architecture, len(bundle.labels), bundle.read(artifact.file), layers)
    raise ExportError(
        f"{bundle.path} holds no trained weights (a keras artifact), which an export starts from;"
        " export the bundle that edgefer train wrote"
    )


def tunings(amounts: dict[str, float], settings: Sequence[tuple[str, object]]) -> tuple[Tuning, ...]:
    """Return the stages named in `amounts` (stage → amount) with `settings` (`stage.field` → value) on top.

    Raises ExportError for a setting of a stage that is not asked for, an unknown field or a value out of range.
    """
    chosen = {stage: asdict(DEFAULTS[stage]) for stage in STAGES if stage in amounts}
    for stage, amount in amounts.items():
        chosen[stage]["amount"] = float(amount)
    for name, value in settings:
        stage, _, field = name.partition(".")
        if stage not in chosen:
            raise ExportError(
                f"--set {name}: the stage {stage!r} is not asked for; asked for: {', '.join(chosen) or 'none'}"
            )
        if field not in chosen[stage] or field in ("stage", "amount"):
            fields = [f for f in chosen[stage] if f not in ("stage", "amount")]
            raise ExportError(f"--set {name}: there is no {field!r}; known: {', '.join(fields)}")
        whole = isinstance(chosen[stage][field], int)
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            raise ExportError(f"--set {name}: {value!r} is no {'whole number' if whole else 'number'}")
        chosen[stage][field] = value
    return tuple(Tuning(**fields) for fields in chosen.values())
