"""Rounds in fresh processes, for real and briefly: what is measured, in which order, and what ends them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgefer.bench import child, rounds, subjects
from edgefer.bench.latency import Plan
from edgefer.bench.rounds import measure, sustain
from edgefer.bench.steady import STEPS
from edgefer.bench.subjects import Subject, drawn_faces, drawn_frames, models, pipelines
from edgefer.bundle import Bundle
from edgefer.errors import EngineError
from edgefer.runtime.engines import load

PLAN = Plan(rounds=2, warmup_runs=2, warmup_seconds=0.0, min_runs=20, min_seconds=0.0)


def test_a_model_is_measured(tiny_bundle: Bundle) -> None:
    seen: list[tuple[int, int]] = []
    todo = models(tiny_bundle, ["litert"], None, [1, 2])
    begin = time.monotonic()
    results = measure(tiny_bundle, todo, PLAN, lambda done, total: seen.append((done, total)))
    end = time.monotonic()
    precisions = [a.precision for a in tiny_bundle.artifacts if a.format == "tflite"]
    assert sorted((m.precision, m.threads) for m, _ in results) == sorted((p, n) for p in precisions for n in (1, 2))
    for m, windows in results:
        assert (m.scope, m.engine, m.provider, m.provider_wanted) == ("model", "litert", "XNNPACK", None)
        assert m.bytes == tiny_bundle.artifact("tflite", m.precision).bytes
        assert m.latency.runs == 20
        assert [r.runs for r in m.rounds] == [10, 10]
        for r in m.rounds:
            assert 0 < r.first_ms < 10_000
            assert 0 < r.load_ms < 60_000
            assert r.base_mib is not None
            assert r.peak_mib is not None
            assert 10 < r.base_mib < r.peak_mib < 1000
        low, high = m.p50_range
        assert low <= high
        assert [begin < start <= stop < end for start, stop in windows] == [True, True]
    # Rows take turns: the second round of the first row comes after the first round of the last.
    assert results[-1][1][0][1] < results[0][1][1][0]
    assert seen == sorted(seen)
    assert seen[-1] == (200 * len(todo), 200 * len(todo))


def test_the_pipeline_is_measured_with_its_stages(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "drawn_frames", lambda faces: drawn_frames(faces, 4))
    plan = replace(PLAN, min_runs=10)
    results = [m for m, _ in measure(tiny_bundle, pipelines("litert", "int8", 1, "haar"), plan)]
    assert [m.faces for m in results] == [0, 1, 3]
    for m in results:
        assert m.stages_ms is not None
        assert list(m.stages_ms) == ["detect", "track", "preprocess", "infer", "smooth", "emit"]
        assert m.faces_found == pytest.approx(m.faces, abs=0.5)
        assert m.detector == "haar"
        assert sum(s["p50"] for s in m.stages_ms.values()) < 2 * m.latency.p99


def test_memory_is_the_childs_own(tiny_bundle: Bundle) -> None:
    """getrusage's peak is inherited from the process that starts another."""
    ballast = np.ones(40_000_000)  # 305 MiB
    (m, _), *_ = measure(tiny_bundle, [Subject("model", "litert", "int8", 1)], PLAN)
    assert ballast[-1] == 1
    assert m.peak_mib is not None
    assert m.peak_mib < 250


def test_a_sustained_run_compares_its_end_with_its_begin(tiny_bundle: Bundle) -> None:
    result = sustain(tiny_bundle, Subject("model", "litert", "int8", 1), 1.5)
    assert result.seconds >= 1.5
    assert result.window_s == 0.5
    assert 0.2 < result.ratio < 5
    assert 2 <= len(result.steps) <= STEPS
    assert sum(step.runs for step in result.steps) == result.runs
    assert result.steps[-1].seconds > 0.9 * result.seconds


def test_a_provider_that_is_not_there_is_told(tiny_bundle: Bundle) -> None:
    pytest.importorskip("onnxruntime")
    subject = Subject("model", "onnxruntime", "int8", 1, ("CUDAExecutionProvider", "CPUExecutionProvider"))
    (m, _), *_ = measure(tiny_bundle, [subject], PLAN)
    assert (m.provider, m.provider_wanted) == ("CPUExecutionProvider", "CUDAExecutionProvider")


