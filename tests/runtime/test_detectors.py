from pathlib import Path

import cv2
import numpy as np
import pytest

from edgefer import cartoon, plugins
from edgefer.errors import DetectorError
from edgefer.preprocess import Pixels, read_picture
from edgefer.runtime.detectors import haar, open_detector
from edgefer.runtime.sources import open_source

MEDIA = Path(__file__).parents[2].parent / "shared" / "data" / "media"
NAMES = plugins.names("edgefer.runtime.detectors")
needs_media = pytest.mark.skipif(not MEDIA.is_dir(), reason=f"needs the pictures in {MEDIA}")


@pytest.fixture(scope="module")
def drawn() -> Pixels:
    return next(cartoon.clip(1, seed=0))[0]


def test_the_names() -> None:
    assert {"haar", "none"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_detector_finds_a_face_inside_the_picture_and_leaves_the_picture_alone(name: str, drawn: Pixels) -> None:
    before = drawn.copy()
    faces = open_detector(name).detect(drawn)
    np.testing.assert_array_equal(drawn, before)
    assert faces
    assert faces == sorted(faces, key=lambda face: face.box.x)
    for face in faces:
        assert all(type(n) is int for n in (face.box.x, face.box.y, face.box.width, face.box.height))
        assert 0 <= face.box.x < face.box.x + face.box.width <= drawn.shape[1]
        assert 0 <= face.box.y < face.box.y + face.box.height <= drawn.shape[0]
        assert 0 < face.score <= 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 900, 3), (900, 3, 3), (48, 48, 3)])
def test_every_detector_bears_odd_shapes(name: str, shape: tuple[int, int, int]) -> None:
    faces = open_detector(name).detect(np.full(shape, 128, np.uint8))
    assert isinstance(faces, list)


def test_none_takes_the_whole_picture(drawn: Pixels) -> None:
    (face,) = open_detector("none").detect(drawn)
    assert (face.box.x, face.box.y, face.box.width, face.box.height) == (0, 0, 640, 360)


def test_haar_gives_boxes_in_pixels_of_the_large_picture(drawn: Pixels) -> None:
    small = open_detector().detect(drawn)
    large = open_detector().detect(cv2.resize(drawn, (1920, 1080), interpolation=cv2.INTER_LINEAR).astype(np.uint8))
    assert len(small) == len(large) == 2
    for a, b in zip(small, large, strict=True):
        assert abs(b.box.x / 3 - a.box.x) < 15
        assert abs(b.box.width / 3 - a.box.width) < 25


def test_haar_without_its_file_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cv2.data, "haarcascades", str(tmp_path))
    with pytest.raises(DetectorError, match="opencv-python-headless>=4"):
        open_detector("haar")
    (tmp_path / haar.CASCADE).write_text("<broken")
    with pytest.raises(DetectorError, match="install"):
        open_detector("haar")


def test_an_unknown_detector_is_refused_with_the_names() -> None:
    with pytest.raises(DetectorError, match="choose one of: haar, none"):
        open_detector("yolo")


@needs_media
@pytest.mark.parametrize(("name", "faces"), [("two_people.jpg", 2), ("no-faces.jpg", 0), ("justin.jpg", 1)])
def test_haar_counts_the_faces_of_photographs(name: str, faces: int) -> None:
    picture = read_picture(MEDIA / name)
    assert picture is not None
    assert len(open_detector().detect(picture)) == faces


@needs_media
@pytest.mark.parametrize("name", ["test.mp4", "woman2.mp4"])
def test_haar_finds_a_face_in_most_frames_of_videos(name: str) -> None:
    detector = open_detector()
    with open_source(str(MEDIA / name)) as source:
        found = [bool(detector.detect(frame.image)) for frame in source if frame.index % 20 == 0]
    assert np.mean(found) > 0.5
