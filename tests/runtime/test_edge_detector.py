"""The detector that ships: what it makes of its network's answers, in which file it looks, and what it refuses."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgefer import bundle as bundles
from edgefer.bundle import Artifact, DetectorBundle, Size, describe, open_detector_bundle, shipped, write_bundle
from edgefer.cartoon.clip import clip
from edgefer.errors import DetectorError, EngineError
from edgefer.grid import CHANNELS, Floats
from edgefer.preprocess import Pixels
from edgefer.runtime import engines
from edgefer.runtime.detectors import edge, open_detector
from edgefer.runtime.detectors._square import HAAR_SIDE
from edgefer.runtime.detectors.edge import Edge, EdgeInVideo, Look
from edgefer.runtime.engines import Answers, Pictures

SIZE = (240, 320)
CELLS = (32, 40)


class Answering:
    """An engine whose model gives one grid, whatever it is shown."""

    provider = version = "0"

    def __init__(self, grid: Floats) -> None:
        self.grid = grid
        self.seen: list[Pictures] = []

    def run(self, pictures: Pictures) -> Answers:
        self.seen.append(engines.checked(pictures))
        return np.repeat(self.grid[None], len(pictures), axis=0)

    def close(self) -> None:
        pass


class Failing(Answering):
    """One that fails after its first answer."""

    def run(self, pictures: Pictures) -> Answers:
        if self.seen:
            raise EngineError("abacus failed while it ran the model: a bead is lost")
        return super().run(pictures)


def grid_of(*faces: tuple[float, float, float, float]) -> Floats:
    """Return the grid that means these boxes (x, y, width, height of the input), eyes and all, later ones surer."""
    grid = np.zeros((*CELLS, CHANNELS), np.float32)
    grid[..., 0] = -9
    for i, (x, y, width, height) in enumerate(faces):
        column, row = (x + width / 2) / 8, (y + height / 2) / 8
        cell = grid[int(row), int(column)]
        cell[0] = 1 + i
        cell[1:3] = (column - int(column) - 0.5) * 2, (row - int(row) - 0.5) * 2
        cell[3:5] = math.log2(width / 8), math.log2(height / 8)
        cell[5:9] = -2, -1, 2, -1  # a quarter of the box left and right of its middle, an eighth above it
    return grid


def black(height: int, width: int) -> Pixels:
    return np.zeros((height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("shape", "scale"),
    [((1080, 1920), 6), ((360, 640), 2), ((960, 720), 4), ((240, 320), 1), ((120, 100), 0.5)],
    ids=["wide", "small and wide", "tall", "as it is", "tiny"],
)
def test_boxes_are_square_about_the_same_middle_in_pixels_of_the_picture(
    shape: tuple[int, int], scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y, width, height = 60, 50, 40, 50
    detector = Edge([Look(Answering(grid_of((x, y, width, height))), SIZE)], 0.5)
    (face,) = detector.detect(black(*shape))
    side = HAAR_SIDE * math.sqrt(width * height) * scale
    assert face.box.x == pytest.approx((x + width / 2) * scale - side / 2, abs=0.51)
    assert face.box.y == pytest.approx((y + height / 2) * scale - side / 2, abs=0.51)
    assert face.box.width == pytest.approx(side, abs=1.01)
    assert face.box.height == pytest.approx(side, abs=1.01)
    assert face.score == pytest.approx(1 / (1 + math.exp(-1)))
    monkeypatch.setattr(edge, "ALIGN_FROM", 0.0)
    (aligned,) = detector.detect(black(*shape))
    assert aligned.box == face.box
    assert aligned.eyes is not None
    np.testing.assert_allclose(np.array(aligned.eyes), np.array([[70, 68.75], [90, 68.75]]) * scale, atol=0.01)
    monkeypatch.setattr(edge, "ALIGN_FROM", math.inf)
    assert detector.detect(black(*shape))[0].eyes is None


HERE, THERE = (60.0, 50.0, 40.0, 50.0), (200.0, 120.0, 40.0, 50.0)
MOVED = (70.0, 56.0, 40.0, 50.0)
"""Overlaps HERE by .49."""


def scored(box: tuple[float, float, float, float], score: float) -> Floats:
    """Return the grid that means one box with this score."""
    grid = grid_of(box)
    grid[..., 0][grid[..., 0] > -9] = math.log(score / (1 - score))
    return grid


def seen_in_video(*grids: Floats, shapes: list[tuple[int, int]] | None = None, threshold: float = 0.8) -> list[int]:
    """Return how many faces are found in frames that the network answers with these grids."""
    engine = Answering(grids[0])
    detector = EdgeInVideo([Look(engine, SIZE)], threshold)
    found = []
    for grid, shape in zip(grids, shapes or [(240, 320)] * len(grids), strict=True):
        engine.grid = grid
        found.append(len(detector.detect(black(*shape))))
    return found


def test_in_a_video_less_is_enough_where_a_face_was() -> None:
    sure, less, least = scored(HERE, 0.81), scored(HERE, 0.46), scored(HERE, 0.42)  # .44 is enough
    assert seen_in_video(less, sure, less, less, least, less) == [0, 1, 1, 1, 0, 0]
    assert seen_in_video(sure, scored(MOVED, 0.6), scored(HERE, 0.6)) == [1, 1, 1]
    assert seen_in_video(sure, scored(THERE, 0.6), less) == [1, 0, 0]
    assert seen_in_video(sure, np.maximum(less, scored(THERE, 0.9)), less) == [1, 2, 1]


def test_in_a_video_of_another_size_nothing_is_remembered() -> None:
    sure, less = scored(HERE, 0.81), scored(HERE, 0.6)
    assert seen_in_video(sure, less, less, shapes=[(240, 320), (480, 640), (480, 640)]) == [1, 0, 0]


def test_in_a_video_it_can_be_told_to_forget() -> None:
    engine = Answering(scored(HERE, 0.81))
    detector = EdgeInVideo([Look(engine, SIZE)], 0.8)
    assert len(detector.detect(black(240, 320))) == 1
    engine.grid = scored(HERE, 0.6)
    detector.forget()
    assert not detector.detect(black(240, 320))


def test_pictures_are_not_remembered() -> None:
    engine = Answering(scored(HERE, 0.81))
    detector = Edge([Look(engine, SIZE)], 0.8)
    assert len(detector.detect(black(240, 320))) == 1
    engine.grid = scored(HERE, 0.6)
    assert not detector.detect(black(240, 320))


def looks(grid: Floats, smaller: Floats) -> tuple[Edge, Answering]:
    """Return a detector that sees `grid` at 320×240 and `smaller` at 160×120, and the engine of the latter."""
    engine = Answering(smaller)
    return Edge([Look(Answering(grid), SIZE), Look(engine, (120, 160))], 0.5), engine


def test_a_face_too_large_for_one_look_is_seen_by_the_next_on_half_the_picture() -> None:
    small = grid_of((20, 10, 80, 100))[:16, :20]
    edge_of_two, engine = looks(grid_of(), small)
    frame = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    (face,) = edge_of_two.detect(frame)
    assert face.box.x + face.box.width / 2 == pytest.approx((20 + 40) * 4, abs=1)
    assert face.box.y + face.box.height / 2 == pytest.approx((10 + 50) * 4, abs=1)
    halves = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), (160, 120), interpolation=cv2.INTER_AREA)
    assert np.abs(engine.seen[-1][0, :, :, 0].astype(int) - halves).mean() < 16  # interpolated, then the mean of four


def test_small_faces_of_the_second_look_do_not_count_and_a_face_in_both_is_one() -> None:
    small = grid_of((10, 10, 20, 20))[:16, :20]  # below 24 pixels there
    assert looks(grid_of(), small)[0].detect(black(*SIZE)) == []
    both, _ = looks(grid_of((40, 40, 80, 80)), grid_of((21, 20, 40, 40))[:16, :20])
    assert len(both.detect(black(*SIZE))) == 1
    apart, _ = looks(grid_of((200, 40, 80, 80)), grid_of((21, 20, 40, 40))[:16, :20])
    assert len(apart.detect(black(*SIZE))) == 2


def test_eyes_come_with_faces_that_are_tilted_enough() -> None:
    def tilted(rise: float) -> Floats:
        grid = grid_of((60, 50, 40, 40))
        cell = grid[8, 10]
        assert cell[0] > 0
        cell[5:9] = -2, -1, 2, -1 + rise
        return grid

    level, steep = (Edge([Look(Answering(tilted(rise)), SIZE)], 0.5).detect(black(*SIZE)) for rise in (0.6, 0.8))
    assert level[0].eyes is None  # 8.5°
    assert steep[0].eyes is not None  # 11.3°


def test_boxes_are_cut_at_the_border_and_left_out_beyond_it() -> None:
    wide = black(180, 320)  # the input's rows from 180 on are not of the picture
    faces = [(-10, -10, 40, 40), (288, 150, 60, 60), (100, 200, 20, 20), (200, 242, 9, 9)]
    found = Edge([Look(Answering(grid_of(*faces)), SIZE)], 0.5).detect(wide)
    assert [(f.box.x, f.box.y, f.box.x + f.box.width, f.box.y + f.box.height) for f in found] == [
        (0, 0, 32, 32),
        (285, 147, 320, 180),
    ]


def test_faces_stand_from_left_to_right_and_each_once() -> None:
    grid = grid_of((200, 40, 30, 30), (20, 90, 30, 30), (120, 10, 30, 30))
    grid[13, 5] = grid[13, 4]  # the middle one's neighbour says the same
    grid[13, 5, 0] = 0.5
    grid[13, 5, 1] -= 2
    found = Edge([Look(Answering(grid), SIZE)], 0.5).detect(black(*SIZE))
    assert [face.box.x for face in found] == [18, 118, 198]
    assert [round(math.log(face.score / (1 - face.score))) for face in found] == [2, 3, 1]


@pytest.mark.parametrize(("threshold", "faces"), [(0.7, 2), (0.8, 1), (0.9, 0), (1.0, 0)])
def test_the_threshold_is_that_of_the_bundle(threshold: float, faces: int) -> None:
    engine = Answering(grid_of((20, 90, 30, 30), (120, 10, 30, 30)))  # logits 1 and 2: scores .73 and .88
    assert len(Edge([Look(engine, SIZE)], threshold).detect(black(*SIZE))) == faces


def test_a_picture_of_one_pixel_may_be_a_face() -> None:
    (face,) = Edge([Look(Answering(grid_of((20, 20, 200, 200))), SIZE)], 0.5).detect(black(1, 1))
    assert (face.box.x, face.box.y, face.box.width, face.box.height) == (0, 0, 1, 1)


def test_the_network_sees_a_grey_picture_in_the_corner_of_its_input() -> None:
    engine = Answering(grid_of())
    detector = Edge([Look(engine, SIZE)], 0.5)
    grey = np.random.default_rng(0).integers(0, 256, (180, 320), np.uint8)
    detector.detect(np.repeat(grey[:, :, None], 3, axis=2))
    (seen,) = engine.seen[-1]
    assert seen.shape == (*SIZE, 1)
    np.testing.assert_array_equal(seen[:180, :, 0], grey)
    assert (seen[180:] == 114).all()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_network_that_gives_no_numbers_finds_nothing(value: float) -> None:
    with np.errstate(all="raise", under="ignore"):
        grid = np.full((*CELLS, CHANNELS), value, np.float32)
        assert Edge([Look(Answering(grid), SIZE)], 0.5).detect(black(*SIZE)) == []
        one_bad = grid_of((20, 90, 30, 30), (120, 10, 30, 30))
        one_bad[3, 16, 4] = value
        assert len(Edge([Look(Answering(one_bad), SIZE)], 0.5).detect(black(*SIZE))) == 1


@settings(max_examples=50)
@given(
    arrays.arrays(np.float32, (2, 3, CHANNELS), elements=st.floats(width=32)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_whatever_a_network_gives_faces_are_inside_the_picture(grid: Floats, shape: tuple[int, int]) -> None:
    with np.errstate(all="raise", under="ignore"):
        for face in Edge([Look(Answering(grid), (16, 24))], 0.1).detect(black(*shape)):
            assert 0 <= face.box.x < face.box.x + face.box.width <= shape[1]
            assert 0 <= face.box.y < face.box.y + face.box.height <= shape[0]
            assert 0 < face.score <= 1


@pytest.mark.parametrize("shape", [(7,), (32, 40, 14), (32, 40, 16), (29, 40, 15), (30, 39, 15), (30, 40)])
def test_a_network_of_another_kind_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DetectorError, match=r"network gives \[.*\] for a picture of 320x240, not 15 numbers") as caught:
        Edge([Look(Answering(np.zeros(shape, np.float32)), SIZE)], 0.5)
    assert "\n" not in str(caught.value)


def test_an_engine_that_fails_is_told_in_one_line() -> None:
    detector = Edge([Look(Failing(grid_of()), SIZE)], 0.5)
    with pytest.raises(DetectorError, match=r"^detector edge: abacus failed .*; choose another with --detector$"):
        detector.detect(black(*SIZE))


def written(folder: Path, *kinds: tuple[str, Size | None]) -> Path:
    """Write a detector's bundle whose files are of these formats and sizes, and hold nothing that runs."""
    contents: dict[str, bytes] = {}
    artifacts = []
    for i, (format, size) in enumerate(kinds):
        contents[f"{i}"] = b"no model, but here"
        precision = "fp32" if format == "keras" else "int8"
        artifacts.append(Artifact(describe(f"{i}", contents[f"{i}"]), format, precision, (), size))
    return write_bundle(DetectorBundle(folder / "x.edgefer", "det-s", tuple(artifacts), 0.5), contents).path


