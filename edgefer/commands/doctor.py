"""`edgefer doctor`: what this machine has and lacks for a run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgefer.commands._shared import bundle_argument, device_option, json_flag, print_json, profile_for

if TYPE_CHECKING:
    from edgefer.doctor import Check

WORDS = {"ok": "ok", "info": "for information", "warn": "to look at", "fail": "at fault"}


@click.command()
@bundle_argument
@device_option
@json_flag
def command(bundle: Path | None, device: str | None, as_json: bool) -> None:
    """Look at Python, packages, engines, cameras, heat, power and disk, and say what to do.

    Every installed engine is really loaded and asked about a face. Exit code 1: something is at fault.

    \b
    Examples:
      edgefer doctor
      edgefer doctor mine.edgefer --json
    """
    from edgefer import doctor

    checks = doctor.examine(doctor.Patient(profile_for(device), bundle))
    if as_json:
        print_json(doctor.as_json(checks))
    else:
        _show(checks)
    if not doctor.well(checks):
        raise click.exceptions.Exit(1)


def _show(checks: list[Check]) -> None:
    width = max(len(check.name) for check in checks)
    for check in checks:
        click.echo(f"{check.status:<4}  {check.name:<{width}}  {check.found}")
        if check.advice and check.status != "ok":
            click.echo(f"{'':<4}  {'':<{width}}  → {check.advice}")
    counts = Counter(check.status for check in checks)
    click.echo(f"\n{len(checks)} checks: {', '.join(f'{counts[s]} {WORDS[s]}' for s in WORDS if counts[s])}")
