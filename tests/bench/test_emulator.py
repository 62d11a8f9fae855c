"""The emulated board: first what needs no emulator, then the real thing."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from edgefer.bench.emulator import counts, inside, process, programs, root
from edgefer.bench.emulator import run as running
from edgefer.bench.emulator.boards import BOARDS
from edgefer.bench.emulator.counts import Mark
from edgefer.bench.emulator.root import Machine, prepare
from edgefer.bench.emulator.run import Task, emulate, run_python
from edgefer.bench.subjects import drawn_faces
from edgefer.bundle import Bundle
from edgefer.errors import EmulatorError
from edgefer.plugins import installed
from edgefer.runtime.engines import open_engine
from tests.bench.emulated import pieces

SOURCES = Path(root.__file__).parent
INTEGER, SIMD, DOT, LOAD_STORE, BRANCH = range(5)

# The words are what `llvm-mc --triple=aarch64 -show-encoding` gives.
CLASSES = [
    (0x4E829420, DOT, "sdot v0.4s, v1.16b, v2.16b"),
    (0x0E829420, DOT, "sdot v0.2s, v1.8b, v2.8b"),
    (0x6E859483, DOT, "udot v3.4s, v4.16b, v5.16b"),
    (0x4FA2E820, DOT, "sdot v0.4s, v1.16b, v2.4b[3]"),
    (0x2FBCE3BE, DOT, "udot v30.2s, v29.8b, v28.4b[1]"),
    (0x4E22CC20, SIMD, "fmla v0.4s, v1.4s, v2.4s"),
    (0x0E228020, SIMD, "smlal v0.8h, v1.8b, v2.8b"),
    (0x4FA2D020, SIMD, "sqrdmulh v0.4s, v1.4s, v2.s[1]"),
    (0x1F420C20, SIMD, "fmadd d0, d1, d2, d3"),
    (0x1E624020, SIMD, "fcvt s0, d1"),
    (0x9E660020, SIMD, "fmov x0, d1"),
    (0x4F00E400, SIMD, "movi v0.16b, #0"),
    (0x0E22E020, SIMD, "pmull v0.8h, v1.8b, v2.8b"),
    (0x5E0C0420, SIMD, "mov s0, v1.s[1]"),
    (0x4C40A000, LOAD_STORE, "ld1 { v0.16b, v1.16b }, [x0]"),
    (0x0DDF9000, LOAD_STORE, "ld1 { v0.s }[1], [x0], #4"),
    (0x3DC00420, LOAD_STORE, "ldr q0, [x1, #16]"),
    (0xA8C17BFD, LOAD_STORE, "ldp x29, x30, [sp], #16"),
    (0xB8227820, LOAD_STORE, "str w0, [x1, x2, lsl #2]"),
    (0x58000040, LOAD_STORE, "ldr x0, #8"),
    (0xC85FFC20, LOAD_STORE, "ldaxr x0, [x1]"),
    (0xF8200041, LOAD_STORE, "ldadd x0, x1, [x2]"),
    (0xF9800000, LOAD_STORE, "prfm pldl1keep, [x0]"),
    (0x54000040, BRANCH, "b.eq #8"),
    (0x94000004, BRANCH, "bl #16"),
    (0xD65F03C0, BRANCH, "ret"),
    (0xB4000040, BRANCH, "cbz x0, #8"),
    (0x37180040, BRANCH, "tbnz w0, #3, #8"),
    (0xD4000001, BRANCH, "svc #0"),
    (0xD503201F, BRANCH, "nop"),
    (0xD53BD040, BRANCH, "mrs x0, tpidr_el0"),
    (0xD5033BBF, BRANCH, "dmb ish"),
    (0x8B020020, INTEGER, "add x0, x1, x2"),
    (0x91000420, INTEGER, "add x0, x1, #1"),
    (0xB0000000, INTEGER, "adrp x0, #4096"),
    (0xD2A00020, INTEGER, "mov x0, #65536"),
    (0xD3421020, INTEGER, "ubfx x0, x1, #2, #3"),
    (0x9B020C20, INTEGER, "madd x0, x1, x2, x3"),
    (0x9A820020, INTEGER, "csel x0, x1, x2, eq"),
    (0x9AC20820, INTEGER, "udiv x0, x1, x2"),
    (0x1AC24020, INTEGER, "crc32b w0, w1, w2"),
]
CRYPTO = [
    (0x4E284820, "aese v0.16b, v1.16b"),
    (0x4E287820, "aesimc v0.16b, v1.16b"),
    (0x5E024020, "sha256h q0, q1, v2.4s"),
    (0x5E280820, "sha1h s0, s1"),
    (0x5E282820, "sha256su0 v0.4s, v1.4s"),
    (0x0EE2E020, "pmull v0.1q, v1.1d, v2.1d"),
    (0x4EE2E020, "pmull2 v0.1q, v1.2d, v2.2d"),
]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """What the plugin classifies with, compiled for this machine."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc, which compiles the plugin")
    folder = tmp_path_factory.mktemp("classes")
    (folder / "classes.c").write_text(
        '#include "classes.h"\nint which(uint32_t w) { return class_of(w); }\nint secret(uint32_t w)'
        " { return is_crypto(w); }\n"
    )
    command = ["gcc", "-shared", "-fPIC", f"-I{SOURCES}", "-o", folder / "classes.so", folder / "classes.c"]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(folder / "classes.so"))


