"""The doctor: every check on boards that are folders of files, and all of them for real on this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from edgefer import doctor
from edgefer.bundle import Bundle, shipped
from edgefer.commands.doctor import command
from edgefer.devices.profile import load_profile
from edgefer.doctor import Check, Patient, board, cameras, engines, software
from edgefer.runtime import engines as runtimes

BUILD = """
  GUI:                           GTK3
    GTK+:                        YES (ver 3.24.38)
  Video I/O:
    FFMPEG:                      YES
    GStreamer:                   YES (1.22.0)
"""


def write(root: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def program(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def patient(root: Path, device: str = "rpi5", **more: object) -> Patient:
    return replace(Patient(load_profile(device), root=root, folders=(root,)), **more)


def listed(found: doctor.Finding) -> list[Check]:
    return [found] if isinstance(found, Check) else list(found)


def statuses(checks: Iterable[Check]) -> dict[str, str]:
    return {check.name: check.status for check in checks}


@pytest.mark.parametrize(
    ("bits", "status", "found", "advice"),
    [
        ("0x0", "ok", "none since the start", ""),
        ("0x50005", "fail", "now: under-voltage, throttled", "own power supply"),
        ("0x50000", "warn", "since the start: under-voltage, throttled", "own power supply"),
        ("0x80008", "fail", "now: soft temperature limit", "heat sink"),
    ],
)
def test_the_bits_of_a_pi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: str, status: str, found: str, advice: str
) -> None:
    program(tmp_path / "bin", "vcgencmd", f'test "$1" = get_throttled && echo throttled={bits}', monkeypatch)
    (check,) = board.throttling(patient(tmp_path))
    assert check.name == "throttling"
    assert check.status == status
    assert found in check.found
    assert advice in check.advice
    assert bool(check.advice) == (status != "ok")


def test_the_bits_of_the_driver_need_no_program(tmp_path: Path) -> None:
    file = tmp_path / "sys/devices/platform/soc/soc:firmware/get_throttled"
    file.parent.mkdir(parents=True)
    file.write_text("50005\n")
    pi = patient(tmp_path)
    (check,) = board.throttling(replace(pi, profile=replace(pi.profile, throttled_command=())))
    assert (check.status, check.found) == ("fail", "now: under-voltage, throttled (0x50005)")


@pytest.mark.parametrize("script", ["exit 1", "echo VCHI initialization failed"])
def test_a_pi_that_does_not_answer_is_no_pi_without_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    program(tmp_path / "bin", "vcgencmd", script, monkeypatch)
    (check,) = board.throttling(patient(tmp_path))
    assert (check.status, check.found) == ("warn", "unknown")
    assert "group" in check.advice or "usermod" in check.advice


def test_the_counters_of_a_jetson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin", "nvpmodel", "echo NV Power Mode: 15W; echo 0", monkeypatch)
    names = {f"sys/class/hwmon/hwmon3/oc{n}_event_cnt": "0\n" for n in (1, 2, 3)}
    jetson = patient(write(tmp_path, names), "jetson-orin-nano")
    check, mode = board.throttling(jetson)
    assert (check.status, check.found) == ("ok", "none since the start (3 counters)")
    assert (mode.status, mode.found) == ("info", "NV Power Mode: 15W 0")
    write(tmp_path, {"sys/class/hwmon/hwmon3/oc1_event_cnt": "2\n", "sys/class/hwmon/hwmon3/oc3_event_cnt": "37\n"})
    check, _ = board.throttling(jetson)
    assert check.status == "warn"
    assert check.found == "since the start: under-voltage 2 ×, instantaneous over-current 37 ×"
    assert "power supply" in check.advice


def test_the_counters_of_an_intel_pc_count_heat(tmp_path: Path) -> None:
    counter = "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"
    (check,) = board.throttling(patient(write(tmp_path, {counter: "9\n"}), "x86-openvino"))
    assert (check.status, check.found, check.advice) == ("warn", "since the start: heat 9 ×", "better cooling")


@pytest.mark.parametrize(
    ("zones", "status", "found"),
    [
        ({}, "info", "no thermal zone"),
        ({"cpu-thermal": 48850}, "ok", "49 °C (cpu-thermal)"),
        ({"cpu-thermal": 48850, "gpu-thermal": 74000}, "warn", "74 °C (gpu-thermal)"),
        ({"cpu-thermal": 84000}, "warn", "84 °C (cpu-thermal)"),
    ],
)
def test_heat(tmp_path: Path, zones: dict[str, int], status: str, found: str) -> None:
    for n, (kind, value) in enumerate(zones.items()):
        folder = f"sys/class/thermal/thermal_zone{n}"
        write(tmp_path, {f"{folder}/temp": f"{value}\n", f"{folder}/type": f"{kind}\n"})
    check = board.temperature(patient(tmp_path))
    assert (check.status, check.found) == (status, found)


@pytest.mark.parametrize(
    ("governor", "driver", "status"),
    [
        ("ondemand", "cpufreq-dt", "ok"),
        ("powersave", "cpufreq-dt", "warn"),
        ("powersave", "intel_pstate", "ok"),
        (None, None, "info"),
    ],
)
def test_governors(tmp_path: Path, governor: str | None, driver: str | None, status: str) -> None:
    if governor and driver:
        folder = "sys/devices/system/cpu/cpu0/cpufreq"
        files = {"scaling_governor": governor, "scaling_driver": driver, "scaling_cur_freq": "1500000"}
        write(tmp_path, {f"{folder}/{name}": text for name, text in files.items()})
    check = board.governor(patient(tmp_path))
    assert check.status == status
    if governor:
        assert check.found == f"{governor}, now 1500–1500 MHz"


@pytest.mark.parametrize(("free", "status"), [(7_000_000, "ok"), (90_000, "warn"), (None, "info")])
def test_memory(tmp_path: Path, free: int | None, status: str) -> None:
    if free:
        write(tmp_path, {"proc/meminfo": f"MemTotal:  8245248 kB\nMemAvailable:  {free} kB\n"})
    assert board.memory(patient(tmp_path)).status == status


@pytest.mark.parametrize(("free", "status"), [(10_000, "ok"), (300, "warn"), (10, "fail")])
def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, status: str) -> None:
    asked = []

    def usage(path: Path) -> SimpleNamespace:
        asked.append(path)
        return SimpleNamespace(free=free * 2**20)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    (check,) = board.disk(patient(tmp_path, folders=(tmp_path / "not" / "yet",)))
    assert check.status == status
    assert asked == [tmp_path]


def test_the_disk_that_is_looked_at_is_the_one_of_the_downloads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEFER_CACHE_DIR", str(tmp_path / "cache"))
    found = [check.found for check in board.disk(Patient(load_profile("rpi4"), root=tmp_path))]
    assert found[0].endswith(f"free at {Path.cwd()}")
    assert found[1].endswith(f"free at {tmp_path}/cache/models")


def test_a_working_folder_that_was_removed_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    (check,) = doctor.examine(Patient(load_profile("rpi4"), root=tmp_path), [("disk", board.disk)])
    assert (check.name, check.status) == ("disk", "fail")


ARM = "processor : 0\nFeatures : fp asimd {} crc32\nCPU part : {}\n\nprocessor : 1\nFeatures : fp asimd {} crc32\n"


@pytest.mark.parametrize(
    ("text", "status", "found"),
    [
        (ARM.format("", "0xd08", ""), "info", "Cortex-A72, no int8 dot product"),
        (ARM.format("asimddp asimdhp", "0xd0b", "asimddp asimdhp"), "ok", "int8 dot product (asimddp), fp16"),
        (ARM.format("asimddp", "0xd0b", ""), "info", "no int8 dot product"),
        ("model name : Xeon\nflags : fpu avx2 avx512_vnni\n", "ok", "Xeon, int8 dot product (avx512_vnni), AVX2"),
        ("", "info", "unknown processor"),
    ],
)
def test_what_the_processor_can(tmp_path: Path, text: str, status: str, found: str) -> None:
    check = engines.cpu(patient(write(tmp_path, {"proc/cpuinfo": text})))
    assert check.status == status
    assert found in check.found
    assert bool(check.advice) == (status != "ok")


def video(root: Path, devices: dict[str, str], nodes: Iterable[str]) -> Path:
    return write(
        root,
        {f"sys/class/video4linux/{name}/name": f"{title}\n" for name, title in devices.items()}
        | {f"dev/{name}": "" for name in nodes},
    )


def test_cameras_are_told_from_other_video_devices(tmp_path: Path) -> None:
    devices = {"video10": "bcm2835-codec-decode", "video13": "bcm2835-isp", "video2": "HD Webcam", "video0": "unicam"}
    devices |= {"video20": "pispbe-input", "video31": "UVC Camera"}
    checks = listed(cameras.v4l2(patient(video(tmp_path, devices, ["video10", "video13", "video2", "video0"]))))
    assert [(check.status, check.found) for check in checks] == [
        ("info", "/dev/video0: unicam"),
        ("ok", "/dev/video2: HD Webcam"),
        ("warn", "/dev/video31: UVC Camera"),
    ]
    assert "picamera2://" in checks[0].advice
    assert "/dev/video31 is missing" in checks[2].advice


def test_a_camera_that_may_not_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video(tmp_path, {"video0": "HD Webcam"}, ["video0"])
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the tests may run as root
    (check,) = cameras.v4l2(patient(tmp_path))
    assert check.status == "warn"
    assert "usermod -aG video" in check.advice


def test_no_camera(tmp_path: Path) -> None:
    (check,) = cameras.v4l2(patient(video(tmp_path, {"video10": "bcm2835-codec-decode"}, ["video10"])))
    assert (check.status, check.found) == ("warn", "no V4L2 camera")


def test_picamera2_that_the_environment_does_not_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cameras.picamera2(patient(tmp_path)).found == "not installed"
    assert cameras.picamera2(patient(tmp_path)).status == "warn"
    assert cameras.picamera2(patient(tmp_path, "x86")).status == "info"
    (tmp_path / cameras.PICAMERA2).mkdir(parents=True)
    monkeypatch.setattr(cameras, "sees_system_packages", lambda: False)
    check = cameras.picamera2(patient(tmp_path))
    assert check.status == "warn"
    assert "--system-site-packages" in check.advice
    monkeypatch.setattr(cameras, "sees_system_packages", lambda: True)
    assert "/usr/bin/python3" in cameras.picamera2(patient(tmp_path)).advice


def test_picamera2_that_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"site/picamera2/__init__.py": ""})
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert cameras.picamera2(patient(tmp_path)).status == "ok"
    write(tmp_path, {"site/picamera2/__init__.py": "raise ValueError('numpy.dtype size changed')"})
    del sys.modules["picamera2"]
    check = cameras.picamera2(patient(tmp_path))
    assert (check.status, "size changed" in check.found) == ("warn", True)
    assert "pip install 'numpy<2'" in check.advice


def test_libcamera_by_its_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cameras.libcamera(patient(tmp_path)).status == "warn"
    assert cameras.libcamera(patient(tmp_path, "x86")).status == "info"
    program(tmp_path, "rpicam-hello", "exit 0", monkeypatch)
    assert cameras.libcamera(patient(tmp_path)).status == "ok"


def test_what_opencv_can_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    monkeypatch.setattr(cv2, "getBuildInformation", lambda: BUILD)
    assert statuses(cameras.opencv_video(patient(tmp_path))) == {"gstreamer": "ok", "ffmpeg": "ok"}
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: BUILD.replace("YES", "NO "))
    assert statuses(cameras.opencv_video(patient(tmp_path))) == {"gstreamer": "info", "ffmpeg": "warn"}
    assert statuses(cameras.opencv_video(patient(tmp_path, "jetson")))["gstreamer"] == "warn"


@pytest.mark.parametrize(
    ("text", "gui"),
    [
        ("  GUI:                           NONE\n", "NONE"),
        ("  GUI:                           QT5\n    QT:   YES (ver 5.15)\n", "QT5"),
        ("  GUI: \n    GTK+:  YES (ver 3.24)\n    OpenGL support:  NO\n", "GTK+"),
        ("  GUI: \n    GTK+:  NO\n", "NONE"),
        ("", None),
    ],
)
def test_the_toolkit_of_opencv(text: str, gui: str | None) -> None:
    assert cameras.build_answers(text).get("GUI") == gui


def test_the_display(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: BUILD)
    assert cameras.display(patient(tmp_path)).found == "none"
    monkeypatch.setenv("DISPLAY", ":0")
    assert cameras.display(patient(tmp_path)).status == "ok"
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:   NONE\n")
    check = cameras.display(patient(tmp_path))
    assert check.status == "info"
    assert "opencv-python>=" in check.advice


def test_two_opencvs_are_a_fault() -> None:
    check = software.opencv_found({"opencv-python-headless": "4.14", "opencv-python": "4.12"})
    assert check.status == "fail"
    assert "opencv-python-headless 4.14 and opencv-python 4.12" in check.found
    assert "pip uninstall opencv-python-headless opencv-python" in check.advice


def test_an_opencv_without_its_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError("libGL.so.1: cannot open shared object file")

    monkeypatch.setattr(software.importlib, "import_module", missing)
    check = software.opencv_found({"opencv-python": "4.12"})
    assert check.status == "fail"
    assert "libGL.so.1" in check.found
    assert "apt install libgl1" in check.advice


@pytest.mark.parametrize(("year", "status"), [(1970, "warn"), (2026, "ok"), (2106, "warn")])
def test_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, year: int, status: str) -> None:
    monkeypatch.setattr(time, "gmtime", lambda: time.struct_time((year, 1, 1, 0, 0, 0, 0, 1, 0)))
    check = software.clock(patient(tmp_path))
    assert check.status == status
    assert str(year) in check.found


@pytest.mark.parametrize(("version", "status"), [((3, 9, 2), "fail"), ((3, 12, 0), "ok"), ((3, 14, 0), "fail")])
def test_the_version_of_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], status: str
) -> None:
    monkeypatch.setattr(software.sys, "version_info", version)
    assert software.python(patient(tmp_path)).status == status


@pytest.mark.parametrize("extra", ["web", "mqtt"])
def test_extras_that_are_missing_name_their_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: str
) -> None:
    monkeypatch.setattr(software.plugins, "installed", lambda module: False)
    check = {c.name: c for c in software.extras(patient(tmp_path))}[f"extra {extra}"]
    assert check.status == "info"
    assert f"pip install 'edgefer[{extra}]'" in check.advice


def test_every_installed_engine_answers_and_they_agree(tmp_path: Path, tiny_bundle: Bundle) -> None:
    checks = {c.name: c for c in engines.bundle_and_engines(patient(tmp_path, bundle=tiny_bundle.path))}
    formats = {a.format for a in tiny_bundle.artifacts}
    for name in runtimes.installed_engines():
        if runtimes.load(name).FORMAT in formats:
            check = checks[f"engine {name}"]
            assert check.status == ("info" if "built-in kernels" in check.found else "ok"), check
            assert " ms a face on 2 threads" in check.found
    assert checks["bundle"].status == "ok"
    assert checks["agreement"].status in ("ok", "info")


def test_an_engine_that_breaks_does_not_end_the_others(
    tmp_path: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError("libflatbuffers.so: undefined symbol")

    monkeypatch.setattr(runtimes.load("litert"), "Engine", broken)
    checks = {c.name: c for c in engines.bundle_and_engines(patient(tmp_path, bundle=tiny_bundle.path))}
    assert checks["engine litert"].status == "warn"
    assert "undefined symbol" in checks["engine litert"].found
    assert len(checks) == len(runtimes.engine_names()) + 2


def test_a_gpu_that_is_preferred_and_missing_is_told(tmp_path: Path, tiny_bundle: Bundle) -> None:
    if not runtimes.is_installed("onnxruntime"):
        pytest.skip("onnxruntime is not installed")
    jetson = patient(tmp_path, "jetson", bundle=tiny_bundle.path)
    check, answer = engines.engine("onnxruntime", tiny_bundle, engines.test_faces(tiny_bundle), jetson)
    assert answer is not None
    if "TensorrtExecutionProvider" in runtimes.load("onnxruntime").available_providers():
        pytest.skip("this onnxruntime has TensorRT")
    assert check.status == "warn"
    assert "TensorrtExecutionProvider is preferred on jetson-orin-nano, but this onnxruntime has only" in check.advice
    assert engines.providers(jetson).status == "warn"
    assert engines.providers(patient(tmp_path, "rpi5")).status == "ok"


def answer(engine: str, *rows: list[float]) -> engines.Answer:
    return engines.Answer(engine, np.array(rows, np.float32))


def test_engines_that_disagree() -> None:
    sure, other, undecided = [0.9, 0.1], [0.1, 0.9], [0.51, 0.49]
    assert engines.agreement([]).status == "fail"
    assert engines.agreement([answer("a", sure)]).status == "info"
    assert engines.agreement([answer("a", sure), answer("b", sure)]).status == "ok"
    check = engines.agreement([answer("a", sure, sure), answer("b", sure, sure), answer("c", sure, other)])
    assert check.status == "fail"
    assert check.found == "a and c give different labels for 1 faces"
    assert engines.agreement([answer("a", undecided), answer("b", [0.49, 0.51])]).status == "ok"
    assert engines.agreement([answer("a", sure), answer("b", [0.7, 0.3])]).status == "warn"
    assert engines.agreement([answer("a", sure), answer("b", [0.9, float("nan")])]).status in ("warn", "fail")


def test_a_bundle_that_is_broken_is_a_fault_and_the_rest_goes_on(tmp_path: Path) -> None:
    (tmp_path / "bad.edgefer").mkdir()
    checks = doctor.examine(patient(tmp_path, bundle=tmp_path / "bad.edgefer"))
    found = {c.name: c for c in checks}
    assert found["bundle"].status == "fail"
    assert {"python", "temperature", "disk", "display"} <= set(found)
    assert not doctor.well(checks)


def test_a_check_that_raises_is_what_was_found(tmp_path: Path) -> None:
    def explodes(_: Patient) -> Check:
        raise ValueError("no such\nluck")

    def explodes_late(_: Patient) -> Iterable[Check]:
        yield Check("early", "ok", "fine")
        raise KeyError("late")

    def fine(_: Patient) -> Check:
        return Check("after", "ok", "fine")

    checks = doctor.examine(patient(tmp_path), [("a", explodes), ("b", explodes_late), ("c", fine)])
    assert [(c.name, c.status) for c in checks] == [("a", "fail"), ("b", "fail"), ("after", "ok")]
    assert checks[0].found == "ValueError: no such luck"


@pytest.mark.parametrize("name", ["rpi-zero2w", "rpi4", "jetson-nano", "jetson-agx-orin", "x86", "generic"])
def test_a_machine_that_tells_nothing_is_examined_to_the_end(tmp_path: Path, name: str) -> None:
    looks = [(n, look) for n, look in doctor.everything() if n != "engines"]
    checks = doctor.examine(patient(tmp_path / "nothing", name, folders=(tmp_path,)), looks)
    assert not [c for c in checks if "could not be made" in c.advice]
    for check in checks:
        assert check.status in doctor.STATUSES
        assert check.found
        assert "\n" not in check.found + check.advice
        assert check.advice or check.status in ("ok", "info"), check


def run(*arguments: str, code: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    start = "from edgefer.commands.doctor import command; command()"
    return subprocess.run(
        [sys.executable, "-c", code + start, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | environment,
    )


def test_for_real(tmp_path: Path) -> None:
    done = run("--json", EDGEFER_CONFIG_DIR=str(tmp_path))
    answer = json.loads(done.stdout)
    assert set(answer) == {"ok", "checks"}
    for check in answer["checks"]:
        assert set(check) == {"name", "status", "found", "advice"}
        assert check["status"] in doctor.STATUSES
    assert answer["ok"] == all(check["status"] != "fail" for check in answer["checks"])
    assert done.returncode == (0 if answer["ok"] else 1)
    found = {check["name"]: check for check in answer["checks"]}
    assert "XNNPACK" in found["engine litert"]["found"] or found["engine litert"]["status"] == "warn"
    assert found["python"]["status"] == "ok"


def test_a_package_that_cannot_be_imported_leaves_the_rest(tmp_path: Path) -> None:
    done = run("--json", code="import sys; sys.modules['cv2'] = None\n", EDGEFER_CONFIG_DIR=str(tmp_path))
    assert done.returncode == 1
    found = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert found["opencv"]["status"] == "fail"
    assert {"python", "memory", "group video", "camera"} <= set(found)


def test_the_text_ends_with_one_line_that_counts(tmp_path: Path) -> None:
    broken = tmp_path / "x.edgefer"
    broken.mkdir()
    result = CliRunner().invoke(command, [str(broken)])
    assert result.exit_code == 1
    *lines, empty, last = result.stdout.splitlines()
    assert empty == ""
    assert any(line.startswith("fail  bundle ") for line in lines)
    checks = sum(not line.startswith(" ") for line in lines)
    assert last.startswith(f"{checks} checks: ")
    assert " at fault" in last
    columns = {line.index(line.split(None, 2)[1]) for line in lines if not line.startswith(" ")}
    assert columns == {6}


def test_the_bundle_and_the_device_that_are_asked_for_are_looked_at() -> None:
    result = CliRunner().invoke(command, [str(shipped()), "--device", "generic", "--json"])
    found = {check["name"]: check["found"] for check in json.loads(result.stdout)["checks"]}
    assert found["bundle"].startswith(f"{shipped().name.removesuffix('.edgefer')}: ")
    assert found["device"] == "generic: other machine"
