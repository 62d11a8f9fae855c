"""The camera on a Raspberry Pi's ribbon cable, through picamera2 and libcamera."""

from __future__ import annotations

import queue
import re
from types import ModuleType
from typing import Any

import numpy as np

from edgefer.errors import MissingDependencyError, SourceError
from edgefer.preprocess import Pixels
from edgefer.runtime.frames import CaptureOptions, FrameSource
from edgefer.runtime.sources._stream import Stream
from edgefer.runtime.sources._uris import shown

FORM = "camera on a Raspberry Pi's ribbon cable (picamera2://, picamera2://1)"
ADJUSTABLE = True
SIZE = (1280, 720)
FPS = 30.0
READ_TIMEOUT = 10.0
"""Seconds in which each picture must come."""
NUMPY_ADVICE = (
    "if that is about numpy, the system's packages were made for the numpy before 2, and so for an older OpenCV:"
    " pip install 'numpy<2' 'opencv-python-headless<4.12' in this virtual environment"
)


def matches(uri: str) -> bool:
    """Return whether `uri` begins with `picamera2://`."""
    return uri.lower().startswith("picamera2://")


def open_source(uri: str, options: CaptureOptions) -> FrameSource:
    """Open camera N of `picamera2://N`; raises SourceError when it gives no picture, and when it stops.

    Raises MissingDependencyError when picamera2 cannot be seen from here: it is a package of the system's.
    """
    found = re.fullmatch(r"picamera2://([0-9]{0,2})", uri, re.IGNORECASE)
    if found is None:
        raise SourceError(f"{shown(uri)!r} is no camera: write picamera2:// or picamera2://1")
    module = _module()
    where, number = shown(uri), int(found[1] or 0)
    try:
        cameras = module.Picamera2.global_camera_info()
        if number >= len(cameras):
            raise SourceError(
                f"no camera at {where}: libcamera sees {len(cameras)}; check the cable, rpicam-hello --list-cameras"
            )
        return PiCamera(module.Picamera2(number), options, where)
    except SourceError:
        raise
    except Exception as error:  # libcamera's faults are of many types
        raise SourceError(f"no camera at {where}: {error}; is another program using it?") from error


def _module() -> ModuleType:
    try:
        import picamera2
    except ImportError as error:
        raise MissingDependencyError(
            f"picamera2 cannot be imported ({error}); it does not come from pip: sudo apt install python3-picamera2,"
            " then make the virtual environment with python3 -m venv --system-site-packages"
        ) from error
    except Exception as error:  # modules that were compiled against another numpy raise ValueError
        raise MissingDependencyError(
            f"picamera2 is there and cannot be imported ({' '.join(str(error).split())[:200]}); {NUMPY_ADVICE}"
        ) from error
    return picamera2  # type: ignore[no-any-return]


class PiCamera(Stream):
    """A frame source over a Picamera2, which it starts, and closes at the end; SourceError when no picture comes."""

    live = True

    def __init__(self, camera: Any, options: CaptureOptions, where: str) -> None:
        from edgefer.runtime.sources._capture import wished_size

        self.fps: float | None = options.fps or FPS
        self._camera = camera
        self._where = where
        microseconds = round(1e6 / self.fps)
        try:
            camera.configure(
                camera.create_video_configuration(
                    # Named so, the bytes in memory are blue, green, red.
                    main={"size": wished_size(options, *SIZE), "format": "RGB888"},
                    controls={"FrameDurationLimits": (microseconds, microseconds)},
                )
            )
            camera.start()
            super().__init__()  # time is counted from here
            self._first = self._read()
        except BaseException:
            camera.close()
            raise

    def _close(self) -> None:
        try:
            self._camera.stop()
        finally:
            self._camera.close()

    def _read(self) -> Pixels:
        """Return the next picture. picamera2 itself waits for ever in its older versions, so it has to signal."""
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        try:
            job = self._camera.capture_array("main", wait=False, signal_function=done.put)
            done.get(timeout=READ_TIMEOUT)
            picture = np.asarray(self._camera.wait(job))
        except queue.Empty:
            raise SourceError(
                f"the camera at {self._where} gave no picture for {READ_TIMEOUT:g} s (after {self._index} frames);"
                " check its cable"
            ) from None
        except Exception as error:  # libcamera's faults are of many types
            raise SourceError(
                f"the camera at {self._where} gives no more pictures (after {self._index} frames): {error}"
            ) from error
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] < 3:
            raise SourceError(f"the camera at {self._where} gave {picture.dtype} {picture.shape} in place of a picture")
        return np.ascontiguousarray(picture[:, :, :3])