@pytest.mark.parametrize(("word", "expected", "text"), CLASSES, ids=[c[2] for c in CLASSES])
def test_each_instruction_has_its_class(classifier: ctypes.CDLL, word: int, expected: int, text: str) -> None:
    assert classifier.which(ctypes.c_uint32(word)) == expected
    assert not classifier.secret(ctypes.c_uint32(word))


@pytest.mark.parametrize(("word", "text"), CRYPTO, ids=[c[1] for c in CRYPTO])
def test_aes_and_sha_are_told_from_other_simd(classifier: ctypes.CDLL, word: int, text: str) -> None:
    assert classifier.which(ctypes.c_uint32(word)) == SIMD
    assert classifier.secret(ctypes.c_uint32(word))


def test_python_and_the_plugin_mean_the_same_marker() -> None:
    assert f"MARKER = 0x{inside.MARKER:X}" in (SOURCES / "plugin.c").read_text()


def test_what_linux_tells_on_each_board() -> None:
    four, five = BOARDS["rpi4"], BOARDS["rpi5"]
    assert (four.cpu, four.has_dot, four.has_crypto) == ("cortex-a72", False, False)
    assert (five.cpu, five.has_dot, five.has_crypto) == ("cortex-a76", True, True)
    told = four.files()
    assert told["proc/cpuinfo"].count("CPU part\t: 0xd08\n") == 4
    assert "Model\t\t: Raspberry Pi 4 Model B" in told["proc/cpuinfo"]
    assert told["sys/devices/system/cpu/possible"] == "0-3\n"
    assert told["sys/devices/system/cpu/cpu3/regs/identification/midr_el1"] == "0x00000000410fd083\n"
    assert five.files()["sys/devices/system/cpu/cpu0/regs/identification/midr_el1"] == "0x00000000414fd0b1\n"
    assert not [path for path in told if path.startswith("/") or ".." in path]


# --- what is missing


