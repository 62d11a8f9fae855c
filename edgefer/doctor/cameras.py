"""Cameras, what OpenCV can open, and the display."""

from __future__ import annotations

import grp
import importlib
import os
import re
import shutil
from collections.abc import Iterator

from edgefer import plugins
from edgefer.devices import board
from edgefer.doctor import Check, Patient
from edgefer.doctor.software import sees_system_packages

NO_CAMERA = ("codec", "isp", "hevc", "rpivid", "pispbe", "jpeg", "vpu", "-enc", "-dec", "m2m", "scaler")
"""Words in the names of video devices that work on pictures and take none."""
RAW = ("unicam", "rp1-cfe", "csi", "vi-output", "tegra-capture")
"""Words in the names of devices that give a CSI camera's raw pixels, which only libcamera or Argus can use."""
LIBCAMERA = ("rpicam-hello", "libcamera-hello", "cam")
PICAMERA2 = "usr/lib/python3/dist-packages/picamera2"


def v4l2(patient: Patient) -> Iterator[Check]:
    """Yield every video device that is a camera, and whether it may be opened."""
    root = patient.root
    cameras = 0
    for folder in sorted(root.glob("sys/class/video4linux/video*"), key=_number):
        title = board.read_text(folder / "name") or "unnamed"
        if any(word in title.lower() for word in NO_CAMERA):
            continue
        cameras += 1
        node = root / "dev" / folder.name
        found = f"/dev/{folder.name}: {title}"
        if not node.exists():
            yield Check("camera", "warn", found, f"/dev/{folder.name} is missing: give it to the container (--device)")
        elif not os.access(node, os.R_OK | os.W_OK):
            advice = "no permission: sudo usermod -aG video $USER, then log in again"
            yield Check("camera", "warn", found, advice)
        elif any(word in title.lower() for word in RAW):
            csi = next((uri for uri in patient.profile.cameras if not uri.isdigit()), "picamera2://")
            yield Check("camera", "info", found, f"a CSI camera's raw pixels: use --source {csi}")
        else:
            yield Check("camera", "ok", found)
    if not cameras:
        advice = "plug one in, or use --source with a stream, a file or demo"
        yield Check("camera", "warn", "no V4L2 camera", advice)


def libcamera(patient: Patient) -> Check:
    """Return whether libcamera's programs are there, which show whether a CSI camera is seen."""
    program = next((found for name in LIBCAMERA if (found := shutil.which(name))), None)
    if program:
        return Check("libcamera", "ok", f"{program}; it lists cameras with --list-cameras (cam: -l)")
    status = "warn" if patient.profile.family == "rpi" else "info"
    return Check(
        "libcamera", status, "no rpicam-hello, libcamera-hello or cam", "for CSI cameras: apt install rpicam-apps"
    )


def picamera2(patient: Patient) -> Check:
    """Return whether this Python sees picamera2, which is a package of the system, not of pip."""
    if plugins.installed("picamera2"):
        try:
            importlib.import_module("picamera2")
        except Exception as error:  # modules that were compiled against another numpy raise ValueError
            from edgefer.runtime.sources.picamera2 import NUMPY_ADVICE

            found = f"seen by this Python, and cannot be imported: {' '.join(str(error).split())[:200]}"
            return Check("picamera2", "warn", found, NUMPY_ADVICE)
        return Check("picamera2", "ok", "seen by this Python; --source picamera2://")
    system = (patient.root / PICAMERA2).is_dir()
    if system and not sees_system_packages():
        advice = "make the environment anew: python3 -m venv --system-site-packages .venv"
        return Check("picamera2", "warn", "installed, but this virtual environment does not see it", advice)
    if system:
        return Check("picamera2", "warn", "installed for another Python", "make the environment with /usr/bin/python3")
    status = "warn" if patient.profile.family == "rpi" else "info"
    advice = "for CSI cameras of a Raspberry Pi: apt install python3-picamera2"
    return Check("picamera2", status, "not installed", advice)


def opencv_video(patient: Patient) -> Iterator[Check]:
    """Yield whether this OpenCV has GStreamer and FFmpeg."""
    import cv2

    built = build_answers(cv2.getBuildInformation())
    gstreamer = built.get("GStreamer", "NO")
    if gstreamer.startswith("YES"):
        yield Check("gstreamer", "ok", f"in this OpenCV: {gstreamer}")
    else:
        status = "warn" if patient.profile.family == "jetson" else "info"
        advice = "for csi:// and gst: sources use the system's OpenCV, see docs/cameras.md"
        yield Check("gstreamer", status, "not in this OpenCV", advice)
    ffmpeg = built.get("FFMPEG", "NO")
    if ffmpeg.startswith("YES"):
        yield Check("ffmpeg", "ok", "in this OpenCV")
    else:
        advice = "video files and rtsp:// need it: pip install 'opencv-python-headless>=4.10,<5'"
        yield Check("ffmpeg", "warn", "not in this OpenCV", advice)


def display(patient: Patient) -> Check:
    """Return whether a window can be shown."""
    import cv2

    screen = next(
        (f"{name}={os.environ[name]}" for name in ("WAYLAND_DISPLAY", "DISPLAY") if os.environ.get(name)), None
    )
    window = build_answers(cv2.getBuildInformation()).get("GUI", "NONE")
    if screen and window != "NONE":
        return Check("display", "ok", f"{screen}, OpenCV shows windows with {window}")
    if screen:
        advice = "for --show: pip uninstall opencv-python-headless, then pip install 'opencv-python>=4.10,<5'"
        return Check("display", "info", f"{screen}, but this OpenCV shows no windows", advice)
    return Check("display", "info", "none", "--show needs one; --serve shows the picture in a browser elsewhere")


def build_answers(text: str) -> dict[str, str]:
    """Return the answers of OpenCV's build information that are asked for here; a heading GUI has its toolkit below."""
    found = {
        key: value for key, value in re.findall(r"^\s*(FFMPEG|GStreamer|GUI):[ \t]*(.*?)[ \t]*$", text, re.MULTILINE)
    }
    if "GUI" in found and not found["GUI"]:
        toolkits = re.search(r"^\s*GUI:[ \t]*\n((?:[ \t]+.*\n)*)", text, re.MULTILINE)
        names = re.findall(r"^\s*([\w+ ]+?):[ \t]*YES", toolkits[1] if toolkits else "", re.MULTILINE)
        found["GUI"] = ", ".join(names) or "NONE"
    return found


def video_group(patient: Patient) -> Check:
    """Return whether the user may open cameras by being in the group video."""
    try:
        group = grp.getgrnam("video").gr_gid
    except KeyError:
        return Check("group video", "info", "this system has no group video")
    if os.geteuid() == 0:
        return Check(
            "group video", "info", "running as root, which may open everything", "use a user in the group video"
        )
    if group in {os.getegid(), *os.getgroups()}:
        return Check("group video", "ok", "you are in it")
    advice = "sudo usermod -aG video $USER, then log in again"
    return Check("group video", "warn", "you are not in it, and may not open cameras", advice)


def _number(path: os.PathLike[str]) -> int:
    found = re.search(r"(\d+)$", os.fspath(path))
    return int(found[1]) if found else -1


EXAMINATIONS = (
    ("camera", v4l2),
    ("libcamera", libcamera),
    ("picamera2", picamera2),
    ("gstreamer and ffmpeg", opencv_video),
    ("display", display),
    ("group video", video_group),
)
