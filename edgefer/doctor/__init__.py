"""The doctor: looks at one thing after another that a run needs, and says what to do where something is not well.

A file holds the checks of one part: functions that take a `Patient` and return what they found. One that fails never
ends the others.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgefer.devices.description import DeviceProfile

STATUSES = ("ok", "info", "warn", "fail")
"""From well to ill; `info` is neither: something that not everybody needs."""

PARTS = ("software", "engines", "board", "cameras")


@dataclass(frozen=True)
class Check:
    """What was looked at and what was found."""

    name: str
    status: str
    """One of STATUSES."""
    found: str
    advice: str = ""
    """What to do about it; empty where there is nothing to do."""


@dataclass(frozen=True)
class Patient:
    """What is looked at."""

    profile: DeviceProfile
    bundle: Path | None = None
    """None = the one that ships."""
    root: Path = Path("/")
    """Where /proc, /sys, /dev and /usr are looked for."""
    folders: tuple[Path, ...] = ()
    """What needs free space; empty = the working folder, and where downloads go."""


Finding = Check | Iterable[Check]
Examination = Callable[[Patient], Finding]


def examine(patient: Patient, examinations: Iterable[tuple[str, Examination]] | None = None) -> list[Check]:
    """Return what all examinations (name, function) found, in their order; None = every one there is.

    One that raises is a check with status `fail` that has the exception's text.
    """
    found: list[Check] = []
    for name, look in everything() if examinations is None else examinations:
        try:
            result = look(patient)
            found += [result] if isinstance(result, Check) else list(result)
        except Exception as error:  # whatever it is: it is what was found, and the others go on
            text = " ".join(str(error).split())[:300]
            found.append(Check(name, "fail", f"{type(error).__name__}: {text}", "this check could not be made"))
    return found


def everything() -> Iterator[tuple[str, Examination]]:
    """Yield every examination with the name that stands for it should it fail."""
    for part in PARTS:
        try:
            yield from importlib.import_module(f"{__name__}.{part}").EXAMINATIONS
        except ImportError as error:  # a package is missing or broken: the parts without it go on
            yield part, _fails_with(error)


def _fails_with(error: ImportError) -> Examination:
    def look(patient: Patient) -> Finding:
        raise error

    return look


def well(checks: Iterable[Check]) -> bool:
    """Return whether nothing failed."""
    return all(check.status != "fail" for check in checks)


def as_json(checks: Iterable[Check]) -> dict[str, Any]:
    """Return plain data for `json.dumps`: {"ok": bool, "checks": [{"name", "status", "found", "advice"}]}."""
    checks = list(checks)
    return {"ok": well(checks), "checks": [vars(check).copy() for check in checks]}
