"""Face detectors: what all of them keep to, and what each finds."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefer import plugins
from edgefer.cartoon.clip import clip
from edgefer.errors import DetectorError
from edgefer.preprocess import Box, Pixels, Preprocess, read_picture, tilt
from edgefer.runtime import models
from edgefer.runtime.detectors import DEFAULT, edge, haar, open_detector, yunet
from edgefer.runtime.frames import FaceDetector
from edgefer.runtime.sources import open_source
from edgefer.runtime.tracker import overlap

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
MEDIA = SHARED / "media"
YUNET = SHARED / "models" / "face_detection_yunet_2026may.onnx"
NAMES = plugins.names("edgefer.runtime.detectors")
BOTH = (False, True)
"""Values of `continuous`."""
needs_media = pytest.mark.skipif(not MEDIA.is_dir(), reason=f"needs the pictures in {MEDIA}")
needs_yunet = pytest.mark.skipif(not YUNET.is_file(), reason=f"needs the model {YUNET}")
DETECTORS = [pytest.param(name, marks=needs_yunet) if name == "yunet" else name for name in NAMES]
LOOKING = [each for each in DETECTORS if each != "none"]
"""Those that tell a face from what is none."""


def opened(name: str, continuous: bool = False) -> FaceDetector:
    return open_detector(name, YUNET if name == "yunet" else None, continuous=continuous)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFER_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def drawn() -> Pixels:
    return next(clip(1, seed=0))[0]


def check(detector: FaceDetector, picture: Pixels) -> list[Box]:
    """Detect, and hold the detector to what all of them promise."""
    before = picture.copy()
    faces = detector.detect(picture)
    np.testing.assert_array_equal(picture, before)
    assert faces == sorted(faces, key=lambda face: face.box.x)
    for face in faces:
        assert all(type(n) is int for n in (face.box.x, face.box.y, face.box.width, face.box.height))
        assert 0 <= face.box.x < face.box.x + face.box.width <= picture.shape[1]
        assert 0 <= face.box.y < face.box.y + face.box.height <= picture.shape[0]
        assert 0 < face.score <= 1
    return [face.box for face in faces]


def test_the_names() -> None:
    assert {"edge", "haar", "none", "yunet"} == set(NAMES)
    assert DEFAULT == "edge"


@pytest.mark.parametrize("continuous", BOTH)
@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_finds_a_face_inside_the_picture_and_leaves_the_picture_alone(
    name: str, continuous: bool, drawn: Pixels
) -> None:
    assert check(opened(name, continuous), drawn)


@pytest.mark.parametrize("continuous", BOTH)
@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_bears_any_shape_one_after_the_other(name: str, continuous: bool, drawn: Pixels) -> None:
    detector = opened(name, continuous)
    for shape in ((1, 1), (3, 900), (900, 3), (48, 48), (360, 640), (640, 360), (2160, 3840)):
        check(detector, np.full((*shape, 3), 128, np.uint8))
        assert check(detector, drawn)  # what it remembers of the other shape does no harm


@pytest.mark.parametrize("continuous", BOTH)
@pytest.mark.parametrize("name", LOOKING)
@pytest.mark.parametrize(
    "kind", ["portrait", "4K", "grey", "slices"], ids=["portrait", "4K", "grey", "not contiguous in memory"]
)
def test_faces_are_found_in_every_kind_of_picture(name: str, continuous: bool, kind: str, drawn: Pixels) -> None:
    pictures = {
        "portrait": np.vstack([drawn, drawn[::-1], drawn])[:, :320],
        "4K": cv2.resize(drawn, (3840, 2160), interpolation=cv2.INTER_LINEAR),
        "grey": cv2.cvtColor(cv2.cvtColor(drawn, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR),
        "slices": np.concatenate([drawn, drawn], axis=2)[:, :, 2::-1],
    }
    assert len(check(opened(name, continuous), pictures[kind].astype(np.uint8, copy=False))) >= 2


@pytest.mark.parametrize("name", ["edge", "haar"])
@settings(max_examples=25)
@given(height=st.integers(1, 400), width=st.integers(1, 400), seed=st.integers(0, 99))
def test_boxes_stay_inside_noise_of_any_size(name: str, height: int, width: int, seed: int) -> None:
    detector = opened(name, continuous=True)
    noise = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    for _ in range(2):
        check(detector, cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8))


def crowd(drawn: Pixels, columns: int, rows: int) -> Pixels:
    """Return a picture with a drawn head in each of so many fields."""
    x, y, side = 18, 40, 260  # one head of the clip
    head = cv2.resize(drawn[y : y + side, x : x + side], (240, 240), interpolation=cv2.INTER_AREA).astype(np.uint8)
    return np.tile(head, (rows, columns, 1))


@pytest.mark.parametrize(("columns", "rows"), [(1, 1), (2, 1), (5, 4)])
@pytest.mark.parametrize("continuous", BOTH)
@pytest.mark.parametrize("name", LOOKING)
def test_every_face_of_a_crowd_is_found(name: str, continuous: bool, columns: int, rows: int, drawn: Pixels) -> None:
    detector = opened(name, continuous)
    picture = crowd(drawn, columns, rows)
    for _ in range(3):
        boxes = check(detector, picture)
        middles = {((box.x + box.width // 2) // 240, (box.y + box.height // 2) // 240) for box in boxes}
        assert len(boxes) == len(middles) == columns * rows


def test_none_takes_the_whole_picture(drawn: Pixels) -> None:
    (face,) = open_detector("none").detect(drawn)
    assert (face.box.x, face.box.y, face.box.width, face.box.height) == (0, 0, 640, 360)


@pytest.mark.parametrize("name", ["haar", "none"])
def test_a_model_is_refused_by_those_that_take_none(name: str) -> None:
    with pytest.raises(DetectorError, match=rf"{name} takes no model, found x\.onnx"):
        open_detector(name, Path("x.onnx"))


@pytest.mark.parametrize("name", LOOKING)
def test_boxes_are_in_pixels_of_the_large_picture(name: str, drawn: Pixels) -> None:
    small = opened(name).detect(drawn)
    large = opened(name).detect(cv2.resize(drawn, (1920, 1080), interpolation=cv2.INTER_LINEAR).astype(np.uint8))
    assert len(small) == len(large) == 2
    for a, b in zip(small, large, strict=True):
        assert abs(b.box.x / 3 - a.box.x) < 15
        assert abs(b.box.width / 3 - a.box.width) < 25


class Counting(haar.HaarInVideo):
    """Counts how often the whole picture was searched."""

    def __init__(self) -> None:
        super().__init__()
        self.searches = 0
        search = self._haar.whole

        def counted(image: Pixels) -> list[Box]:
            self.searches += 1
            return search(image)

        self._haar.whole = counted  # type: ignore[method-assign]


def test_haar_in_a_video_follows_faces_and_seldom_searches_the_whole_frame() -> None:
    detector = Counting()
    alone = haar.Haar(haar.VIDEO)
    frames = [image for image, *_ in islice(clip(130, seed=3), 0, None, 2)]  # twice as fast as drawn
    for image in frames:
        followed = check(detector, image)
        searched = [face.box for face in alone.detect(image)]
        assert len(followed) == 2
        for box in searched:  # one or both
            assert max(overlap(box, other) for other in followed) > 0.6
    assert detector.searches <= len(frames) / haar.RESCAN + 3


def test_haar_in_a_video_finds_who_comes_in_and_forgets_who_leaves(drawn: Pixels) -> None:
    detector = Counting()
    empty = np.full_like(drawn, 128)
    one = drawn.copy()
    one[:, 320:] = 128
    assert len(check(detector, one)) == 1
    seen = [len(check(detector, drawn)) for _ in range(haar.RESCAN)]
    assert seen[0] == 1
    assert seen[-1] == 2  # found at the next search of the whole frame, not sooner
    assert detector.searches == 2
    assert len(check(detector, one)) == 1
    assert detector.searches == 3  # at once, since one was lost
    assert check(detector, empty) == []
    assert len(check(detector, drawn)) == 2


def test_haar_for_pictures_remembers_nothing(drawn: Pixels) -> None:
    detector = open_detector("haar")
    one = drawn.copy()
    one[:, 320:] = 128
    assert [len(detector.detect(picture)) for picture in (one, drawn, one, drawn)] == [1, 2, 1, 2]


def test_haar_orders_its_finds_by_weights(drawn: Pixels) -> None:
    detector = haar.Haar()
    large = cv2.resize(drawn, (1920, 1080), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
    boxes, weights = detector.find(large, 1)
    assert boxes.shape == (len(weights), 4)
    best = [Box(*box.round().astype(int).tolist()) for box in boxes[np.argsort(-weights)[:2]]]
    for face in check(detector, large):
        assert max(overlap(face, box) for box in best) > 0.6


@needs_yunet
def test_yunet_finds_are_the_networks_own_boxes(drawn: Pixels) -> None:
    detector = yunet.YuNet(YUNET.read_bytes(), "x")
    large = cv2.resize(drawn, (1920, 1080), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
    finds, faces = detector.find(large), detector.detect(large)
    assert finds.shape == (2, 15)
    assert sorted(finds[:, 14]) == sorted(face.score for face in faces)
    for (x, y, w, h), face in zip(finds[finds[:, 0].argsort(), :4], faces, strict=True):
        assert h > w, "no square"
        assert (x + w / 2, y + h / 2) == pytest.approx(
            (face.box.x + face.box.width / 2, face.box.y + face.box.height / 2), abs=1
        )


def test_haar_without_its_file_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cv2.data, "haarcascades", str(tmp_path))
    with pytest.raises(DetectorError, match="opencv-python-headless>=4"):
        open_detector("haar")
    (tmp_path / haar.CASCADE).write_text("<broken")
    with pytest.raises(DetectorError, match="install"):
        open_detector("haar")


def test_an_unknown_detector_is_refused_with_the_names() -> None:
    with pytest.raises(DetectorError, match="choose one of: edge, haar, none, yunet"):
        open_detector("yolo")


@pytest.mark.parametrize("name", NAMES)
def test_a_size_is_for_those_that_have_some(name: str) -> None:
    sizes = getattr(plugins.load("edgefer.runtime.detectors", name, DetectorError, "face detector"), "SIZES", ())
    assert (sizes == (160, 320, 640)) is (name == "edge")
    advice = "choose one of: 160, 320, 640" if sizes else "leave --detector-size out"
    with pytest.raises(DetectorError, match=rf"^detector {name} cannot be told .* 96 pixels wide: {advice}$"):
        open_detector(name, size=96)


@needs_media
@pytest.mark.parametrize(("name", "faces"), [("two_people.jpg", 2), ("no-faces.jpg", 0), ("justin.jpg", 1)])
@pytest.mark.parametrize("detector", LOOKING)
def test_the_faces_of_photographs_are_counted(detector: str, name: str, faces: int) -> None:
    picture = read_picture(MEDIA / name)
    assert picture is not None
    assert len(opened(detector).detect(picture)) == faces


@needs_media
@pytest.mark.parametrize("name", ["test.mp4", "woman2.mp4"])
def test_edge_finds_the_face_of_videos(name: str) -> None:
    detector = opened("edge", continuous=True)
    with open_source(str(MEDIA / name)) as source:
        found = [len(check(detector, frame.image)) for frame in islice(source, 100)]
    assert max(found) == 1
    assert sum(found) >= 98


@needs_media
@pytest.mark.parametrize("name", ["test.mp4", "woman2.mp4"])
def test_haar_finds_the_face_of_videos_in_every_frame(name: str) -> None:
    detector = Counting()
    with open_source(str(MEDIA / name)) as source:
        found = [len(check(detector, frame.image)) for frame in islice(source, 100)]
    assert found == [1] * 100
    assert detector.searches <= 20


@pytest.fixture
def photograph() -> Pixels:
    picture = read_picture(MEDIA / "two_people.jpg")
    assert picture is not None
    return picture


@needs_media
@pytest.mark.parametrize("continuous", BOTH)
@pytest.mark.parametrize("name", ["edge", pytest.param("yunet", marks=needs_yunet)])
def test_networks_give_the_boxes_of_haar_and_the_eyes(
    name: str, photograph: Pixels, continuous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "ALIGN_FROM", 0.0)
    faces = opened(name, continuous).detect(photograph)
    assert len(faces) == 2
    for face, other in zip(faces, opened("haar").detect(photograph), strict=True):
        assert abs(face.box.width - face.box.height) <= 1
        assert abs(face.box.x + face.box.width / 2 - other.box.x - other.box.width / 2) < 0.12 * other.box.width
        assert 0.8 < face.box.width / other.box.width < 1.25
        assert face.eyes is not None
        (left_x, left_y), (right_x, right_y) = face.eyes
        assert face.box.x < left_x < face.box.x + face.box.width / 2 < right_x < face.box.x + face.box.width
        assert all(face.box.y < y < face.box.y + face.box.height / 2 for y in (left_y, right_y))


@needs_media
@needs_yunet
@pytest.mark.parametrize("angle", [20, 30])
def test_a_large_tilted_face_that_yunet_found_comes_upright_out_of_preprocessing(angle: int) -> None:
    """Of small faces it says that the eyes are level whatever they are: docs/detectors.md."""
    portrait = read_picture(MEDIA / "justin.jpg")
    assert portrait is not None
    detector = opened("yunet")
    (upright,) = detector.detect(portrait)
    height, width = portrait.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), -angle, 0.8)
    turned = cv2.warpAffine(portrait, turn, (width, height)).astype(np.uint8)
    (face,) = detector.detect(turned)
    assert face.eyes is not None
    assert abs(tilt(face.eyes) - angle) < 15
    plain = Preprocess()(portrait, upright.box).astype(float).ravel()
    aligned, as_it_is = (
        float(np.corrcoef(plain, Preprocess()(turned, face.box, eyes).astype(float).ravel())[0, 1])
        for eyes in (face.eyes, None)
    )
    print(f"{angle}: tilt {tilt(face.eyes):.1f}, likeness {aligned:.2f}, not aligned {as_it_is:.2f}")
    assert aligned > as_it_is + 0.1


def test_yunet_without_a_model_says_how_to_get_one() -> None:
    with pytest.raises(DetectorError, match="edgefer models pull yunet, or --detector-model FILE"):
        open_detector("yunet")


@needs_yunet
def test_yunet_takes_the_model_that_was_pulled_if_its_hash_is_right(
    monkeypatch: pytest.MonkeyPatch, drawn: Pixels
) -> None:
    contents = YUNET.read_bytes()
    known = models.KnownModel(
        "yunet", "y.onnx", (), len(contents), "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0", "", ""
    )
    monkeypatch.setattr(models, "KNOWN", (known,))
    models.folder().mkdir(parents=True)
    models.path(known).write_bytes(contents)
    assert len(check(open_detector("yunet"), drawn)) == 2
    models.path(known).write_bytes(contents[:-1] + b"x")
    with pytest.raises(DetectorError, match="another SHA-256"):
        open_detector("yunet")


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "no YuNet that OpenCV"),
        (b"version https://git-lfs.github.com/spec/v1", "no YuNet that OpenCV"),
        (b"\x08\x07 and \n\x08location\x12\x0b/etc/passwd", "data in other files"),
        (None, r"cannot be read: No such file"),
    ],
)
def test_yunet_refuses_what_is_no_model_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], contents: bytes | None, message: str
) -> None:
    path = tmp_path / "model.onnx"
    if contents is not None:
        path.write_bytes(contents)
    with pytest.raises(DetectorError, match=message) as caught:
        open_detector("yunet", path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_yunet_refuses_a_network_of_another_kind() -> None:
    from edgefer.bundle import open_bundle

    bundle = open_bundle(None)
    model = next(a for a in bundle.artifacts if a.format == "onnx" and a.precision == "fp32")
    with pytest.raises(DetectorError, match="no YuNet that OpenCV"):
        open_detector("yunet", bundle.path / model.path)


def test_yunet_reads_no_more_of_a_file_than_a_model_can_have(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(yunet.MAX_MODEL_BYTES + 1)
    with pytest.raises(DetectorError, match="more than 50,000,000 bytes"):
        open_detector("yunet", path)
