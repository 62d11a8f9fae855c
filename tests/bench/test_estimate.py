"""Estimates: no factor without an error, none for another board, never taken for a measurement. All records made up."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefer.bench.counted import Emulation, Emulator, Instructions
from edgefer.bench.estimate import (
    Calibration,
    Figure,
    calibrate,
    estimate,
    read_calibration,
    write_calibration,
)
from edgefer.bench.latency import summarise
from edgefer.bench.record import BenchRecord, read_record, write_record
from edgefer.bench.rows import BundleIdentity, Measurement, Round
from edgefer.commands import _bench_estimate as commands
from edgefer.errors import RecordError

ROWS = {
    ("litert", "m.int8.tflite", "int8"): (4_260_000, 2.4),
    ("litert", "m.fp32.tflite", "fp32"): (5_810_000, 3.9),
    ("onnxruntime", "m.int8.onnx", "int8"): (5_600_000, 3.0),
    ("onnxruntime", "m.fp32.onnx", "fp32"): (7_790_000, 4.5),
}
"""(engine, artifact, precision) → instructions, milliseconds."""


def emulated(factor: float = 1.0, rows: Any = None, cpu: str = "cortex-a72", **changes: Any) -> BenchRecord:
    emulations = []
    for (engine, artifact, precision), (instructions, _) in (ROWS if rows is None else rows).items():
        total = round(instructions * factor)
        counts = Instructions(total, total, 0, 0, 0, 0)
        emulations.append(
            Emulation(engine, "2.3", "CPU", artifact, precision, 1000, 210, True, 1.0, 0.0, counts, (max(1, total),))
        )
    base = BenchRecord(
        command="edgefer bench --emulate rpi4 --json rpi4.json",
        created="2026-11-21T07:00:00+00:00",
        device="rpi4",
        environment={"before": {"cpu": "EPYC"}, "after": {}},
        bundle=BundleIdentity("edge-s", "edge-s", "a1b2" * 16, ("happy", "sad"), {"size": 48}),
        kind="emulated",
        emulator=Emulator(cpu, "qemu-aarch64 7.2.22", "Debian bookworm arm64"),
        emulations=tuple(emulations),
    )
    return replace(base, **changes)


def row(key: tuple[str, str, str], ms: float, **changes: Any) -> Measurement:
    engine, artifact, precision = key
    base = Measurement(
        scope="model",
        engine=engine,
        engine_version="2.3",
        provider="CPU",
        provider_wanted=None,
        artifact=artifact,
        precision=precision,
        bytes=1000,
        threads=1,
        latency=summarise([ms, ms], 1.0),
        rounds=(Round(2, ms, ms, 1.0, 1.0, None, None),),
    )
    return replace(base, **changes)


def measured(rows: Any = None, **changes: Any) -> BenchRecord:
    base = BenchRecord(
        command="edgefer bench --threads 1 --json pi4.json",
        created="2026-11-21T06:00:00+00:00",
        device="rpi4",
        environment={"before": {"cpu": "Cortex-A72"}, "after": {}},
        bundle=emulated().bundle,
        measurements=tuple(row(key, ms) for key, (_, ms) in (ROWS if rows is None else rows).items()),
    )
    return replace(base, **changes)


# --- calibrating


def test_figures_that_agree_give_their_factor_and_no_error() -> None:
    rows = {key: (instructions, instructions / 1e6 * 0.6) for key, (instructions, _) in ROWS.items()}
    found = calibrate(measured(rows), emulated())
    assert found.factor == pytest.approx(0.6)
    assert found.error == pytest.approx(0, abs=1e-9)


def test_the_error_is_the_worst_of_leaving_one_out() -> None:
    rows = dict(zip(ROWS, [(1_000_000, 1.0), (1_000_000, 1.0), (1_000_000, 2.0)], strict=False))
    found = calibrate(measured(rows), emulated(rows=rows))
    assert found.factor == pytest.approx(2 ** (1 / 3))
    assert found.error == pytest.approx(1.0)  # the third from the first two: 1 ms for 2


def test_the_error_is_the_same_too_fast_and_too_slow() -> None:
    slow = dict(zip(ROWS, [(1_000_000, 1.0), (1_000_000, 1.0), (1_000_000, 2.0)], strict=False))
    fast = dict(zip(ROWS, [(1_000_000, 1.0), (1_000_000, 1.0), (1_000_000, 0.5)], strict=False))
    errors = [calibrate(measured(rows), emulated(rows=rows)).error for rows in (slow, fast)]
    assert errors[0] == pytest.approx(errors[1])


def test_the_calibration_says_what_it_rests_on() -> None:
    found = calibrate(measured(), emulated())
    assert [f.ms for f in found.figures] == [2.4, 3.9, 3.0, 4.5]
    assert [f.instructions for f in found.figures] == [4_260_000, 5_810_000, 5_600_000, 7_790_000]
    assert (found.device, found.bundle, found.digest) == ("rpi4", "edge-s", "a1b2" * 16)
    assert (found.measured.command, found.emulated.created) == (
        "edgefer bench --threads 1 --json pi4.json",
        "2026-11-21T07:00:00+00:00",
    )
    assert found.notes == ()


def test_other_rows_are_left_out() -> None:
    key = ("litert", "m.int8.tflite", "int8")
    more = (
        row(key, 99.0, threads=4),
        row(key, 99.0, scope="pipeline", faces=1, detector="haar"),
        row(("openvino", "m.xml", "fp32"), 99.0),
    )
    record = replace(measured(), measurements=(*more, *measured().measurements))
    assert calibrate(record, emulated()).figures == calibrate(measured(), emulated()).figures


def test_another_version_of_the_engine_is_another_program() -> None:
    rows = measured().measurements
    found = calibrate(measured(measurements=(replace(rows[0], engine_version="2.2"), *rows[1:])), emulated())
    assert len(found.figures) == 3
    assert found.notes == ("left out, for another program ran: litert 2.2 (CPU) measured, litert 2.3 (CPU) counted",)


def test_a_quick_or_noisy_measurement_is_said() -> None:
    notes = calibrate(measured(quick=True, noisy_reasons=("others were busy",)), emulated()).notes
    assert notes == (
        "the measurement was quick, too short for a figure to be published",
        "the measurement was noisy: others were busy",
    )


def two(record: BenchRecord) -> BenchRecord:
    return replace(record, measurements=record.measurements[:2])


REFUSED: list[tuple[BenchRecord, BenchRecord, str]] = [
    (emulated(), measured(), "one that was emulated and one that was measured"),
    (measured(), measured(), "one that was measured and one that was measured"),
    (measured(device="rpi5"), emulated(), "the boards differ: 'rpi5' was measured, 'rpi4' emulated"),
    (measured(bundle=replace(emulated().bundle, digest="c" * 64)), emulated(), "the bundles differ"),
    (measured(invalid_reasons=("throttled",)), emulated(), "not valid: 'throttled'"),
    (measured(), emulated(invalid_reasons=("broken",)), "not valid: 'broken'"),
    (measured(), emulated(emulator=None), "names no emulator"),
    (two(measured()), emulated(), "needs 3–1000 rows .* found 2: from fewer no error can be told"),
    (measured(), emulated(emulations=emulated().emulations[:1]), "found 1"),
    (measured(measurements=()), emulated(), "found 0"),
    (measured(measurements=measured().measurements * 2), emulated(), "twice"),
    (measured(), emulated(emulations=emulated().emulations * 2), "twice"),
    (measured(), emulated(1e9), "out of range"),
    (measured(), emulated(0), "out of range"),
    (measured({key: (1, 0.0) for key in ROWS}), emulated(), "out of range"),
    (measured({key: (1, 1e9) for key in ROWS}), emulated(), "out of range"),
]


@pytest.mark.parametrize(("board", "counted", "message"), REFUSED)
def test_what_does_not_belong_together_is_refused(board: BenchRecord, counted: BenchRecord, message: str) -> None:
    with pytest.raises(RecordError, match=message) as caught:
        calibrate(board, counted)
    assert "\n" not in str(caught.value)


# --- estimating


def test_an_estimate_is_the_instructions_times_the_factor() -> None:
    calibration = calibrate(measured(), emulated())
    found = estimate(emulated(2.0), calibration, "edgefer bench estimate")
    assert (found.kind, found.device, found.command) == ("estimated", "rpi4", "edgefer bench estimate")
    assert (found.measurements, found.emulations) == ((), ())
    for one, counted in zip(found.estimates, emulated(2.0).emulations, strict=True):
        assert (one.engine, one.artifact, one.precision) == (counted.engine, counted.artifact, counted.precision)
        assert one.instructions == counted.instructions.total
        assert one.ms == pytest.approx(one.instructions / 1e6 * calibration.factor)
        assert one.error == calibration.error


@given(st.lists(st.tuples(st.integers(10**5, 10**8), st.floats(0.1, 100)), min_size=3, max_size=3))
def test_what_was_measured_lies_within_the_error_of_its_estimate(figures: list[tuple[int, float]]) -> None:
    rows = dict(zip(ROWS, figures, strict=False))
    calibration = calibrate(measured(rows), emulated(rows=rows))
    for one, (_, ms) in zip(estimate(emulated(rows=rows), calibration, "").estimates, figures, strict=True):
        assert one.ms / (1 + one.error) <= ms * (1 + 1e-9)
        assert ms <= one.ms * (1 + one.error) * (1 + 1e-9)


def test_the_error_holds_for_a_figure_that_the_calibration_has_not_seen() -> None:
    """With ten figures of one spread, the error of nine holds the tenth in nine of ten cases: the worst of ten."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(300):
        figures = [Figure("e", "1", f"{i}", "int8", 10**6, float(np.exp(rng.normal(0, 0.2)))) for i in range(10)]
        calibration = replace(calibrate(measured(), emulated()), figures=tuple(figures[:9]))
        held += 1 / (1 + calibration.error) <= figures[9].ms / calibration.factor <= 1 + calibration.error
    assert held >= 0.85 * 300


