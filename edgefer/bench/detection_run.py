"""Runs detectors over labelled scenes and clips, side by side: what they find, and what a frame costs."""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from statistics import fmean, median

import cv2
import numpy as np

from edgefer.average_precision import SIZES, Detection, Picture, compare, measure
from edgefer.bench import noise
from edgefer.bench.detection import LARGE, Against, Clip, DetectionRecord, OnClip, Row, Speed
from edgefer.bench.detection_finders import Finder, Finds, Wanted, fitted, open_finders, scaled
from edgefer.bench.environment import advice, snapshot, validity
from edgefer.bench.latency import Progress
from edgefer.bench.rows import identity
from edgefer.bench.session import Bar
from edgefer.bench.subjects import evenly
from edgefer.devices.description import DeviceProfile
from edgefer.errors import DataError
from edgefer.preprocess import Pixels, read_picture
from edgefer.runtime.frames import FaceDetector
from edgefer.runtime.sources import open_source
from edgefer.train.scenes import Scene

ROUNDS = 5
FRAMES = 24
"""In each round, drawn evenly from the clips, or else from the scenes."""
FRAME_SIDE = 640
"""The longer side that these are brought to, as a camera would give them."""
MAX_FRAMES = 1000
"""Of a clip."""


@dataclass
class _Seen:
    """What one finder found so far."""

    ranked: list[Picture] = field(default_factory=list)
    sure: list[Picture] = field(default_factory=list)


def take(
    wanted: Wanted,
    scenes: tuple[str, Sequence[Scene]],
    clips: Sequence[str],
    here: DeviceProfile,
    command: str,
    bar: Bar,
    rounds: int = ROUNDS,
) -> DetectionRecord:
    """Run the detectors and return the record; `scenes` is a split's name and its scenes, `here` is this machine.

    Raises DataError when no picture can be read, SourceError for a clip, and what a detector that cannot be opened
    raises.
    """
    sources = [_frames(clip) for clip in clips]
    before = snapshot(here)
    finders = open_finders(wanted)
    with _one_thread():
        with bar("Finding faces") as progress:
            found, scales, skipped, digest = _on_scenes(finders, scenes[1], progress)
        sample = [scaled(frame, FRAME_SIDE) for frame in _sample(sources or [_pictures(scenes[1])])]
        if not sample:
            raise DataError(
                "there is no picture to time the detectors on: the scenes that were drawn for it are unreadable"
            )
        begun = noise.begin()
        with bar("Timing") as progress:
            speeds = _timed([finder.runtime for finder in finders], sample, rounds, progress)
        busy = noise.busy(noise.end(begun))
        seen_clips = []
        for clip, source in zip(clips, sources, strict=True):
            with bar(Path(clip).name) as progress:
                seen_clips.append(_on_clip(Path(clip).name, source, finders, progress))
    after = snapshot(here)
    rows = tuple(_row(*parts, scales) for parts in zip(finders, found, speeds, strict=True))
    return DetectionRecord(
        command=command,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        device=here.name,
        environment={"before": before, "after": after},
        bundle=None if wanted.bundle is None else identity(wanted.bundle),
        split=scenes[0],
        data=digest,
        pictures=len(scales),
        skipped=skipped,
        frame_side=FRAME_SIDE,
        rows=rows,
        against=tuple(_against(finders, found, speeds, scales)),
        clips=tuple(seen_clips),
        invalid_reasons=tuple(validity(before, after)),
        noisy_reasons=tuple(busy),
        notes=tuple(advice(before, here)),
    )


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Let OpenCV use one core, as edgefer's own detector does."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _on_scenes(
    finders: Sequence[Finder], scenes: Sequence[Scene], progress: Progress
) -> tuple[list[_Seen], list[float], int, str]:
    """Return what each finder found, 1 / longer side of each picture, how many were skipped, and what they were."""
    found = [_Seen() for _ in finders]
    scales = []
    digest = hashlib.sha256()
    for i, scene in enumerate(scenes, start=1):
        image = read_picture(scene.path)
        if image is not None:
            scales.append(1 / max(image.shape[:2]))
            for values in (np.array(image.shape, "<i8"), image, scene.boxes, scene.ignore):
                digest.update(np.ascontiguousarray(values).tobytes())
            for finder, seen in zip(finders, found, strict=True):
                every, sure = finder.find(image)
                seen.ranked.append(_picture(every, scene))
                seen.sure.append(_picture(sure, scene))
        progress(i, len(scenes))
    if not scales:
        raise DataError(f"none of {len(scenes):,} pictures can be read, such as {scenes[0].path}")
    return found, scales, len(scenes) - len(scales), digest.hexdigest()


def _picture(finds: Finds, scene: Scene) -> Picture:
    return Picture(*finds, scene.boxes, scene.ignore)


def _row(finder: Finder, seen: _Seen, speed: Speed, scales: Sequence[float]) -> Row:
    at_size = [finder.size * scale for scale in scales]
    fit = None
    if finder.fit is not None:
        better = [replace(p, boxes=fitted(np.asarray(p.boxes, np.float32), finder.fit)) for p in seen.ranked]
        large = measure(better, min_size=LARGE, scales=at_size, sizes=())
        fit = (large.average_precision, large.ci95)
    return Row(
        detector=finder.name,
        size=finder.size,
        model=finder.model,
        ranked_by=finder.ranked_by,
        every=_figures(finder, seen, at_size, 0),
        large=_figures(finder, seen, at_size, LARGE, sizes=()),
        fitted=fit,
        ms=speed,
    )


