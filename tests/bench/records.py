"""A fixed set of records and evaluations, for goldens: every kind, valid and not. The figures are made up.

Whole numbers and rounded ones alone, so that they are the same on every machine.
"""

from __future__ import annotations

import math
import random
from dataclasses import replace
from statistics import NormalDist

import numpy as np

from edgefer import metrics
from edgefer.bench.counted import Emulation, Emulator, Estimate, Instructions
from edgefer.bench.evaluation import Against, Evaluation
from edgefer.bench.latency import QUANTILES, Latency
from edgefer.bench.record import BenchRecord
from edgefer.bench.robustness import Level, Robustness, Row
from edgefer.bench.rows import BundleIdentity, Measurement, Round, Score, Step, Sustained
from edgefer.bench.trace import Trace
from edgefer.bench.voted import NO_MAJORITY, Voted
from edgefer.labels import FER2013_LABELS

BUNDLE = BundleIdentity(
    name="edge-s",
    architecture="edge-s",
    digest="2d16e1c2304fa92ed31672e9fba46ffd75fa6b120f3b1303c918967590d08cd6",
    labels=FER2013_LABELS,
    preprocess={"method": "grey-area-v1", "size": 48},
)
DETECTOR = BundleIdentity(
    name="det-s",
    architecture="det-s",
    digest="77aa" * 16,
    labels=("face",),
    preprocess={"method": "grey-letterbox-v1"},
)
FACES = "5f1c0de5" * 8
"""Stands for the SHA-256 of the faces."""
ARTIFACTS = {
    "litert": ("tflite", "2.3.0", "XNNPACK"),
    "onnxruntime": ("onnx", "1.31.1", "CPUExecutionProvider"),
    "openvino": ("xml", "2026.4.1", "CPU"),
}
BYTES = {
    "tflite fp32": 1726396,
    "tflite int8": 452248,
    "onnx fp32": 1727923,
    "onnx int8": 460913,
    "xml fp32": 1745902,
    "xml int8": 500746,
}
PACKAGES = {"edgefer": "0.2.0", "numpy": "2.4.6", "ai-edge-litert": "2.3.0"}


def latency(p50: float, spread: float = 0.06, runs: int = 6144) -> Latency:
    """Return times around a p50, skewed as times are."""
    normal = NormalDist()

    def at(q: float) -> float:
        z = normal.inv_cdf(q)
        return round(p50 * math.exp(spread * z * (1.6 if z > 0 else 0.35)), 6)

    return Latency(
        runs=runs,
        seconds=60.0,
        mean=round(p50 * (1 + spread / 2), 6),
        std=round(p50 * spread, 6),
        min=at(0.001),
        p50=p50,
        p90=at(0.9),
        p95=at(0.95),
        p99=at(0.99),
        max=at(0.9999),
        quantiles=tuple(at(q) for q in QUANTILES),
    )


def rounds(p50: float, load: float, n: int = 6, seed: int = 0) -> tuple[Round, ...]:
    chance = random.Random(seed)
    off = chance.sample([-0.018, 0.019, -0.003, 0.012, -0.011, 0.004], 6)
    return tuple(
        Round(
            runs=1024,
            p50=round(p50 * (1 + off[i % 6]), 6),
            mean=round(p50 * 1.03, 6),
            load_ms=round(load * (1 + chance.uniform(-0.1, 0.1)), 3),
            first_ms=round(2.2 * p50 * (1 + chance.uniform(-0.1, 0.1)), 3),
            base_mib=27.5,
            peak_mib=round(61 + load / 5 + chance.uniform(0, 1), 1),
        )
        for i in range(n)
    )


def model(engine: str, precision: str, threads: int, p50: float, load: float = 12.0, n: int = 6) -> Measurement:
    suffix, version, provider = ARTIFACTS[engine]
    return Measurement(
        scope="model",
        engine=engine,
        engine_version=version,
        provider=provider,
        provider_wanted=None,
        artifact=f"edge-s.{precision}.{suffix}",
        precision=precision,
        bytes=BYTES[f"{suffix} {precision}"],
        threads=threads,
        latency=latency(p50),
        rounds=rounds(p50, load, n, seed=round(1000 * p50)),
    )


def pipeline(faces: int, p50: float, stages: dict[str, float], n: int = 6) -> Measurement:
    return replace(
        model("litert", "int8", 1, p50, n=n),
        scope="pipeline",
        latency=latency(p50, 0.1),
        faces=faces,
        faces_found=float(faces) if faces < 3 else 2.9,
        detector="haar",
        stages_ms={name: {"p50": ms, "p99": round(1.4 * ms, 4)} for name, ms in stages.items()},
    )


