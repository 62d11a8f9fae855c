"""Python, the virtual environment and packages."""

from __future__ import annotations

import importlib
import platform
import re
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from edgefer import __version__, plugins
from edgefer.doctor import Check, Patient

OPENCV = (
    "opencv-python-headless",
    "opencv-python",
    "opencv-contrib-python-headless",
    "opencv-contrib-python",
)
"""Packages that own the same folder `cv2`: whichever was installed last has overwritten parts of the other."""
PACKAGES = ("numpy", *OPENCV, "ai-edge-litert", "onnxruntime", "onnxruntime-gpu", "openvino", "tflite-runtime")
EXTRAS = (("web", "aiohttp", "the web preview (--serve)"), ("mqtt", "paho.mqtt", "MQTT (--mqtt)"))
"""Extra, module that it brings, and what needs it."""
OLDEST, NEWEST = (3, 10), (3, 13)
YEARS = range(2025, 2100)


def python(patient: Patient) -> Check:
    """Return whether this Python is one that edgefer and the wheels of its packages are made for."""
    bits = 8 * struct.calcsize("P")
    found = f"{platform.python_version()}, {bits} bits, {platform.machine()}"
    if bits != 64:
        return Check("python", "fail", found, "the packages have no 32-bit wheels: install a 64-bit system")
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        return Check("python", "fail", found, "use Python 3.10 to 3.13: python3.12 -m venv .venv")
    return Check("python", "ok", found)


def environment(patient: Patient) -> Check:
    """Return in what kind of virtual environment edgefer runs."""
    if sys.prefix == sys.base_prefix:
        advice = "python3 -m venv .venv keeps edgefer's packages and the system's apart"
        return Check("environment", "info", f"no virtual environment, {sys.prefix}", advice)
    sees = "sees the system's packages" if sees_system_packages() else "does not see the system's packages"
    return Check("environment", "ok", f"{sys.prefix}, {sees}")


def sees_system_packages() -> bool:
    """Return whether this Python sees what the system's package manager installed for it."""
    if sys.prefix == sys.base_prefix:
        return True
    text = (Path(sys.prefix) / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace")
    return re.search(r"^include-system-site-packages\s*=\s*true\s*$", text, re.MULTILINE | re.IGNORECASE) is not None


def edgefer(patient: Patient) -> Check:
    """Return which edgefer this is."""
    return Check("edgefer", "ok", f"{__version__}, {Path(__file__).parent.parent}")


def device(patient: Patient) -> Check:
    """Return which profile is used."""
    return Check("device", "ok", f"{patient.profile.name}: {patient.profile.title}")


def packages(patient: Patient) -> Check:
    """Return the versions of the packages that decide speed and result."""
    found = plugins.versions(PACKAGES)
    return Check("packages", "ok", ", ".join(f"{name} {version}" for name, version in found.items()))


def opencv(patient: Patient) -> Check:
    """Return which OpenCV is used: it must be one alone, below 5, with the face detector in it."""
    return opencv_found(plugins.versions(OPENCV))


def opencv_found(installed: dict[str, str]) -> Check:
    """Judge the packages `installed` (name → version) that bring cv2, and the cv2 that they make together."""
    if len(installed) > 1:
        both = " and ".join(f"{name} {version}" for name, version in installed.items())
        advice = (
            f"they overwrite one another's files: pip uninstall {' '.join(installed)},"
            " then pip install 'opencv-python-headless>=4.10,<5'"
        )
        return Check("opencv", "fail", both, advice)
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError as error:
        advice = "pip install 'opencv-python-headless>=4.10,<5'"
        if "libGL" in str(error):
            advice = "opencv-python needs libGL.so.1: apt install libgl1, or take opencv-python-headless instead"
        return Check("opencv", "fail", " ".join(str(error).split())[:200], advice)
    source = " ".join(installed) or "the system's"
    found = f"{cv2.__version__}, {source}, {Path(str(cv2.__file__)).parent}"
    if not hasattr(cv2, "CascadeClassifier"):
        return Check("opencv", "fail", found, "OpenCV 5 has no CascadeClassifier: pip install 'opencv-python<5'")
    if cv2.__version__.startswith("4.11."):
        advice = "4.11 ignores what FFmpeg is allowed to open: pip install 'opencv-python-headless>=4.10,<5,!=4.11.*'"
        return Check("opencv", "warn", found, advice)
    return Check("opencv", "ok", found)


def extras(patient: Patient) -> Iterator[Check]:
    """Yield which optional parts are installed."""
    for extra, module, purpose in EXTRAS:
        if plugins.installed(module):
            yield Check(f"extra {extra}", "ok", f"{module.partition('.')[0]} is installed, for {purpose}")
        else:
            advice = f"for {purpose}: pip install 'edgefer[{extra}]'"
            yield Check(f"extra {extra}", "info", f"{module.partition('.')[0]} is not installed", advice)


def clock(patient: Patient) -> Check:
    """Return whether the clock can be right; boards without a battery begin in the past."""
    now = time.gmtime()
    found = time.strftime("%Y-%m-%d %H:%M UTC", now)
    if now.tm_year in YEARS:
        return Check("clock", "ok", found)
    advice = "set it (timedatectl set-ntp true), or time stamps are wrong and TLS refuses certificates"
    return Check("clock", "warn", found, advice)


EXAMINATIONS = (
    ("python", python),
    ("environment", environment),
    ("edgefer", edgefer),
    ("device", device),
    ("packages", packages),
    ("opencv", opencv),
    ("extras", extras),
    ("clock", clock),
)