def test_doubts_are_said() -> None:
    other = {**ROWS, ("openvino", "m.xml", "fp32"): (50_000_000, 0)}
    record = emulated(rows=other, bundle=replace(emulated().bundle, digest="c" * 64), notes=("of the emulated",))
    record = replace(record, emulator=Emulator("cortex-a72", "qemu-aarch64 9.1", "Debian trixie arm64"))
    calibration = calibrate(measured(quick=True), emulated())
    notes = estimate(record, calibration, "").notes
    assert notes[0] == "of the emulated"
    assert notes[1].startswith("estimated with a calibration of 4 figures from 2026-11-21T06:00:00+00:00: 0.5")
    assert list(notes[2:]) == [
        "the calibration was taken with another bundle, edge-s (a1b2a1b2)",
        "the calibration was counted with qemu-aarch64 7.2.22, Debian bookworm arm64",
        "the calibration has no figure of openvino 2.3 (CPU) fp32, so its error may be larger",
        "the calibration is of 4,260,000–7,790,000 instructions; beyond, its error may be larger",
        "the measurement was quick, too short for a figure to be published",
    ]
    assert len(estimate(emulated(), calibrate(measured(), emulated()), "").notes) == 1


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (emulated(device="rpi5"), "another board: 'rpi4', not 'rpi5'"),
        (emulated(cpu="cortex-a76"), "another processor: 'cortex-a72', not 'cortex-a76'"),
        (measured(), "found one that was measured"),
        (emulated(invalid_reasons=("broken",)), "not valid: 'broken'"),
        (emulated(0), "out of range"),
        (emulated(1e10), "out of range"),
    ],
)
def test_an_estimate_of_another_thing_is_refused(record: BenchRecord, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        estimate(record, calibrate(measured(), emulated()), "")


# --- the file


def test_a_file_gives_the_calibration_back(tmp_path: Path) -> None:
    found = calibrate(measured(quick=True), emulated())
    path = tmp_path / "folder" / "rpi4-calibration.json"
    write_calibration(found, path)
    assert read_calibration(path) == found
    data = json.loads(path.read_text())
    assert (data["schema"], data["kind"], data["device"]) == (1, "calibration", "rpi4")
    assert data["ms_per_million"] == pytest.approx(math.exp(np.mean([np.log(ms / n * 1e6) for n, ms in ROWS.values()])))
    assert data["figures"][0] == {
        "engine": "litert",
        "engine_version": "2.3",
        "artifact": "m.int8.tflite",
        "precision": "int8",
        "instructions": 4_260_000,
        "ms": 2.4,
    }


def changed(*keys: Any, value: Any) -> Callable[[Any], None]:
    def change(data: Any) -> None:
        for key in keys[:-1]:
            data = data[key]
        data[keys[-1]] = value

    return change


BROKEN = [
    (changed("schema", value=2), "schema is 2, this version reads 1; install a newer edgefer"),
    (changed("schema", value=0), "edgefer bench calibrate"),
    (changed("kind", value="measured"), "known: calibration"),
    (changed("ms_per_million", value=0.4), "'ms_per_million' is 0.4, but the figures give"),
    (changed("error", value=0.0), "'error' is 0, but the figures give"),
    (changed("error", value=float("nan")), "no measurement gives"),
    (changed("figures", 0, "ms", value=9.9), "but the figures give"),
    (changed("figures", 0, "ms", value=0), "out of range"),
    (changed("figures", 0, "ms", value=float("inf")), "no measurement gives"),
    (changed("figures", 0, "instructions", value=0), "out of range"),
    (changed("figures", 0, "instructions", value=10**400), "out of range"),
    (changed("figures", 0, "engine", value=1), "'engine' must be str"),
    (changed("figures", 0, "extra", value=1), "unknown field 'extra'"),
    (changed("figures", value=[]), "found 0"),
    (changed("figures", value=[[]] * 3), "figure must be an object"),
    (changed("created", value="yesterday"), "date and time"),
    (changed("measured", value={}), "'command' is missing"),
    (changed("emulated", "created", value="now"), "date and time"),
    (changed("emulator", "cpu", value=None), "'cpu' must be str"),
    (changed("notes", value=[1]), "must hold texts"),
    (changed("extra", value=1), "unknown field 'extra'"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN)
def test_a_changed_calibration_is_refused(tmp_path: Path, change: Callable[[Any], None], message: str) -> None:
    data = calibrate(measured(), emulated()).as_dict()
    change(data)
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(data))
    with pytest.raises(RecordError) as caught:
        read_calibration(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_a_calibration_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    write_calibration(calibrate(measured(), emulated()), path)
    whole = path.read_bytes().rstrip()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(RecordError):
            read_calibration(path)


@pytest.mark.parametrize("text", ["", "[]", "null", "[" * 100_000, '{"schema":' + "[" * 900 + "]" * 900 + "}"])
def test_a_file_that_is_no_calibration_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(text)
    with pytest.raises(RecordError):
        read_calibration(path)


def test_a_calibration_is_no_record_and_a_record_no_calibration(tmp_path: Path) -> None:
    write_calibration(calibrate(measured(), emulated()), tmp_path / "calibration.json")
    write_record(measured(), tmp_path / "record.json")
    with pytest.raises(RecordError, match="this version reads"):
        read_record(tmp_path / "calibration.json")
    with pytest.raises(RecordError, match="this version reads"):
        read_calibration(tmp_path / "record.json")


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="edgefer bench calibrate"):
        read_calibration(tmp_path / "none.json")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="cannot write"):
        write_calibration(calibrate(measured(), emulated()), tmp_path / "file" / "calibration.json")


