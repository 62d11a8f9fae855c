"""Was something else busy: from a /proc/stat like a machine's, and from a real one beside a real busy loop."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefer.bench import noise
from edgefer.bench.noise import Load, busy, scattered

TICKS = os.sysconf("SC_CLK_TCK")
BUSY = "import time\nwhile time.process_time() < {}: pass"
QUIET = Load(60.0, 0.02, 0.0)
needs_stat = pytest.mark.skipif(noise.cpu_seconds() is None, reason="this machine has no /proc/stat")


def stat(root: Path, **seconds: float) -> Path:
    """A /proc/stat whose first line has these seconds."""
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice")
    line = " ".join(str(round(seconds.get(name, 0) * TICKS)) for name in names)
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/stat").write_text(f"cpu  {line}\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 1 2 3\n")
    return root


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(noise.time, "monotonic", lambda: now[0])
    return now


def test_what_is_left_when_the_own_time_is_taken_away(tmp_path: Path, clock: list[float]) -> None:
    start = noise.begin(stat(tmp_path, user=100, system=10, idle=500, steal=3))
    clock[0] += 10
    stat(tmp_path, user=108, nice=1, system=11, idle=900, iowait=50, irq=0.5, softirq=0.5, steal=4, guest=7)
    assert noise.end(start, own=9, root=tmp_path) == Load(10.0, 0.2, 0.1)


def test_the_clock_tick_does_not_make_it_negative(tmp_path: Path, clock: list[float]) -> None:
    start = noise.begin(stat(tmp_path, user=100))
    clock[0] += 10
    stat(tmp_path, user=104.99)
    assert noise.end(start, own=5, root=tmp_path) == Load(10.0, 0.0, 0.0)


@pytest.mark.parametrize(
    "text", [None, "", "cpu  1 2 3\n", "cpu0 1 2 3 4 5 6 7 8\n", "cpu  1 2 3 4 5 6 7 -8\n", "\0\xff"]
)
def test_a_machine_that_does_not_tell_is_no_error(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        stat(tmp_path)
        (tmp_path / "proc/stat").write_text(text)
    load = noise.end(noise.begin(tmp_path), root=tmp_path)
    assert (load.others_cores, load.stolen_cores) == (None, None)
    assert busy(load) == []


def test_an_old_kernel_tells_less(tmp_path: Path) -> None:
    stat(tmp_path)
    (tmp_path / "proc/stat").write_text(f"cpu  {3 * TICKS} 0 0 9 9 0 0 {2 * TICKS}\n")
    assert noise.cpu_seconds(tmp_path) == (3.0, 2.0)


@given(st.text())
def test_any_text_is_figures_or_none(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    root = tmp_path_factory.mktemp("stat")
    stat(root)
    (root / "proc/stat").write_bytes(b"cpu  " + text.encode("utf-8", errors="surrogatepass"))
    found = noise.cpu_seconds(root)
    assert found is None or min(found) >= 0


@needs_stat
def test_a_busy_loop_beside_it_is_seen() -> None:
    """It is another's: it lives on while the load is taken, so it is no child that has ended."""
    start = noise.begin()
    loop = subprocess.Popen([sys.executable, "-c", BUSY.format(60)])
    try:
        deadline = time.monotonic() + 20
        while (used := cpu_of(loop.pid)) < 0.7:
            assert time.monotonic() < deadline, "the loop had no core to run on"
            time.sleep(0.05)
        load = noise.end(start)
    finally:
        loop.kill()
        loop.wait()
    assert load.others_cores is not None
    assert load.others_cores * load.seconds >= used - 0.1
    assert "other programs used" in busy(load)[0]


def cpu_of(pid: int) -> float:
    """The processor seconds of a process that runs."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@needs_stat
def test_the_own_children_are_taken_away() -> None:
    start, before = noise.begin(), noise.cpu_seconds()
    subprocess.run([sys.executable, "-c", BUSY.format(0.7)], check=True)
    after, load = noise.cpu_seconds(), noise.end(start)
    assert before is not None
    assert after is not None
    assert load.others_cores is not None
    everything = after[0] - before[0]
    assert everything > 0.6
    assert load.others_cores * load.seconds < everything - 0.5, "the child was not taken away"


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (QUIET, []),
        (Load(60.0, 0.25, 0.05), []),
        (Load(60.0, None, None), []),
        (Load(60.0, 0.93, 0.0), ["other programs used 0.93 of a core on average"]),
        (Load(60.0, 0.0, 0.06), ["the hypervisor took 0.06 of a core"]),
        (Load(60.0, 1.5, 0.5), ["1.50 of a core", "0.50 of a core"]),
    ],
)
def test_the_reasons_say_how_much(load: Load, words: list[str]) -> None:
    reasons = busy(load)
    assert len(reasons) == len(words)
    assert all(word in reason for word, reason in zip(words, reasons, strict=True))


def test_rounds_that_disagree_are_told() -> None:
    assert scattered([0.14]) is None
    assert scattered([0.14, 0.15, 0.145]) is None
    assert scattered([1.0, 1.0, 1.5]) == "the rounds' medians differ by 50% (more than 10%)"


@pytest.mark.parametrize("rounds", [[0.0, 1.0], [-1.0, 1.0], [float("nan"), 1.0], [1.0, float("nan")], []])
def test_times_of_nothing_have_no_spread(rounds: list[float]) -> None:
    with pytest.raises(ValueError, match="more than 0"):
        scattered(rounds)