def script(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def programs_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def stand_ins(programs_of: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Programs that are there, and a QEMU that can be used."""
    said = "case $1 in --version) echo qemu-aarch64 version 7.2.22;; *) echo '-plugin  QEMU_PLUGIN';; esac"
    script(programs_of, "qemu-aarch64", said)
    script(programs_of, "mmdebstrap", "exit 3")
    script(programs_of, "gcc", "exit 1")
    keyring = tmp_path / "keyring"
    keyring.touch()
    monkeypatch.setattr(programs, "KEYRING", keyring)
    return programs_of


def test_all_that_is_missing_is_named_with_one_command(
    programs_of: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(programs, "KEYRING", tmp_path / "no such file")
    lacks = programs.missing()
    assert lacks is not None
    assert lacks.programs == ("qemu-aarch64", "mmdebstrap", "gcc", "Debian's archive keyring")
    assert lacks.command == (
        "apt-get install --no-install-recommends qemu-user mmdebstrap gcc libc6-dev debian-archive-keyring"
    )
    with pytest.raises(EmulatorError, match=r"needs qemu-aarch64, mmdebstrap, gcc, .*not found here: apt-get install"):
        prepare(BOARDS["rpi4"], None, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_nothing_is_missing_when_all_are_there(stand_ins: Path) -> None:
    assert programs.missing() is None
    assert programs.qemu_version() == "7.2.22"


@pytest.mark.parametrize("version", ["6.2.0", "7.1.0", "9.0.0", "10.0.2"])
def test_a_qemu_with_another_plugin_interface_is_refused(stand_ins: Path, tmp_path: Path, version: str) -> None:
    script(stand_ins, "qemu-aarch64", f"echo 'qemu-aarch64 version {version} (Debian)'")
    with pytest.raises(EmulatorError, match=rf"is version {version}; versions 7.2 to 8.2 can"):
        prepare(BOARDS["rpi4"], None, tmp_path / "cache")


def test_a_qemu_without_plugins_is_refused(stand_ins: Path) -> None:
    script(stand_ins, "qemu-aarch64", "echo qemu-aarch64 version 8.2.2")
    with pytest.raises(EmulatorError, match=r"8\.2\.2 takes no plugins"):
        programs.qemu_version()


def test_a_board_that_is_none_is_refused_with_those_that_are(tiny_bundle: Bundle) -> None:
    with pytest.raises(EmulatorError, match="'jetson' cannot be emulated; choose one of: rpi4, rpi5"):
        emulate(tiny_bundle, "jetson", [Task("litert", "int8")], drawn_faces(tiny_bundle, 1))


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgefer.places.cache", lambda: None)
    with pytest.raises(EmulatorError, match="set EDGEFER_CACHE_DIR"):
        root.default_folder()


# --- preparing


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def test_a_failing_download_is_one_line_and_leaves_nothing(stand_ins: Path, tmp_path: Path) -> None:
    said = "echo 'I: trying'; echo 'E: cannot reach http://me:secret@mirror/debian'; echo 'E: mmdebstrap failed to run'"
    script(stand_ins, "mmdebstrap", f"{said}; exit 1")
    with pytest.raises(EmulatorError) as caught:
        prepare(BOARDS["rpi4"], None, tmp_path / "cache")
    assert str(caught.value) == (
        "mmdebstrap did not fetch Debian bookworm for arm64: E: cannot reach http://mirror/debian"
    )
    assert left(tmp_path / "cache") == []


FAKE_DEBIAN = """for last; do :; done
/bin/mkdir -p "$last/usr/bin"
echo > "$last/usr/bin/python3.11\""""


def test_a_package_that_pip_cannot_get_is_one_line_and_leaves_nothing(
    stand_ins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(stand_ins, "mmdebstrap", FAKE_DEBIAN)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(EmulatorError, match=r"pip did not get ai-edge-litert==\S+ and numpy==\S+ for aarch64.*ERROR: "):
        prepare(BOARDS["rpi4"], "litert", tmp_path / "cache")
    assert [name.partition("-")[0] for name in left(tmp_path / "cache")] == ["debian", "edgefer"]


def test_without_a_network_that_is_said_rather_than_that_there_is_no_such_package(
    stand_ins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(stand_ins, "mmdebstrap", FAKE_DEBIAN)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(EmulatorError, match=r"pip did not get ai-edge-litert.*cannot reach its package index"):
        prepare(BOARDS["rpi4"], "litert", tmp_path / "cache")


def test_a_plugin_that_does_not_compile_is_one_line(stand_ins: Path, tmp_path: Path) -> None:
    script(stand_ins, "mmdebstrap", FAKE_DEBIAN)
    script(stand_ins, "gcc", "echo 'plugin.c:19:10: fatal error: fcntl.h: No such file or directory' >&2; exit 1")
    with pytest.raises(EmulatorError, match=r"gcc did not compile the plugin .*libc6-dev.*fatal error: fcntl.h"):
        prepare(BOARDS["rpi4"], None, tmp_path / "cache")


def test_an_engine_that_cannot_be_emulated_is_refused(stand_ins: Path, tmp_path: Path) -> None:
    with pytest.raises(EmulatorError, match="tflite-runtime cannot be run on an emulated board; these can: litert"):
        prepare(BOARDS["rpi4"], "tflite-runtime", tmp_path / "cache")


def test_an_interrupted_preparation_leaves_nothing(tmp_path: Path) -> None:
    def make(new: Path, say: root.Say) -> None:
        (new / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        root._piece(tmp_path, "piece", make, lambda line: None)
    assert left(tmp_path) == []


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys; from edgefer.bench.emulator import root\n"
        "def make(new, say):\n    (new / 'half').touch()\n    os.kill(os.getpid(), 9)\n"
        "root._piece(pathlib.Path(sys.argv[1]), 'piece', make, print)"
    )
    killed = subprocess.run([sys.executable, "-c", code, tmp_path], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [name.startswith(".piece.") for name in left(tmp_path)] == [True]
    made = root._piece(tmp_path, "piece", lambda new, say: (new / "whole").touch(), lambda line: None)
    assert left(tmp_path) == ["piece"]
    assert (made / "whole").is_file()


def test_two_at_once_make_a_piece_once(tmp_path: Path) -> None:
    made: list[Path] = []
    told: list[str] = []

    def make(new: Path, say: root.Say) -> None:
        made.append(new)
        end = time.monotonic() + 20
        while len(told) < 2 and time.monotonic() < end:  # until both others have come
            time.sleep(0.01)
        (new / "whole").touch()

    def prepare_it() -> None:
        found = root._piece(tmp_path, "piece", make, told.append)
        assert (found / "whole").is_file()

    threads = [threading.Thread(target=prepare_it) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(made) == 1
    assert told == ["another edgefer is preparing the emulator: waiting for it"] * 2


# --- running programs


def test_a_program_that_does_not_end_is_ended_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "PATIENCE_S", 0.3)
    number = tmp_path / "child"
    with pytest.raises(EmulatorError, match="sh was ended after 1 s"):
        process.run(["sh", "-c", f"trap '' TERM; sleep 100 & echo $! > {number}; exec sleep 100"], 1.0)
    end = time.monotonic() + 10
    child = Path("/proc") / number.read_text().strip() / "stat"
    while child.exists() and child.read_text().split()[2] != "Z":
        assert time.monotonic() < end, "the child lives"
        time.sleep(0.02)


def test_only_the_end_of_what_a_program_says_is_kept() -> None:
    done = process.run(["sh", "-c", "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; exit 3"], 60.0)
    assert (done.status, done.reason()) == (3, "line 19999")
    assert len(done.said) <= process.KEPT


def test_a_program_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    with pytest.raises(EmulatorError, match="nothing cannot be started: No such file"):
        process.run([tmp_path / "nothing"], 1.0)


# --- what the plugin wrote

WRITTEN = """last 0000005500001234 4e829420
map 5500000000 5500001000 /lib/libc.so.6
map 5500001000 5500002000 /site/libfast.so
mark 10 20 30 40 50 0 0
mark 11 22 33 44 55 2 0
"""


def test_counts_are_read(tmp_path: Path) -> None:
    (tmp_path / "counts").write_text(WRITTEN)
    found = counts.read(tmp_path / "counts")
    assert found.word == 0x4E829420
    assert found.place() == "libfast.so+0x234"
    assert found.marks == (Mark(10, 20, 30, 40, 50, 0, 0), Mark(11, 22, 33, 44, 55, 2, 0))
    executed = counts.between(*found.marks)
    assert asdict(executed) == {"total": 15, "integer": 1, "simd": 2, "dot": 3, "load_store": 4, "branch": 5}


@pytest.mark.parametrize("text", ["", "mark 1 2 3 4 5 6 7\n", "last 12 34\n", "\0" * 100])
def test_counts_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "counts").write_text(text)
    with pytest.raises(EmulatorError, match="malformed"):
        counts.read(tmp_path / "counts")


def test_missing_and_endless_counts_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EmulatorError, match="left no counts"):
        counts.read(tmp_path / "counts")
    (tmp_path / "counts").write_text(WRITTEN)
    monkeypatch.setattr(counts, "MAX_BYTES", 100)
    with pytest.raises(EmulatorError, match="more than 100 bytes"):
        counts.read(tmp_path / "counts")


def test_a_second_thread_in_an_inference_is_refused() -> None:
    with pytest.raises(EmulatorError, match=r"another thread ran during an inference \(3 system calls\)"):
        counts.between(Mark(1, 1, 1, 1, 1, 0, 4), Mark(2, 2, 2, 2, 2, 0, 7))


def marked(crypto: int) -> counts.Counts:
    pairs = [Mark(100 * n, n, n, n, n, crypto, 0) for n in range(2 + 2 * running.INFERENCES + 1)]
    return counts.Counts(tuple(pairs), 0, 0, ())


def test_aes_is_refused_on_a_board_without_it_and_counted_on_the_other() -> None:
    with pytest.raises(EmulatorError, match="litert int8 used 9 AES or SHA instructions, which rpi4 does not have"):
        running._counted(marked(9), BOARDS["rpi4"], "litert int8")
    assert running._counted(marked(9), BOARDS["rpi5"], "litert int8").total == 104
    assert running._counted(marked(0), BOARDS["rpi4"], "litert int8").total == 104


def test_a_process_that_set_too_few_markers_is_refused() -> None:
    few = counts.Counts(marked(0).marks[:-1], 0, 0, ())
    with pytest.raises(EmulatorError, match="12 markers were counted, 13 were set"):
        running._counted(few, BOARDS["rpi4"], "litert int8")


# --- the real thing

BoardOf = Callable[[str], Machine]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pieces(tmp_path_factory)


@pytest.fixture(scope="module")
def board_of(folder: Path) -> BoardOf:
    return lambda name: prepare(BOARDS[name], None, folder)


def machine_code(words: list[int], folder: Path) -> list[str]:
    """Return Python's arguments that call these instructions and then say "ran"."""
    code = f"""import ctypes, mmap
memory = mmap.mmap(-1, 4096, prot=7)
memory.write({struct.pack(f"<{len(words) + 1}I", *words, 0xD65F03C0)!r})
ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))()
print("ran")
"""
    (folder / "code.py").write_text(code)
    return [str(folder / "code.py")]


@pytest.mark.slow
def test_an_instruction_that_the_board_lacks_is_caught_and_named(board_of: BoardOf, tmp_path: Path) -> None:
    arguments = machine_code([0x4E829420], tmp_path)  # sdot v0.4s, v1.16b, v2.16b
    with pytest.raises(EmulatorError) as caught:
        run_python(board_of("rpi4"), arguments, tmp_path, "litert int8")
    assert "litert int8 used an instruction that the cortex-a72 of rpi4 does not have: 0x4e829420 at " in str(
        caught.value
    )
    assert run_python(board_of("rpi5"), arguments, tmp_path, "litert int8").said == "ran\n"


@pytest.mark.slow
def test_the_library_with_the_instruction_is_named(board_of: BoardOf, tmp_path: Path) -> None:
    """A library on disk, as an engine would be: a copy of one, with `sdot` as the first instruction of a function."""
    machine = board_of("rpi4")
    (found,) = (machine.root / "usr/lib/python3.11/lib-dynload").glob("_json.*.so")
    data = bytearray(found.read_bytes())
    first = _functions(bytes(data))["PyInit__json"]
    data[first : first + 4] = struct.pack("<I", 0x4E829420)
    (tmp_path / "_json.so").write_bytes(data)
    code = (
        "import importlib.machinery as m, importlib.util as u;"
        f"s = u.spec_from_file_location('_json', {str(tmp_path / '_json.so')!r});"
        "u.module_from_spec(s)"
    )
    with pytest.raises(EmulatorError, match=r"does not have: 0x4e829420 at _json\.so\+0x[0-9a-f]+; it would end"):
        run_python(machine, ["-c", code], tmp_path, "litert int8")


def _functions(elf: bytes) -> dict[str, int]:
    """Return name → offset in the file of a 64-bit ELF's exported functions, whose code lies at its own address."""
    (sections,) = struct.unpack_from("<Q", elf, 40)
    size, count = struct.unpack_from("<HH", elf, 58)
    headers = [struct.unpack_from("<IIQQQQIIQQ", elf, sections + n * size) for n in range(count)]
    symbols = next(h for h in headers if h[1] == 11)  # the dynamic ones
    names = headers[symbols[6]]
    found = {}
    for at in range(symbols[4], symbols[4] + symbols[5], 24):
        name, info, _, section, value, _ = struct.unpack_from("<IBBHQQ", elf, at)
        if info & 15 == 2 and section:
            text = elf[names[4] + name : elf.index(b"\0", names[4] + name)].decode()
            found[text] = value - headers[section][3] + headers[section][4]
    return found


def mark() -> list[int]:
    """Return the instructions of a marker: its last two are an integer one and the system call."""
    return [
        0xD28007C8,  # mov x8, #62
        0xD2800000 | (inside.MARKER & 0xFFFF) << 5 | 1,  # movz x1, low half
        0xF2A00000 | (inside.MARKER >> 16) << 5 | 1,  # movk x1, high half
        0xD2800002,  # mov x2, #0
        0x92800000,  # mov x0, #-1
        0xD4000001,  # svc #0
    ]


@pytest.mark.slow
@pytest.mark.parametrize("board", BOARDS)
def test_a_known_loop_is_counted_to_the_last_instruction(board_of: BoardOf, tmp_path: Path, board: str) -> None:
    dot = [0x4E829420] if BOARDS[board].has_dot else []
    loop = [
        *dot,  # sdot v0.4s, v1.16b, v2.16b
        0x4E20D400,  # fadd v0.4s, v0.4s, v0.4s
        0x4E284820,  # aese v0.16b, v1.16b
        0xF94003E3,  # ldr x3, [sp]
        0x3DC003E4,  # ldr q4, [sp]
        0x91000529,  # add x9, x9, #1
        0xF101913F,  # cmp x9, #100
    ]
    back = 0x54000001 | (-len(loop) & 0x7FFFF) << 5  # b.ne to the first
    run_python(
        board_of(board), machine_code([*mark(), 0xD2800009, *loop, back, *mark()[-2:]], tmp_path), tmp_path, "a loop"
    )
    before, after = counts.read(tmp_path / "counts.txt").marks
    executed = asdict(counts.between(before, after))
    expected = {"integer": 1 + 200 + 1, "simd": 200, "dot": 100 * len(dot), "load_store": 200, "branch": 100 + 1}
    assert executed == expected | {"total": sum(expected.values())}
    assert after.crypto - before.crypto == 100


@pytest.mark.slow
def test_programs_see_the_board_and_not_this_machine(board_of: BoardOf, tmp_path: Path) -> None:
    code = (
        "import hashlib, platform; hashlib.sha256(bytes(10**6)); print(platform.machine());"
        "print(open('/proc/cpuinfo').read()); print(open('/sys/devices/system/cpu/present').read())"
    )
    said = run_python(board_of("rpi4"), ["-c", code], tmp_path, "a look").said
    assert said.startswith("aarch64\nprocessor\t: 0\n")
    assert "Model\t\t: Raspberry Pi 4" in said
    assert said.rstrip().endswith("0-3")


@pytest.mark.slow
def test_a_failure_inside_is_one_line(board_of: BoardOf, tmp_path: Path) -> None:
    with pytest.raises(EmulatorError, match=r"a test failed on the emulated rpi4: ValueError: too warm$"):
        run_python(board_of("rpi4"), ["-c", "raise ValueError('too warm')"], tmp_path, "a test")
    with pytest.raises(EmulatorError, match="a test was ended on the emulated rpi4 by SIGSEGV"):
        run_python(board_of("rpi4"), ["-c", "import ctypes; ctypes.string_at(8)"], tmp_path, "a test")


@pytest.mark.slow
def test_what_emulates_is_told_with_versions(folder: Path) -> None:
    told = running.emulator("rpi4", folder)
    assert told.cpu == "cortex-a72"
    assert told.program == f"qemu-aarch64 {programs.qemu_version()}"
    assert told.system.startswith("Debian bookworm arm64, Python 3.11.")


@pytest.mark.slow
@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("engine", ["litert", "onnxruntime"])
def test_int8_answers_as_here_and_uses_what_the_board_has(
    folder: Path, tiny_bundle: Bundle, engine: str, board: str
) -> None:
    if not installed({"litert": "ai_edge_litert", "onnxruntime": "onnxruntime"}[engine]):
        pytest.skip(f"{engine} is not installed here, so there is nothing to hold the emulated one against")
    faces = drawn_faces(tiny_bundle, 30)
    told: list[str] = []
    (found,) = emulate(tiny_bundle, board, [Task(engine, "int8")], faces, repeats=2, folder=folder, say=told.append)
    assert found.faces == len(faces) >= 200
    assert found.bit_identical
    assert found.max_difference == 0
    assert not [line for line in told if line.startswith("note:")], "another delegate than here"
    executed = found.instructions
    assert (executed.dot > 0) == BOARDS[board].has_dot
    assert executed.total == executed.integer + executed.simd + executed.dot + executed.load_store + executed.branch
    assert min(executed.integer, executed.simd, executed.load_store, executed.branch) > 10_000
    assert len(found.repeats) == 2
    assert max(found.repeats) <= min(found.repeats) * 1.001


def test_the_host_engine_says_what_is_missing_before_anything_is_fetched(
    stand_ins: Path, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    from edgefer.errors import BundleError

    with pytest.raises(BundleError, match="has no tflite artifact in fp16"):
        emulate(tiny_bundle, "rpi4", [Task("litert", "fp16")], drawn_faces(tiny_bundle, 1), folder=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    assert open_engine(tiny_bundle, "litert", "int8").artifact.precision == "int8"
