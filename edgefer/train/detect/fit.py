"""The training loop of a detector: views, steps, an averaged copy of the weights, looks at the validation scenes.

The state is on disk after every look, so a killed run goes on from there to the same result (on one machine, as far as
its arithmetic repeats itself).
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.average_precision import DRAWS, Detection, measure
from edgefer.average_precision import Picture as Judged
from edgefer.errors import TrainError
from edgefer.grid import Found, decode
from edgefer.letterbox import Letterbox
from edgefer.train import state
from edgefer.train.backend import load_keras
from edgefer.train.detect import network
from edgefer.train.detect.loss import loss_of
from edgefer.train.detect.pictures import Picture
from edgefer.train.detect.recipe import DetectRecipe
from edgefer.train.detect.views import Viewer
from edgefer.train.optimizer import make_optimizer
from edgefer.train.state import Arrays
from edgefer.train.weights import copies, refresh

HEIGHT, WIDTH = 240, 320
"""Of the pictures that the network is judged on while it is trained."""
LEAST_FACE = 24.0
"""Pixels at that size: of smaller faces the average precision says nothing."""
LEAST_SCORE = 0.02
"""Of the finds that an average precision counts."""
REFRESH = 12
"""Batches that batch normalisation of averaged weights is measured on."""
AHEAD = 4
"""Batches of views that are made before they are asked for."""


@dataclass(frozen=True)
class LookReport:
    """What one look at the validation scenes gave; the history is a list of these."""

    step: int
    """Steps done."""
    loss: float
    """Mean since the look before."""
    average_precision: float
    """Of the averaged weights, faces of `LEAST_FACE` pixels and more at 320×240."""
    learning_rate: float
    seconds: float
    """Since the start, without what a stop took."""


@dataclass(frozen=True)
class DetectFit:
    """A finished run."""

    model: Any
    """keras.Model for 320×240 with the best weights."""
    history: tuple[LookReport, ...]
    backend: str
    seconds: float

    @property
    def best(self) -> LookReport:
        """The look whose weights were kept: the last one of the best."""
        return max(self.history, key=lambda report: (report.average_precision, report.step))


StepProgress = Callable[[int, int, float], None]
"""Called as `on_step(step, steps, loss)`."""
LookProgress = Callable[[LookReport, bool], None]
"""Called with each report, and whether it is the best so far."""


def fit(
    train: Sequence[Picture],
    validation: Sequence[Picture],
    recipe: DetectRecipe,
    kept: Path,
    *,
    resume: bool = False,
    on_step: StepProgress | None = None,
    on_look: LookProgress | None = None,
) -> DetectFit:
    """Train the recipe's network; the weights that did best on `validation` are the result.

    `kept` is the file that the run is kept in, and gone on from with `resume`. Raises TrainError when that is there
    without `resume` or is of another run, or when the loss is no number any more.
    """
    if kept.exists() and not resume:
        raise TrainError(f"{kept} holds an unfinished run; go on with --resume, or remove it")
    keras = load_keras()
    keras.utils.set_random_seed(recipe.seed)
    net = network.build(keras, recipe.arch, recipe.views.height, recipe.views.width)
    large = network.build(keras, recipe.arch, 2 * recipe.views.height, 2 * recipe.views.width, of=net)
    whole = network.build(keras, recipe.arch, HEIGHT, WIDTH)
    optimizer = make_optimizer(
        keras,
        steps=recipe.steps,
        warmup_steps=recipe.warmup_steps,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        gradient_clip=recipe.gradient_clip,
        ema=recipe.ema,
    )
    optimizer.build(net.trainable_variables)
    for model in (net, large):
        model.compile(optimizer, loss_of(keras), jit_compile=keras.backend.backend() == "jax")
    variables = [*net.variables, *optimizer.variables]
    run = fingerprint(train, validation, recipe)
    history, best, before = list[LookReport](), copies(net), 0.0
    if resume:
        best, history = state.read(kept, run, variables, lambda meta: [LookReport(**r) for r in meta["history"]])
        before = history[-1].seconds
    viewer = Viewer(train, recipe.views, recipe.teacher_scores)
    start, losses = time.perf_counter(), list[float]()
    for step, (pixels, targets) in _batches(viewer, recipe, history[-1].step if history else 0):
        model = net if pixels.shape[1] == recipe.views.height else large
        model.reset_metrics()
        losses.append(float(model.train_on_batch(_unit(pixels), targets)))
        if not math.isfinite(losses[-1]):
            raise TrainError(f"the loss is {losses[-1]} at step {step}; take a lower learning_rate")
        if on_step:
            on_step(step, recipe.steps, losses[-1])
        if step % recipe.check_every and step < recipe.steps:
            continue
        averaged = _averaged(net, optimizer, recipe, viewer)
        whole.set_weights(averaged)
        reached = judge(whole, validation, draws=0).average_precision
        rate, seconds = float(np.asarray(optimizer.learning_rate)), before + time.perf_counter() - start
        report = LookReport(step, float(np.mean(losses)), reached, rate, seconds)
        better = all(reached >= r.average_precision for r in history)
        best, losses = averaged if better else best, []
        history.append(report)
        state.write(kept, run, variables, best, {"history": [asdict(r) for r in history]})
        if on_look:
            on_look(report, better)
    whole.set_weights(best)
    return DetectFit(whole, tuple(history), keras.backend.backend(), history[-1].seconds)


def _batches(viewer: Viewer, recipe: DetectRecipe, done: int) -> Iterator[tuple[int, tuple[Any, Any]]]:
    """Yield (step from 1, views with targets) for what is left of a run, made ahead in a thread."""
    every = recipe.views.large_every

    def make(step: int) -> tuple[Any, Any]:
        large = every > 0 and step % every == 0
        return viewer.batch([recipe.seed, step], max(1, recipe.batch // 4) if large else recipe.batch, large)

    with ThreadPoolExecutor(1) as pool:
        waiting: deque[tuple[int, Future[tuple[Any, Any]]]] = deque()
        try:
            for step in range(done + 1, recipe.steps + 1):
                waiting.append((step, pool.submit(make, step)))
                if len(waiting) > AHEAD:
                    number, views = waiting.popleft()
                    yield number, views.result()
            for number, views in waiting:
                yield number, views.result()
        finally:
            for _, views in waiting:
                views.cancel()


def _averaged(net: Any, optimizer: Any, recipe: DetectRecipe, viewer: Viewer) -> Arrays:
    """Return the averaged weights of `net`, which keeps its own, with batch normalisation measured anew for them."""
    raw = copies(net)
    if optimizer.use_ema:
        optimizer.finalize_variable_values(net.trainable_variables)
        views = (viewer.batch([recipe.seed, 0, k], recipe.batch, False)[0] for k in range(1, REFRESH + 1))
        refresh(net, map(_unit, views))
    averaged = copies(net)
    net.set_weights(raw)
    return averaged


def _unit(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return pixels.astype(np.float32) / np.float32(255)


def fingerprint(train: Sequence[Picture], validation: Sequence[Picture], recipe: DetectRecipe) -> str:
    """Return a digest of all that decides a run, so that a state is not continued by another one."""
    arrays = list[npt.NDArray[Any]]()
    everything = (*train, *validation)
    for picture in everything:
        known = picture.labels
        arrays += [picture.levels[0], known.boxes, known.landmarks, known.scores, known.ignore]
    shapes = [picture.levels[0].shape for picture in everything]
    return state.fingerprint([recipe.as_dict(), len(train), shapes], arrays)


def find(
    model: Any, pictures: Sequence[Picture], min_score: float = LEAST_SCORE, least_side: float = 0.0
) -> Iterator[Found]:
    """Yield what a keras.Model of a fixed size finds in each picture, in the picture's pixels.

    `min_score` and `least_side` are those of `edgefer.grid.decode`.
    """
    height, width = model.input_shape[1:3]
    letterbox = Letterbox(height, width)
    for i in range(0, len(pictures), 16):
        placed = [letterbox(picture.levels[0]) for picture in pictures[i : i + 16]]
        inputs = _unit(np.stack([pixels for pixels, _ in placed]))
        for grid, (_, where) in zip(np.asarray(model.predict_on_batch(inputs)), placed, strict=True):
            found = decode(grid, min_score, least_side=least_side)
            yield Found(where.boxes(found.boxes), found.scores, where.points(found.landmarks))


def judge(model: Any, pictures: Sequence[Picture], threshold: float = 0.5, draws: int = DRAWS) -> Detection:
    """Return how well a network finds the faces of pictures, of `LEAST_FACE` pixels and more at its size.

    `threshold` and `draws` are those of `average_precision.measure`.
    """
    height, width = model.input_shape[1:3]
    found = [judged(picture, each) for picture, each in zip(pictures, find(model, pictures), strict=True)]
    scales = [min(height / high, width / wide) for high, wide in (picture.levels[0].shape for picture in pictures)]
    return measure(found, min_size=LEAST_FACE, scales=scales, threshold=threshold, draws=draws)


def judged(picture: Picture, found: Found) -> Judged:
    """Return what was found in a picture beside what is there."""
    return Judged(found.boxes, found.scores, picture.labels.boxes, picture.labels.ignore)
