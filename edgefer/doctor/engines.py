"""Engines: each really loaded, each really asked, and whether they agree."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edgefer import cartoon
from edgefer.bundle import Bundle, open_bundle
from edgefer.devices import board
from edgefer.doctor import Check, Patient
from edgefer.errors import EdgeferError
from edgefer.runtime import engines
from edgefer.runtime.engines import Pictures, Probabilities

WARM_UPS, RUNS = 3, 20
CLEAR = 0.2
"""By how much a label has to lead for another engine to be wrong if it gives another one."""
NEAR = 0.1
"""How far apart the probabilities of two engines may be; int8 in other kernels makes some hundredths."""


@dataclass(frozen=True)
class Answer:
    """What an engine said of the test faces."""

    engine: str
    probabilities: Probabilities


def bundle_and_engines(patient: Patient) -> Iterator[Check]:
    """Yield how the bundle, each engine with it, and their agreement are."""
    try:
        bundle = open_bundle(patient.bundle)
    except EdgeferError as error:
        yield Check("bundle", "fail", str(error), "without a bundle no engine can be tried")
        return
    forms = ", ".join(f"{a.format} {a.precision}" for a in bundle.artifacts if a.format != "keras")
    yield Check("bundle", "ok", f"{bundle.name}: {forms or 'training weights only'}")
    faces = test_faces(bundle)
    answers: list[Answer] = []
    for name in engines.engine_names():
        check, answer = engine(name, bundle, faces, patient)
        answers += [answer] if answer else []
        yield check
    yield agreement(answers)


def test_faces(bundle: Bundle) -> Pictures:
    """Return drawn faces of all emotions, uint8 [7, h, w, 1], the same every time."""
    images, _ = cartoon.dataset(1, 5)
    return np.stack([bundle.preprocess(image) for image in images])


def engine(name: str, bundle: Bundle, faces: Pictures, patient: Patient) -> tuple[Check, Answer | None]:
    """Load the bundle's model in one engine and ask it about a face; return how that went, and the answers."""
    title = f"engine {name}"
    base = engines.load(name).EXTRA is None
    if not engines.is_installed(name):
        advice = engines.how_to_install(name)
        return Check(title, "warn" if base else "info", "not installed", advice), None
    if engines.load(name).FORMAT not in {a.format for a in bundle.artifacts}:
        advice = f"edgefer export {bundle.path}"
        return Check(title, "info", f"the bundle has no {engines.load(name).FORMAT} artifact", advice), None
    profile = patient.profile
    try:
        start = time.perf_counter()
        loaded = engines.open_engine(bundle, name, None, profile.threads, profile.providers)
        load_ms = 1e3 * (time.perf_counter() - start)
        try:
            probabilities = loaded.engine.run(faces)
            ms = _latency_ms(loaded.engine, faces[:1])
        finally:
            loaded.engine.close()
    except Exception as error:  # a broken installation raises anything, and the other engines are to be tried
        text = " ".join(str(error).split())[:300]
        advice = "" if isinstance(error, EdgeferError) else f"install it again: {engines.how_to_install(name)}"
        return Check(title, "warn", text or type(error).__name__, advice or "use another engine: --engine NAME"), None
    threads = f"{profile.threads} thread{'s' if profile.threads > 1 else ''}"
    found = (
        f"{loaded.engine.version} / {loaded.engine.provider}, {loaded.artifact.precision},"
        f" {ms:.2f} ms a face on {threads}, loaded in {load_ms:.0f} ms"
    )
    why = engines.passed_over(loaded, profile.providers)
    if why is not None:
        advice = f"{profile.providers[0]} is preferred on {profile.name}, but {why}; see docs/devices.md"
        return Check(title, "warn", found, advice), Answer(name, probabilities)
    if loaded.engine.provider == "built-in kernels":
        advice = "it runs without XNNPACK, several times slower than litert does"
        return Check(title, "warn" if base else "info", found, advice), Answer(name, probabilities)
    return Check(title, "ok", found), Answer(name, probabilities)


def agreement(answers: list[Answer]) -> Check:
    """Return whether the engines say the same of the test faces."""
    name = "agreement"
    if not answers:
        advice = "no engine works; the base has one: pip install 'edgefer', then edgefer doctor"
        return Check(name, "fail", "no engine gave an answer", advice)
    first, *others = answers
    if not others:
        return Check(name, "info", f"{first.engine} is the only engine that works, nothing to compare it with")
    ordered = np.sort(first.probabilities, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] >= CLEAR
    largest, furthest = 0.0, others[0].engine
    for other in others:
        differs = first.probabilities.argmax(axis=1) != other.probabilities.argmax(axis=1)
        if (differs & clear).any():
            found = f"{first.engine} and {other.engine} give different labels for {int((differs & clear).sum())} faces"
            advice = f"one of them is wrong here: measure with edgefer evaluate --engine {first.engine}, then the other"
            return Check(name, "fail", found, advice)
        distance = float(np.abs(first.probabilities - other.probabilities).max())
        largest, furthest = max((largest, furthest), (distance, other.engine))
    found = f"{', '.join(a.engine for a in answers)}: same labels, probabilities {largest:.3f} apart at most"
    if not largest <= NEAR:  # not a number is far as well
        advice = f"{first.engine} and {furthest} are further apart than rounding makes them; see edgefer evaluate"
        return Check(name, "warn", found, advice)
    return Check(name, "ok", found)


def providers(patient: Patient) -> Check:
    """Return which execution providers onnxruntime has, and which of the device's it lacks."""
    name = "providers"
    wanted = patient.profile.providers
    if not engines.is_installed("onnxruntime"):
        return Check(name, "info", "onnxruntime is not installed", engines.how_to_install("onnxruntime"))
    has: list[str] = engines.load("onnxruntime").available_providers()
    missing = [provider for provider in wanted if provider not in has]
    if missing:
        advice = (
            f"{patient.profile.name} prefers {', '.join(missing)}: it needs an onnxruntime built for this board,"
            " see docs/devices.md"
        )
        return Check(name, "warn", f"onnxruntime has {', '.join(has)}", advice)
    return Check(name, "ok", f"onnxruntime has {', '.join(has)}")


def cpu(patient: Patient) -> Check:
    """Return the processor and whether it has the instructions that make int8 fast."""
    features = board.cpu_features(patient.root)
    name = board.cpu_name(patient.root) or "unknown processor"
    if not features:
        return Check("cpu", "info", f"{name}; /proc/cpuinfo tells no features", "compare with: edgefer bench --quick")
    found = board.dot_product(features)
    more = [title for flag, title in MORE_FEATURES.items() if flag in features]
    if found:
        return Check("cpu", "ok", ", ".join([name, f"int8 dot product ({' '.join(found)})", *more]))
    advice = "int8 may be no faster than float here: compare with edgefer bench --quick"
    return Check("cpu", "info", ", ".join([name, "no int8 dot product", *more]), advice)


MORE_FEATURES = {
    "i8mm": "int8 matrix product",
    "asimdhp": "fp16",
    "avx512_fp16": "fp16",
    "avx512f": "AVX-512",
    "avx2": "AVX2",
}


def _latency_ms(opened: engines.Engine, face: Pictures) -> float:
    times = []
    for _ in range(WARM_UPS + RUNS):
        start = time.perf_counter()
        opened.run(face)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[WARM_UPS:])


EXAMINATIONS = (("engines", bundle_and_engines), ("providers", providers), ("cpu", cpu))
