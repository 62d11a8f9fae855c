"""Videos, pictures and folders of them: odd ones, broken ones, evil ones."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgefer.errors import SourceError
from edgefer.preprocess import read_picture
from edgefer.runtime.sources import open_source
from tests.runtime.sources.conftest import write_video
from tests.runtime.sources.servers import CANARY, canaries, jpeg, pictures

RNG = np.random.default_rng(0)


def png(width: int, height: int, rows: bytes = b"\0" * 10) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def with_orientation(data: bytes, orientation: int) -> bytes:
    tiff = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x0112, 3, 1, orientation) + b"\0\0\0\0"
    body = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


def test_media_time_follows_the_frame_rate(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4")
    with open_source(str(tmp_path / "clip.mp4")) as source:
        assert source.fps == pytest.approx(10)
        assert [frame.time for frame in source] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5], abs=0.01)


@pytest.mark.parametrize("name", ["gone.jpg", "gone.mp4", "gone/", "gone/*.jpg"])
def test_what_is_missing_is_an_error_at_once(name: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="gone"):
        open_source(str(tmp_path) + "/" + name)


@pytest.mark.parametrize("name", ["broken.jpg", "broken.mp4", "empty.mp4", "empty.png"])
def test_what_is_broken_is_an_error_at_once(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).write_bytes(b"" if name.startswith("empty") else b"\x00\x01nonsense" * 50)
    with pytest.raises(SourceError, match="cannot be read"):
        open_source(str(tmp_path / name))
    assert capfd.readouterr().err == ""


def test_folders_are_in_natural_order_and_unreadable_pictures_are_counted(tmp_path: Path) -> None:
    for name in ("10.png", "2.png", "1.png", ".hidden.png"):
        cv2.imwrite(str(tmp_path / name), pictures(1)[0])
    (tmp_path / "3.jpg").write_bytes(b"no picture")
    (tmp_path / "4.jpg").write_bytes(b"")
    os.mkfifo(tmp_path / "5.jpg")  # to read it would be to wait for ever
    (tmp_path / "6.jpg").symlink_to("/dev/zero")
    (tmp_path / "notes.txt").write_text("no picture either")
    with open_source(str(tmp_path)) as source:
        frames = list(source)
    assert [frame.name for frame in frames] == ["1.png", "2.png", "10.png"]
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert source.skipped == 4


def test_patterns_choose_pictures(tmp_path: Path) -> None:
    for name in ("b10.png", "b2.png", "a1.png", "[x].png"):
        cv2.imwrite(str(tmp_path / name), pictures(1)[0])
    for pattern, expected in {
        "b*.png": ["b2.png", "b10.png"],
        "?1*": ["a1.png", "b10.png"],
        "[x].png": ["[x].png"],
    }.items():
        with open_source(str(tmp_path / pattern)) as source:
            found = [frame.name for frame in source]
        assert found == expected if pattern != "?1*" else set(found) == set(expected)


def test_a_folder_without_pictures_or_with_broken_ones_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no picture in"):
        open_source(str(tmp_path))
    (tmp_path / "3.jpg").write_bytes(b"no picture")
    with open_source(str(tmp_path)) as source, pytest.raises(SourceError, match="1 tried"):
        list(source)


@pytest.mark.parametrize(
    "text", ["ffconcat version 1.0\nfile clip.mp4\n", "#EXTM3U\n#EXTINF:2,\nclip.mp4\n#EXT-X-ENDLIST\n"]
)
def test_a_playlist_that_calls_itself_a_video_opens_no_other_file(text: str, tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4")
    (tmp_path / "evil.mp4").write_text(text)
    with pytest.raises(SourceError, match="cannot be read"):
        open_source(str(tmp_path / "evil.mp4"))
    assert "OPENCV_FFMPEG_CAPTURE_OPTIONS" not in os.environ


def test_a_video_of_monstrous_pictures_is_refused_before_one_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgefer.runtime.sources import _capture

    write_video(tmp_path / "clip.mp4")
    monkeypatch.setattr(_capture, "MAX_PICTURE_PIXELS", 320 * 240 - 1)
    monkeypatch.setattr(_capture.Capture, "ready", lambda _: pytest.fail("it was read"))
    with pytest.raises(SourceError, match="320×240 pixels"):
        open_source(str(tmp_path / "clip.mp4"))


@pytest.mark.parametrize(
    ("name", "image", "expected"),
    [
        ("portrait.jpg", np.full((400, 90, 3), 70, np.uint8), 70),
        ("4k.jpg", np.full((2160, 3840, 3), 70, np.uint8), 70),
        ("dot.png", np.full((1, 1, 3), 70, np.uint8), 70),
        ("grey.png", np.full((20, 30), 70, np.uint8), 70),
        ("grey16.png", np.full((20, 30), 70 * 257, np.uint16), 70),
        ("grey16.tif", np.full((20, 30), 70 * 257, np.uint16), 70),
        ("colour16.png", np.full((20, 30, 3), 70 * 257, np.uint16), 70),
        ("grey16.pgm", np.full((20, 30), 70 * 257, np.uint16), 70),
        ("alpha.png", np.full((20, 30, 4), 70, np.uint8), 70),
        ("alpha16.png", np.full((20, 30, 4), 70 * 257, np.uint16), 70),
        ("opaque.webp", np.full((20, 30, 3), 70, np.uint8), 70),
        ("plain.bmp", np.full((20, 30, 3), 70, np.uint8), 70),
        ("plain.ppm", np.full((20, 30, 3), 70, np.uint8), 70),
        ("100% söß.PNG", np.full((20, 30), 70, np.uint8), 70),
    ],
)
def test_odd_pictures_are_read(name: str, image: np.ndarray, expected: int, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(cv2.imencode(Path(name).suffix.lower(), image)[1].tobytes())
    with open_source(str(tmp_path / name)) as source:
        (frame,) = source
    assert frame.image.shape == (*image.shape[:2], 3)
    assert np.abs(frame.image.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(("depth", "kind"), [(4095, ">u2"), (1000, ">u2"), (15, "u1")])
def test_grey_levels_of_any_depth_are_scaled(depth: int, kind: str, tmp_path: Path) -> None:
    levels = np.linspace(0, depth, 256).round().astype(kind)
    (tmp_path / "x.pgm").write_bytes(f"P5\n16 16\n# a remark\n{depth}\n".encode() + levels.tobytes())
    image = read_picture(tmp_path / "x.pgm")
    assert image is not None
    expected = levels.astype(float) * 255 / depth
    assert np.abs(image[..., 0].ravel() - expected).max() <= 1


def test_what_is_transparent_is_read_as_it_is_stored(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "x.png"), np.dstack([np.full((4, 4), v, np.uint8) for v in (10, 20, 30, 0)]))
    image = read_picture(tmp_path / "x.png")
    assert image is not None
    assert image[0, 0].tolist() == [10, 20, 30]


def test_a_picture_that_the_camera_held_upside_down_is_upright(tmp_path: Path) -> None:
    image = np.zeros((40, 80, 3), np.uint8)
    image[:20] = 255
    for orientation, brightest in ((1, "top"), (3, "bottom"), (6, "right")):
        (tmp_path / "x.jpg").write_bytes(with_orientation(jpeg(image), orientation))
        read = read_picture(tmp_path / "x.jpg")
        assert read is not None
        assert read.shape == ((80, 40, 3) if orientation == 6 else (40, 80, 3))
        halves = {
            "top": read[: len(read) // 2], "bottom": read[len(read) // 2 :],
            "left": read[:, : read.shape[1] // 2], "right": read[:, read.shape[1] // 2 :],
        }  # fmt: skip
        assert max(halves, key=lambda side: float(halves[side].mean())) == brightest


BOMBS = {
    "bomb.png": png(60_000, 60_000),
    "bomb.bmp": b"BM"
    + struct.pack("<IIIIiiHHIIiiII", 58, 0, 54, 40, 30_000, -30_000, 1, 24, 0, 4, 0, 0, 0, 0)
    + b"\0" * 4,
    "bomb.webp": b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<II", 10, 0) + b"\xff\xff\0\xff\xff\0",
    "bomb.ppm": b"P6\n30000 30000\n255\n\0\0\0",
    "bomb.tif": b"II*\0\x08\0\0\0\x03\0"
    + b"".join(struct.pack("<HHII", t, 4, 1, v) for t, v in ((256, 30_000), (257, 30_000), (262, 1)))
    + b"\0\0\0\0",
    "tiles.tif": b"II*\0\x08\0\0\0\x04\0"
    + b"".join(struct.pack("<HHII", t, 4, 1, v) for t, v in ((256, 16), (257, 16), (322, 32_768), (323, 32_768)))
    + b"\0\0\0\0",
    "bomb.jpg": jpeg(np.zeros((16, 16, 3), np.uint8)).replace(b"\x08\x00\x10\x00\x10", b"\x08\xff\xff\xff\xff"),
}


def test_no_bomb_reaches_the_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    for name, data in BOMBS.items():
        (tmp_path / name).write_bytes(data)
        assert read_picture(tmp_path / name) is None, name
        with pytest.raises(SourceError, match="cannot be read"):
            open_source(str(tmp_path / name))


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    for name, data in BOMBS.items():
        (tmp_path / name).write_bytes(data)
    code = (
        "import resource, sys; from pathlib import Path; import cv2\n"
        "from edgefer.preprocess import read_picture\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for name in sys.argv[1:]: assert read_picture(Path(name)) is None, name\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    names = [str(tmp_path / name) for name in BOMBS]
    grown = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=True).stdout
    assert int(grown) < 20_000  # kB


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif", ".ppm"])
def test_a_cut_picture_shows_nothing_of_the_one_before(suffix: str, tmp_path: Path) -> None:
    canary, path = tmp_path / "canary.jpg", tmp_path / f"cut{suffix}"
    canary.write_bytes(jpeg(np.full((120, 160, 3), CANARY, np.uint8)))
    image = cv2.GaussianBlur((RNG.random((120, 160, 3)) * 255).astype(np.uint8), (9, 9), 0)
    whole = cv2.imencode(suffix, image)[1].tobytes()
    for cut in np.linspace(0, len(whole) - 3, 25).astype(int):
        read = read_picture(canary)
        assert read is not None
        assert canaries(read) == 120 * 160
        del read  # its memory is what a careless decoder would show
        path.write_bytes(whole[:cut])
        left = read_picture(path)
        assert left is None or (suffix not in (".jpg", ".png", ".webp") and canaries(left) == 0)


def test_a_jpeg_within_a_jpeg_and_one_with_a_tail(tmp_path: Path) -> None:
    whole = jpeg(pictures(1)[0])
    (tmp_path / "tail.jpg").write_bytes(whole + b"MotionPhoto" * 100)
    assert read_picture(tmp_path / "tail.jpg") is not None
    (tmp_path / "thumb.jpg").write_bytes(
        with_orientation(whole, 1)[:2] + b"\xff\xe5" + struct.pack(">H", 1002) + whole[:1000]
    )
    assert read_picture(tmp_path / "thumb.jpg") is None  # only what is inside a segment is whole
