"""`edgefer models`: the model files that edgefer can use and does not bring."""

from __future__ import annotations

import click

from edgefer.commands._shared import bar, json_flag, print_json, print_table, say
from edgefer.errors import DetectorError


@click.group()
def command() -> None:
    """Fetch the model of a face detector, checked by its hash.

    Only --detector yunet needs one: the others, edge among them, have all that they need.

    They are kept in ~/.cache/edgefer/models, or in $EDGEFER_CACHE_DIR/models. $EDGEFER_MODELS_URL names a mirror
    (https) that has the files.

    \b
    Examples:
      edgefer models list
      edgefer models pull yunet && edgefer run --source 0 --detector yunet
    """


@command.command("list")
@json_flag
def list_models(as_json: bool) -> None:
    """List the known models and whether they are here."""
    from edgefer.runtime import models

    rows = [(model, _state(model.name)) for model in models.KNOWN]
    if as_json:
        fields = ("name", "purpose", "file", "bytes", "sha256", "licence", "urls")
        print_json(
            [
                {field: getattr(model, field) for field in fields}
                | {"state": state, "path": str(models.path(model)) if state == "here" else None}
                for model, state in rows
            ]
        )
        return
    print_table(
        ["name", "state", "bytes", "licence", "purpose"],
        [[model.name, state, f"{model.bytes:,}", model.licence, model.purpose] for model, state in rows],
    )


@command.command("pull")
@click.argument("name")
def pull_model(name: str) -> None:
    """Fetch a model, unless it is here; an interrupted download goes on where it stopped.

    \b
    Example:
      edgefer models pull yunet
    """
    from edgefer.runtime import fetch, models

    model = models.find(name)
    with bar(f"{model.name} ({model.licence})") as progress:
        path = fetch.pull(model, progress, say)
    click.echo(path)


@command.command("path")
@click.argument("name")
def model_path(name: str) -> None:
    """Print where a model lies; exit code 1 when it is not here.

    \b
    Example:
      edgefer models path yunet
    """
    from edgefer.runtime import models

    model = models.find(name)
    if models.read(model) is None:
        raise DetectorError(f"{name} is not here: edgefer models pull {name}")
    click.echo(models.path(model))


def _state(name: str) -> str:
    """Return `here`, `missing` or `wrong` (there is a file, and it is another)."""
    from edgefer import places
    from edgefer.runtime import models

    if places.cache() is None:
        return "missing"
    try:
        return "missing" if models.read(models.find(name)) is None else "here"
    except DetectorError:
        return "wrong"
