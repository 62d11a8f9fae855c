"""From scenes and recipe to a detector bundle: read, fit, choose the threshold, measure, write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from edgefer import __version__, plugins
from edgefer.bundle import DetectorBundle, write_bundle
from edgefer.errors import TrainError
from edgefer.train.backend import load_keras
from edgefer.train.detect import fit as fitting
from edgefer.train.detect.fit import LEAST_FACE, DetectFit, LookProgress, StepProgress, judge
from edgefer.train.detect.pictures import Picture as Scene
from edgefer.train.detect.recipe import DetectRecipe
from edgefer.train.detect.threshold import USUAL, choose_threshold
from edgefer.train.unfinished import unfinished
from edgefer.train.written import files_of


def train_detector(
    train: Sequence[Scene],
    validation: Sequence[Scene],
    recipe: DetectRecipe,
    out: Path,
    *,
    resume: bool = False,
    on_step: StepProgress | None = None,
    on_look: LookProgress | None = None,
    on_threshold: Callable[[int, int], None] | None = None,
) -> tuple[DetectorBundle, DetectFit]:
    """Train `recipe` and write the bundle `out`; return it with how the run went.

    The run's state is kept beside `out` until the bundle is there. Raises TrainError or BundleError; what was trained
    so far then stays for `resume`. `on_threshold(done, total)` is called while the threshold is chosen.
    """
    if not any(len(scene.labels.boxes) for scene in train):
        raise TrainError(f"none of the {len(train)} training scenes has a face; there is nothing to learn")
    if not any(len(scene.labels.boxes) for scene in validation):
        raise TrainError(f"none of the {len(validation)} validation scenes has a face; nothing can be chosen by them")
    with unfinished(out, resume) as kept:
        result = fitting.fit(train, validation, recipe, kept, resume=resume, on_step=on_step, on_look=on_look)
        threshold = USUAL
        if without := [scene for scene in train if not len(scene.labels.boxes)]:
            wanted = recipe.arch, result.model, without, recipe.false_rate
            threshold = choose_threshold(load_keras(), *wanted, on_threshold)
        bundle = _write(result, threshold, train, validation, recipe, out)
        kept.unlink()
    return bundle, result


def _write(
    result: DetectFit,
    threshold: float,
    train: Sequence[Scene],
    validation: Sequence[Scene],
    recipe: DetectRecipe,
    out: Path,
) -> DetectorBundle:
    artifact, files = files_of(recipe.arch, result)
    figures = judge(result.model, validation, threshold).as_dict() | {
        "split": "validation",
        "engine": f"keras on {result.backend}",
        "size": [fitting.HEIGHT, fitting.WIDTH],
        "least_face": LEAST_FACE,
        "best_step": result.best.step,
        "train_seconds": round(result.seconds, 1),
        "train_pictures": len(train),
        "train_faces": sum(len(scene.labels.boxes) for scene in train),
        "threshold_scenes": sum(not len(scene.labels.boxes) for scene in train),
        "parameters": int(result.model.count_params()),
    }
    bundle = DetectorBundle(
        path=out,
        architecture=recipe.arch,
        threshold=threshold,
        artifacts=(artifact,),
        metrics={artifact.path: figures},
        recipe=recipe.as_dict(),
        versions={"edgefer": __version__, **plugins.versions(("keras", "numpy", result.backend))},
    )
    return write_bundle(bundle, files)