STAGES = {
    0: {"detect": 4.12, "track": 0.003, "preprocess": 0.0, "infer": 0.0, "smooth": 0.0, "emit": 0.02},
    1: {"detect": 11.2, "track": 0.014, "preprocess": 0.28, "infer": 0.24, "smooth": 0.02, "emit": 0.06},
    3: {"detect": 17.4, "track": 0.035, "preprocess": 0.44, "infer": 0.59, "smooth": 0.05, "emit": 0.1},
}


def detector() -> BenchRecord:
    """Return the record of a face detector on the same host as `x86`: two sizes, alone and on whole frames."""
    rows = []
    for size, p50, frame in (((120, 160), 0.12, 0.31), ((240, 320), 0.51, 0.98)):
        name = f"det-s.{size[1]}x{size[0]}.int8.tflite"
        alone = replace(model("litert", "int8", 1, p50), artifact=name, bytes=146_000, size=size)
        whole = replace(alone, scope="detect", latency=latency(frame), rounds=rounds(frame, 14.0), detector="edge")
        rows += [alone, replace(whole, faces=1, faces_found=0.97)]
    return replace(
        x86(),
        command="edgefer bench det-s --json det-s.json",
        bundle=DETECTOR,
        measurements=(rows[0], rows[2], rows[1], rows[3]),
        sustained=None,
        scores=(),
        trace=None,
    )


def emulated_detector(device: str = "rpi4") -> BenchRecord:
    """Return counts of a face detector's network at two sizes."""
    record = emulated(device)
    rows = [
        replace(record.emulations[0], artifact=f"det-s.{w}x{h}.int8.tflite", bytes=146_000, faces=12, size=(h, w))
        for w, h in ((160, 120), (320, 240))
    ]
    return replace(record, bundle=DETECTOR, emulations=tuple(rows))


def score(engine: str, precision: str, right: int, n: int = 3579) -> Score:
    suffix = ARTIFACTS[engine][0]
    low, high = metrics.wilson(right, n)
    return Score(
        engine=engine,
        artifact=f"edge-s.{precision}.{suffix}",
        precision=precision,
        split="validation",
        data=FACES,
        n=n,
        accuracy=round(right / n, 6),
        ci95=(round(low, 6), round(high, 6)),
    )


def trace(seconds: int, cold: float, hot: float, fast: int | None, slow: int | None, watts: float | None) -> Trace:
    """Return a reading a second: the temperature rises as it does under load, the clock falls in the last third."""
    chance = random.Random(1)
    at = tuple(float(s) for s in range(seconds))
    return Trace(
        seconds=at,
        temperature_c=tuple(
            round(hot - (hot - cold) * math.exp(-4 * s / seconds) + chance.uniform(-0.3, 0.3), 1) for s in at
        ),
        mhz=tuple(None if fast is None else (slow if s > 0.66 * seconds else fast) for s in at),
        watts=tuple(
            None if watts is None or s % 5 else round(watts * (1 + chance.uniform(-0.04, 0.04)), 2) for s in at
        ),
        power_source=None if watts is None else "rapl package-0",
    )


