"""Views: labels follow the pixels, wherever they are cut, and a run can be repeated."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefer.errors import DataError
from edgefer.letterbox import FILL, Letterbox
from edgefer.train.detect import views
from edgefer.train.detect.pictures import Picture, grey_of, read_pictures
from edgefer.train.detect.recipe import Views
from edgefer.train.detect.targets import DEPTH, SCORE, WEIGHT, Labels
from edgefer.train.detect.views import LEAST_SEEN, LEAST_SIDE, Viewer
from edgefer.train.scenes import Scene

DISTURBED = ("light", "dark", "shadow", "blur", "motion", "coarse", "noise", "jpeg", "hide")
KINDS = ("whole", "empty", "mosaic", "drawn")
PARTS = (*DISTURBED, *KINDS, "flip")
BARE = Views(smallest=32, largest=100, **dict.fromkeys(PARTS, 0.0))  # type: ignore[arg-type]
GROUND, SKIN = 20, 60
DOTS = (100, 130, 160, 190, 220)
PLACES = np.array([[0.3, 0.35], [0.72, 0.33], [0.5, 0.55], [0.36, 0.8], [0.66, 0.78]])


def marked(width: int, height: int, *boxes: Sequence[float]) -> Picture:
    """Return a picture in which a face is an ellipse, and each landmark a dot of a grey of its own."""
    faces = np.array(boxes, np.float32).reshape(-1, 4)
    pixels = np.full((height, width), GROUND, np.uint8)
    points = faces[:, None, :2] + PLACES * faces[:, None, 2:]
    for (x, y, w, h), marks in zip(faces, points, strict=True):
        middle, axes = (x + w / 2 - 0.5, y + h / 2 - 0.5), (w / 2, h / 2)  # OpenCV's pixel i is the point i
        fill(pixels, middle, axes, SKIN)
        for (mx, my), tone in zip(marks, DOTS, strict=True):
            fill(pixels, (mx - 0.5, my - 0.5), (0.085 * w, 0.085 * w), tone)
    scores = np.ones(len(faces), np.float32)
    return read(pixels, boxes=faces, landmarks=points.astype(np.float32), scores=scores)


def fill(pixels: np.ndarray, middle: tuple[float, float], axes: tuple[float, float], tone: int) -> None:
    centre, sides = (tuple(round(float(v) * 16) for v in pair) for pair in (middle, axes))
    cv2.ellipse(pixels, centre, sides, 0, 0, 360, (tone,), -1, cv2.LINE_AA, 4)


def read(pixels: np.ndarray, most_side: int = 640, **labels: Any) -> Picture:
    """Return what `read_pictures` makes of a scene on disk."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.png"
        assert cv2.imwrite(str(path), pixels)
        (picture,) = read_pictures([Scene("a.png", path, **labels)], most_side)
    return picture


@functools.cache
def sample(shape: float, faces: int = 1) -> Picture:
    """Return a large picture with a face in its middle, or two, and room around them."""
    w, left = 250, 670 if faces == 1 else 420
    picture = marked(1600, 1200, *((left + 500 * i, 480, w, w * shape) for i in range(faces)))
    assert picture.levels[0].shape == (480, 640), "it was brought down: the face is 100 pixels wide"
    return picture


def inside(points: np.ndarray, width: int, height: int, margin: float) -> np.ndarray:
    """Return which points [n, 2] are in a picture, and not near its edge."""
    return ((points > margin) & (points < (width - margin, height - margin))).all(axis=-1)


