import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefer import cartoon
from edgefer.cartoon.clip import clip
from edgefer.cartoon.look import expression_of, random_look, varied
from edgefer.cartoon.paint import head_outline
from edgefer.labels import FER2013_LABELS
from edgefer.preprocess import Preprocess
from edgefer.runtime.detectors import open_detector


def test_the_same_seed_draws_the_same_faces() -> None:
    images, labels = cartoon.dataset(2, seed=5)
    again, same = cartoon.dataset(2, seed=5)
    other, _ = cartoon.dataset(2, seed=6)
    assert images.shape == (14, 48, 48)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64
    assert np.bincount(labels).tolist() == [2] * 7
    np.testing.assert_array_equal(images, again)
    np.testing.assert_array_equal(labels, same)
    assert (images != other).mean() > 0.5


@pytest.mark.parametrize("size", [32, 48, 96])
def test_a_face_has_the_size_asked_for_and_contrast(size: int) -> None:
    for emotion in FER2013_LABELS:
        face = cartoon.draw_face(emotion, np.random.default_rng(1), size)
        assert face.shape == (size, size)
        assert face.std() > 15


def test_an_unknown_emotion_is_refused() -> None:
    with pytest.raises(ValueError, match="choose one of: angry"):
        cartoon.draw_face("bored", np.random.default_rng(0))


def test_emotions_can_be_told_apart_by_a_linear_classifier() -> None:
    images, labels = cartoon.dataset(100, seed=1)
    others, truth = cartoon.dataset(20, seed=2)

    def features(faces: np.ndarray) -> np.ndarray:
        small = np.stack([cv2.resize(cv2.equalizeHist(face), (24, 24), interpolation=cv2.INTER_AREA) for face in faces])
        return np.c_[small.reshape(len(faces), -1) / 128.0 - 1, np.ones(len(faces))]

    known = features(images)
    weights = np.linalg.solve(known.T @ known + 50 * np.eye(known.shape[1]), known.T @ np.eye(7)[labels])
    accuracy = ((features(others) @ weights).argmax(1) == truth).mean()
    assert accuracy > 0.6  # chance is 0.14


def test_the_detector_finds_the_drawn_heads_in_every_emotion() -> None:
    detector = open_detector("haar")
    shown, found, extra = dict.fromkeys(FER2013_LABELS, 0), dict.fromkeys(FER2013_LABELS, 0), 0
    for index, (image, emotions) in enumerate(clip(350, size=(320, 360), faces=1, seed=0)):
        if index % 10:
            continue
        boxes = [face.box for face in detector.detect(image)]
        right = any(box.width > 110 for box in boxes)
        shown[emotions[0]] += 1
        found[emotions[0]] += right
        extra += len(boxes) - right
    assert min(shown.values()) >= 4
    assert sum(found.values()) >= 0.95 * sum(shown.values()), (shown, found)
    assert all(found[emotion] >= 0.75 * shown[emotion] for emotion in FER2013_LABELS), (shown, found)
    assert extra <= 1


def test_a_face_cut_out_of_the_clip_looks_like_a_drawn_face() -> None:
    detector, preprocess = open_detector("haar"), Preprocess()
    image, _ = next(clip(1, seed=3))
    mean = np.mean([cartoon.draw_face("neutral", np.random.default_rng(k)) for k in range(60)], axis=0)
    faces = detector.detect(image)
    assert faces
    for face in faces:
        cut = preprocess(image, face.box)[:, :, 0]
        assert np.corrcoef(cut.ravel(), mean.ravel())[0, 1] > 0.4


def test_clips_are_seeded_and_keep_their_size() -> None:
    clips = [list(clip(3, size=(320, 240), faces=1, seed=seed)) for seed in (1, 1, 2)]
    assert [image.shape for image, _ in clips[0]] == [(240, 320, 3)] * 3
    np.testing.assert_array_equal(clips[0][2][0], clips[1][2][0])
    assert (clips[0][2][0] != clips[2][2][0]).any()
    assert [len(emotions) for _, emotions in clips[0]] == [1, 1, 1]


@pytest.mark.parametrize("arguments", [{"faces": 0}, {"faces": 5}, {"size": (60, 40)}, {"frames": -1}])
def test_impossible_clips_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="a clip"):
        next(clip(**{"frames": 1, **arguments}))  # type: ignore[arg-type]


@given(st.sampled_from(FER2013_LABELS), st.integers(0, 10_000), st.floats(12, 160))
@settings(max_examples=60)
def test_a_head_to_be_put_into_a_picture(emotion: str, seed: int, side: float) -> None:
    grey, solid, (x, y, w, h) = cartoon.head(emotion, np.random.default_rng(seed), side)
    assert grey.dtype == solid.dtype == np.uint8
    assert grey.shape == solid.shape == (len(grey), len(grey))
    assert np.sqrt(w * h) == pytest.approx(side)
    assert 0 <= x <= x + w <= len(grey)
    assert 0 <= y <= y + h <= len(grey)
    inside = solid[round(y) : round(y + h), round(x) : round(x + w)]
    assert (inside > 250).mean() > 0.8, "the face is solid, but for the corners of its box"
    assert (solid[:, 0] < 255).all(), "there is room around it"
    assert (solid[0] < 128).all()
    assert solid[-1].max() == 255, "shoulders go on below"


@given(st.integers(0, 10_000), st.floats(40, 160))
@settings(max_examples=60)
def test_the_box_of_a_head_holds_the_face(seed: int, side: float) -> None:
    _, _, (x, y, w, h) = cartoon.head("neutral", np.random.default_rng(seed), side)
    rng = np.random.default_rng(seed)
    look = random_look(rng)
    varied(expression_of("neutral"), rng)
    angle, scale = np.deg2rad(rng.normal(0, 6)), w / (2 * look.width)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    outline = head_outline(look)
    outline = outline[outline[:, 1] > -0.9]  # the skin below the hair
    middle = (x + w / 2, y + cartoon.BROW * scale)
    drawn = middle + scale * outline @ turn.T
    low, high = drawn.min(axis=0), drawn.max(axis=0)
    slack = 0.04 * side + side * abs(np.sin(angle)) * 0.8  # the box does not turn with the head
    assert (low >= np.array([x, y]) - slack).all()
    assert (high <= np.array([x + w, y + h]) + slack).all()
    assert (high - low > 0.8 * np.array([w, h])).all(), "and not much more"


def test_the_same_generator_gives_the_same_head() -> None:
    one, again, other = (cartoon.head("happy", np.random.default_rng(seed), 50) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one[0], again[0])
    np.testing.assert_array_equal(one[1], again[1])
    assert one[2] == again[2]
    assert one[2] != other[2]
    with pytest.raises(ValueError, match="choose one of: angry"):
        cartoon.head("bored", np.random.default_rng(0), 50)


def test_a_detector_finds_the_heads_where_their_boxes_are() -> None:
    detector, found = open_detector("haar"), 0
    for seed in range(20):
        grey, _, (x, y, w, h) = cartoon.head("neutral", np.random.default_rng(seed), 110)
        for face in detector.detect(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)):
            box = face.box
            wide = min(x + w, box.x + box.width) - max(x, box.x)
            high = min(y + h, box.y + box.height) - max(y, box.y)
            both = max(0, wide) * max(0, high)
            if both / (w * h + box.width * box.height - both) > 0.5:
                found += 1
                break
    assert found >= 14
