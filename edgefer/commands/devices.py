"""`edgefer devices`: the profiles, and which one this machine is."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from edgefer.commands._shared import json_flag, print_json, print_table, say

if TYPE_CHECKING:
    from edgefer.devices.profile import DeviceProfile, Listed


@click.command()
@click.argument("name", required=False)
@json_flag
def command(name: str | None, as_json: bool) -> None:
    """List the device profiles and which one this machine is (marked with *); with NAME, all of one profile.

    NAME may be an alias or a family too. Your own profiles are in ~/.config/edgefer/devices; see docs/devices.md.

    \b
    Examples:
      edgefer devices
      edgefer devices rpi5
      edgefer devices jetson --json
    """
    from edgefer.devices.profile import choose_profile, describe_all

    listed = describe_all()
    if name is not None:
        profile = choose_profile(name).profile
        entry = next(entry for entry in listed if entry.name == profile.name)
        if as_json:
            print_json(_as_json(entry))
        else:
            _show(profile, entry)
    elif as_json:
        print_json([_as_json(entry) for entry in listed])
    else:
        _list(listed)


def _as_json(entry: Listed) -> dict[str, Any]:
    values = asdict(entry.profile) if entry.profile else {"name": entry.name}
    return values | {
        "detected": entry.here,
        "file": str(entry.file) if entry.file else None,
        "fault": entry.fault or None,
    }


def _list(listed: list[Listed]) -> None:
    from edgefer.runtime.engines import installed_engines

    rows = []
    for entry in listed:
        p = entry.profile
        if p is None:
            continue
        providers = ", ".join(name.removesuffix("ExecutionProvider") for name in p.providers)
        cells = [p.family or "–", ", ".join(p.engines), providers, str(p.threads), " ".join(p.cameras)]
        yours = f"{p.title} (yours)" if entry.file else p.title
        rows.append([f"{'*' if entry.here else ' '} {p.name}", *cells, yours])
    print_table(["  name", "family", "engines", "providers", "threads", "cameras", "device"], rows)
    click.echo(f"\ninstalled engines: {', '.join(installed_engines())}")
    for entry in listed:
        if entry.fault:
            say(f"broken: {entry.fault}")


def _show(profile: DeviceProfile, entry: Listed) -> None:
    click.echo(f"{profile.name}{' (this machine)' if entry.here else ''}: {profile.title}")
    values = {key: value for key, value in asdict(profile).items() if key not in ("name", "title")}
    values["file"] = str(entry.file) if entry.file else "of edgefer"
    width = max(map(len, values))
    for key, value in values.items():
        lines = ([str(v) for v in value] or ["–"]) if isinstance(value, tuple) else [_word(value)]
        for i, line in enumerate(lines):
            click.echo(f"  {key if i == 0 else '':<{width}}  {line}")


def _word(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value) or "–"
