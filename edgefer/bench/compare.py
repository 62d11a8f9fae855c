"""Two records of one machine, before and after: what is faster, slower or the same, and how sure that is.

The rounds of a row are fresh processes that took turns with the other rows, so their medians are the independent
samples; thousands of runs within a process are not. Two rows differ by the median of all ratios between a round after
and a round before (J. Hodges and E. Lehmann, 1963), with the distribution-free interval that belongs to the U of
H. Mann and D. Whitney (1947; M. Hollander and D. Wolfe, Nonparametric Statistical Methods, chapter 4).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from edgefer import metrics
from edgefer.bench._fields import short
from edgefer.bench.counted import Emulation
from edgefer.bench.record import BenchRecord
from edgefer.bench.rows import Measurement, Score
from edgefer.errors import RecordError
from edgefer.manifest import size_name
from edgefer.page import plain

CONFIDENCE = 0.95
MARGIN = 0.03
"""A smaller change of time is none: two sessions with the very same thing differ by up to so much, because memory lies
elsewhere, neighbours do something else and the machine is warmer, and no interval from within a session knows that."""
TOLERANCE = 0.01
"""The margin of instruction counts; they repeat within 0.1 %."""
WIDE = 0.10
"""`same` means little where a change beyond this cannot be excluded."""
MAX_ROUNDS = 100
"""Of one row: the distribution of U is counted out exactly."""
MAX_RATIO = 1e6
"""No two measurements of the same thing differ more."""
MEMORY_CLASS = 0.1
"""What kernel and GPU keep of a board's memory, and it does not tell, is less than this part."""

Entry = TypeVar("Entry", Measurement, Score, Emulation)


@dataclass(frozen=True)
class Ratio:
    """After over before, with its interval."""

    estimate: float
    low: float
    high: float
    level: float
    """How often such an interval holds the true ratio; below CONFIDENCE where there are too few rounds for it."""


@dataclass(frozen=True)
class Timed:
    """A row that both records measured."""

    before: Measurement
    after: Measurement
    ratio: Ratio
    """Of a round's p50."""
    verdict: str
    """`faster`, `slower` or `same`."""
    doubt: str | None
    """Why `same` does not say that nothing changed: `too noisy to tell`, `too few rounds to tell`."""


@dataclass(frozen=True)
class Scored:
    """Accuracy on the same faces."""

    before: Score
    after: Score
    difference: float
    """After minus before."""
    low: float
    high: float
    verdict: str
    """`better`, `worse` or `same`."""


@dataclass(frozen=True)
class Counted:
    """Instructions on the same emulated processor."""

    before: Emulation
    after: Emulation
    ratio: float
    verdict: str
    """`more`, `fewer` or `same`."""


