"""Fields of recipes: what is checked of them, and how what people write in TOML becomes a frozen dataclass."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from edgefer import toml
from edgefer.errors import RecipeError

T = TypeVar("T")


def check(where: str, checks: Mapping[str, tuple[Any, bool, str]]) -> None:
    """Raise RecipeError for the first name → (value, whether it is fine, what is allowed) that is not fine."""
    for name, (value, fine, allowed) in checks.items():
        if not fine:
            raise RecipeError(f"recipe: {where}{name} = {value!r} is out of range: {allowed}")


def one_of(value: str, *choices: str) -> tuple[Any, bool, str]:
    """Return the check that `value` is one of `choices`."""
    near = difflib.get_close_matches(value, choices, 1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return value, value in choices, f"one of {', '.join(choices)}{hint}"


def between(value: float, low: float, high: float) -> tuple[Any, bool, str]:
    """Return the check that `value` is from `low` to `high`."""
    return value, low <= value <= high, f"{low:g} to {high:g}"


def at_least(value: float, low: float) -> tuple[Any, bool, str]:
    """Return the check that `value` is `low` or more."""
    return value, value >= low, f"at least {low:g}"


def plain(value: Any) -> Any:
    """Return `value` with tuples as lists, as JSON gives them back."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return list(value) if isinstance(value, tuple) else value


def hint(name: str, known: Iterable[str], full: Mapping[str, str] | None = None) -> str:
    """Return a hint at the nearest of `known`, by its `full` name, or nothing."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f" (did you mean {(full or {}).get(near[0], near[0])!r}?)" if near else ""


def build(cls: type[T], tables: Mapping[str, type], values: Mapping[str, Any], over: Mapping[str, Any] | None) -> T:
    """Return a recipe, the dataclass `cls` whose fields `tables` are such themselves, of plain data.

    What `over` names stands above it (None = not given), dotted where it is in a table: `augmentation.mixup`. Raises
    RecipeError for an unknown field (naming the nearest known one) or a value of the wrong type or range.
    """
    values = {k: dict(v) if isinstance(v, Mapping) else v for k, v in values.items()}
    for table in tables:
        if not isinstance(values.setdefault(table, {}), dict):
            raise RecipeError(f"recipe: {table} must be a table, found {values[table]!r}")
    for name, value in (over or {}).items():
        if value is not None:
            table, _, key = name.rpartition(".")
            if table and table not in tables:
                raise RecipeError(f"recipe: unknown table {table!r}{hint(table, tables)}; known: {', '.join(tables)}")
            (values[table] if table else values)[key] = value
    made = {name: part(**_checked(part, values.pop(name), f"{name}.", tables)) for name, part in tables.items()}
    return cls(**_checked(cls, values, "", tables), **made)


def _checked(cls: type, values: Mapping[str, Any], where: str, tables: Mapping[str, type]) -> dict[str, Any]:
    """Return `values` with every name known to `cls` and every type right (an int is fine for a float).

    `tables` are the fields that are tables of their own. Raises RecipeError.
    """
    types = {f.name: str(f.type) for f in dataclasses.fields(cls) if f.name not in tables}
    result: dict[str, Any] = {}
    for name, value in values.items():
        if name not in types:
            everywhere = [*types, *tables, *(f"{t}.{f.name}" for t, c in tables.items() for f in dataclasses.fields(c))]
            last = {full.rpartition(".")[2]: full for full in everywhere}
            near = hint(where + name, everywhere) or hint(name, last, last)
            raise RecipeError(f"recipe: unknown field {where + name!r}{near}; known: {', '.join(types)}")
        result[name] = _typed(where + name, value, types[name])
    return result


def _typed(name: str, value: Any, kind: str) -> Any:
    if kind.startswith("tuple["):
        inner = kind[len("tuple[") :].split(",")[0]
        if not isinstance(value, (list, tuple)):
            raise RecipeError(f"recipe: {name} must be a list, found {value!r}")
        return tuple(_typed(name, v, inner) for v in value)
    if kind == "float" and type(value) is int:
        value = float(value)
    if type(value).__name__ != kind:
        raise RecipeError(f"recipe: {name} must be of type {kind}, found {value!r}")
    return value


def recipes_in(package: str) -> list[str]:
    """Return the names of the recipes that come with a package, in its folder `recipes`."""
    return sorted(f.name[:-5] for f in (resources.files(package) / "recipes").iterdir() if f.name.endswith(".toml"))


def read_recipe(name_or_path: str, package: str, what: str = "recipe") -> dict[str, Any]:
    """Return what a recipe says, a TOML file's or that of its name in the package, whose recipes are called `what`.

    Raises RecipeError for one that is missing or malformed.
    """
    path, known = Path(name_or_path), recipes_in(package)
    if path.suffix != ".toml":
        if name_or_path not in known:
            raise RecipeError(
                f"there is no {what} called {name_or_path!r}{hint(name_or_path, known)};"
                f" choose one of {', '.join(known)}, or a .toml file"
            )
        file = resources.files(package) / "recipes" / f"{name_or_path}.toml"
        return toml.parse(file.read_text(encoding="utf-8"))
    try:
        return toml.read(path)
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {path}: {error.strerror}; check the path") from error
    except ValueError as error:
        raise RecipeError(f"the recipe {path} {error}") from error
