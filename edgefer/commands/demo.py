"""`edgefer demo`: the whole line, once, on drawn faces."""

from __future__ import annotations

import time
from itertools import count
from pathlib import Path

import click

from edgefer.commands._shared import bar, say, step


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for what it makes [default: ./edgefer-demo, or the next free number]",
)
def command(out: Path | None) -> None:
    """See the whole line work, in under three minutes.

    Draws faces, trains on them, exports int8, proves it, runs it on a clip, measures every installed engine, writes a
    report and an annotated video. Needs everything: pip install 'edgefer[all]'.

    \b
    Example:
      edgefer demo
    """
    from edgefer import plugins
    from edgefer.train.backend import load_keras

    start = time.monotonic()
    for module in ("tensorflow", "tf2onnx", "onnxruntime", "openvino", "matplotlib"):
        if not plugins.installed(module):
            plugins.require(module, "all", "the demo")
    with step("Loading TensorFlow"):
        load_keras()

    from edgefer import demo
    from edgefer.bench.latency import QUICK
    from edgefer.bench.session import Wanted
    from edgefer.commands._epochs import Epochs
    from edgefer.commands._measure import session

    folder = out or _free_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with step("Drawing faces of seven emotions"):
        faces = demo.draw()
    say(f"Training {demo.RECIPE.arch} on {len(faces.train):,} of them")
    show = Epochs(demo.RECIPE.epochs)
    bundle = demo.train(faces, folder / "demo.edgefer", show.step, show.epoch)
    with step("Exporting to TFLite, ONNX and OpenVINO, float and int8, and proving each"):
        result = demo.prove(bundle, faces, lambda line: say(f"  {line}"))
    bundle = result.bundle
    with bar("Running on a drawn clip") as progress:
        clip = demo.play(bundle, folder / "annotated.mp4", progress)
    record = session(bundle, None, Wanted(QUICK), "edgefer demo")
    evaluations = demo.accuracies(bundle, faces)
    page = demo.write_results(folder, record, evaluations)

    click.echo(f"{'artifact':<22} {'engine':<13} {'accuracy on 420 new drawings':>28}")
    for e in evaluations:
        click.echo(f"{e.artifact:<22} {e.engine:<13} {e.accuracy.accuracy:>28.4f}")
    found, right = clip.summary.faces / clip.drawn, clip.right / clip.drawn
    click.echo(f"clip: {clip.summary.frames} frames, {found:.1%} of the faces found, {right:.1%} named as drawn")
    click.echo(f"report:          {page}")
    click.echo(f"annotated video: {folder / 'annotated.mp4'}")
    click.echo(f"bundle:          {bundle.path}")
    click.echo(f"record:          {folder / 'record.json'}")
    say(f"done in {time.monotonic() - start:.0f} s; next, the model that ships, on a camera: edgefer run --source 0")


def _free_folder() -> Path:
    """Return the first of edgefer-demo, edgefer-demo-2, … that is not there: nothing is ever overwritten."""
    names = (Path("edgefer-demo" if n == 1 else f"edgefer-demo-{n}") for n in count(1))
    return next(path for path in names if not path.exists())
