"""Run artifacts on an emulated board: the same answers as here? How many instructions? Any that the board lacks?

What is counted is `Engine.run` with one picture, as edgefer calls it: the interpreter's or session's own call, and the
few thousand instructions of Python around it. The bracket of two markers costs 1,300 instructions, which are in it:
0.02 % of `edge-s`. Engines run in one thread.
"""

from __future__ import annotations

import json
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.bench.counted import Emulation, Emulator, Instructions
from edgefer.bench.emulator import counts, inside, programs
from edgefer.bench.emulator.boards import BOARDS, Board
from edgefer.bench.emulator.process import Finished
from edgefer.bench.emulator.process import run as run_process
from edgefer.bench.emulator.root import PYTHON, SUITE, Machine, Say, prepare
from edgefer.bench.opened import open_one
from edgefer.bench.subjects import named
from edgefer.bundle import Bundle, DetectorBundle, Size
from edgefer.errors import EmulatorError
from edgefer.grid import logit
from edgefer.runtime.engines import Answers, LoadedEngine

Pictures = npt.NDArray[np.uint8]

WARMUPS = 10
"""Inferences before the first that is counted: Python and the engines settle in the first few."""
INFERENCES = 5
"""Inferences counted in each process."""
TIMEOUT_S = 1800.0
"""For one process under the emulator."""
MAX_ANSWER_BYTES = 10_000
_SVC = 0xD4000001
"""A system call: the last instruction when something raised the signal on purpose, rather than by an instruction."""


@dataclass(frozen=True)
class Task:
    """An artifact, by its precision, in an engine."""

    engine: str
    precision: str
    size: Size | None = None
    """Height and width of the pictures that a detector's artifact takes."""

    def __str__(self) -> str:
        return named(self.engine, self.precision, self.size)


def find_board(name: str) -> Board:
    """Return the board called `name`; raises EmulatorError with the names that exist."""
    if name not in BOARDS:
        raise EmulatorError(f"{name!r} cannot be emulated; choose one of: {', '.join(BOARDS)}")
    return BOARDS[name]


def emulator(board: str, folder: Path | None = None, say: Say = lambda line: None) -> Emulator:
    """Return what emulates `board`, prepared where it is not there yet; raises EmulatorError."""
    machine = prepare(find_board(board), None, folder, say)
    with tempfile.TemporaryDirectory(prefix="edgefer-") as home:
        done = run_process(machine.command(["-V"]), TIMEOUT_S, machine.environment(Path(home)))
    if done.status:
        raise EmulatorError(f"Python does not run on the emulated {board}: {done.reason()}")
    return Emulator(
        cpu=machine.board.cpu,
        program=f"{programs.QEMU} {programs.qemu_version()}",
        system=f"Debian {SUITE} arm64, {done.said.strip()}",
    )


def emulate(
    bundle: Bundle | DetectorBundle,
    board: str,
    tasks: Sequence[Task],
    faces: Pictures,
    *,
    repeats: int = 3,
    folder: Path | None = None,
    say: Say = lambda line: None,
) -> list[Emulation]:
    """Run each task on the emulated `board` and on this host, on all `faces`, uint8 [n, size, size, 1], n ≥ 1.

    Of a detector they are pictures [n, height, width, 1] of the size that all tasks have.
    `repeats` fresh processes each count a few inferences of the first face. `folder` is where the emulator's pieces are
    kept (see root.default_folder); `say` is told what is going on, a line at a time.

    int8 files of edgefer answer bit for bit as here in litert and onnxruntime. Others need not: TFLite's own int8
    softmax rounds differently on Arm, and so do onnxruntime's sums near the middle of two steps.

    Raises EmulatorError: something is missing, an engine ended, or used an instruction that the board lacks;
    EngineError, MissingDependencyError or BundleError when an artifact cannot be run here.
    """
    target = find_board(board)
    if repeats < 1 or not len(faces):
        raise ValueError(f"at least one repeat and one face, found {repeats} and {len(faces)}")
    try:
        return [_emulate(bundle, target, task, faces, repeats, folder, say) for task in tasks]
    except OSError as error:
        raise EmulatorError(
            f"the files of the emulated board cannot be written or read in {tempfile.gettempdir()}:"
            f" {error.strerror or error}; TMPDIR names another folder"
        ) from error


def _emulate(
    bundle: Bundle | DetectorBundle,
    board: Board,
    task: Task,
    faces: Pictures,
    repeats: int,
    folder: Path | None,
    say: Say,
) -> Emulation:
    what = str(task)
    here = open_one(bundle, task.engine, task.precision, task.size)
    try:
        expected = here.engine.run(faces)
    finally:
        here.engine.close()
    machine = prepare(board, task.engine, folder, say)
    counted: list[Instructions] = []
    with tempfile.TemporaryDirectory(prefix="edgefer-") as name:
        work = Path(name)
        (work / "faces.u8").write_bytes(np.ascontiguousarray(faces).tobytes())
        for repeat in range(repeats):
            say(f"{board.name}: {what}, process {repeat + 1} of {repeats}")
            # A new folder each time, with a name of the same length: nothing may depend on what was there.
            with tempfile.TemporaryDirectory(prefix="process-", dir=work) as process:
                request = _request(bundle, task, work / "faces.u8", faces.shape, compare=repeat == 0)
                answer = _run_inside(machine, request, Path(process), what)
                counted.append(_counted(counts.read(Path(process) / "counts.txt"), board, what))
                if repeat == 0:
                    found = _answers(Path(process) / "answers.f32", expected, what)
    if answer["version"] != here.engine.version:
        raise EmulatorError(
            f"{what} is version {answer['version']} on the emulated board and {here.engine.version} here; remove"
            f" {machine.packages[-1]} and run it again"
        )
    if answer["provider"] != here.engine.provider:
        say(f"note: {what} runs in {answer['provider']} on the emulated board, in {here.engine.provider} here")
    same = _alike(bundle, expected, found)
    return _emulation(here, task, answer, expected, found, same, counted)


