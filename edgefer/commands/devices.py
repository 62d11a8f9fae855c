"""`edgefer devices`: the profiles, and which one this machine is."""

from __future__ import annotations

from dataclasses import asdict

import click

from edgefer.commands._shared import json_flag, print_json


@click.command()
@json_flag
def command(as_json: bool) -> None:
    """List the device profiles and which one this machine is (marked with *).

    \b
    Example:
      edgefer devices
    """
    from edgefer.devices.profile import describe_all
    from edgefer.runtime.engines import installed_engines

    profiles = describe_all()
    installed = installed_engines()
    if as_json:
        print_json([asdict(p) | {"detected": here} for p, here in profiles])
        return
    click.echo(f"  {'name':<18} {'threads':>7}  {'engines in order of preference':<52} device")
    for profile, here in profiles:
        engines = ", ".join(profile.engines)
        click.echo(f"{'*' if here else ' '} {profile.name:<18} {profile.threads:>7}  {engines:<52} {profile.title}")
    click.echo(f"\ninstalled engines: {', '.join(installed)}")
