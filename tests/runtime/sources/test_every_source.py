"""One suite over every kind of source that can be opened without its hardware; the others have files of their own."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest

from edgefer import plugins
from edgefer.errors import SourceError
from edgefer.runtime.frames import CaptureOptions
from edgefer.runtime.sources import open_first, open_source, shown
from tests.runtime.sources.conftest import FRAMES
from tests.runtime.sources.servers import held, pictures

OPENED = ["picture", "folder", "video", "loop", "demo", "http", "rtsp"]
WITH_HARDWARE = {"camera": "0", "csi": "csi://0", "gst": "gst:videotestsrc ! appsink", "picamera2": "picamera2://"}
LIVE = {"http", "rtsp", *WITH_HARDWARE}

Make = Callable[[str], tuple[str, int]]


def test_every_kind_of_source_is_in_the_suite() -> None:
    assert plugins.names("edgefer.runtime.sources") == sorted([*OPENED, *WITH_HARDWARE])


@pytest.mark.parametrize("kind", OPENED)
def test_every_source(kind: str, make: Make) -> None:
    uri, expected = make(kind)
    with open_source(uri) as source:
        frames = list(islice(source, FRAMES))
        assert source.skipped == 0
        assert source.live is (kind in LIVE)
        assert source.fps is None or 0 < source.fps <= 1000
    assert [frame.index for frame in frames] == list(range(expected))
    times = [frame.time for frame in frames]
    assert all(b > a for a, b in pairwise(times))
    assert 0 <= times[0] < 10
    for frame in frames:
        assert frame.image.dtype == np.uint8
        assert frame.image.ndim == 3
        assert frame.image.shape[2] == 3
        assert frame.image.flags.c_contiguous
        assert (frame.name is not None) == (kind in ("picture", "folder"))
    if len(frames) > 1:
        assert frames[0].image is not frames[1].image
        assert (frames[0].image != frames[-1].image).any()


@pytest.mark.parametrize("kind", OPENED + list(WITH_HARDWARE))
def test_one_kind_and_no_other_takes_a_uri(kind: str, make: Make) -> None:
    uri = WITH_HARDWARE.get(kind) or make(kind)[0]
    modules = {n: plugins.load("edgefer.runtime.sources", n, SourceError, "") for n in [*OPENED, *WITH_HARDWARE]}
    assert [name for name, module in modules.items() if module.matches(uri)] == [kind]


@pytest.mark.parametrize("kind", OPENED)
@pytest.mark.parametrize(("rotate", "flip"), [(0, "h"), (0, "v"), (90, "none"), (180, "none"), (270, "h")])
def test_pixels_are_turned_and_mirrored(kind: str, rotate: int, flip: str, make: Make) -> None:
    uri, _ = make(kind)
    with open_source(uri, CaptureOptions(rotate=rotate, flip=flip)) as source:
        turned = next(iter(source)).image
        assert (source.live, source.skipped) == (kind in LIVE, 0)
    assert turned.flags.c_contiguous
    if kind in LIVE:  # each opening sees another picture
        height, width = (160, 120) if kind == "rtsp" else (320, 240)
        assert turned.shape == ((height, width, 3) if rotate in (90, 270) else (width, height, 3))
        return
    with open_source(uri) as source:
        plain = next(iter(source)).image
    expected = np.rot90(plain, -rotate // 90)
    expected = {"none": expected, "h": expected[:, ::-1], "v": expected[::-1]}[flip]
    np.testing.assert_array_equal(turned, expected)


@pytest.mark.parametrize("kind", ["video", "loop", "folder", "http"])
def test_opening_and_closing_leaks_nothing(kind: str, make: Make) -> None:
    uri, _ = make(kind)
    for cycle in range(200):
        with open_source(uri, CaptureOptions(rotate=90)) as source:
            next(iter(source))
        if cycle == 20:
            before = held()
    assert held()[0] <= before[0] + 1
    assert held()[1] <= before[1] + 2  # the server's own threads


def test_rtsp_leaks_nothing(rtsp: str) -> None:
    for cycle in range(7):
        with open_source(rtsp) as source:
            next(iter(source))
        if cycle == 1:
            before = held()
    assert held() == before


@pytest.mark.parametrize("kind", [*OPENED, "gst"])
def test_what_cannot_be_asked_for_a_size_says_so(kind: str, make: Make) -> None:
    uri = WITH_HARDWARE.get(kind) or make(kind)[0]
    with pytest.raises(SourceError, match="cannot be asked for width and fps"):
        open_source(uri, CaptureOptions(width=640, fps=5))


def test_the_first_that_opens_is_taken_and_otherwise_all_findings_are_told(tmp_path: Path) -> None:
    uri, source = open_first(["97", "picamera2://", "demo:2", "demo:3"], CaptureOptions(rotate=90))
    with source:
        assert (uri, next(iter(source)).image.shape) == ("demo:2", (640, 360, 3))
    with pytest.raises(SourceError, match=r"video97.*python3-picamera2.*no source and") as caught:
        open_first(["97", "picamera2://", "rtmp://me:secret@host/x"])
    assert "secret" not in str(caught.value)
    with pytest.raises(SourceError, match="none to try"):
        open_first([])


@pytest.mark.parametrize(
    "uri", ["", "-1", "webcam", "ftp://a/b.mp4", "file:///etc/passwd.jpg", "concat:a.mp4|b", "demos", "a\0b.jpg"]
)
def test_unknown_forms_are_refused_with_the_known_ones(uri: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(uri)
    words = ("camera (0", "demo", "folder", "picture (", "video", "gst:", "rtsp://", "http://", "csi://")
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("rtsp://me:secret@host:554/live", "rtsp://…@host:554/live"),
        ("http://host/cam.mjpg?token=secret&x=1", "http://host/cam.mjpg?…"),
        ("http://me:se/secret@host/live", "http://…"),
        ("http://me:se?secret@host/live", "http://…"),
        ("http://me:a@secret@host/live", "http://…@host/live"),
        ("http://me:secret", "http://…"),
        ("http://[fe80::1]:8080/live", "http://[fe80::1]:8080/live"),
        ("http:/host/live?token=secret", "http:/host/live?…"),
        ("loop:http://host/clip.mp4?token=secret", "loop:http://host/clip.mp4?…"),
        ("photos/?.jpg", "photos/?.jpg"),
        ("rtsp:/me:secret@host/live", "…@host/live"),
        ("me:secret@host/clip.mp4", "…@host/clip.mp4"),
        (
            "gst:rtspsrc location=rtsp://u:secret@h/x user-pw=secret ! appsink",
            "gst:rtspsrc location=rtsp://…@h/x user-pw=… ! appsink",
        ),
        (
            'gst:souphttpsrc location="http://h/x?t=secret" ! appsink',
            'gst:souphttpsrc location="http://h/x?…" ! appsink',
        ),
        (
            'gst:souphttpsrc extra-headers="x,Authorization=(string)\\"Basic secret==\\"" ! appsink',
            'gst:souphttpsrc extra-headers="x,Authorization=…" ! appsink',
        ),
        ("clips/a b.mp4", "clips/a b.mp4"),
        ("clips/a\nb.mp4", "clips/a�b.mp4"),
        ("/dev/v4l/by-id/usb-cam@1-index0", "/dev/v4l/by-id/usb-cam@1-index0"),
    ],
)
def test_messages_show_no_password(uri: str, text: str) -> None:
    assert shown(uri) == text


def test_loops_go_on_in_number_and_time(make: Make) -> None:
    uri, _ = make("loop")
    with open_source(uri.replace("loop:", "loop:3:")) as source:
        frames = list(source)
    assert [frame.index for frame in frames] == list(range(12))
    assert [frame.time for frame in frames] == pytest.approx([n / 10 for n in range(12)], abs=0.02)
    np.testing.assert_array_equal(frames[0].image, frames[4].image)


def test_a_loop_whose_file_goes_is_an_error(make: Make) -> None:
    uri, _ = make("loop")
    with open_source(uri) as source:
        assert len(list(islice(source, 6))) == 6
        Path(uri.removeprefix("loop:")).unlink()
        with pytest.raises(SourceError, match="no video"):
            list(source)


@pytest.mark.parametrize(
    "uri", ["loop:", "loop:x", "loop:0:a.mp4", "loop:99999999:a.mp4", "loop:3:a.jpg", "loop:a.mp4"]
)
def test_broken_loops_are_refused(uri: str) -> None:
    with pytest.raises(SourceError, match=r"is no loop|no video a\.mp4"):
        open_source(uri)


@pytest.mark.parametrize("uri", ["demo:", "demo:0", "demo:x", "demo:-3", "demo:99999999999"])
def test_demos_of_no_length_are_refused(uri: str) -> None:
    with pytest.raises(SourceError, match="number of frames"):
        open_source(uri)


def test_the_pictures_of_the_suite_differ() -> None:
    first, *others = pictures()
    assert all((first != other).any() for other in others)