def _figures(
    finder: Finder,
    seen: _Seen,
    scales: Sequence[float],
    least: float,
    sizes: Sequence[tuple[float, float]] = SIZES,
) -> Detection:
    """Return the figures: the curve's of all finds, those at the threshold of what counts as a face by default."""
    curve = measure(seen.ranked, min_size=least, scales=scales, sizes=sizes)
    default = measure(seen.sure, min_size=least, scales=scales, threshold=-math.inf, draws=0, sizes=sizes)
    return replace(
        default,
        threshold=finder.threshold,
        average_precision=curve.average_precision,
        ci95=curve.ci95,
        recall_at_few=curve.recall_at_few,
        by_size=tuple(replace(a, recall=b.recall) for a, b in zip(curve.by_size, default.by_size, strict=True)),
    )


def _against(
    finders: Sequence[Finder], found: Sequence[_Seen], speeds: Sequence[Speed], scales: Sequence[float]
) -> Iterator[Against]:
    """Yield the first detector beside each other at the same size."""
    rows = list(zip(finders, found, speeds, strict=True))
    for first, seen, speed in rows:
        if first.name != finders[0].name:
            continue
        for other, others, its_speed in rows:
            if other.name == first.name or other.size != first.size:
                continue
            ratios = [a / b for a, b in zip(speed.rounds, its_speed.rounds, strict=True)]
            at_size = [first.size * scale for scale in scales]
            accuracy = None
            if measure(others.ranked, min_size=LARGE, scales=at_size, draws=0, sizes=()).average_precision > 0:
                accuracy = compare(seen.ranked, others.ranked, min_size=LARGE, scales=at_size)
            low, high = min(ratios), max(ratios)
            yield Against(first.name, other.name, first.size, accuracy, median(ratios), (low, high))


def _timed(detectors: Sequence[FaceDetector], frames: Sequence[Pixels], rounds: int, progress: Progress) -> list[Speed]:
    """Time each detector on the frames, taking turns, each time after a frame that does not count."""
    times: list[list[list[float]]] = [[] for _ in detectors]
    total = rounds * len(detectors)
    for number in range(rounds):
        for i in range(len(detectors)):
            which = (i + number) % len(detectors)  # so that none comes always after the same one
            detectors[which].detect(frames[0])
            times[which].append([_ms(detectors[which], frame)[1] for frame in frames])
            progress(number * len(detectors) + i + 1, total)
    return [Speed(median(ms for one in each for ms in one), tuple(map(median, each))) for each in times]


def _ms(detector: FaceDetector, frame: Pixels) -> tuple[int, float]:
    """Return how many faces were found, and the milliseconds that it took."""
    start = time.perf_counter()
    faces = detector.detect(frame)
    return len(faces), (time.perf_counter() - start) * 1000


Frames = Callable[[], Iterator[Pixels]]


def _frames(clip: str) -> Frames:
    """Return what yields the pictures of a clip; raises SourceError when it cannot be opened."""
    with open_source(clip):
        pass

    def frames() -> Iterator[Pixels]:
        with open_source(clip) as source:
            yield from (frame.image for frame in islice(source, MAX_FRAMES))

    return frames


def _pictures(scenes: Sequence[Scene]) -> Frames:
    def frames() -> Iterator[Pixels]:
        for i in evenly(len(scenes), FRAMES):
            image = read_picture(scenes[i].path)
            if image is not None:
                yield image

    return frames


def _sample(sources: Sequence[Frames]) -> list[Pixels]:
    """Return some frames, evenly from all."""
    chosen = set(evenly(sum(1 for frames in sources for _ in frames()), FRAMES))
    every = (frame for frames in sources for frame in frames())
    return [frame for i, frame in enumerate(every) if i in chosen]


def _on_clip(name: str, frames: Frames, finders: Sequence[Finder], progress: Progress) -> Clip:
    """Give every frame to every detector in turn, also to those that remember, as they are in a video."""
    detectors: list[tuple[Finder, bool, FaceDetector]] = [(finder, False, finder.runtime) for finder in finders]
    detectors += [(finder, True, moving) for finder in finders if (moving := finder.in_video()) is not None]
    counts: list[list[int]] = [[] for _ in detectors]
    times: list[list[float]] = [[] for _ in detectors]
    total = sum(1 for _ in frames())
    for done, frame in enumerate(frames(), start=1):
        for i, (_, _, detector) in enumerate(detectors):
            faces, ms = _ms(detector, frame)
            counts[i].append(faces)
            times[i].append(ms)
        progress(done, total)
    rows = tuple(
        OnClip(finder.name, finder.size, continuous, sum(map(bool, seen)), sum(seen), median(ms), fmean(ms))
        for (finder, continuous, _), seen, ms in zip(detectors, counts, times, strict=True)
    )
    return Clip(name, total, rows)
