"""Was something else busy on the machine while it measured? Then a figure says more about that than about edgefer."""

from __future__ import annotations

import math
import os
import re
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgefer.devices.board import ROOT, read_text

MAX_OTHERS_CORES = 0.25
"""A quiet desktop or a Pi with its services stays below 0.1; from a quarter of a core on, it takes caches and clock."""
MAX_STOLEN_CORES = 0.05
"""Taken by the hypervisor: a virtual machine that has its cores for itself shows next to none."""
MAX_SPREAD = 0.10
"""Of the rounds' medians, largest over smallest: on a quiet machine they agree to a few percent."""


@dataclass(frozen=True)
class Load:
    """What was used besides the measurement."""

    seconds: float
    others_cores: float | None
    """Cores that others used, on average; None where there is no /proc/stat."""
    stolen_cores: float | None
    """Cores that the hypervisor gave to other machines, on average."""


@dataclass(frozen=True)
class Start:
    """The state of the machine when the measurement began."""

    monotonic: float
    cpu: tuple[float, float] | None
    """Seconds that all cores were busy, and that were stolen, since the machine started; None = it does not tell."""
    own: float
    """Processor seconds of this process and its children that have ended."""


def begin(root: Path = ROOT) -> Start:
    """Return the state now, for `end`; `root` is where /proc is looked for."""
    return Start(time.monotonic(), cpu_seconds(root), own_cpu_seconds())


def end(start: Start, own: float | None = None, root: Path = ROOT) -> Load:
    """Return what others used since `start`.

    `own` are the processor seconds that the measurement itself used since; None = those of this process and of its
    children. A child counts from when it has ended and was waited for, so end them all before.
    """
    seconds = time.monotonic() - start.monotonic
    now = cpu_seconds(root)
    if own is None:
        own = own_cpu_seconds() - start.own
    if now is None or start.cpu is None or seconds <= 0:
        return Load(seconds, None, None)
    busy, stolen = (after - before for before, after in zip(start.cpu, now, strict=True))
    # /proc/stat counts in hundredths of a second, getrusage exactly: the difference may fall below 0 by a few of them.
    return Load(round(seconds, 3), round(max(0.0, busy - own) / seconds, 4), round(max(0.0, stolen) / seconds, 4))


def busy(load: Load) -> list[str]:
    """Return what made all figures of a session noisy; empty = nothing was found."""
    reasons = []
    if load.others_cores is not None and load.others_cores > MAX_OTHERS_CORES:
        reasons.append(
            f"other programs used {load.others_cores:.2f} of a core on average (more than {MAX_OTHERS_CORES:.2f})"
        )
    if load.stolen_cores is not None and load.stolen_cores > MAX_STOLEN_CORES:
        reasons.append(
            f"the hypervisor took {load.stolen_cores:.2f} of a core on average (more than {MAX_STOLEN_CORES:.2f})"
        )
    return reasons


def scattered(rounds: Sequence[float]) -> str | None:
    """Return why a figure is noisy by the medians of its rounds; None when they agree.

    Raises ValueError for one that is not more than 0.
    """
    found = spread(rounds)
    return f"the rounds' medians differ by {found:.0%} (more than {MAX_SPREAD:.0%})" if found > MAX_SPREAD else None


def spread(rounds: Sequence[float]) -> float:
    """Return by how much the largest is above the smallest, 0.1 = 10 %; raises ValueError for one that is not > 0."""
    if not rounds or not all(math.isfinite(r) and r > 0 for r in rounds):
        raise ValueError(f"the spread of times needs times of more than 0, found {list(rounds)[:5]}")
    return max(rounds) / min(rounds) - 1


def cpu_seconds(root: Path = ROOT) -> tuple[float, float] | None:
    """Return how long all cores were busy, and were stolen, since the machine started; None without /proc/stat.

    Busy is user, nice, system, irq and softirq; guests are counted in user and nice.
    """
    found = re.match(r"cpu +(\d{1,18}(?: \d{1,18}){7,})", read_text(root / "proc/stat") or "", re.ASCII)
    if found is None:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, stolen = map(int, found[1].split()[:8])
    ticks = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) / ticks, stolen / ticks


def own_cpu_seconds() -> float:
    """Return the processor time that this process and its children that have ended used, in seconds."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