def tones(pixels: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the grey of a picture at points, between pixels too."""
    at = (points - 0.5).astype(np.float32).reshape(-1, 1, 2)
    return cv2.remap(pixels, at, None, cv2.INTER_LINEAR).reshape(-1).astype(float)


def dot_is_there(view: views.View, flipped: bool, area: tuple[int, int, int, int]) -> int:
    """Check that each landmark in a part of the view is a dot of its grey; return how many there are.

    Where the view is mirrored, the eye that is left in it is the one that was right.
    """
    left, top, width, height = area
    expected = np.array(DOTS, float)[[1, 0, 2, 4, 3] if flipped else [0, 1, 2, 3, 4]]
    checked = 0
    for box, marks in zip(view.labels.boxes, view.labels.landmarks, strict=True):
        if not inside((box[:2] + box[2:] / 2 - (left, top))[None], width, height, 0)[0]:
            continue
        seen = inside(marks - (left, top), width, height, 3)
        near = np.abs(tones(view.pixels, marks[seen]) - expected[seen])
        assert (near < 14).all(), (near, marks)
        checked += int(seen.sum())
    return checked


def extent(pixels: np.ndarray, box: np.ndarray) -> np.ndarray | None:
    """Return the box of what is skin about a box, or None where that is not wholly in the picture."""
    height, width = pixels.shape
    x0, y0 = np.floor(box[:2] - 0.12 * box[2:]).astype(int)
    x1, y1 = np.ceil(box[:2] + 1.12 * box[2:]).astype(int)
    if min(x0, y0) < 0 or x1 > width or y1 > height:
        return None
    skin = pixels[y0:y1, x0:x1] > (GROUND + SKIN) / 2
    rows, columns = np.flatnonzero(skin.any(axis=1)), np.flatnonzero(skin.any(axis=0))
    return np.array([x0 + columns[0], y0 + rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1])


@given(
    st.integers(0, 100_000),
    st.sampled_from([0.8, 1.0, 1.3]),
    st.sampled_from([0, 10, 45, 180]),
    st.sampled_from([0, 1]),
)
@settings(max_examples=40)
def test_labels_follow_the_pixels(seed: int, shape: float, rotation: float, flip: float) -> None:
    viewer = Viewer([sample(shape)], replace(BARE, rotation=rotation, flip=flip))
    rng = np.random.default_rng(seed)
    dots = whole = 0
    while whole < 2 or dots < 15:
        view = viewer.view(rng, 128, 160, 100)
        dots += dot_is_there(view, bool(flip), (0, 0, 160, 128))
        for box in view.labels.boxes:
            found = extent(view.pixels, box)
            if found is not None:
                np.testing.assert_allclose(found, box, atol=1.8)
                whole += 1


@given(
    st.floats(0.12, 3),
    st.floats(-180, 180),
    st.booleans(),
    st.tuples(st.integers(300, 340), st.integers(300, 340)),
    st.tuples(st.floats(120, 180), st.floats(120, 180)),
)
@settings(max_examples=60)
def test_no_scale_moves_the_picture_by_a_part_of_a_pixel(
    scale: float, angle: float, flipped: bool, size: tuple[int, int], spot: tuple[float, float]
) -> None:
    """A soft spot has its middle where the map says, whichever level of the picture it is cut from."""
    height, width = size
    x, y = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5  # pixel i spans i to i + 1
    soft = np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / (2 * (3 * max(1, 1 / scale)) ** 2))
    picture = read((200 * soft).round().astype(np.uint8))
    matrix = views.map_of(spot, (64.3, 57.6), scale, angle, flipped)
    seen = views.pixels_of(picture, matrix, scale, 120, 128, 0).astype(float)
    rows, columns = np.arange(120) + 0.5, np.arange(128) + 0.5
    middle = (seen.sum(axis=0) @ columns / seen.sum(), seen.sum(axis=1) @ rows / seen.sum())
    np.testing.assert_allclose(middle, (64.3, 57.6), atol=0.1)


@given(st.integers(0, 100_000), st.sampled_from([0, 1]), st.sampled_from([(128, 160), (256, 320), (64, 320)]))
@settings(max_examples=20)
def test_labels_follow_the_pixels_of_a_whole_scene(seed: int, flip: float, size: tuple[int, int]) -> None:
    picture = sample(1.2, 2)
    viewer = Viewer([picture], replace(BARE, whole=1, flip=flip))
    view = viewer.view(np.random.default_rng(seed), *size, 100)
    placed, where = Letterbox(*size)(picture.levels[0])
    scale = (where.scale_x, where.scale_y)
    boxes = picture.labels.boxes * np.tile(scale, 2)
    if flip:
        boxes[:, 0] = 640 * where.scale_x - boxes[:, 0] - boxes[:, 2]
        placed[:, : round(640 * where.scale_x)] = placed[:, : round(640 * where.scale_x)][:, ::-1].copy()
    asked = np.sqrt(boxes[:, 2] * boxes[:, 3]) >= LEAST_SIDE
    np.testing.assert_allclose(view.labels.boxes, boxes[asked], atol=0.6)
    assert np.abs(view.pixels.astype(float) - placed[..., 0]).mean() < 2, "as the camera's frames are shown"
    if size == (256, 320):
        assert dot_is_there(view, bool(flip), (0, 0, size[1], size[0])) == 10


@given(st.integers(0, 100_000), st.sampled_from([0, 1]))
@settings(max_examples=20)
def test_labels_follow_the_pixels_of_four_views_in_one(seed: int, flip: float) -> None:
    viewer = Viewer([sample(1.0)], replace(BARE, mosaic=1, flip=flip, largest=110))
    rng = np.random.default_rng(seed)
    dots = 0
    for _ in range(4):
        view = viewer.view(rng, 192, 192, 110)
        for left in (0, 96):
            for top in (0, 96):
                dots += dot_is_there(view, bool(flip), (left, top, 96, 96))
    assert dots >= 20


@pytest.mark.parametrize("ignored", [False, True])
def test_what_is_to_be_ignored_is_never_a_background(ignored: bool) -> None:
    """Behind a view lies a scene without faces; one with a place to ignore may have a face there."""
    chessboard = np.kron(np.indices((12, 16)).sum(axis=0) % 2, np.ones((10, 10))).astype(np.uint8) * 255
    board = read(chessboard)
    place = np.array([[10, 10, 20, 20]], np.float32)
    board = replace(board, labels=replace(board.labels, ignore=place if ignored else place[:0]))
    viewer = Viewer([marked(120, 120, (10, 10, 100, 100)), board], BARE)
    shown = 0
    for seed in range(30):
        view = viewer.view(np.random.default_rng(seed), 128, 160, 100)
        shown += int(min((view.pixels < 20).mean(), (view.pixels > 235).mean()) > 0.05)
    assert (shown == 0) if ignored else (shown > 3)


@given(st.integers(0, 100_000))
@settings(max_examples=20)
def test_drawn_heads_are_where_the_boxes_say(seed: int) -> None:
    empty = read(np.full((120, 160), 255, np.uint8))
    view = Viewer([empty], replace(BARE, drawn=1)).view(np.random.default_rng(seed), 128, 160, 100)
    assert 1 <= len(view.labels.boxes) <= 2
    assert np.isnan(view.labels.landmarks).all()
    for x, y, w, h in view.labels.boxes:
        face = view.pixels[max(0, round(y)) : round(y + h), max(0, round(x)) : round(x + w)]
        assert (face < 250).mean() > 0.75, "the head fills its box"
        assert face.std() > 8


def test_real_faces_behind_drawn_heads_are_no_background() -> None:
    viewer = Viewer([sample(1.0)], replace(BARE, drawn=1))  # no scene is without faces
    behind = 0
    for seed in range(20):
        view = viewer.view(np.random.default_rng(seed), 128, 160, 100)
        assert 1 <= len(view.labels.boxes) <= 2
        behind += len(view.labels.ignore)
    assert behind > 5


@given(st.data())
def test_each_face_is_asked_for_or_ignored_or_out_of_sight(data: st.DataObject) -> None:
    numbers = st.floats(-300, 300, width=32)
    boxes = data.draw(st.lists(st.tuples(numbers, numbers, *[st.floats(1, 200, width=32)] * 2), min_size=1, max_size=5))
    angle, scale = data.draw(st.floats(-180, 180)), data.draw(st.floats(0.05, 3))
    count = len(boxes)
    scores = np.arange(count, dtype=np.float32) / 10
    known = Labels(
        np.array(boxes, np.float32), np.zeros((count, 5, 2), np.float32), scores, np.array(boxes, np.float32)
    )
    matrix = views.map_of((0, 0), (80, 64), scale, angle, data.draw(st.booleans()))
    found = views._mapped(known, matrix, False, 128, 160)
    every = views._mapped_boxes(known.boxes, matrix)
    ends = np.minimum(every[:, :2] + every[:, 2:], (160, 128))
    seen = np.maximum(ends - np.maximum(every[:, :2], 0), 0).prod(axis=1) / every[:, 2:].prod(axis=1)
    side = np.sqrt(every[:, 2:].prod(axis=1))
    asked = (seen >= LEAST_SEEN) & (side >= LEAST_SIDE)
    np.testing.assert_array_equal(found.boxes, every[asked])
    np.testing.assert_array_equal(found.scores, scores[asked])
    # What was to be ignored stays so where it is seen; what is hardly seen, or is too small, comes to it.
    np.testing.assert_array_equal(found.ignore, np.concatenate([every[seen > 0], every[(seen > 0) & ~asked]]))


def test_a_seed_gives_the_same_bytes_and_another_one_does_not() -> None:
    scenes = [sample(1.0), sample(1.3, 2), read(np.full((90, 70), 90, np.uint8))]
    chosen = Views(mosaic=0.2, drawn=0.2, whole=0.2, empty=0.2)
    pixels, targets = Viewer(scenes, chosen).batch([1, 7], 24, False)
    again = Viewer(scenes, chosen).batch([1, 7], 24, False)
    np.testing.assert_array_equal(pixels, again[0])
    np.testing.assert_array_equal(targets, again[1])
    assert (Viewer(scenes, chosen).batch([1, 8], 24, False)[0] != pixels).mean() > 0.5
    assert (targets[..., WEIGHT] > 0).any(axis=(1, 2)).sum() > 10


def test_large_batches_have_twice_the_sides_and_faces() -> None:
    viewer = Viewer([sample(1.0)], replace(BARE, smallest=100, largest=100))
    pixels, targets = viewer.batch([3], 3, False)
    assert (pixels.shape, pixels.dtype) == ((3, 128, 160, 1), np.uint8)
    assert (targets.shape, targets.dtype) == ((3, 16, 20, DEPTH), np.float32)
    pixels, targets = viewer.batch([3], 40, True)
    assert (pixels.shape, targets.shape) == ((40, 256, 320, 1), (40, 32, 40, DEPTH))
    sides = targets[targets[..., WEIGHT] > 0][:, 4]
    assert sides.min() >= 99
    assert 180 < sides.max() <= 200


def test_scores_of_a_teacher_are_aimed_at_or_not() -> None:
    one = sample(1.0)
    unsure = replace(one, labels=replace(one.labels, scores=np.full(1, 0.25, np.float32)))
    for teacher_scores, aim in ((True, 0.25), (False, 1.0)):
        _, targets = Viewer([unsure], BARE, teacher_scores).batch([1], 4, False)
        assert set(targets[targets[..., WEIGHT] > 0][:, SCORE]) == {aim}
    assert unsure.labels.scores[0] == 0.25


def test_kinds_are_as_frequent_as_the_settings_say() -> None:
    scenes = [sample(1.0), read(np.full((90, 120), 200, np.uint8))]
    for empty in (0.0, 0.4, 1.0):
        _, targets = Viewer(scenes, replace(BARE, empty=empty)).batch([1], 200, False)
        with_face = (targets[..., WEIGHT] > 0).any(axis=(1, 2)).mean()
        assert with_face == pytest.approx(1 - empty, abs=0.1)


@pytest.mark.parametrize("scenes", ["all empty", "none empty"])
def test_data_of_one_kind(scenes: str) -> None:
    plain = Views(mosaic=0.25, drawn=0, whole=0.25, empty=0.25)
    one = sample(1.0) if scenes == "none empty" else read(np.full((60, 80), 10, np.uint8))
    _, targets = Viewer([one], plain).batch([1], 30, False)
    asked = (targets[..., WEIGHT] > 0).any(axis=(1, 2)).mean()
    assert asked == 0 if scenes == "all empty" else asked > 0.7


PICTURES = (
    marked(52, 60, (-5, 30, 30, 38)),  # smaller than any view, and a face that sticks out
    marked(640, 200, (600, 150, 80, 90), (2, 2, 6, 7)),
    marked(200, 640, (-60, -60, 400, 500)),  # a face larger than the view
    read(np.full((52, 52), 9, np.uint8)),
)


@given(
    st.fixed_dictionaries({name: st.sampled_from([0.0, 1.0]) for name in (*DISTURBED, "flip")}),
    st.sampled_from([None, *KINDS]),
    st.sampled_from([(64, 64), (64, 512), (512, 64), (96, 128)]),
    st.sampled_from([(4, 4), (4, 1000), (1000, 1000), (9, 150)]),
    st.sampled_from([0, 180]),
    st.lists(st.sampled_from(range(4)), min_size=1, max_size=4, unique=True),
    st.integers(0, 1000),
)
@settings(max_examples=150)
def test_the_ends_of_every_range(
    parts: dict[str, float],
    kind: str | None,
    size: tuple[int, int],
    faces: tuple[float, float],
    rotation: float,
    which: list[int],
    seed: int,
) -> None:
    kinds = dict.fromkeys(KINDS, 0.0) | ({kind: 1.0} if kind else {})
    chosen = Views(*size[::-1], smallest=faces[0], largest=faces[1], rotation=rotation, **parts, **kinds)
    pixels, targets = Viewer([PICTURES[i] for i in which], chosen).batch([seed], 2, seed % 8 == 0)
    assert pixels.dtype == np.uint8
    assert np.isfinite(targets).all()
    assert (targets[targets[..., WEIGHT] > 0][:, 4:6] >= 1).all()


def test_pictures_are_brought_down_and_halved() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (500, 1000), np.uint8)
    labels = {
        "boxes": np.array([[100, 200, 50, 60]], np.float32),
        "landmarks": np.array([[[10, 20]] * 4 + [[np.nan] * 2]], np.float32),
        "scores": np.array([0.5], np.float32),
        "ignore": np.array([[8, 4, 2, 6]], np.float32),
    }
    small = read(pixels, 250, **labels)
    assert [level.shape for level in small.levels] == [(125, 250), (62, 125), (31, 62)]
    np.testing.assert_array_equal(small.labels.boxes, [[25, 50, 12.5, 15]])
    np.testing.assert_array_equal(small.labels.landmarks, np.float32([[[2.5, 5]] * 4 + [[np.nan] * 2]]))
    np.testing.assert_array_equal(small.labels.ignore, [[2, 1, 0.5, 1.5]])
    assert small.labels.scores.tolist() == [0.5]
    for level in small.levels[1:]:
        assert level.mean() == pytest.approx(pixels.mean(), abs=1.5)
    assert [level.shape for level in read(pixels[:40, :52]).levels] == [(40, 52)]


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    scene = Scene("broken.jpg", tmp_path / "broken.jpg")
    with pytest.raises(DataError, match=r"broken\.jpg cannot be read as a picture"):
        read_pictures([scene], 640)
    with pytest.raises(DataError, match="remove its labels"):
        grey_of(scene)


def test_what_is_beside_a_picture() -> None:
    """One grey, the one of the letterbox often, or another scene that has no faces."""
    dark = marked(100, 80, (40, 30, 20, 24))
    other = read(np.full((90, 120), 233, np.uint8))
    chosen = replace(BARE, smallest=20, largest=20)
    corners = []
    for seed in range(200):
        view = Viewer([dark, other], chosen).view(np.random.default_rng(seed), 128, 160, 20)
        corners.append(int(view.pixels[2, 2]))
    counts = np.bincount(corners, minlength=256)
    assert counts[233] > 60
    assert counts[FILL] > 15
    assert len(set(corners)) > 10
    assert (dark.levels[0] < 250).all(), "the scene stays as it was"
