"""Options of a command from a TOML file: the same names, the same checks; what the command line says wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from edgefer import toml
from edgefer.errors import ConfigError


def parameters(context: click.Context, config: Path | None) -> dict[str, Any]:
    """Return the command's parameters: from the command line, else from the file, else their defaults.

    Keys of the file are the long options' names without the dashes before them (`max-retries = 5`), and `bundle`.
    Raises ConfigError, with the file's name in every message.
    """
    if config is None:
        return dict(context.params)
    known = {_key(parameter): parameter for parameter in context.command.params if _key(parameter) != "config"}
    result = dict(context.params)
    for key, value in _read(config).items():
        parameter = known.get(key)
        if parameter is None or parameter.name is None:
            raise ConfigError(f"{config}: unknown option {key!r}; known: {', '.join(sorted(known))}")
        if context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE:
            continue
        result[parameter.name] = _cast(config, key, value, parameter, context)
    return result


def _key(parameter: click.Parameter) -> str:
    """Return the parameter's name in a file: that of its longest option, else its own."""
    return max(parameter.opts, key=len).lstrip("-")


def _cast(config: Path, key: str, value: Any, parameter: click.Parameter, context: click.Context) -> Any:
    """Return a value as the command line would give it."""
    if isinstance(value, (dict, list)):
        raise ConfigError(f"{config}: {key} must be one value, found {value!r}")
    flag = (
        isinstance(parameter, click.Option)
        and parameter.is_flag
        and isinstance(parameter.type, click.types.BoolParamType)
    )
    if flag != isinstance(value, bool):
        wanted = "true or false" if flag else "a text or a number"
        raise ConfigError(f"{config}: {key} must be {wanted}, found {value!r}")
    try:
        return value if flag else parameter.type_cast_value(context, str(value))
    except click.BadParameter as error:
        raise ConfigError(f"{config}: {key}: {error.message}") from error


def _read(config: Path) -> dict[str, Any]:
    try:
        return toml.read(config)
    except OSError as error:
        raise ConfigError(f"{config} cannot be read: {error.strerror}; check the path") from error
    except ValueError as error:
        raise ConfigError(f"{config} {error}") from error
