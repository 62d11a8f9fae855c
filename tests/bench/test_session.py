"""A session: what is asked for is measured on a machine that is watched, and the record says whether it counts."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgefer import cartoon
from edgefer.bench import session
from edgefer.bench.latency import Plan, Progress
from edgefer.bench.noise import Load
from edgefer.bench.record import BenchRecord, read_record, write_record
from edgefer.bench.session import Preferred, Wanted, take
from edgefer.bundle import Bundle
from edgefer.devices.description import DeviceProfile
from edgefer.devices.profile import detect, load_profile
from edgefer.errors import EngineError
from edgefer.labels import FER2013_LABELS
from edgefer.train.data import Dataset

PLAN = Plan(rounds=2, warmup_runs=2, warmup_seconds=0.0, min_runs=20, min_seconds=0.0)
PREFERRED = Preferred("litert", "int8", 1)


@contextlib.contextmanager
def no_bar(label: str) -> Iterator[Progress]:
    yield lambda done, total: None


def run(bundle: Bundle, here: DeviceProfile | None = None, root: Path = Path("/"), **changes: object) -> BenchRecord:
    wanted = replace(Wanted(PLAN, scopes=("model",), engines=("litert",), precision="int8", threads=(1,)), **changes)  # type: ignore[arg-type]
    return take(bundle, here or detect(), PREFERRED, wanted, "edgefer bench", no_bar, root=root)


def test_a_record_is_taken_and_kept(tiny_bundle: Bundle, tmp_path: Path) -> None:
    record = run(tiny_bundle, sustained=0.5)
    assert record.kind == "measured"
    assert record.quick
    assert record.valid
    assert [m.precision for m in record.measurements] == ["int8"]
    assert record.sustained is not None
    assert record.trace is not None
    assert record.bundle.labels == tiny_bundle.labels
    assert record.bundle.preprocess == tiny_bundle.preprocess.as_dict()
    write_record(record, tmp_path / "record.json")
    assert read_record(tmp_path / "record.json") == record


def test_without_threads_a_quick_session_takes_the_devices_own(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(7)))
    here = replace(detect(), threads=3)
    quick = session.subjects_of(tiny_bundle, here, PREFERRED, Wanted(PLAN, engines=("litert",)))
    assert {s.threads for s in quick if s.scope == "model"} == {3}
    full = replace(PLAN, rounds=6, warmup_runs=50, warmup_seconds=2, min_runs=1024, min_seconds=60)
    published = session.subjects_of(tiny_bundle, here, PREFERRED, Wanted(full, engines=("litert",)))
    assert {s.threads for s in published if s.scope == "model"} == {1, 7}
    assert {s.threads for s in published if s.scope == "pipeline"} == {PREFERRED.threads}


def test_what_is_busy_beside_it_is_told(tiny_bundle: Bundle) -> None:
    plan = replace(PLAN, min_seconds=2.0)
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            record = run(tiny_bundle, plan=plan)
        finally:
            other.kill()
    assert any("other programs used" in reason for reason in record.noisy_reasons)
    assert record.valid


def test_rounds_that_disagree_are_told(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgefer.bench.noise.MAX_SPREAD", -0.1)
    record = run(tiny_bundle)
    assert any(reason.startswith("litert int8: the rounds' medians differ") for reason in record.noisy_reasons)


def test_throttling_makes_it_no_evidence(tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a fake sysfs: a counter that grows while it is measured."""
    counter = tmp_path / "sys/throttle_count"
    counter.parent.mkdir()
    grows = itertools.count(3)
    measure = session.measure

    def hot(*arguments: object, **more: object) -> object:
        counter.write_text(f"{next(grows)}\n")
        return measure(*arguments, **more)  # type: ignore[arg-type]

    counter.write_text("2\n")
    monkeypatch.setattr(session, "measure", hot)
    here = replace(detect(), throttle_counters=("sys/throttle_count",))
    record = run(tiny_bundle, here, tmp_path)
    assert not record.valid
    assert "slowed the device down during the measurement" in record.invalid_reasons[0]
    assert not record.as_dict()["valid"]