def x86() -> BenchRecord:
    """Return a full record of a host: every engine, precision and threads, scores, a sustained run, a trace."""
    times = {
        ("litert", "fp32"): (0.514, 0.331, 12.9),
        ("litert", "int8"): (0.152, 0.108, 9.0),
        ("onnxruntime", "fp32"): (0.465, 0.288, 32.7),
        ("onnxruntime", "int8"): (0.219, 0.151, 29.7),
        ("openvino", "fp32"): (0.526, 0.347, 147.5),
        ("openvino", "int8"): (0.257, 0.189, 246.6),
    }
    models = [
        model(engine, precision, threads, p50, load)
        for (engine, precision), (one, two, load) in times.items()
        for threads, p50 in ((1, one), (2, two))
    ]
    rows = [*models, *(pipeline(faces, sum(stages.values()), stages) for faces, stages in STAGES.items())]
    rows = [replace(m, watts=14.2, joules=round(0.0142 * m.latency.mean, 6), latency=replace(m.latency)) for m in rows]
    chance = random.Random(2)
    steps = tuple(
        Step(5.0 * i + 2.5, 31_000, round(0.152 + 0.012 * min(1, i / 60) + chance.uniform(0, 0.002), 6), 0.221)
        for i in range(120)
    )
    right = {"fp32": 2373, "int8": 2374}
    return BenchRecord(
        command="edgefer bench --sustained 600 --data fer2013.csv --json x86.json",
        created="2025-11-21T06:12:47+00:00",
        device="x86",
        environment={
            "before": {
                "machine": "x86_64",
                "model": None,
                "cpu": "AMD EPYC",
                "dot_product": ["avx512_vnni"],
                "cores": 2,
                "memory_mib": 24105,
                "kernel": "6.18.44",
                "packages": PACKAGES,
                "load_average": [0.02, 0.1, 0.3],
                "governors": ["schedutil"],
                "temperatures_c": {"x86_pkg_temp": 41.0},
            },
            "after": {
                "machine": "x86_64",
                "model": None,
                "cpu": "AMD EPYC",
                "dot_product": ["avx512_vnni"],
                "cores": 2,
                "memory_mib": 24105,
                "kernel": "6.18.44",
                "packages": PACKAGES,
                "load_average": [1.01, 0.9, 0.6],
                "governors": ["schedutil"],
                "temperatures_c": {"x86_pkg_temp": 58.0},
            },
        },
        bundle=BUNDLE,
        measurements=tuple(rows),
        notes=("the CPU frequency governor is schedutil; for steady figures: echo performance | sudo tee /sys/x",),
        sustained=Sustained(
            "litert", "edge-s.int8.tflite", "int8", 1, 600.0, 3_720_000, 60.0, 0.1531, 0.1649, steps=steps
        ),
        scores=tuple(score(engine, precision, right[precision]) for engine, precision in times),
        trace=trace(1500, 41, 58, 3400, 2900, 14.2),
        idle_watts=6.1,
    )


def throttled() -> BenchRecord:
    """Return a record of a Raspberry Pi that became too hot."""
    hot = trace(120, 52, 84, 1800, 1000, None)
    return BenchRecord(
        command="edgefer bench --quick --json rpi4.json",
        created="2025-11-20T18:00:00+00:00",
        device="rpi4",
        environment={
            "before": {
                "machine": "aarch64",
                "model": "Raspberry Pi 4 Model B Rev 1.4",
                "cpu": "Cortex-A72",
                "dot_product": [],
                "cores": 4,
                "throttled": {"bits": "0x0", "now": [], "occurred": []},
            },
            "after": {
                "machine": "aarch64",
                "model": "Raspberry Pi 4 Model B Rev 1.4",
                "cpu": "Cortex-A72",
                "dot_product": [],
                "cores": 4,
                "throttled": {"bits": "0xe0006", "now": ["clock capped"], "occurred": ["clock capped", "throttled"]},
            },
        },
        bundle=BUNDLE,
        measurements=(
            model("litert", "int8", 4, 2.41, 38.0, n=4),
            model("litert", "fp32", 4, 5.92, 41.0, n=4),
            pipeline(1, 62.0, {"detect": 56.0, "infer": 4.1, "emit": 0.4}, n=4),
        ),
        quick=True,
        invalid_reasons=("clock capped, after the measurement", "throttled occurred during the measurement"),
        noisy_reasons=("litert int8: the rounds' medians differ by 31% (more than 10%)",),
        trace=replace(hot, throttled=("clock capped", "throttled")),
    )


def jetson() -> BenchRecord:
    """Return a quick record whose provider is not the one that was wanted."""
    wanted = replace(model("onnxruntime", "fp32", 6, 1.31, 210.0, n=1), provider_wanted="CUDAExecutionProvider")
    return BenchRecord(
        command="edgefer bench --quick --scope model --json jetson.json",
        created="2025-11-19T09:30:00+00:00",
        device="jetson-orin-nano",
        environment={"before": {"model": "NVIDIA Jetson Orin Nano", "cpu": "Cortex-A78AE", "cores": 6}, "after": {}},
        bundle=BUNDLE,
        measurements=(wanted,),
        quick=True,
        noisy_reasons=("other programs used 0.81 of a core on average (more than 0.25)",),
    )