@dataclass(frozen=True)
class Comparison:
    """What two records of one machine say together."""

    before: BenchRecord
    after: BenchRecord
    margin: float
    timed: tuple[Timed, ...]
    scored: tuple[Scored, ...]
    counted: tuple[Counted, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    notes: tuple[str, ...]

    def slower_than(self, limit: float) -> list[str]:
        """Return in words what is slower, or takes more instructions, by more than `limit` (0.05 = 5 %)."""
        found = [(name_of(t.after), t.ratio.estimate, "slower") for t in self.timed if t.verdict == "slower"]
        found += [(name_of(c.after), c.ratio, "more instructions") for c in self.counted if c.verdict == "more"]
        return [f"{name}: {100 * x - 100:.1f} % {what}" for name, x, what in found if x > 1 + limit]


def compare(before: BenchRecord, after: BenchRecord, margin: float | None = None) -> Comparison:
    """Return how `after` differs from `before`; a change up to `margin` (0.03 = 3 %) is none.

    Without `margin` it is MARGIN for times and TOLERANCE for instructions. Raises RecordError for records that are no
    evidence, that are of unlike machines, labels, preprocessing or data, or that have nothing in common.
    """
    _refuse_unlike(before, after)
    if margin is None:
        margin = TOLERANCE if before.kind == "emulated" else MARGIN
    rows = _pairs(before.measurements, after.measurements, lambda m: m.key)
    scores = _pairs(before.scores, after.scores, lambda s: (s.engine, form(s), s.split))
    counts = _pairs(before.emulations, after.emulations, lambda e: (e.engine, form(e)))
    if not rows[0] and not scores[0] and not counts[0]:
        raise RecordError("the two records have no row in common; measure the same engines, precisions and threads")
    return Comparison(
        before=before,
        after=after,
        margin=margin,
        timed=tuple(_timed(a, b, margin) for a, b in rows[0]),
        scored=tuple(_scored(a, b) for a, b in scores[0]),
        counted=tuple(_counted(a, b, margin) for a, b in counts[0]),
        only_before=(*rows[1], *scores[1], *counts[1]),
        only_after=(*rows[2], *scores[2], *counts[2]),
        notes=tuple(_differences(before, after, [*rows[0], *counts[0]])),
    )


def ratio_of(before: Sequence[float], after: Sequence[float]) -> Ratio:
    """Return after over before of samples > 0, at least one each, with the narrowest exact interval of at least 95 %.

    Where there are too few for that, it is the widest that there is, from the least ratio to the greatest. Raises
    RecordError for samples that no measurement gives.
    """
    if not all(1 <= len(samples) <= MAX_ROUNDS for samples in (before, after)):
        raise RecordError(f"1–{MAX_ROUNDS} rounds can be compared, found {len(before)} and {len(after)}; measure again")
    least, most = min(*before, *after), max(*before, *after)
    if not (least > 0 and most / least < MAX_RATIO):
        raise RecordError(f"rounds of {least:.3g} and {most:.3g} ms are not of the same thing; measure again")
    logs = sorted(math.log(b) - math.log(a) for a in before for b in after)
    counts = u_counts(len(before), len(after))
    total = sum(counts)
    outside, skip = counts[0], 0  # orders of the samples that lie before the interval; as many lie behind it
    while 2 * (outside + counts[skip + 1]) <= (1 - CONFIDENCE) * total:
        skip += 1
        outside += counts[skip]
    middle = (logs[(len(logs) - 1) // 2] + logs[len(logs) // 2]) / 2
    return Ratio(math.exp(middle), math.exp(logs[skip]), math.exp(logs[-1 - skip]), 1 - 2 * outside / total)


def u_counts(m: int, n: int) -> list[int]:
    """Return for U = 0 … m·n in how many orders of m and n samples it occurs; all together are C(m + n, m).

    They are the coefficients of the product of (1 - q^(n+i)) / (1 - q^i) over i = 1 … m.
    """
    counts = [1] + [0] * (m * n)
    for i in range(1, m + 1):
        for u in range(m * n, n + i - 1, -1):
            counts[u] -= counts[u - n - i]
        for u in range(i, m * n + 1):
            counts[u] += counts[u - i]
    return counts


def form(row: Measurement | Score | Emulation) -> str:
    """Return an artifact's format and precision, such as `tflite int8`, and a detector's size."""
    size = None if isinstance(row, Score) else row.size
    return f"{row.artifact.rsplit('.', 1)[-1]} {row.precision}{f' {size_name(size)}' if size else ''}"


def name_of(row: Measurement | Score | Emulation) -> str:
    """Return which row it is, in words that can be printed."""
    words = [row.engine, form(row)]
    if isinstance(row, Measurement):
        words += [row.scope, "1 thread" if row.threads == 1 else f"{row.threads} threads"]
        words += [] if row.faces is None else [f"{row.faces} faces", row.detector or "no detector"]
    elif isinstance(row, Score):
        words += [f"accuracy on {row.split}"]
    return plain(" ".join(words))


def _pairs(
    before: Iterable[Entry], after: Iterable[Entry], key: Callable[[Entry], Any]
) -> tuple[list[tuple[Entry, Entry]], list[str], list[str]]:
    """Return the rows with the same key, and the names of those that are only before and only after."""
    first, second = _by_key(before, key), _by_key(after, key)
    both = [(row, second[k]) for k, row in first.items() if k in second]
    only_first, only_second = ([name_of(a[k]) for k in a if k not in b] for a, b in ((first, second), (second, first)))
    return both, only_first, only_second


def _by_key(rows: Iterable[Entry], key: Callable[[Entry], Any]) -> dict[Any, Entry]:
    found: dict[Any, Entry] = {}
    for row in rows:
        if key(row) in found:
            raise RecordError(f"a record has two rows of {short(name_of(row))}, so none can be chosen; measure again")
        found[key(row)] = row
    return found


def _verdict(ratio: float, margin: float, less: str, more: str) -> str:
    """A change and its reverse are both beyond the margin, or neither."""
    return more if ratio > 1 + margin else less if 1 / ratio > 1 + margin else "same"


def _timed(a: Measurement, b: Measurement, margin: float) -> Timed:
    ratio = ratio_of([r.p50 for r in a.rounds], [r.p50 for r in b.rounds])
    if ratio.level < CONFIDENCE:
        return Timed(a, b, ratio, "same", "too few rounds to tell")
    verdict = "same" if ratio.low <= 1 <= ratio.high else _verdict(ratio.estimate, margin, "faster", "slower")
    wide = max(ratio.high, 1 / ratio.low) > 1 + WIDE
    return Timed(a, b, ratio, verdict, "too noisy to tell" if wide and verdict == "same" else None)


def _scored(a: Score, b: Score) -> Scored:
    """R. Newcombe's interval of two proportions from their Wilson intervals (1998, method 10).

    It takes the faces for different ones. They are the same, and what is hard for one artifact is for the other, so
    the true interval is narrower; only the single answers, which a record does not hold, would tell by how much.
    """
    if (a.data, a.n) != (b.data, b.n) or a.n == 0:
        raise RecordError(f"{name_of(a)} is on different data ({a.n} and {b.n} faces); measure both on the same faces")
    (a_low, a_high), (b_low, b_high) = (metrics.wilson(round(s.accuracy * s.n), s.n) for s in (a, b))
    difference = b.accuracy - a.accuracy
    low = difference - math.hypot(b.accuracy - b_low, a_high - a.accuracy)
    high = difference + math.hypot(b_high - b.accuracy, a.accuracy - a_low)
    return Scored(a, b, difference, low, high, "better" if low > 0 else "worse" if high < 0 else "same")


def _counted(a: Emulation, b: Emulation, margin: float) -> Counted:
    if not a.instructions.total or not b.instructions.total:
        raise RecordError(f"{name_of(a)}: no instruction was counted, which cannot be compared; measure again")
    ratio = b.instructions.total / a.instructions.total
    return Counted(a, b, ratio, _verdict(ratio, margin, "fewer", "more"))


def _refuse_unlike(before: BenchRecord, after: BenchRecord) -> None:
    """Raise RecordError when the records are no evidence, or are of things that cannot be compared."""
    for when, record in (("before", before), ("after", after)):
        if not record.valid:
            raise RecordError(
                f"the record {when} is not valid: {short('; '.join(record.invalid_reasons))}; measure again"
            )
    pairs: list[tuple[str, Any, Any]] = [
        ("kinds", before.kind, after.kind),
        ("devices", before.device, after.device),
        ("labels", before.bundle.labels, after.bundle.labels),
        ("preprocessing", dict(before.bundle.preprocess), dict(after.bundle.preprocess)),
    ]
    if before.emulator and after.emulator:
        pairs += [("emulated processors", before.emulator.cpu, after.emulator.cpu)]
    if before.kind == "measured":
        a, b = (record.environment["before"] for record in (before, after))
        pairs += [(f"machines ({key})", a.get(key), b.get(key)) for key in ("machine", "model", "cpu", "cores")]
        sizes = a.get("memory_mib"), b.get("memory_mib")
        if not all(type(size) is int for size in sizes) or min(sizes) < (1 - MEMORY_CLASS) * max(sizes):
            pairs += [("machines (memory_mib)", *sizes)]
    for what, first, second in pairs:
        if first != second:
            raise RecordError(f"different {what} cannot be compared: {short(first)} before, {short(second)} after")
    if before.kind == "estimated":
        raise RecordError("estimates are not compared: compare the emulated records that they were made from")


def _differences(before: BenchRecord, after: BenchRecord, rows: Iterable[tuple[Any, Any]]) -> Iterator[str]:
    """Yield what else differs between the records; it may be the very reason to compare them."""
    if before.bundle.digest != after.bundle.digest:
        a, b = (f"{record.bundle.name} ({record.bundle.digest[:8]})" for record in (before, after))
        yield plain(f"the bundles differ: {a} before, {b} after")
    for when, record in (("before", before), ("after", after)):
        if record.quick:
            yield f"{when}: quick, too short for a figure to be published"
        for reason in record.noisy_reasons:
            yield plain(f"{when}: noisy, {reason}")
    facts = [_facts(before), _facts(after)]
    for first, second in rows:
        facts[0] |= {f"{first.engine} version": first.engine_version, f"provider of {name_of(first)}": first.provider}
        facts[1] |= {f"{first.engine} version": second.engine_version, f"provider of {name_of(first)}": second.provider}
    for name in dict.fromkeys([*facts[0], *facts[1]]):
        if facts[0].get(name) != facts[1].get(name):
            yield plain(f"{name}: {short(facts[0].get(name))} before, {short(facts[1].get(name))} after")


def _facts(record: BenchRecord) -> dict[str, Any]:
    """Return what a record was taken with; of an emulated one the emulator, for the host adds nothing to counts."""
    if record.emulator is not None:
        return {"emulator": record.emulator.program, "system": record.emulator.system}
    at = record.environment["before"]
    packages = at.get("packages")
    facts = {name: at.get(name) for name in ("kernel", "libc", "python", "governors", "power_mode")}
    return facts | (dict(packages) if isinstance(packages, dict) else {})