def test_heat_in_the_sustained_run_leaves_the_rows_valid(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = tmp_path / "sys/throttle_count"
    counter.parent.mkdir()
    counter.write_text("2\n")
    sustain = session.sustain

    def hot(*arguments: object, **more: object) -> object:
        counter.write_text("3\n")
        return sustain(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(session, "sustain", hot)
    here = replace(detect(), throttle_counters=("sys/throttle_count",))
    record = run(tiny_bundle, here, tmp_path, sustained=0.5)
    assert record.valid
    assert any(note.startswith("sustained run: heat or power slowed") for note in record.notes)


def test_bits_of_the_firmware_make_it_no_evidence(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """Under-voltage that is there only while it is measured, not before and after."""
    state = tmp_path / "calls"
    script = tmp_path / "vcgencmd"
    # The first question is the snapshot before, the second falls in the measurement.
    script.write_text(
        f'#!/bin/sh\necho x >> {state}\n[ "$(wc -l < {state})" = 2 ] && echo throttled=0x1 || echo throttled=0x0\n'
    )
    script.chmod(0o755)
    record = run(tiny_bundle, replace(detect(), throttled_command=(str(script),)))
    assert record.invalid_reasons == ("under-voltage, during the measurement",)


def test_bits_of_a_fake_sysfs_make_it_no_evidence(tiny_bundle: Bundle, tmp_path: Path) -> None:
    file = tmp_path / "sys/devices/platform/soc/soc:firmware/get_throttled"
    file.parent.mkdir(parents=True)
    file.write_text("4\n")
    record = run(tiny_bundle, load_profile("rpi5"), tmp_path)
    assert not record.valid
    assert "throttled, before the measurement" in record.invalid_reasons
    assert record.trace is not None
    assert record.trace.throttled == ("throttled",)


def test_accuracy_of_the_very_artifact_is_added(tiny_bundle: Bundle) -> None:
    faces = Dataset(*cartoon.dataset(4, 3), FER2013_LABELS)
    wanted = Wanted(PLAN, ("model",), ("litert",), "int8", (1,))
    record = take(tiny_bundle, detect(), PREFERRED, wanted, "edgefer bench", no_bar, ("test", faces))
    (score,) = record.scores
    assert (score.engine, score.precision, score.split, score.n) == ("litert", "int8", "test", 28)
    assert score.artifact == tiny_bundle.artifact("tflite", "int8").path
    assert score.ci95[0] <= score.accuracy <= score.ci95[1]


def test_power_of_a_fake_sensor_is_told(tiny_bundle: Bundle, tmp_path: Path) -> None:
    hwmon = tmp_path / "sys/class/hwmon/hwmon3"
    hwmon.mkdir(parents=True)
    for name, text in {"in1_label": "VDD_IN", "in1_input": "5000", "curr1_input": "1200", "name": "ina3221"}.items():
        (hwmon / name).write_text(f"{text}\n")
    here = replace(
        detect(), power_sensors=("sys/class/hwmon/hwmon*/in*_input",), power_rails=("VDD_IN",), power_command=()
    )
    record = run(tiny_bundle, here, tmp_path, plan=replace(PLAN, min_seconds=5.0))
    (m,) = record.measurements
    assert record.idle_watts == pytest.approx(6.0)
    assert m.watts == pytest.approx(6.0)
    assert m.joules == pytest.approx(6.0 * m.latency.seconds / m.latency.runs)
    assert record.trace is not None
    assert record.trace.power_source == "ina3221 VDD_IN"


def test_a_busy_machine_is_told_though_hours_of_quiet_follow(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = iter([Load(60.0, 1.0, 0.0), Load(86_400.0, 0.0, 0.2)])
    monkeypatch.setattr("edgefer.bench.noise.end", lambda *_, **__: next(loads))
    first, second, *_ = run(tiny_bundle, sustained=0.5).noisy_reasons
    assert first.startswith("other programs used 1.00 of a core")
    assert second.startswith("sustained run: the hypervisor took 0.20 of a core")


def test_an_engine_that_cannot_run_is_told_before_anything_is_measured(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "is_installed", lambda name: name == "litert")
    with pytest.raises(EngineError, match=r"openvino is not installed: pip install 'edgefer\[openvino\]'"):
        session.subjects_of(tiny_bundle, detect(), PREFERRED, Wanted(PLAN, engines=("litert", "openvino")))


def test_an_engine_that_was_asked_for_is_never_left_out(tiny_bundle: Bundle) -> None:
    pytest.importorskip("onnxruntime")
    artifacts = tuple(a for a in tiny_bundle.artifacts if (a.format, a.precision) != ("onnx", "int8"))
    bundle = replace(tiny_bundle, artifacts=artifacts)
    wanted = Wanted(PLAN, ("model",), ("litert", "onnxruntime"), "int8", (1,))
    with pytest.raises(
        EngineError, match=r"nothing to measure for onnxruntime in int8; it has: tflite fp32, .*onnx fp"
    ):
        session.subjects_of(bundle, detect(), PREFERRED, wanted)
    unasked = session.subjects_of(bundle, detect(), PREFERRED, replace(wanted, engines=()))
    assert "litert" in {s.engine for s in unasked}
    assert "onnxruntime" not in {s.engine for s in unasked}


def test_a_session_ends_with_its_error(tiny_bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="no engine called 'abacus'"):
        run(tiny_bundle, engines=("abacus",))