def emulated(device: str) -> BenchRecord:
    """Return a record of an emulated `rpi4` or `rpi5`; the latter has the dot product."""
    cpu, dot = {"rpi4": ("cortex-a72", False), "rpi5": ("cortex-a76", True)}[device]
    rows = []
    for engine, precision, total, identical in (
        ("litert", "int8", 10.2, True),
        ("onnxruntime", "int8", 13.1, True),
        ("litert", "fp32", 13.6, False),
        ("onnxruntime", "fp32", 18.3, False),
        ("openvino", "fp32", 13.9, False),
    ):
        has_dot = dot and precision == "int8"
        whole = round(total * 1e6 * (0.42 if has_dot else 1.0))
        parts = {
            "simd": round(whole * (0.18 if has_dot else 0.52)),
            "dot": round(whole * 0.31) if has_dot else 0,
            "load_store": round(whole * 0.29),
            "branch": round(whole * 0.04),
        }
        suffix, version, provider = ARTIFACTS[engine]
        rows.append(
            Emulation(
                engine=engine,
                engine_version=version,
                provider=provider,
                artifact=f"edge-s.{precision}.{suffix}",
                precision=precision,
                bytes=BYTES[f"{suffix} {precision}"],
                faces=224,
                bit_identical=identical,
                same_label=1.0,
                max_difference=0.0 if identical else 4.8e-7,
                instructions=Instructions(total=whole, integer=whole - sum(parts.values()), **parts),
                repeats=(whole, whole + 16, whole),
            )
        )
    return BenchRecord(
        command=f"edgefer bench --emulate {device} --json {device}-emulated.json",
        created="2025-11-21T07:00:00+00:00",
        device=device,
        environment={"before": {"machine": "x86_64", "cpu": "AMD EPYC", "cores": 2}, "after": {}},
        bundle=BUNDLE,
        kind="emulated",
        emulator=Emulator(cpu, "qemu-aarch64 7.2.22", "Debian bookworm arm64, Python 3.11.2"),
        emulations=tuple(rows),
    )


def estimated() -> BenchRecord:
    """Return a record of times that were calculated."""
    rows = emulated("rpi4").emulations[:3]
    return BenchRecord(
        command="edgefer bench --emulate rpi4 --calibration rpi4.json --json rpi4-estimated.json",
        created="2025-11-21T07:30:00+00:00",
        device="rpi4",
        environment={"before": {"machine": "x86_64", "cpu": "AMD EPYC", "cores": 2}, "after": {}},
        bundle=BUNDLE,
        kind="estimated",
        emulator=Emulator("cortex-a72", "qemu-aarch64 7.2.22", "Debian bookworm arm64, Python 3.11.2"),
        estimates=tuple(
            Estimate(
                e.engine, e.artifact, e.precision, e.instructions.total, round(e.instructions.total / 2.1e6, 3), 0.23
            )
            for e in rows
        ),
    )


def records() -> dict[str, BenchRecord]:
    """Return the whole set by name."""
    return {
        "x86": x86(),
        "rpi4-throttled": throttled(),
        "jetson-quick": jetson(),
        "rpi4-emulated": emulated("rpi4"),
        "rpi5-emulated": emulated("rpi5"),
        "rpi4-estimated": estimated(),
    }


CONFUSION = (
    (260, 4, 48, 25, 77, 12, 41),
    (14, 31, 3, 2, 4, 1, 1),
    (49, 2, 205, 20, 101, 58, 61),
    (18, 0, 13, 772, 20, 18, 54),
    (55, 3, 66, 32, 356, 8, 133),
    (8, 0, 37, 20, 10, 327, 14),
    (32, 1, 40, 49, 112, 9, 353),
)
"""Of 3,579 faces, 2,304 right."""
CORRUPTIONS = {
    "blur": ((0.5, 0.75, 1.0, 1.5, 2.0), "px (standard deviation)", (0.99, 0.97, 0.94, 0.8, 0.61)),
    "motion": ((3, 5, 7, 9, 12), "px (length)", (0.97, 0.9, 0.79, 0.66, 0.5)),
    "noise": ((5, 10, 20, 30, 45), "grey levels (standard deviation)", (0.99, 0.96, 0.86, 0.71, 0.5)),
    "dark": ((0.5, 0.3, 0.2, 0.12, 0.08), "of the light", (0.99, 0.97, 0.92, 0.8, 0.63)),
    "low resolution": ((40, 32, 24, 16, 12), "px (side)", (0.99, 0.97, 0.91, 0.72, 0.52)),
    "rotation": ((5, 10, 20, 30, 45), "degrees", (0.99, 0.95, 0.8, 0.6, 0.39)),
    "occlusion": ((0.05, 0.1, 0.2, 0.3, 0.4), "of the face", (0.95, 0.9, 0.79, 0.67, 0.55)),
    "jpeg": ((50, 30, 20, 12, 7), "quality", (0.99, 0.97, 0.95, 0.88, 0.71)),
}