@given(st.data())
@settings(max_examples=50)
def test_any_calibration_comes_back(data: st.DataObject) -> None:
    text = st.text(st.characters(codec="utf-8"), max_size=10)
    figures = st.builds(Figure, text, text, text, text, st.integers(1, 10**15), st.floats(1e-6, 1e6))
    found = replace(
        calibrate(measured(), emulated()),
        figures=tuple(data.draw(st.lists(figures, min_size=3, max_size=6))),
        notes=tuple(data.draw(st.lists(text, max_size=2))),
        bundle=data.draw(text),
    )
    assert Calibration.from_dict(json.loads(json.dumps(found.as_dict(), allow_nan=False))) == found


# --- the commands


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_record(measured(), tmp_path / "pi4.json")
    write_record(emulated(), tmp_path / "rpi4.json")
    return tmp_path


def test_from_two_records_to_an_estimate(folder: Path) -> None:
    pi4, rpi4, out, done = (str(folder / name) for name in ("pi4.json", "rpi4.json", "calibration.json", "done.json"))
    result = CliRunner().invoke(commands.calibrate, [pi4, rpi4, "--out", out])
    assert result.exit_code == 0, result.output
    assert "rpi4: 0.5849 ms for a million instructions, ± 20 % (the worst of 4" in result.stdout
    result = CliRunner().invoke(commands.estimate, [rpi4, "--calibration", out, "--json", done])
    assert result.exit_code == 0, result.output
    assert "edge-s on rpi4: estimated, not measured" in result.stdout
    line = next(line for line in result.stdout.splitlines() if "m.int8.tflite" in line)
    assert " ".join(line.split()) == "litert m.int8.tflite 4,260,000 2.49 ± 20 % 2.07–2.99 ms"
    record = read_record(Path(done))
    assert record.kind == "estimated"
    assert [e.ms for e in record.estimates] == pytest.approx([2.4917, 3.3983, 3.2755, 4.5564], abs=5e-4)


def test_a_dash_is_standard_output(folder: Path) -> None:
    write_calibration(calibrate(measured(), emulated()), folder / "c.json")
    arguments = [str(folder / "rpi4.json"), "--calibration", str(folder / "c.json"), "--json", "-"]
    result = CliRunner().invoke(commands.estimate, arguments)
    assert BenchRecord.from_dict(json.loads(result.stdout)).kind == "estimated"


@pytest.mark.parametrize("arguments", [["rpi4.json"], [], ["rpi4.json", "--calibration", "c.json", "more"]])
def test_a_wrong_call_exits_with_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(commands.estimate, arguments).exit_code == 2
    assert CliRunner().invoke(commands.calibrate, arguments).exit_code == 2