def _emulation(
    here: LoadedEngine,
    task: Task,
    answer: dict[str, str],
    expected: Answers,
    found: Answers,
    same: float,
    counted: list[Instructions],
) -> Emulation:
    return Emulation(
        engine=task.engine,
        engine_version=answer["version"],
        provider=answer["provider"],
        artifact=here.artifact.path,
        precision=here.artifact.precision,
        bytes=here.artifact.bytes,
        faces=len(expected),
        bit_identical=found.tobytes() == np.ascontiguousarray(expected, np.float32).tobytes(),
        same_label=same,
        max_difference=float(np.abs(found - expected).max()),
        instructions=counts.middle(counted),
        repeats=tuple(one.total for one in counted),
        size=task.size,
    )


def _alike(bundle: Bundle | DetectorBundle, expected: Answers, found: Answers) -> float:
    """Return the part of the pictures with the same label; of a detector, with faces in the same cells."""
    if not isinstance(bundle, DetectorBundle):
        return float((found.argmax(axis=1) == expected.argmax(axis=1)).mean())
    faces = [grids[..., 0] >= logit(bundle.threshold) for grids in (expected, found)]
    return float((faces[0] == faces[1]).all(axis=(1, 2)).mean())


def _request(
    bundle: Bundle | DetectorBundle, task: Task, faces: Path, shape: tuple[int, ...], compare: bool
) -> dict[str, Any]:
    return {
        "bundle": str(bundle.path.resolve()),
        "faces": str(faces),
        "shape": shape,
        "engine": task.engine,
        "precision": task.precision,
        "size": task.size,
        "warmups": WARMUPS,
        "inferences": INFERENCES,
        "compare": compare,
    }


def _run_inside(machine: Machine, request: dict[str, Any], folder: Path, what: str) -> dict[str, str]:
    """Run one process under the emulator in `folder` and return its answer; its files stay there."""
    (folder / "task.json").write_text(json.dumps(request), encoding="utf-8")
    run_python(machine, ["-m", inside.__name__, str(folder / "task.json")], folder, what)
    with (folder / "answer.json").open("rb") as file:
        answer: dict[str, Any] = json.loads(file.read(MAX_ANSWER_BYTES))
    return {name: str(answer[name]) for name in ("version", "provider")}


def run_python(machine: Machine, arguments: list[str], folder: Path, what: str) -> Finished:
    """Run Python on the emulated board in `folder`, where it leaves counts.txt.

    Raises EmulatorError that names `what` when it fails, and the instruction when it used one that the board lacks.
    """
    count_file = folder / "counts.txt"
    done = run_process(machine.command(arguments, count_file), TIMEOUT_S, machine.environment(folder), folder)
    if done.status == -signal.SIGILL:
        board, last = machine.board, counts.read(count_file)
        where = "" if last.word == _SVC else f": {last.word:#010x} at {last.place()}"
        raise EmulatorError(
            f"{what} used an instruction that the {board.cpu} of {board.name} does not have{where};"
            " it would end there with SIGILL"
        )
    if done.status < 0:
        raise EmulatorError(
            f"{what} was ended on the emulated {machine.board.name} by {signal.Signals(-done.status).name}:"
            f" {done.reason()}"
        )
    if done.status:
        raise EmulatorError(f"{what} failed on the emulated {machine.board.name}: {done.reason()}")
    return done


def _counted(found: counts.Counts, board: Board, what: str) -> Instructions:
    """Return the middle one of the inferences of a process; raises EmulatorError when something is wrong with them."""
    marks = found.marks
    if len(marks) != 2 + 2 * INFERENCES + 1:
        raise EmulatorError(
            f"{what}: {len(marks)} markers were counted, {2 * INFERENCES + 3} were set (Python {PYTHON}, plugin.c);"
            " this is a fault of edgefer"
        )
    if marks[-1].crypto and not board.has_crypto:
        raise EmulatorError(
            f"{what} used {marks[-1].crypto} AES or SHA instructions, which {board.name} does not have;"
            " it would end there with SIGILL"
        )
    pairs = zip(marks[2:-1:2], marks[3:-1:2], strict=True)
    return counts.middle([counts.between(before, after) for before, after in pairs])


def _answers(path: Path, expected: Answers, what: str) -> Answers:
    """Return what was answered on the emulated board, float32 of the same shape as `expected`."""
    with path.open("rb") as file:
        data = file.read(expected.size * 4 + 1)
    if len(data) != expected.size * 4:
        raise EmulatorError(f"{what} gave {len(data)} bytes on the emulated board where {expected.size * 4} were due")
    found = np.frombuffer(data, np.float32).reshape(expected.shape)
    if not np.isfinite(found).all():
        raise EmulatorError(f"{what} gave answers on the emulated board that are no numbers")
    return found
