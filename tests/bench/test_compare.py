"""Comparing records: unlike things are refused, noise is "same", a real change is found, and CI can fail on it."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefer.bench.compare import Comparison, compare, name_of, ratio_of, u_counts
from edgefer.bench.counted import Emulation, Emulator, Estimate, Instructions
from edgefer.bench.latency import summarise
from edgefer.bench.record import BenchRecord, write_record
from edgefer.bench.rows import BundleIdentity, Measurement, Round, Score
from edgefer.commands._bench_compare import as_dict
from edgefer.commands._bench_compare import compare as command
from edgefer.errors import EdgeferError, RecordError

MACHINE = {"machine": "aarch64", "model": "Raspberry Pi 4", "cpu": "Cortex-A72", "cores": 4, "memory_mib": 3794}
STEADY = (1.0, 1.002, 0.998, 1.001, 0.999, 1.003)


def row(rounds: Sequence[float] = STEADY, **changes: Any) -> Measurement:
    base = Measurement(
        scope="model",
        engine="litert",
        engine_version="2.3.0",
        provider="XNNPACK",
        provider_wanted=None,
        artifact="m.int8.tflite",
        precision="int8",
        bytes=1000,
        threads=1,
        latency=summarise(list(rounds) * 2, 1.0),
        rounds=tuple(Round(100, p50, p50, 10.0, 0.5, 20.0, 80.0) for p50 in rounds),
    )
    return replace(base, **changes)


def score(hits: int, n: int = 3579, **changes: Any) -> Score:
    accuracy = hits / n
    base = Score("litert", "m.int8.tflite", "int8", "validation", "d" * 64, n, accuracy, (accuracy, accuracy))
    return replace(base, **changes)


def emulation(total: int = 4_260_000, **changes: Any) -> Emulation:
    counts = Instructions(total, total - 10, 4, 3, 2, 1)
    base = Emulation(
        "litert", "2.3.0", "XNNPACK", "m.int8.tflite", "int8", 1000, 210, True, 1.0, 0.0, counts, (total, total)
    )
    return replace(base, **changes)


def record(*rows: Measurement, **changes: Any) -> BenchRecord:
    base = BenchRecord(
        command="edgefer bench --json r.json",
        created="2026-11-21T05:00:00+00:00",
        device="rpi4",
        environment={"before": dict(MACHINE), "after": {}},
        bundle=BundleIdentity("edge-s", "edge-s", "a1b2" * 16, ("happy", "sad"), {"size": 48}),
        measurements=rows or (row(),),
    )
    return replace(base, **changes)


def emulated(*rows: Emulation, cpu: str = "cortex-a72", **changes: Any) -> BenchRecord:
    emulator = Emulator(cpu, "qemu-aarch64 7.2.22", "Debian bookworm arm64")
    rows = rows or (emulation(),)
    return replace(record(), kind="emulated", measurements=(), emulator=emulator, emulations=rows, **changes)


def scaled(factor: float) -> list[float]:
    return [p50 * factor for p50 in STEADY]


# --- the statistics


@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 4), (2, 3), (3, 3), (4, 4), (5, 3)])
def test_the_distribution_of_u_is_that_of_all_orders(m: int, n: int) -> None:
    counted = [0] * (m * n + 1)
    for first in itertools.combinations(range(m + n), m):
        others = [i for i in range(m + n) if i not in first]
        counted[sum(a > b for a in first for b in others)] += 1
    assert u_counts(m, n) == counted


def test_u_of_many_rounds_is_exact() -> None:
    counts = u_counts(60, 100)
    assert sum(counts) == math.comb(160, 60)
    assert counts == counts[::-1]
    assert min(counts) == 1


# Critical values of U at 5 %, both sides: H. Mann and D. Whitney's table; U <= value is significant.
CRITICAL = {(4, 4): 0, (5, 5): 2, (6, 6): 5, (6, 4): 2, (8, 8): 13, (10, 10): 23}


@pytest.mark.parametrize(("m", "n"), CRITICAL)
def test_the_interval_is_that_of_the_published_critical_values(m: int, n: int) -> None:
    # Powers of 2 of which no two ratios are the same: the interval's ends say how many were left out.
    before = [2.0 ** (-(i + 1) * 1e-4) for i in range(m)]
    after = [2.0 ** (j * 1e-2) for j in range(n)]
    ratios = sorted(b / a for a in before for b in after)
    found = ratio_of(before, after)
    skip = CRITICAL[m, n]
    assert found.low == pytest.approx(ratios[skip], rel=1e-9)
    assert found.high == pytest.approx(ratios[-1 - skip], rel=1e-9)
    assert 0.95 <= found.level < 0.98


def test_too_few_rounds_give_the_widest_interval_with_its_true_level() -> None:
    found = ratio_of([1.0, 1.1, 1.2], [1.0, 1.3, 1.6])
    assert found.level == pytest.approx(0.9)
    assert (found.low, found.high) == (pytest.approx(1 / 1.2), pytest.approx(1.6))
    assert ratio_of([1.0], [2.0]).level == 0.0


def test_the_estimate_is_the_median_of_all_ratios() -> None:
    assert ratio_of([1.0, 2.0], [2.0, 4.0]).estimate == pytest.approx(2.0)
    assert ratio_of([1.0], [1.0, 4.0]).estimate == pytest.approx(2.0)  # the middle of two is that of their logarithms


positive = st.lists(st.floats(0.01, 100), min_size=1, max_size=8)


@given(positive, positive)
def test_the_way_back_is_the_reverse(before: list[float], after: list[float]) -> None:
    there, back = ratio_of(before, after), ratio_of(after, before)
    assert there.low <= there.estimate * (1 + 1e-12)
    assert there.estimate <= there.high * (1 + 1e-12)
    assert back.estimate == pytest.approx(1 / there.estimate)
    assert (back.low, back.high) == (pytest.approx(1 / there.high), pytest.approx(1 / there.low))
    assert back.level == there.level


@pytest.mark.parametrize("bad", [[0.0, 1.0], [], [1.0] * 101, [1e-300, 1.0], [1e300, 1e-300], [5e-324]])
def test_what_no_measurement_gives_is_refused(bad: list[float]) -> None:
    with pytest.raises(RecordError):
        ratio_of(bad, [1.0, 1.0])
    with pytest.raises(RecordError):
        ratio_of([1.0, 1.0], bad)


def simulated(rng: np.random.Generator, sd: float, factor: float, rounds: int, rows: int) -> Comparison:
    """Compare rows whose rounds vary by `sd` around 1 ms, and around `factor` ms afterwards."""

    def draw(centre: float) -> list[Measurement]:
        times = centre * np.exp(rng.normal(0, sd, (rows, rounds)))
        return [row(p50s.tolist(), threads=i) for i, p50s in enumerate(times)]

    return compare(record(*draw(1.0)), record(*draw(factor)))


@pytest.mark.parametrize("rounds", [4, 6])
@pytest.mark.parametrize("sd", [0.005, 0.01, 0.02])
def test_the_same_thing_twice_is_the_same(sd: float, rounds: int) -> None:
    found = simulated(np.random.default_rng(1), sd, 1.0, rounds, 400)
    same = sum(r.verdict == "same" for r in found.timed)
    assert same >= 0.95 * 400


@pytest.mark.parametrize("sd", [0.005, 0.01, 0.02])
@pytest.mark.parametrize(("factor", "verdict"), [(1.1, "slower"), (1 / 1.1, "faster")])
def test_a_tenth_is_found(sd: float, factor: float, verdict: str) -> None:
    found = simulated(np.random.default_rng(2), sd, factor, 6, 400)
    assert sum(r.verdict == verdict for r in found.timed) >= 0.99 * 400


def test_the_interval_holds_the_true_ratio_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    ratios = [ratio_of(np.exp(rng.normal(0, 0.02, 6)), 1.07 * np.exp(rng.normal(0, 0.02, 6))) for _ in range(2000)]  # type: ignore[arg-type]
    held = np.mean([r.low <= 1.07 <= r.high for r in ratios])
    assert ratios[0].level == pytest.approx(0.9589, abs=1e-4)
    assert abs(held - ratios[0].level) < 0.013  # three standard errors


# --- verdicts


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [(1.0, "same"), (1.02, "same"), (1.04, "slower"), (0.97, "faster"), (0.98, "same"), (1 / 1.02, "same")],
)
def test_a_change_counts_beyond_the_margin(factor: float, verdict: str) -> None:
    found = compare(record(row()), record(row(scaled(factor)))).timed[0]
    assert (found.verdict, found.doubt) == (verdict, None)
    assert found.ratio.estimate == pytest.approx(factor)


def test_a_margin_of_nothing_lets_every_certain_change_count() -> None:
    assert compare(record(row()), record(row(scaled(1.02))), margin=0.0).timed[0].verdict == "slower"
    assert compare(record(row()), record(row()), margin=0.0).timed[0].verdict == "same"


def test_a_change_that_is_not_certain_does_not_count() -> None:
    noisy = (0.9, 1.3, 0.95, 1.25, 1.0, 1.2)
    found = compare(record(row()), record(row(noisy))).timed[0]
    assert found.ratio.estimate > 1.03
    assert (found.verdict, found.doubt) == ("same", "too noisy to tell")


def test_three_rounds_tell_nothing_however_large_the_change() -> None:
    found = compare(record(row(STEADY[:3])), record(row(scaled(2.0)[:3]))).timed[0]
    assert (found.verdict, found.doubt) == ("same", "too few rounds to tell")
    assert found.ratio.level == pytest.approx(0.9)


def test_a_record_is_the_same_as_itself() -> None:
    both = record(row(), row(threads=4), scores=(score(2374),))
    found = compare(both, both)
    assert [(r.verdict, r.ratio.estimate) for r in found.timed] == [("same", 1.0), ("same", 1.0)]
    assert [(s.verdict, s.difference) for s in found.scored] == [("same", 0.0)]
    assert (found.only_before, found.only_after, found.notes) == ((), (), ())


def test_rows_are_matched_by_what_they_are() -> None:
    frames = row(scope="pipeline", faces=3, detector="haar")
    before = record(row(), row(threads=4), frames, row(engine="onnxruntime", artifact="m.int8.onnx"))
    after = record(replace(frames, faces=1), row(scaled(2), threads=4, engine_version="9", artifact="x.tflite"), row())
    found = compare(before, after)
    assert [(r.before.threads, r.verdict) for r in found.timed] == [(1, "same"), (4, "slower")]
    assert found.only_before == (
        "litert tflite int8 pipeline 1 thread 3 faces haar",
        "onnxruntime onnx int8 model 1 thread",
    )
    assert found.only_after == ("litert tflite int8 pipeline 1 thread 1 faces haar",)
    assert found.notes == ("litert version: '2.3.0' before, '9' after",)


# --- accuracy


def test_accuracy_counts_when_the_interval_excludes_no_change() -> None:
    def verdict(before: int, after: int) -> str:
        return compare(record(scores=(score(before),)), record(scores=(score(after),))).scored[0].verdict

    assert verdict(2374, 2377) == "same"
    assert verdict(2374, 1900) == "worse"
    assert verdict(1900, 2374) == "better"
    assert verdict(0, 0) == verdict(3579, 3579) == "same"
    assert verdict(0, 3579) == "better"


# R. Newcombe (1998), table II, method 10, examples (b) and (h).
@pytest.mark.parametrize(("before", "after", "low", "high"), [(3, 9, 0.1705, 0.8090), (0, 10, 0.6075, 1.0)])
def test_the_interval_of_accuracy_is_newcombes(before: int, after: int, low: float, high: float) -> None:
    found = compare(record(scores=(score(before, 10),)), record(scores=(score(after, 10),))).scored[0]
    assert found.difference == pytest.approx((after - before) / 10)
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@pytest.mark.parametrize("other", [score(2374, data="e" * 64), score(2374, 3580), replace(score(0), n=0)])
def test_scores_on_other_data_are_refused(other: Score) -> None:
    with pytest.raises(RecordError, match="is on different data"):
        compare(record(scores=(score(2374),)), record(scores=(other,)))


def test_scores_of_another_split_are_listed() -> None:
    found = compare(record(scores=(score(2374),)), record(scores=(score(2374, split="test", data="e" * 64),)))
    assert (found.scored, found.only_after) == ((), ("litert tflite int8 accuracy on test",))


# --- emulated


@pytest.mark.parametrize(
    ("total", "verdict"),
    [(4_260_000, "same"), (4_300_000, "same"), (4_310_000, "more"), (4_210_000, "fewer"), (4_230_000, "same")],
)
def test_instructions_count_beyond_one_percent(total: int, verdict: str) -> None:
    found = compare(emulated(), emulated(emulation(total))).counted[0]
    assert (found.verdict, found.ratio) == (verdict, total / 4_260_000)


def test_the_host_of_an_emulator_may_be_another() -> None:
    other = emulated(environment={"before": {"cpu": "EPYC", "cores": 96}, "after": {}})
    assert compare(emulated(), other).counted[0].verdict == "same"


def test_bits_that_are_no_longer_those_of_the_host_are_flagged(tmp_path: Path) -> None:
    result = run(tmp_path, emulated(), emulated(emulation(bit_identical=False)))
    assert result.exit_code == 0
    assert "litert tflite int8: NO LONGER bit-identical to the host" in result.stdout
    assert "NO LONGER" not in run(tmp_path, emulated(emulation(bit_identical=False)), emulated()).stdout


# --- refusals


def with_machine(**changes: Any) -> BenchRecord:
    return record(environment={"before": MACHINE | changes, "after": {}})


def with_bundle(**changes: Any) -> BenchRecord:
    return record(bundle=replace(record().bundle, **changes))


ESTIMATED = replace(emulated(), kind="estimated", emulations=(), estimates=(Estimate("a", "b", "c", 1, 1.0, 0.1),))
UNLIKE: list[tuple[BenchRecord, BenchRecord, str]] = [
    (record(), emulated(), "different kinds cannot be compared: 'measured' before, 'emulated' after"),
    (record(), record(device="rpi5"), "different devices"),
    (record(), with_machine(cpu="Cortex-A76"), r"different machines \(cpu\)"),
    (record(), with_machine(cpu=None), r"different machines \(cpu\)"),
    (record(), with_machine(cores=2), r"different machines \(cores\)"),
    (record(), with_machine(model="Raspberry Pi 4 Rev 2"), r"different machines \(model\)"),
    (record(), with_machine(memory_mib=7810), r"different machines \(memory_mib\) cannot be compared: 3794 before"),
    (record(), with_machine(memory_mib=None), r"different machines \(memory_mib\)"),
    (record(), with_machine(memory_mib=[1]), r"different machines \(memory_mib\)"),
    (record(), with_bundle(labels=("sad", "happy")), "different labels"),
    (record(), with_bundle(preprocess={"size": 64}), "different preprocessing"),
    (record(), record(invalid_reasons=("it was too hot",)), "the record after is not valid: 'it was too hot'"),
    (record(invalid_reasons=("under-voltage",)), record(), "the record before is not valid: 'under-voltage'"),
    (record(), record(row(threads=4)), "no row in common"),
    (record(row(), row()), record(), "two rows of 'litert tflite int8 model 1 thread'"),
    (record(row((0.0, 1.0, 1.0, 1.0))), record(), "rounds of 0 and"),
    (emulated(), emulated(cpu="cortex-a76"), "different emulated processors"),
    (emulated(), emulated(emulation(0)), "no instruction was counted"),
    (ESTIMATED, ESTIMATED, "estimates are not compared"),
]


@pytest.mark.parametrize(("before", "after", "message"), UNLIKE)
def test_unlike_things_are_refused(before: BenchRecord, after: BenchRecord, message: str) -> None:
    with pytest.raises(RecordError, match=message) as caught:
        compare(before, after)
    assert "\n" not in str(caught.value)


def test_the_rest_of_the_memory_is_told_differently_by_two_kernels() -> None:
    assert compare(with_machine(memory_mib=3906), with_machine(memory_mib=3794)).timed[0].verdict == "same"


def test_what_differs_besides_is_said() -> None:
    environment = {"before": MACHINE | {"python": "3.13.1", "packages": {"numpy": "2.5"}}, "after": {}}
    after = replace(
        with_bundle(name="other", digest="c" * 64),
        environment=environment,
        quick=True,
        noisy_reasons=("other programs used 0.50 of a core",),
        measurements=(row(provider="CUDA", engine_version="2.4"),),
    )
    assert list(compare(record(), after).notes) == [
        "the bundles differ: edge-s (a1b2a1b2) before, other (cccccccc) after",
        "after: quick, too short for a figure to be published",
        "after: noisy, other programs used 0.50 of a core",
        "python: None before, '3.13.1' after",
        "litert version: '2.3.0' before, '2.4' after",
        "provider of litert tflite int8 model 1 thread: 'XNNPACK' before, 'CUDA' after",
        "numpy: None before, '2.5' after",
    ]


# --- the command


def run(folder: Path, before: BenchRecord, after: BenchRecord, *options: str) -> Result:
    paths = [folder / "before.json", folder / "after.json"]
    for path, one in zip(paths, (before, after), strict=True):
        write_record(one, path)
    return CliRunner().invoke(command, [*map(str, paths), *options])


SLOWER = record(row(scaled(1.08)))


@pytest.mark.parametrize(
    ("limit", "code"), [("5%", 1), ("0.05", 1), (" 7.9% ", 1), ("8.1%", 0), ("10%", 0), ("0.1", 0), ("100%", 0)]
)
def test_slower_than_allowed_exits_with_1(tmp_path: Path, limit: str, code: int) -> None:
    result = run(tmp_path, record(), SLOWER, "--fail-if-slower", limit)
    assert result.exit_code == code
    assert ("litert tflite int8 model 1 thread: 8.0 % slower" in result.stderr) == bool(code)
    assert run(tmp_path, record(), SLOWER).exit_code == 0
    assert run(tmp_path, SLOWER, record(), "--fail-if-slower", limit).exit_code == 0


def test_more_instructions_than_allowed_exit_with_1(tmp_path: Path) -> None:
    more = emulated(emulation(4_500_000))
    result = run(tmp_path, emulated(), more, "--fail-if-slower", "5%")
    assert (result.exit_code, "5.6 % more instructions" in result.stderr) == (1, True)
    assert run(tmp_path, emulated(), more, "--fail-if-slower", "6%").exit_code == 0
    assert run(tmp_path, more, emulated(), "--fail-if-slower", "5%").exit_code == 0
    assert run(tmp_path, emulated(), more, "--fail-if-slower", "2%").exit_code == 1


def test_a_gate_says_what_it_does_not_see(tmp_path: Path) -> None:
    noisy = record(row((0.9, 1.3, 0.95, 1.25, 1.0, 1.2)))
    before = record(row(), row(threads=4))
    result = run(tmp_path, before, noisy, "--fail-if-slower", "5%")
    assert result.exit_code == 0
    assert "1 of 1 rows cannot be told" in result.stderr
    assert "what only the record before has is not looked at" in result.stderr


@pytest.mark.parametrize(
    "options",
    [
        ["--fail-if-slower", "5"],
        ["--fail-if-slower", "-5%"],
        ["--fail-if-slower", "nan"],
        ["--fail-if-slower", "inf%"],
        ["--fail-if-slower", "fast"],
        ["--fail-if-slower", "2%"],
        ["--margin", "7%", "--fail-if-slower", "5%"],
        ["--margin", ""],
        ["more.json"],
    ],
)
def test_a_wrong_call_exits_with_2(tmp_path: Path, options: list[str]) -> None:
    result = run(tmp_path, record(), SLOWER, *options)
    assert result.exit_code == 2
    assert "Error" in result.stderr


def test_the_margin_can_be_chosen(tmp_path: Path) -> None:
    assert run(tmp_path, record(), record(row(scaled(1.02))), "--margin", "1%", "--fail-if-slower", "1%").exit_code == 1
    assert run(tmp_path, record(), SLOWER, "--margin", "10%", "--fail-if-slower", "10%").exit_code == 0


def test_a_refusal_is_an_error_of_one_line(tmp_path: Path) -> None:
    result = run(tmp_path, record(), record(device="rpi5"))
    assert isinstance(result.exception, EdgeferError)
    assert str(result.exception) == "different devices cannot be compared: 'rpi4' before, 'rpi5' after"


def test_the_json_is_stable(tmp_path: Path) -> None:
    before = record(row(), row(threads=4), scores=(score(2374),))
    result = run(tmp_path, before, replace(SLOWER, scores=(score(2380),)), "--json")
    found = json.loads(result.stdout)
    assert {
        name: found[name] for name in ("schema", "kind", "device", "margin", "instructions", "only_after", "notes")
    } == {
        "schema": 1,
        "kind": "measured",
        "device": "rpi4",
        "margin": 0.03,
        "instructions": [],
        "only_after": [],
        "notes": [],
    }
    assert found["only_before"] == ["litert tflite int8 model 4 threads"]
    assert found["before"] == {
        "bundle": {"name": "edge-s", "digest": "a1b2" * 16},
        "created": "2026-11-21T05:00:00+00:00",
        "command": "edgefer bench --json r.json",
        "quick": False,
    }
    (one,) = found["rows"]
    assert one.pop("estimate") == pytest.approx(1.08)
    assert one.pop("low") == pytest.approx(1.08 * 0.998, abs=2e-3)
    assert one.pop("high") == pytest.approx(1.08 * 1.002, abs=2e-3)
    assert one.pop("level") == pytest.approx(0.9589, abs=1e-4)
    assert one.pop("after_ms") == pytest.approx(1.08 * one.pop("before_ms"))
    others = one.pop("others")
    assert others.pop("p99") == pytest.approx(1.08)
    assert others == {"load": 1.0, "first": 1.0, "peak_memory": 1.0, "joules": None}
    assert one == {
        "scope": "model",
        "engine": "litert",
        "precision": "int8",
        "artifacts": ["m.int8.tflite", "m.int8.tflite"],
        "threads": 1,
        "faces": None,
        "detector": None,
        "rounds": [6, 6],
        "verdict": "slower",
        "doubt": None,
    }
    (accuracy,) = found["scores"]
    assert (accuracy["verdict"], accuracy["n"], accuracy["split"]) == ("same", 3579, "validation")
    assert accuracy["low"] < accuracy["difference"] < accuracy["high"]


def test_the_json_of_an_emulated_board(tmp_path: Path) -> None:
    found = json.loads(run(tmp_path, emulated(), emulated(emulation(4_500_000)), "--json").stdout)
    assert (found["kind"], found["margin"], found["rows"], found["scores"]) == ("emulated", 0.01, [], [])
    assert found["instructions"] == [
        {
            "engine": "litert",
            "precision": "int8",
            "artifacts": ["m.int8.tflite", "m.int8.tflite"],
            "before": 4_260_000,
            "after": 4_500_000,
            "ratio": 4_500_000 / 4_260_000,
            "verdict": "more",
            "bit_identical": [True, True],
        }
    ]


def test_the_table_says_what_there_is(tmp_path: Path) -> None:
    before = record(row(joules=0.5), row(threads=4), scores=(score(2374),))
    after = record(
        row(scaled(1.08), joules=0.25), row((0.9, 1.3, 0.95, 1.25, 1.0, 1.2), threads=4), scores=(score(1900),)
    )
    lines = run(tmp_path, before, after).stdout.splitlines()
    first = next(line.split() for line in lines if line.startswith("litert"))
    assert first[:8] == ["litert", "tflite", "int8", "model", "–", "1", "1.000", "1.081"]
    assert first[-6:] == ["slower", "1.08", "1.00", "1.00", "1.00", "0.50"]
    assert any("same (too noisy to tell)" in line and line.endswith("–") for line in lines)
    assert any(line.endswith("worse") and "-0.1324" in line for line in lines)


def test_a_hostile_record_does_no_harm_to_a_terminal(tmp_path: Path) -> None:
    evil = "x\x1b[2J\n\u202e\ud800"

    def hostile(one: BenchRecord) -> None:
        data = json.loads(json.dumps(one.as_dict()))
        data["bundle"]["name"] = data["device"] = data["measurements"][0]["engine"] = evil
        for name in ("before.json", "after.json"):
            (tmp_path / name).write_text(json.dumps(data))

    hostile(record())
    for options in ([], ["--json"]):
        result = CliRunner().invoke(command, [str(tmp_path / "before.json"), str(tmp_path / "after.json"), *options])
        assert result.exit_code == 0, result.exception
        assert not {"\x1b", "\u202e", "\ud800"} & set(result.output)


finite = st.floats(0, 1e300)


@given(st.data())
@settings(max_examples=60)
def test_any_two_records_compare_or_are_refused(data: st.DataObject) -> None:
    def drawn(changes: Callable[[], Any]) -> BenchRecord:
        rounds = data.draw(
            st.lists(st.builds(Round, st.just(1), *[finite] * 4, finite, finite), min_size=1, max_size=5)
        )
        one = replace(row(), rounds=tuple(rounds), joules=data.draw(st.none() | finite), threads=changes())
        return record(one, scores=(score(data.draw(st.integers(0, 10)), 10),))

    threads = data.draw(st.integers(1, 2))
    before, after = drawn(lambda: threads), drawn(lambda: data.draw(st.integers(1, 2)))
    with contextlib.suppress(RecordError):
        found = compare(before, after)
        assert json.loads(json.dumps(as_dict(found), allow_nan=False))["schema"] == 1
        assert all(one.verdict in ("faster", "slower", "same") for one in found.timed)
        assert all(name_of(one.after) == name_of(one.before) for one in found.timed)
