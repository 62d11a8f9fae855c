"""The whole line on drawn faces: draw, train, export, check, run, benchmark, report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgefer import cartoon
from edgefer.bench.accuracy import evaluate
from edgefer.bench.evaluation import Evaluation
from edgefer.bench.record import BenchRecord, write_record
from edgefer.bench.report import write_report
from edgefer.bundle import Bundle
from edgefer.cartoon.clip import FPS, clip
from edgefer.errors import SinkError, TrainError
from edgefer.labels import FER2013_LABELS
from edgefer.optimize.export import ExportResult, export
from edgefer.optimize.plan import Plan
from edgefer.runtime.detectors import open_detector
from edgefer.runtime.engines import installed_engines, load, open_engine
from edgefer.runtime.frames import Frame
from edgefer.runtime.loop import run
from edgefer.runtime.pipeline import Pipeline
from edgefer.runtime.results import FrameResult
from edgefer.runtime.sinks import Sink
from edgefer.runtime.sinks.video import VideoFile
from edgefer.runtime.tally import Summary
from edgefer.runtime.tracker import Tracker
from edgefer.train.data import Dataset
from edgefer.train.fit import EpochProgress, StepProgress
from edgefer.train.make import train_bundle
from edgefer.train.recipe import Augmentation, Recipe

CLIP_FRAMES = 250
RECIPE = Recipe(
    arch="edge-xs",
    epochs=10,
    batch=64,
    learning_rate=4e-3,
    warmup_epochs=1,
    weight_decay=1e-2,
    augmentation=Augmentation(rotation=8, erase=0.0),
)


@dataclass(frozen=True)
class Faces:
    """Three drawn splits that share no face."""

    train: Dataset
    validation: Dataset
    test: Dataset


def draw() -> Faces:
    """Draw the data set: seeded, 48×48, seven emotions."""
    train, validation, test = (
        Dataset(*cartoon.dataset(per_class, seed), FER2013_LABELS) for per_class, seed in ((240, 1), (60, 2), (60, 3))
    )
    return Faces(train, validation, test)


def train(faces: Faces, out: Path, on_step: StepProgress, on_epoch: EpochProgress) -> Bundle:
    """Train the smallest edge network on the drawn faces."""
    trained = train_bundle(faces.train, faces.validation, RECIPE, out, on_step=on_step, on_epoch=on_epoch)
    if trained is None:
        raise TrainError("the demo trains in one process; unset TF_CONFIG")
    return trained[0]


def prove(bundle: Bundle, faces: Faces, progress: Callable[[str], None]) -> ExportResult:
    """Export everything and let the gate judge it."""
    # 420 drawings: one of them is a quarter of a point, so the usual half a point would be decided by two.
    plan = Plan(max_drop=1.5, methods=("converter",))
    return export(bundle, faces.train, faces.validation, plan, listener=lambda m: progress(m.get("say", "")))


def accuracies(bundle: Bundle, faces: Faces) -> list[Evaluation]:
    """Measure every artifact in every installed engine on faces that nothing was chosen by."""
    results = []
    for name in installed_engines():
        for artifact in (a for a in bundle.artifacts if a.format == load(name).FORMAT):
            loaded = open_engine(bundle, name, artifact.precision)
            results.append(evaluate(bundle, faces.test, loaded, split="test"))
            loaded.engine.close()
    return results


@dataclass(frozen=True)
class ClipResult:
    """How the run over the drawn clip went."""

    summary: Summary
    drawn: int
    """Faces that were drawn, over all frames."""
    right: int
    """Faces found that were given an emotion drawn in that frame, each drawn face counted once."""


def play(bundle: Bundle, video: Path, on_frame: Callable[[int, int], None]) -> ClipResult:
    """Run the pipeline over a drawn clip as over a camera, write the annotated video, count what was right."""
    loaded = open_engine(bundle, "litert", "int8")
    pipeline = Pipeline(loaded.engine, bundle.labels, bundle.preprocess, open_detector(continuous=True), Tracker())
    source = _Clip(CLIP_FRAMES)
    counter = _Counter(source, on_frame)
    try:
        summary = run(source, pipeline, [VideoFile(video, FPS), counter])
    finally:
        loaded.engine.close()
    for name, reason in summary.sink_failures.items():
        raise SinkError(f"{name}: {reason}")
    return ClipResult(summary, source.drawn, counter.right)


class _Clip:
    """A frame source that remembers what was drawn in each frame: it is read ahead of what is counted."""

    live = False
    skipped = 0
    fps: float | None = FPS

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self.drawn = 0
        self.emotions: list[tuple[str, ...]] = []

    def __enter__(self) -> _Clip:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Iterator[Frame]:
        for index, (image, emotions) in enumerate(clip(self.frames, seed=11)):
            self.drawn += len(emotions)
            self.emotions.append(tuple(emotions))
            yield Frame(index, index / FPS, image)


class _Counter(Sink):
    """A sink that counts faces named as they were drawn; in the main thread, where progress is shown."""

    name = "counter"
    main_thread = True

    def __init__(self, source: _Clip, on_frame: Callable[[int, int], None]) -> None:
        self.right = 0
        self._clip = source
        self._on_frame = on_frame

    def write(self, frame: Frame, result: FrameResult) -> None:
        drawn, said = Counter(self._clip.emotions[frame.index]), Counter(face.label for face in result.faces)
        self.right += (drawn & said).total()
        self._on_frame(frame.index + 1, self._clip.frames)

    def close(self) -> None:
        pass


def write_results(folder: Path, record: BenchRecord, evaluations: Sequence[Evaluation]) -> Path:
    """Write record.json and report.html into `folder`; return the report's path."""
    write_record(record, folder / "record.json")
    write_report([record], folder / "report.html", evaluations)
    return folder / "report.html"
