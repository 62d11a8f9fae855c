"""A command whose options stand in sections in its help; many options in one list help nobody."""

from __future__ import annotations

from typing import Any

import click


class Option(click.Option):
    """An option with the heading that it stands below."""

    def __init__(self, *args: Any, section: str = "Options", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section


class Command(click.Command):
    """Writes a list of options for each section, in the order in which the sections first come."""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections; what has none (`--help`) comes last."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(context):
            record = parameter.get_help_record(context)
            if record is not None and isinstance(parameter, click.Option):  # arguments stand in the usage line
                name = parameter.section if isinstance(parameter, Option) else "Options"
                sections.setdefault(name, []).append(record)
        rest = sections.pop("Options", [])
        for name, records in [*sections.items(), ("Options", rest)]:
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)
