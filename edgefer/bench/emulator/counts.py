"""What the plugin wrote: counters at each marker, the last instruction translated, which file lay where in memory."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgefer.bench.counted import Instructions
from edgefer.errors import EmulatorError

MAX_BYTES = 4_000_000


@dataclass(frozen=True)
class Mark:
    """The counters at one marker, since the process began."""

    integer: int
    simd: int
    dot: int
    load_store: int
    branch: int
    crypto: int
    """AES and SHA instructions; they are in `simd`, too."""
    others: int
    """System calls that other threads came back from."""


@dataclass(frozen=True)
class Counts:
    """One process."""

    marks: tuple[Mark, ...]
    address: int
    """Of the last instruction translated; `word` is that instruction."""
    word: int
    maps: tuple[tuple[int, int, str], ...]
    """Start, end and path of each file that became executable memory, the latest last."""

    def place(self) -> str:
        """Return where the last instruction stands: file name + offset in its memory, or the bare address."""
        for start, end, path in reversed(self.maps):
            if start <= self.address < end:
                return f"{Path(path).name}+{self.address - start:#x}"
        return f"{self.address:#x}"


def read(path: Path) -> Counts:
    """Return what the plugin wrote to `path`; raises EmulatorError when it is missing or not what the plugin writes."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise EmulatorError(f"QEMU's plugin left no counts: {error.strerror}; is the disk full?") from error
    lines = data.decode("utf-8", errors="replace").splitlines()
    first = re.fullmatch(r"last ([0-9a-f]{16}) ([0-9a-f]{8})", lines[0] if lines else "")
    if len(data) > MAX_BYTES or not first:
        raise EmulatorError(f"the counts of QEMU's plugin are malformed or more than {MAX_BYTES:,} bytes; run it again")
    marks, maps = [], []
    for line in lines[1:]:
        kind, _, rest = line.partition(" ")
        numbers = rest.split(" ", 2)
        if kind == "mark" and re.fullmatch(r"\d+( \d+){6}", rest):
            marks.append(Mark(*map(int, rest.split(" "))))
        elif kind == "map" and re.fullmatch(r"[0-9a-f]+ [0-9a-f]+ .+", rest):
            maps.append((int(numbers[0], 16), int(numbers[1], 16), numbers[2]))
        # Else half a name with a line break in it: it can only be missed when an illegal instruction is to be placed.
    return Counts(tuple(marks), int(first[1], 16), int(first[2], 16), tuple(maps))


def between(before: Mark, after: Mark) -> Instructions:
    """Return what was executed between two marks; raises EmulatorError when another thread had a part in it."""
    if after.others != before.others:
        raise EmulatorError(
            f"another thread ran during an inference ({after.others - before.others} system calls), so it cannot be"
            " counted exactly; the engine must run in one thread"
        )
    names = ("integer", "simd", "dot", "load_store", "branch")
    parts = {name: getattr(after, name) - getattr(before, name) for name in names}
    return Instructions(total=sum(parts.values()), **parts)


def middle(counted: list[Instructions]) -> Instructions:
    """Return the one with the median total (of an even number, the lower): a real one, so its classes add up."""
    return sorted(counted, key=lambda one: one.total)[(len(counted) - 1) // 2]
