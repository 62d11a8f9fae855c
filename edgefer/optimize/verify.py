"""The parity gate: each artifact runs in its real engine and must answer as what it was made from."""

from __future__ import annotations

import gzip
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer import metrics
from edgefer.bundle import Bundle
from edgefer.runtime import engines

MAX_DROP = 0.5
"""Points of accuracy that an export may cost, and of top-1 agreement that a float one may lack."""
MIN_INT8_AGREEMENT = 95.0
"""Percent of pictures on which int8 must give the label of the network that it was made from.

Rounding moves labels that were nearly undecided, as many to the right one as away from it: one or two pictures in a
hundred change while accuracy stays (the model card has ours). So accuracy is what --max-drop holds for int8, and this
bound is there for the case that a broken model happens to score alike.
"""


@dataclass(frozen=True)
class Parity:
    """How one artifact in one engine compares with the trained network on the same pictures."""

    artifact: str
    """Its path in the bundle."""
    format: str
    precision: str
    engine: str
    engine_version: str
    provider: str
    n: int
    agreement: float
    """Percent of pictures with the same most likely label as the trained network gives."""
    source_agreement: float
    """The same, with the network that the file was made from: pruned, or trained with rounding."""
    max_difference: float
    """Largest difference of a probability from the trained network's."""
    accuracy: float
    ci95: tuple[float, float]
    macro_f1: float
    parent_accuracy: float
    drop_points: float
    """Parent's accuracy minus the artifact's, in percentage points."""
    p_value: float
    """Of McNemar's test on the same pictures: how likely such a difference is if both are equally good."""
    bytes: int
    gzip_bytes: int
    latency_ms: float
    """Median for one picture on one thread of this machine, from a short run: to compare with those beside it."""
    passed: bool
    reason: str
    """Why it was refused; empty when it passed."""
    int8_agreement: float | None = None
    """Percent of pictures on which it agrees with the int8 TFLite model that it was translated from."""

    def as_metrics(self) -> dict[str, Any]:
        """Return its entry for the manifest."""
        entry: dict[str, Any] = {"split": "validation", "n": self.n, "accuracy": self.accuracy, "ci95": list(self.ci95)}
        entry |= {"macro_f1": self.macro_f1, "agreement_with_float": self.agreement / 100}
        entry |= {"max_difference_from_float": self.max_difference, "drop_points": self.drop_points}
        entry |= {"mcnemar_p": self.p_value, "agreement_with_source": self.source_agreement / 100}
        if self.int8_agreement is not None:
            entry["agreement_with_int8_tflite"] = self.int8_agreement / 100
        return entry | {"engine": self.engine, "engine_version": self.engine_version, "provider": self.provider}


@dataclass(frozen=True)
class Reference:
    """What artifacts are compared with: pictures, their labels, and what the trained network says."""

    pictures: npt.NDArray[np.uint8]
    """uint8 [n, 48, 48, 1]."""
    labels: npt.NDArray[np.int64]
    trained: npt.NDArray[np.float32]
    """Probabilities of the trained network: accuracy is lost against these."""
    source: npt.NDArray[np.float32]
    """Probabilities of the network that the file is made from: the file must answer like these."""


def verify(
    bundle: Bundle, engine: str, precision: str, reference: Reference, max_drop: float = MAX_DROP
) -> tuple[Parity, npt.NDArray[np.float32]]:
    """Run the bundle's artifact of `precision` in `engine`; return the comparison and its probabilities.

    A refusal is in the result, not an exception. Raises MissingDependencyError, EngineError, BundleError.
    """
    # The reference is what the network gives, without temperature: compare what the files give.
    loaded = engines.open_engine(replace(bundle, temperature=1.0), engine, precision)
    try:
        found = loaded.engine.run(reference.pictures)
        latency = latency_ms(loaded.engine, reference.pictures)
        version, provider = loaded.engine.version, loaded.engine.provider
    finally:
        loaded.engine.close()
    measured = metrics.measure(found, reference.labels, bundle.labels)
    parent = metrics.measure(reference.trained, reference.labels, bundle.labels).accuracy
    compared = metrics.agree(found, reference.trained)
    agreement, drop = 100 * metrics.agree(found, reference.source).top1, 100 * (parent - measured.accuracy)
    # One picture of a small set can weigh more than max_drop, and one picture is no evidence.
    reason = _refusal(precision, agreement, drop, max(max_drop, 100 / len(found)), bool(np.isfinite(found).all()))
    artifact = loaded.artifact
    contents = b"".join(bundle.read(file) for file in (artifact.file, *artifact.companions))
    parity = Parity(
        artifact=artifact.path,
        format=artifact.format,
        precision=precision,
        engine=engine,
        engine_version=version,
        provider=provider,
        n=len(found),
        agreement=100 * compared.top1,
        source_agreement=agreement,
        max_difference=compared.max_difference,
        accuracy=measured.accuracy,
        ci95=measured.ci95,
        macro_f1=measured.macro_f1,
        parent_accuracy=parent,
        drop_points=drop,
        p_value=metrics.mcnemar(reference.trained, found, reference.labels).p,
        bytes=len(contents),
        gzip_bytes=len(gzip.compress(contents, 9)),
        latency_ms=latency,
        passed=not reason,
        reason=reason,
    )
    return parity, found


def latency_ms(engine: engines.Engine, pictures: npt.NDArray[np.uint8], seconds: float = 0.5) -> float:
    """Return the median time for one of the pictures uint8 [n, h, w, 1], in milliseconds."""
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < 25 or time.perf_counter() < end:
        one = pictures[len(taken) % len(pictures)][None]
        start = time.perf_counter()
        engine.run(one)
        taken.append(time.perf_counter() - start)
    return 1000 * float(np.median(taken[5:]))


def _refusal(precision: str, agreement: float, drop: float, max_drop: float, finite: bool) -> str:
    """Return why an artifact is refused, or nothing."""
    if not finite:
        return "gives probabilities that are not numbers"
    if drop > max_drop + 1e-9:  # a picture more or less is not quite 1 / n in binary
        return f"loses {drop:.2f} points of accuracy; at most {max_drop:g} are allowed"
    least = MIN_INT8_AGREEMENT if precision in ("int8", "dynamic") else 100 - max_drop
    if agreement < least - 1e-9:
        return f"gives the label of its network for {agreement:.2f} % of the pictures only; {least:g} % are needed"
    return ""