@pytest.fixture
def one(tmp_path: Path) -> Path:
    return written(tmp_path, ("tflite", SIZE))


HINT = "; --detector-model takes the folder of a face detector's bundle"


def test_what_is_no_detector_is_refused_in_one_line(tmp_path: Path, one: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    weights = written(tmp_path / "weights", ("keras", None))
    for model, message in [
        (shipped(), "names expressions .* a detector is needed"),
        (file, "there is no bundle at"),
        (tmp_path / "missing", "there is no bundle at"),
        (tmp_path / "empty", "is not a bundle"),
        (weights, "training weights only; make it runnable: edgefer export"),
        (one, r"(litert|tflite-runtime) cannot load 0"),
    ]:
        with pytest.raises(DetectorError, match=f"^detector edge: .*{message}.*{HINT}$") as caught:
            open_detector("edge", model)
        assert "\n" not in str(caught.value)
    (one / "0").write_bytes(b"no model, but Here")
    with pytest.raises(DetectorError, match=r"^detector edge: .*SHA-256 is .*get the bundle again"):
        open_detector("edge", one)


def test_a_package_without_its_detector_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "shipped_detector", lambda: tmp_path / "det-s.edgefer")
    with pytest.raises(DetectorError, match=r"^detector edge: there is no bundle at .*det-s\.edgefer"):
        open_detector()


