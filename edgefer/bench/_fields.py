"""Taking JSON apart strictly: every field there, of its type, in its range, and none left over."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from edgefer.errors import RecordError

MAX_WHOLE = 2**63 - 1


class Fields:
    """Takes the fields of a JSON object one by one, with their types, and refuses what is left over."""

    def __init__(self, data: Any, where: str) -> None:
        if not isinstance(data, dict):
            raise RecordError(f"{where} must be an object, found {type(data).__name__}; measure again")
        self._data: dict[str, Any] = data
        self._left = set(data)
        self._where = where

    def take(self, name: str, kind: type) -> Any:
        """Return a value that must be of exactly that type."""
        if name not in self._data:
            raise RecordError(f"{self._where}: {name!r} is missing; measure again")
        value = self._data[name]
        if type(value) is not kind:
            raise RecordError(f"{self._where}: {name!r} must be {kind.__name__}, found {short(value)}; measure again")
        self._left.discard(name)
        return value

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """Return a text that must be one of `choices`."""
        value = self.take(name, str)
        if value not in choices:
            raise RecordError(f"{self._where}: {name!r} is {short(value)}; known: {', '.join(choices)}")
        return str(value)

    def whole(self, name: str) -> int:
        """Return an integer that must be 0 or more."""
        value = int(self.take(name, int))
        if not 0 <= value <= MAX_WHOLE:
            raise RecordError(f"{self._where}: {name!r} is out of range, found {short(value)}; measure again")
        return value

    def number(self, name: str) -> float:
        """Return a number that must be finite and 0 or more."""
        if type(self._data.get(name)) is int:
            return float(self.whole(name))
        value = float(self.take(name, float))
        if not math.isfinite(value) or value < 0:
            raise RecordError(f"{self._where}: {name!r} is {value}, which no measurement gives; measure again")
        return value

    def optional_number(self, name: str) -> float | None:
        """Return such a number, or None where there is null."""
        return None if self.is_null(name) else self.number(name)

    def numbers(self, name: str) -> list[float]:
        """Return a list of such numbers."""
        values = self.take(name, list)
        for value in values:
            # A whole number may be larger than any float.
            if type(value) not in (int, float) or not 0 <= value <= sys.float_info.max:
                raise RecordError(f"{self._where}: {name!r} must hold numbers, found {short(value)}; measure again")
        return [float(value) for value in values]

    def readings(self, name: str, kind: type, most: int) -> list[Any]:
        """Return a list of up to `most` numbers of that type, each finite or null; less than 0 may be, as in frost."""
        values = self.take(name, list)
        if len(values) > most:
            raise RecordError(f"{self._where}: {name!r} has more than {most:,} values; measure again")
        for value in values:
            fits = type(value) is kind or (kind is float and type(value) is int)
            if value is not None and not (fits and abs(value) <= MAX_WHOLE):
                raise RecordError(f"{self._where}: {name!r} must hold numbers, found {short(value)}; measure again")
        return [None if value is None else kind(value) for value in values]

    def optional_text(self, name: str) -> str | None:
        """Return a text, or None where there is null."""
        return None if self.is_null(name) else str(self.take(name, str))

    def size(self, name: str) -> tuple[int, int] | None:
        """Return height and width in pixels, or None where there is no such field."""
        if name not in self._data:
            return None
        value = self.take(name, list)
        if len(value) != 2 or not all(type(side) is int and 0 < side <= MAX_WHOLE for side in value):
            raise RecordError(f"{self._where}: {name!r} must be height and width, found {short(value)}; measure again")
        return value[0], value[1]

    def is_null(self, name: str) -> bool:
        """Return whether the field is there and null; it counts as taken then."""
        if name in self._data and self._data[name] is None:
            self._left.discard(name)
            return True
        return False

    def done(self) -> None:
        """Raise RecordError when a field was not taken: nobody knows what it means."""
        if self._left:
            raise RecordError(f"{self._where}: unknown field {short(sorted(self._left)[0])}; was it changed by hand?")


def texts(values: list[Any], name: str) -> list[str]:
    """Return `values` when all are texts; raises RecordError otherwise."""
    for value in values:
        if not isinstance(value, str):
            raise RecordError(f"{name!r} must hold texts, found {short(value)}; measure again")
    return values


def date(text: str) -> str:
    """Return `text` when it is an ISO 8601 date and time; raises RecordError otherwise."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise RecordError(f"'created' must be a date and time, found {short(text)}; measure again") from None
    return text


def refuse_not_finite(value: Any) -> None:
    """Raise RecordError for a number in plain data that is not finite."""
    if isinstance(value, float) and not math.isfinite(value):
        raise RecordError(f"a number is {value}, which no measurement gives; measure again")
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        refuse_not_finite(child)


def short(value: Any) -> str:
    """Return a value for a message, at a length that fits in one."""
    return repr(value)[:80]
