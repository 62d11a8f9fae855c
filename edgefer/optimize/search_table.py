"""What a search found: a row for each artifact in its engine, which of them are worth having, and which to use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgefer.bundle import Bundle

SAME_SPEED = 1.03
"""Times that differ by less count as equal: a short run tells no finer."""


@dataclass(frozen=True)
class Row:
    """One artifact in one engine, measured on the validation split."""

    variant: str
    artifact: str
    """Its path in the variant's bundle."""
    format: str
    precision: str
    engine: str
    engine_version: str
    calibrated: str
    """How int8 came to be: a method of calibration or `qat`; empty for others."""
    n: int
    accuracy: float
    drop_points: float
    p_value: float
    """Of McNemar's test against the trained network."""
    source_agreement: float
    """Percent of pictures with the label that the network gives that the file was made from."""
    bytes: int
    gzip_bytes: int
    macs: int
    peak_bytes: int | None
    """Most bytes of activations alive at once, of the TFLite form in this precision; None without one."""
    ms: float
    """One picture, one thread, on the machine of the search."""

    def allowed(self, max_drop: float) -> bool:
        """Return whether it may be recommended.

        It loses at most `max_drop` points, or one picture; and in float it gives its network's label as often.
        """
        most = max(max_drop, 100 / self.n) + 1e-9
        exact = self.precision in ("int8", "dynamic") or 100 - self.source_agreement <= most
        return self.drop_points <= most and exact


@dataclass(frozen=True)
class SearchResult:
    """What was found."""

    target: str
    measured_on: str
    """The profile of the machine that the times are of."""
    max_drop: float
    accuracy: float
    """Of the trained network."""
    n: int
    """Validation faces."""
    rows: tuple[Row, ...]
    refused: Mapping[str, str]
    """Variant → why it could not be made."""
    calibrations: Mapping[str, Sequence[Mapping[str, Any]]]
    """Variant → how the ways to calibrate compare."""
    recommended: Row | None
    bundle: Bundle | None = None
    """The winner; None when nothing is recommended."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; `front` tells the rows that no other beats."""
        front = pareto(self.rows)
        rows = [asdict(r) | {"allowed": r.allowed(self.max_drop), "front": r in front} for r in self.rows]
        found: dict[str, Any] = {"target": self.target, "measured_on": self.measured_on, "max_drop": self.max_drop}
        found |= {"split": "validation", "n": self.n, "accuracy": self.accuracy, "rows": rows}
        found |= {"refused": dict(self.refused), "calibrations": dict(self.calibrations)}
        return found | {"recommended": self.recommended and asdict(self.recommended)}


def pareto(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that no other is at least as good as in accuracy, bytes and ms, and better in one of them."""

    def beats(one: Row, other: Row) -> bool:
        a, b = ((-row.accuracy, row.bytes, row.ms) for row in (one, other))
        return a != b and all(x <= y for x, y in zip(a, b, strict=True))

    return [row for row in rows if not any(beats(other, row) for other in rows)]


def recommend(rows: Sequence[Row], preferred: Sequence[str], max_drop: float) -> Row | None:
    """Return the row to use: the fastest allowed one in the first engine of `preferred` that has any, or None.

    Of those as fast, the smallest, then the most accurate.
    """
    for engine in preferred:
        fine = [row for row in rows if row.engine == engine and row.allowed(max_drop)]
        if fine:
            least = min(row.ms for row in fine)
            return min((r for r in fine if r.ms <= SAME_SPEED * least), key=lambda r: (r.bytes, -r.accuracy, r.ms))
    return None