def test_a_size_that_the_bundle_lacks_is_refused_with_those_that_it_has(tmp_path: Path) -> None:
    path = written(tmp_path, ("tflite", (240, 320)), ("tflite", (120, 160)), ("onnx", (480, 640)))
    with pytest.raises(DetectorError, match="no network for pictures 640 pixels wide; it has: 160x120, 320x240"):
        open_detector("edge", path, size=640)


@pytest.mark.parametrize(
    ("sizes", "width", "nearest"),
    [
        ([(120, 160), (240, 320), (480, 640)], 640, (480, 640)),
        ([(120, 160), (240, 320), (480, 640)], 320, (240, 320)),
        ([(120, 160), (240, 320)], 640, (240, 320)),
        ([(480, 640), (720, 1280)], 320, (480, 640)),
        ([(192, 192), (192, 320), (240, 320)], 320, (240, 320)),
    ],
)
def test_untold_the_nearest_size_is_taken(sizes: list[Size], width: int, nearest: Size) -> None:
    assert edge.nearest(sizes, width) == nearest


def test_engines_are_taken_in_order_as_far_as_they_are_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, ("onnx", SIZE), ("tflite", SIZE))
    for gone, name in [((), "litert"), (("litert", "tflite-runtime"), "onnxruntime")]:
        for each in gone:
            monkeypatch.setattr(engines.load(each), "MODULE", "no_such_package")
        if engines.is_installed(name):
            with pytest.raises(DetectorError, match=f"{name} cannot load"):
                open_detector("edge", path)
    monkeypatch.setattr(engines.load("onnxruntime"), "MODULE", "no_such_package")
    with pytest.raises(DetectorError, match=r"no engine can run .*litert is not installed \(pip install 'edgefer'\)"):
        open_detector("edge", path)