def reliability(right: int, n: int) -> tuple[metrics.ReliabilityBin, ...]:
    """Return 15 bins of a somewhat too confident model with so many right answers."""
    shares = [0, 0, 0, 0.01, 0.03, 0.05, 0.07, 0.08, 0.08, 0.08, 0.08, 0.09, 0.1, 0.13, 0.2]
    counts = [round(n * share) for share in shares]
    counts[-1] += n - sum(counts)
    hits = [round(count * (0.9 * (i + 0.5) / 15)) for i, count in enumerate(counts)]
    i = 0
    while sum(hits) != right:  # spread what is missing or too much over the bins
        step = 1 if sum(hits) < right else -1
        if 0 <= hits[i % 15] + step <= counts[i % 15]:
            hits[i % 15] += step
        i += 1
    return tuple(
        metrics.ReliabilityBin(
            low=round(i / 15, 12),
            high=round((i + 1) / 15, 12),
            confidence=round((i + 0.55) / 15, 6) if count else 0.0,
            accuracy=hit / count if count else 0.0,
            count=count,
        )
        for i, (count, hit) in enumerate(zip(counts, hits, strict=True))
    )


def rounded(found: metrics.Accuracy) -> metrics.Accuracy:
    """Return figures rounded to what every NumPy agrees on."""
    per_class = {
        name: metrics.ClassFigures(round(f.precision, 9), round(f.recall, 9), round(f.f1, 9), f.support)
        for name, f in found.per_class.items()
    }
    figures = {name: round(getattr(found, name), 9) for name in ("accuracy", "macro_f1", "weighted_f1", "ece")}
    low, high = found.ci95
    return replace(found, per_class=per_class, ci95=(round(low, 9), round(high, 9)), **figures)


def robustness(clean: int, n: int, lost: float) -> Robustness:
    return Robustness(
        seed=0,
        n=n,
        hits=clean,
        rows=tuple(
            Row(
                name, unit, tuple(Level(float(s), round(clean * part * lost), n) for s, part in zip(*pair, strict=True))
            )
            for name, (strengths, unit, parts) in CORRUPTIONS.items()
            for pair in [(strengths, parts)]
        ),
    )


def evaluation(precision: str) -> Evaluation:
    """Return an evaluation of a litert artifact, with everything that one can have."""
    confusion = np.array(CONFUSION, np.int64)
    if precision == "int8":
        confusion[3, 3] -= 2
        confusion[3, 6] += 2
    n, right = int(confusion.sum()), int(confusion.diagonal().sum())
    bins = reliability(right, n)
    ece = sum(b.count * abs(b.accuracy - b.confidence) for b in bins) / n
    by_people = confusion * 3 // 5 + np.diag(confusion.diagonal() // 2)
    people = rounded(metrics.of_confusion(by_people, FER2013_LABELS, 0.041))
    wrong = people.n - int(by_people.diagonal().sum())
    return Evaluation(
        accuracy=rounded(metrics.of_confusion(confusion, FER2013_LABELS, ece)),
        reliability=bins,
        bundle=BUNDLE,
        engine="litert",
        engine_version="2.3.0",
        provider="XNNPACK",
        artifact=f"edge-s.{precision}.tflite",
        precision=precision,
        bytes=BYTES[f"tflite {precision}"],
        split="validation",
        data=FACES,
        seconds=2.25,
        created="2025-11-21T08:00:00+00:00",
        command="edgefer evaluate --data fer2013.csv --split validation --all --robustness --json",
        skipped=1 if precision == "int8" else 0,
        votes=Voted(
            accuracy=people,
            left_out={"contempt": 29, "unknown": 11, "not a face": 7, NO_MAJORITY: n - people.n - 47},
            relabelled=700,
            with_model=260,
            with_label=wrong - 100,
            with_neither=80,
        ),
        robustness=robustness(659 if precision == "fp32" else 657, 1000, 1.0 if precision == "fp32" else 0.985),
        against=None
        if precision == "fp32"
        else Against(
            "edge-s.fp32.tflite", "litert", 0.9866, metrics.Mcnemar(n, 20, 22, 0.8776, -100 * 2 / n, (-0.42, 0.31))
        ),
    )


def evaluations() -> tuple[Evaluation, ...]:
    """Return two evaluations on the same faces."""
    return evaluation("fp32"), evaluation("int8")