def test_a_round_finds_nothing_in_the_current_directory(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    bundle = replace(tiny_bundle, path=tiny_bundle.path.resolve())
    monkeypatch.chdir(tmp_path)
    assert measure(bundle, [Subject("model", "litert", "int8", 1)], PLAN)


def test_a_runtime_that_talks_on_standard_output_changes_nothing(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some print a last line when the process ends."""
    (tmp_path / "sitecustomize.py").write_text(
        f"import atexit, pathlib; atexit.register(print, 'bye'); pathlib.Path({str(tmp_path / 'ran')!r}).touch()"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert measure(tiny_bundle, [Subject("model", "litert", "int8", 1)], PLAN)
    assert (tmp_path / "ran").exists()


def test_a_temporary_folder_without_room_is_told(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(EngineError, match=r"cannot be written \(No such file or directory\); name a folder .* TMPDIR"):
        measure(tiny_bundle, [Subject("model", "litert", "int8", 1)], PLAN)


def test_a_window_is_of_the_timed_runs_alone(tiny_bundle: Bundle) -> None:
    """What the end of the process takes would count as power of the runs."""
    begin = time.monotonic()
    (m, ((start, stop),)), *_ = measure(tiny_bundle, [Subject("model", "litert", "int8", 1)], Plan(1, 2, 0.0, 20, 0.2))
    assert stop - start == pytest.approx(m.latency.seconds)
    assert begin < start
    assert stop < time.monotonic() - 0.01


def test_a_round_that_fails_says_so(tiny_bundle: Bundle) -> None:
    with pytest.raises(EngineError, match=r"litert fp16: a round ended with 1: .*no tflite artifact in fp16") as caught:
        measure(tiny_bundle, [Subject("model", "litert", "fp16", 1)], PLAN)
    assert "\n" not in str(caught.value)


def test_a_round_that_hangs_is_ended(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "START_TIMEOUT_S", 0.3)
    endless = replace(PLAN, warmup_runs=10**9)
    with pytest.raises(EngineError, match="did not end within 0 s"):
        measure(tiny_bundle, [Subject("model", "litert", "int8", 1)], endless)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_whatever_ends_it_no_process_is_left(tiny_bundle: Bundle, tmp_path: Path, number: signal.Signals) -> None:
    code = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "from pathlib import Path\n"
        "from edgefer.bench.latency import Plan\n"
        "from edgefer.bench.rounds import measure\n"
        "from edgefer.bench.subjects import Subject\n"
        "from edgefer.bundle import open_bundle\n"
        f"bundle = open_bundle(Path({str(tiny_bundle.path)!r}))\n"
        "endless = Plan(1, 2, 0, 5, 600)\n"
        "measure(bundle, [Subject('model', 'litert', 'int8', 1)], endless, lambda *_: print(flush=True))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(1)
        process.send_signal(number)
        threading.Timer(20, process.kill).start()
        process.communicate()
        assert process.returncode == -number
        deadline = time.monotonic() + 5
        while left := [pid for pid in members(process.pid) if state(pid) not in "ZX"]:
            assert time.monotonic() < deadline, left
            time.sleep(0.05)


def members(group: int) -> list[int]:
    """Return the processes of a group."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            if os.getpgid(pid) == group:
                found.append(pid)
    return found


def state(pid: int) -> str:
    """Return a process's state, such as `R` or `Z`; `X` when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "X"


def test_the_childs_memory_is_read() -> None:
    peak, now = child.memory_mib("VmHWM"), child.memory_mib("VmRSS")
    assert peak is not None
    assert now is not None
    assert 10 < now <= peak + 1
    assert child.memory_mib("VmNothing") is None


def test_nothing_to_measure_is_an_error(tiny_bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="nothing to measure for litert in fp16"):
        models(tiny_bundle, ["litert"], ["fp16"], [1])
    with pytest.raises(EngineError, match="no engine called 'abacus'"):
        models(tiny_bundle, ["abacus"], None, [1])
    assert load("litert").FORMAT == "tflite"


@pytest.mark.parametrize("faces", subjects.FACES)
def test_frames_are_drawn(faces: int) -> None:
    frames = drawn_frames(faces, 2)
    assert frames.shape == (2, 360, 640, 3)
    assert frames.dtype == np.uint8
    assert not np.array_equal(frames[0], frames[1])


def test_faces_are_drawn_as_the_model_takes_them(tiny_bundle: Bundle) -> None:
    faces = drawn_faces(tiny_bundle, 2)
    assert faces.shape == (14, 48, 48, 1)
    assert faces.dtype == np.uint8