# From here on with the network that ships.


@pytest.fixture(scope="module")
def drawn() -> Pixels:
    return next(clip(1, seed=0))[0]


@pytest.fixture(params=edge.ENGINES)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every engine that is installed, as the only one."""
    name = str(request.param)
    if not engines.is_installed(name):
        pytest.skip(f"{name} is not installed")
    monkeypatch.setattr(edge, "ENGINES", (name,))
    return name


@pytest.mark.parametrize("size", edge.SIZES)
def test_every_engine_finds_the_same_faces_at_every_size(engine: str, size: int, drawn: Pixels) -> None:
    faces = open_detector("edge", size=size).detect(drawn)
    assert len(faces) == 2
    reference = edge.open_edge(open_detector_bundle(), size, "litert").detect(drawn)
    for face, other in zip(faces, reference, strict=True):
        for a, b in zip(vars(face.box).values(), vars(other.box).values(), strict=True):
            assert abs(a - b) <= 0.1 * other.box.width
        assert abs(face.score - other.score) < 0.15


def test_untold_it_looks_at_more_of_a_picture_than_of_a_video(drawn: Pixels) -> None:
    for continuous, size in ((True, 320), (False, 640)):
        untold = open_detector(continuous=continuous).detect(drawn)
        assert untold == open_detector(continuous=continuous, size=size).detect(drawn)
        assert untold != open_detector(continuous=continuous, size=160).detect(drawn)


def test_a_copy_of_the_bundle_can_be_named_and_a_broken_one_is_refused(tmp_path: Path, drawn: Pixels) -> None:
    copy = shutil.copytree(open_detector_bundle().path, tmp_path / "mine.edgefer")
    assert open_detector("edge", copy).detect(drawn) == open_detector("edge").detect(drawn)
    artifact = open_detector_bundle(copy).sized("tflite", size=(480, 640))
    data = bytearray((copy / artifact.path).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / artifact.path).write_bytes(data)
    with pytest.raises(DetectorError, match=r"640x480.*SHA-256.*get the bundle again"):
        open_detector("edge", copy)
    assert open_detector("edge", copy, continuous=True).detect(drawn)  # that file is whole


def test_a_file_for_another_size_than_its_manifest_says_is_refused(tmp_path: Path) -> None:
    shipped_one = open_detector_bundle()
    artifact = replace(shipped_one.sized("tflite", size=(240, 320)), size=(240, 160))
    contents = {artifact.path: shipped_one.read(artifact.file)}
    path = write_bundle(DetectorBundle(tmp_path / "x.edgefer", "det-s", (artifact,), 0.5), contents).path
    with pytest.raises(DetectorError, match=r"the model takes pictures \[240, 320, 1\], found \[240, 160, 1\]"):
        open_detector("edge", path)


def test_grey_and_colour_of_equal_channels_are_the_same(drawn: Pixels) -> None:
    grey = cv2.cvtColor(cv2.cvtColor(drawn, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR).astype(np.uint8)
    first, second = open_detector("edge").detect(drawn), open_detector("edge").detect(grey)
    assert len(first) == len(second) == 2
    assert first == second


def test_the_same_frame_has_the_same_faces_after_another(drawn: Pixels) -> None:
    detector = open_detector("edge", continuous=True)
    first = detector.detect(drawn)
    assert detector.detect(np.full_like(drawn, 128)) == []
    assert detector.detect(drawn) == first


@pytest.mark.parametrize(("degrees", "zoom", "gained"), [(3, 1.0, 6), (0, 0.96, 12)], ids=["tilting", "going away"])
def test_in_a_video_faces_are_kept_longer(drawn: Pixels, degrees: float, zoom: float, gained: int) -> None:
    height, width = drawn.shape[:2]
    alone, video = open_detector("edge", size=320), open_detector("edge", size=320, continuous=True)
    found = []
    for k in range(60):
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees * k, zoom**k)
        frame = np.asarray(cv2.warpAffine(drawn, matrix, (width, height)), np.uint8)
        found.append((len(alone.detect(frame)), len(video.detect(frame))))
    assert found[0] == (2, 2)
    assert all(before <= now <= 2 for before, now in found)
    assert sum(now - before for before, now in found) >= gained  # 8 and 18 when this was written
    assert found[-1] == (0, 0)
