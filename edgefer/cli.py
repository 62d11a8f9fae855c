"""The command line: a command's module is imported when the command runs, so `edgefer --help` is instant."""

from __future__ import annotations

import importlib
import keyword
import os
import sys
import traceback
from collections.abc import Sequence

import click

from edgefer import __version__
from edgefer.errors import EdgeferError

COMMANDS = {
    "demo": "See the whole line work on drawn faces, in under three minutes.",
    "data": "Look at labelled faces before training: counts, copies, contradictions.",
    "train": "Train a model on labelled faces and write a bundle.",
    "export": "Turn a trained bundle into TFLite, ONNX and OpenVINO, float and int8, and prove it.",
    "optimize": "Try precisions, pruning and engines for a device, and recommend one artifact.",
    "import": "Make a bundle of a model from outside: ONNX, TFLite or Keras.",
    "evaluate": "Measure the accuracy of a bundle on labelled faces, on any engine.",
    "run": "Read emotions from a camera, a video or pictures.",
    "bench": "Measure latency on this machine and write a record.",
    "report": "Turn benchmark records into a page with tables and plots.",
    "devices": "List the device profiles and which one this machine is.",
    "models": "Fetch the model of a face detector, checked by its hash.",
    "doctor": "Look at this machine: engines, cameras, heat, power, and what to do.",
}
"""Command → what `edgefer --help` says of it; the command itself is `command` in edgefer/commands/NAME.py, or NAME_.py
where Python keeps the name for itself."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names in the order of a first walk through them."""
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import and return one command."""
        if name not in COMMANDS:
            return None
        module = f"{name}_" if keyword.iskeyword(name) else name
        command: click.Command = importlib.import_module(f"edgefer.commands.{module}").command
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgefer")
@click.option(
    "-v", "--verbose", is_flag=True, help="Show the whole traceback of an error, and what native libraries say."
)
def cli(verbose: bool) -> None:
    """edgefer: facial emotions from training data to a camera on a small board.

    \b
    Begin with:
      edgefer demo                       everything once, on drawn faces
      edgefer run --source 0             your camera, with the model that ships
      edgefer run --source party.jpg     a picture

    Emotion inference is biometric processing of people; in the EU it is prohibited at work and in education
    (AI Act, Article 5). Tell the people whom the camera sees.
    """
    if verbose:
        os.environ["EDGEFER_VERBOSE"] = "1"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 it failed, 2 called wrongly, 130 interrupted."""
    try:
        code = cli.main(args=arguments, prog_name="edgefer", standalone_mode=False)
    except click.exceptions.Abort:
        code = _fail("interrupted", 130)
    except KeyboardInterrupt:
        code = _fail("interrupted", 130)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except EdgeferError as error:
        code = _fail(str(error), 1)
    except OSError as error:
        code = _fail(f"{error.filename or 'input/output'}: {error.strerror or error}", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> int:
    if os.environ.get("EDGEFER_VERBOSE") == "1" and code != 130:
        traceback.print_exc()
    click.echo(f"edgefer: {message}", err=True)
    return code
