import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgefer.errors import SinkError
from edgefer.labels import FER2013_LABELS
from edgefer.preprocess import Box
from edgefer.runtime.annotate import annotate
from edgefer.runtime.frames import Frame
from edgefer.runtime.results import FaceResult, FrameResult
from edgefer.runtime.sinks.jsonl import JsonLines
from edgefer.runtime.sinks.text import TextLines
from edgefer.runtime.sinks.video import VideoFile, fit
from edgefer.runtime.sinks.window import Window
from edgefer.runtime.sources import open_source

SCORES = {label: 0.1 for label in FER2013_LABELS} | {"happy": 0.4}


def face(box: Box) -> FaceResult:
    return FaceResult(box, 3, "happy", 0.4, SCORES)


def result(index: int = 0, name: str | None = None) -> FrameResult:
    faces = (face(Box(np.int32(10), 20, 100, 100)),)  # type: ignore[arg-type]
    return FrameResult(index, 0.04 * index, faces, {"detect": 1.23456789}, name)


def frame(index: int = 0, size: tuple[int, int] = (320, 240)) -> Frame:
    return Frame(index, 0.04 * index, np.full((size[1], size[0], 3), 100 + index, np.uint8))


def test_results_are_plain_json() -> None:
    data = json.loads(json.dumps(result(2).to_json()))
    assert data["frame"] == 2
    assert data["time"] == 0.08
    assert data["schema"] == 1
    (found,) = data["faces"]
    assert found == {
        **{"box": [10, 20, 100, 100], "id": 3, "label": "happy", "confidence": 0.4},
        **{"certain": True, "detected": True, "scores": SCORES},
    }
    assert list(data["faces"][0]["scores"]) == list(SCORES)
    assert data["stages_ms"] == {"detect": 1.2346}
    assert "name" not in data
    assert result(name="a.jpg").to_json()["name"] == "a.jpg"


def test_json_lines_are_one_object_a_line_whatever_the_name() -> None:
    stream = io.StringIO()
    sink = JsonLines(stream)
    for index in range(3):
        sink.write(frame(index), result(index, name="a\nb \udcff ü.jpg"))
    sink.close()
    lines = stream.getvalue().splitlines()
    assert [json.loads(line)["frame"] for line in lines] == [0, 1, 2]
    assert stream.getvalue().isascii()
    assert not stream.closed


def test_lines_for_people_cannot_be_forged_by_a_name() -> None:
    stream = io.StringIO()
    TextLines(stream).write(frame(), result(name="a\x1b[2J\n    0.00 s  #1 happy 99%.jpg"))
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("size", [(640, 360), (1920, 1080), (48, 48), (3, 5)])
@pytest.mark.parametrize("box", [Box(10, 10, 30, 30), Box(-20, -20, 100, 100), Box(500, 300, 300, 300)])
def test_annotating_draws_on_a_copy_of_any_size(size: tuple[int, int], box: Box) -> None:
    image = frame(size=size).image
    drawn = annotate(image, [face(box)])
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    assert (image == 100).all()
    assert (drawn != image).any()
    np.testing.assert_array_equal(annotate(image, []), image)


def test_a_video_is_there_when_it_is_whole_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    sink = VideoFile(path, fps=10)
    for index, size in enumerate([(320, 240), (320, 240), (100, 200), (641, 33)]):
        sink.write(frame(index, size), result(index))
        assert not path.exists()
    sink.close()
    sink.close()
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]
    with open_source(str(path)) as source:
        assert source.fps == pytest.approx(10)
        assert [f.image.shape for f in source] == [(240, 320, 3)] * 4


def test_odd_sizes_and_no_frame_rate_are_recorded(tmp_path: Path) -> None:
    sink = VideoFile(tmp_path / "odd.mp4", fps=float("nan"))
    sink.write(frame(size=(321, 241)), result())
    sink.close()
    assert cv2.VideoCapture(str(tmp_path / "odd.mp4")).read()[1].shape == (242, 322, 3)


def test_without_frames_there_is_no_file(tmp_path: Path) -> None:
    VideoFile(tmp_path / "out.mp4", 25).close()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_bytes(b"old")
    with pytest.raises(SinkError, match="never replaces another"):
        VideoFile(tmp_path / "out.mp4", 25)
    assert (tmp_path / "out.mp4").read_bytes() == b"old"


def test_a_cameras_video_keeps_its_time(tmp_path: Path) -> None:
    """Frames at 5, then 50 a second, then a minute's outage: 10 a second in the file, and the outage is one."""
    sink = VideoFile(tmp_path / "out.mp4", fps=10, by_time=True)
    times = [n / 5 for n in range(10)] + [2 + n / 50 for n in range(100)] + [64 + n / 10 for n in range(10)]
    for n, seconds in enumerate(times):
        sink.write(frame(n), FrameResult(n, seconds, (), {}))
    sink.close()
    count = int(cv2.VideoCapture(str(tmp_path / "out.mp4")).get(cv2.CAP_PROP_FRAME_COUNT))
    assert 20 + 20 + 10 + 9 <= count <= 20 + 20 + 10 + 11


def test_a_blurred_face_cannot_be_made_out() -> None:
    image = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    drawn = annotate(image, [face(Box(100, 60, 80, 80))], blur=True)
    inside = drawn[90:110, 125:155].astype(float)
    assert inside.std() < 25 < image[90:110, 125:155].std()
    assert (drawn[:20, :20] == image[:20, :20]).all()
    for box in (Box(-50, -50, 60, 60), Box(310, 230, 90, 90), Box(400, 400, 10, 10), Box(5, 5, 1, 1)):
        assert annotate(image, [face(box)], blur=True).shape == image.shape


@pytest.mark.parametrize("name", ["gone/out.mp4", "out.avi", "folder.mp4"])
def test_impossible_video_files_are_refused_at_once(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(SinkError, match=name.rpartition("/")[2]):
        VideoFile(tmp_path / name, 25)
    assert len(list(tmp_path.iterdir())) == 1


def test_fitting_keeps_the_shape_of_the_picture() -> None:
    fitted = fit(np.full((100, 100, 3), 200, np.uint8), (320, 240))
    assert fitted.shape == (240, 320, 3)
    assert (fitted[:, 40:280] == 200).all()
    assert (fitted[:, :40] == 0).all()


def test_a_window_without_a_display_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SinkError, match="opencv-python-headless, or use --record"):
        Window()


def test_a_headless_opencv_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    if "GUI:                           NONE" not in cv2.getBuildInformation():
        pytest.skip("this OpenCV is not a headless one")
    monkeypatch.setenv("DISPLAY", ":0")
    with pytest.raises(SinkError, match="opencv-python-headless, or use --record"):
        Window()
