"""Months in minutes: does a run's memory, its threads or its descriptors grow?

    python benchmarks/soak/soak.py                 # 200,000 frames of a looped file, 20,000 of a camera killed 20 times
    python benchmarks/soak/soak.py --file-frames 2000 --camera-frames 1000 --kills 3

Each is the real command `edgefer run` in a process of its own, with JSON, CSV and web preview (somebody watches) as its
outputs. Resident memory, threads and descriptors are read from /proc twice a second. The first tenth counts as warming
up: growth is the highest of the last tenth over the highest of the second tenth.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2

from edgefer.cartoon.clip import clip

CAMERA = Path(__file__).parents[2] / "tests/runtime/mjpeg_camera.py"


@dataclass
class Sample:
    frames: int
    resident_kib: int
    threads: int
    descriptors: int


class Run:
    """`edgefer run` in a process, watched."""

    def __init__(self, source: str, frames: int, folder: Path) -> None:
        self.port = free_port()
        self.frames = 0
        self.samples: list[Sample] = []
        self.summary = folder / "summary.json"
        self.total = frames
        command = [sys.executable, "-m", "edgefer", "run", "--source", source, "--frames", str(frames), "--json"]
        command += ["--csv", str(folder / "faces.csv"), "--serve", str(self.port), "--summary", str(self.summary)]
        self.command = " ".join(["edgefer", *command[3:]])
        self.errors = (folder / "stderr.txt").open("w+")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.errors)
        for work in (self._count, self._sample, self._watch):
            threading.Thread(target=work, daemon=True).start()

    def _count(self) -> None:
        assert self.process.stdout is not None
        for _ in self.process.stdout:
            self.frames += 1

    def _sample(self) -> None:
        status, descriptors = Path(f"/proc/{self.process.pid}/status"), f"/proc/{self.process.pid}/fd"
        while self.process.poll() is None:
            try:
                text = status.read_text()
                resident, threads = (int(re.search(rf"^{key}:\s+(\d+)", text, re.M)[1]) for key in ("VmRSS", "Threads"))  # type: ignore[index]
                self.samples.append(Sample(self.frames, resident, threads, len(os.listdir(descriptors))))
            except (OSError, TypeError):
                break
            if sys.stderr.isatty():
                print(f"\r{self.frames:,} of {self.total:,} frames, {resident // 1024} MiB ", end="", file=sys.stderr)
            time.sleep(0.5)

    def _watch(self) -> None:
        """Look at the preview, as a browser would."""
        while self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/stream", timeout=10) as stream:
                    while stream.read(65536):
                        pass
            except OSError:
                time.sleep(0.5)

    def figures(self, name: str) -> dict[str, object]:
        """Wait for the end; return what was seen."""
        code = self.process.wait()
        self.errors.seek(0)
        said = self.errors.read()
        if code or len(self.samples) < 20:
            raise SystemExit(f"{self.command} ended with {code} after {len(self.samples)} samples:\n{said[-2000:]}")
        tenth = len(self.samples) // 10
        before, after = self.samples[tenth : 2 * tenth], self.samples[-tenth:]
        highest = [max(s.resident_kib for s in part) for part in (before, after)]
        summary = json.loads(self.summary.read_text())
        return {
            "name": name,
            "command": self.command,
            "frames": summary["frames"],
            "seconds": summary["seconds"],
            "reconnects": summary["reconnects"],
            "dropped": summary["dropped"],
            "skipped": summary["skipped"],
            "sink_failures": summary["sink_failures"],
            "resident_mib": [round(kib / 1024, 2) for kib in highest],
            "growth_percent": round(100 * (highest[1] / highest[0] - 1), 2),
            "threads": [max(s.threads for s in before), max(s.threads for s in after)],
            "descriptors": [max(s.descriptors for s in before), max(s.descriptors for s in after)],
            "samples": [asdict(s) for s in self.samples[:: max(1, len(self.samples) // 100)]],
        }


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def from_file(frames: int, folder: Path) -> dict[str, object]:
    """Run over a drawn clip that is shown again and again."""
    path = folder / "clip.mp4"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (320, 180))
    for image, _ in clip(200, (320, 180), faces=1, seed=5):
        video.write(image)
    video.release()
    return Run(f"loop:{path}", frames, folder).figures("looped file")


def from_camera(frames: int, kills: int, folder: Path) -> dict[str, object]:
    """Run over a camera whose process is killed (SIGKILL) and started again, `kills` times."""
    port = free_port()
    camera = start_camera(port)
    run = Run(f"http://127.0.0.1:{port}/cam.mjpg", frames, folder)
    try:
        for kill in range(1, kills + 1):
            while run.frames < frames * kill / (kills + 1) and run.process.poll() is None:
                time.sleep(0.05)
            camera.send_signal(signal.SIGKILL)
            camera.wait()
            time.sleep(1)
            camera = start_camera(port)
        return run.figures("camera killed and restarted") | {"kills": kills}
    finally:
        camera.kill()
        run.process.kill()


def start_camera(port: int) -> subprocess.Popen[bytes]:
    """Start the camera, and wait until it takes connections."""
    command = [sys.executable, str(CAMERA), str(port), "0", "100"]  # 100 pictures, as fast as they are taken
    camera = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert camera.stdout is not None
    if camera.stdout.readline() != b"ready\n":
        raise SystemExit(f"the camera did not start: {' '.join(command)}")
    return camera


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file-frames", type=int, default=200_000)
    parser.add_argument("--camera-frames", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--out", type=Path, help="where the record (JSON) goes")
    arguments = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as name:
        for part in ("file", "camera"):
            (Path(name) / part).mkdir()
        if arguments.camera_frames:
            results.append(from_camera(arguments.camera_frames, arguments.kills, Path(name) / "camera"))
        if arguments.file_frames:
            results.append(from_file(arguments.file_frames, Path(name) / "file"))
    print(f"\n{'':<28}{'frames':>9}{'seconds':>9}{'reconnects':>11}{'MiB':>16}{'growth':>8}{'threads':>9}{'fds':>9}")
    for r in results:
        mib, threads, fds = (f"{r[k][0]} → {r[k][1]}" for k in ("resident_mib", "threads", "descriptors"))  # type: ignore[index]
        print(
            f"{r['name']:<28}{r['frames']:>9,}{r['seconds']:>9.0f}{r['reconnects']:>11}{mib:>16}"
            f"{r['growth_percent']:>7} %{threads:>9}{fds:>9}"
        )
    if arguments.out:
        record = {"machine": platform.machine(), "python": platform.python_version(), "runs": results}
        arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
