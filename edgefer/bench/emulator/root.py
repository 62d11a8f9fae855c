"""What the emulated board runs: Debian's arm64 files, aarch64 packages, the plugin, the board's own /proc and /sys.

Everything is made once and kept in the cache. Each piece is a folder, made beside its place and renamed, so it is there
wholly or not at all; a lock lets one process at a time make something. Its name tells its contents, so nothing that is
there is ever changed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import edgefer
from edgefer import places
from edgefer.bench.emulator import programs
from edgefer.bench.emulator.boards import Board
from edgefer.bench.emulator.process import Finished, run
from edgefer.errors import EmulatorError
from edgefer.files import HeldError, alone

Say = Callable[[str], None]

SUITE = "bookworm"
"""Raspberry Pi OS 12 is made of it; its Python is the one that the packages must be for."""
PYTHON = "3.11"
DEBIAN_PACKAGES = (
    "python3", f"python{PYTHON}-minimal", f"libpython{PYTHON}-stdlib", "libstdc++6", "zlib1g", "libgcc-s1"
)  # fmt: skip
FOLDERS = ("bin", "etc", "lib", "usr")
"""Of Debian's root; the rest of what the emulated program sees is this machine's."""
DISTRIBUTIONS = {"litert": "ai-edge-litert", "onnxruntime": "onnxruntime", "openvino": "openvino"}
"""Engine → its package. tflite-runtime starts a second Python to try a model, which this emulation cannot."""
GLIBC = range(17, 37)
"""Minor versions of the C library 2.x that a package may be built for: the suite has 2.36."""

FETCH_TIMEOUT_S = 1800.0
COMPILE_TIMEOUT_S = 120.0
LOCK_TIMEOUT_S = 3600.0

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Machine:
    """An emulated board that is ready to run Python."""

    board: Board
    root: Path
    """The board's own view of the files: Debian's, with its /proc and /sys."""
    packages: tuple[Path, ...]
    """Folders with the aarch64 packages and with edgefer."""
    plugin: Path
    compiled: Path
    """Where Python keeps what it has compiled, in any run."""

    def command(self, arguments: list[str], counts: Path | None = None) -> list[str]:
        """Return the command that runs Python with `arguments`, counting into the file `counts`."""
        python = self.root / "usr" / "bin" / f"python{PYTHON}"
        plugin = [] if counts is None else ["-plugin", f"{_escaped(self.plugin)},out={_escaped(counts)}"]
        return [
            programs.QEMU, "-cpu", self.board.cpu, "-L", str(self.root), *plugin, str(python), "-s", "-P", *arguments
        ]  # fmt: skip

    def environment(self, home: Path) -> dict[str, str]:
        """Return all of the environment that Python is to have; of this machine's own, only the path to programs."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "TMPDIR": str(home),
            "LANG": "C.UTF-8",
            "CI": "true",  # openvino reports nothing to anyone
            "PYTHONHOME": str(self.root / "usr"),
            "PYTHONPATH": os.pathsep.join(map(str, self.packages)),
            "PYTHONPYCACHEPREFIX": str(self.compiled),
            "PYTHONHASHSEED": "0",
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            # QEMU says of every CPU that it has SHA instructions; OpenSSL must not believe it.
            "OPENSSL_armcap": "0",
        }


def default_folder() -> Path:
    """Return where the pieces are kept, in the user's cache; raises EmulatorError when the user has none."""
    cache = places.cache()
    if cache is None:
        raise EmulatorError("this user has no home to keep the emulator in: set EDGEFER_CACHE_DIR to a folder")
    return cache / "emulator"


def prepare(
    board: Board, engine: str | None = None, folder: Path | None = None, say: Say = lambda line: None
) -> Machine:
    """Return the board with what `engine` needs to run there (None: only Python), made where it is not there yet.

    `folder` is where the pieces are kept (see `default_folder`); `say` is told of what takes seconds. The engine has
    exactly the version that is installed here. Raises EmulatorError: a program is missing, QEMU's version, no network.
    """
    programs.require()
    version = programs.qemu_version()
    pins = () if engine is None else _pins_of(engine)
    folder = (folder or default_folder()).resolve()
    if ":" in str(folder):
        raise EmulatorError(f"the emulator cannot lie in {folder}: Python's list of folders is divided by colons")
    try:
        system = _piece(folder, f"debian-{SUITE}-{_digest(*DEBIAN_PACKAGES)}", _debian, say)
        packages = [_piece(folder, f"edgefer-{_digest(str(_package()))}", _link_edgefer, say)]
        if engine is not None:
            name = f"{engine}-{'-'.join(pin.partition('==')[2] for pin in pins)}-{_digest(*pins, PYTHON)}"
            packages.append(_piece(folder, name, lambda new, say: _fetch(new, pins, say), say))
        sources = [(_HERE / name).read_text(encoding="utf-8") for name in ("plugin.c", "classes.h")]
        plugin = _piece(folder, f"plugin-{version}-{_digest(*sources)}", _compile, say)
        texts = [f"{path}\0{text}" for path, text in board.files().items()]
        name = f"{board.name}-{_digest(system.name, *texts)}"
        root = _piece(folder, name, lambda new, say: _board(new, board, system.name), say)
    except HeldError as error:
        raise EmulatorError(
            f"another edgefer has been preparing the emulator for {LOCK_TIMEOUT_S:.0f} s: end it"
        ) from error
    except OSError as error:
        raise EmulatorError(f"the emulator cannot be kept in {folder}: {error.strerror or error}") from error
    return Machine(board, root, tuple(packages), plugin / "plugin.so", folder / "compiled")


def with_packages(
    machine: Machine, names: tuple[str, ...], folder: Path | None = None, say: Say = lambda line: None
) -> Machine:
    """Return the board with more packages, in the versions that are installed here; raises EmulatorError.

    `folder` is the one that the board was prepared in.
    """
    pins = _pins(names)
    name = f"{'-'.join(pins).replace('==', '-')}-{_digest(*pins, PYTHON)}"
    place = (folder or default_folder()).resolve()
    try:
        more = _piece(place, name, lambda new, say: _fetch(new, pins, say), say)
    except OSError as error:
        raise EmulatorError(f"the emulator cannot be kept in {place}: {error.strerror or error}") from error
    return replace(machine, packages=(*machine.packages, more))


def _piece(folder: Path, name: str, make: Callable[[Path, Say], None], say: Say) -> Path:
    """Return the piece called `name`, made by `make` in an empty folder if it is not there."""
    target = folder / name
    if target.is_dir():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with alone(
        folder / ".lock", LOCK_TIMEOUT_S, lambda: say("another edgefer is preparing the emulator: waiting for it")
    ):
        if target.is_dir():
            return target
        for left in folder.glob(".*.new"):  # of a process that was killed: whoever is alive holds the lock
            shutil.rmtree(left, ignore_errors=True)
        new = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=".new", dir=folder))
        try:
            new.chmod(0o755)
            make(new, say)
            new.rename(target)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return target


def _debian(new: Path, say: Say) -> None:
    say(f"fetching Debian {SUITE} for arm64, 76 MB once unpacked")
    # Packages are only unpacked: that needs neither root nor namespaces, and nothing of them is executed.
    mode = "root" if os.geteuid() == 0 else "chrootless"
    command = ["mmdebstrap", f"--mode={mode}", "--variant=extract", "--architectures=arm64"]
    done = run([*command, f"--include={','.join(DEBIAN_PACKAGES)}", SUITE, new], FETCH_TIMEOUT_S)
    _refuse_failure(done, f"mmdebstrap did not fetch Debian {SUITE} for arm64")
    if not (new / "usr" / "bin" / f"python{PYTHON}").is_file():
        raise EmulatorError(f"mmdebstrap gave a Debian {SUITE} without python{PYTHON}: {done.reason()}")


def _pins_of(engine: str) -> tuple[str, ...]:
    """Return the engine's package and NumPy as pip is asked for them, in the versions that are installed here."""
    if engine not in DISTRIBUTIONS:
        raise EmulatorError(f"{engine} cannot be run on an emulated board; these can: {', '.join(DISTRIBUTIONS)}")
    return _pins((DISTRIBUTIONS[engine], "numpy"))


def _pins(names: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(f"{name}=={metadata.version(name)}" for name in names)
    except metadata.PackageNotFoundError as error:
        raise EmulatorError(
            f"the package {error.name} is not installed here under that name, so its version for Arm is not known:"
            f" pip install {error.name}"
        ) from error


def _fetch(new: Path, pins: tuple[str, ...], say: Say) -> None:
    say(f"fetching {', '.join(pins)} for aarch64 and Python {PYTHON}")
    # What they need in turn has the versions of this machine, too.
    here = {d.metadata["Name"]: d.version for d in metadata.distributions() if d.metadata["Name"]}
    constraints = new / "constraints.txt"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in here.items()), encoding="utf-8")
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in GLIBC] + ["--platform=manylinux2014_aarch64"]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-compile", "--only-binary=:all:", f"--python-version={PYTHON}", "--implementation=cp"]
    done = run([*command, *platforms, "--target", new, "--constraint", constraints, *pins], FETCH_TIMEOUT_S)
    what = f"pip did not get {' and '.join(pins)} for aarch64 and Python {PYTHON}"
    if done.status and "connection broken by" in done.said:
        # pip goes on without an index, and then calls it an error that there is no such package.
        raise EmulatorError(f"{what}: it cannot reach its package index; is there a network?")
    _refuse_failure(done, what)


def _compile(new: Path, say: Say) -> None:
    command = ["gcc", "-std=gnu11", "-O2", "-Wall", "-shared", "-fPIC", "-fvisibility=hidden"]
    done = run([*command, "-o", new / "plugin.so", _HERE / "plugin.c"], COMPILE_TIMEOUT_S)
    _refuse_failure(done, "gcc did not compile the plugin (it needs libc6-dev, too)")


def _package() -> Path:
    return Path(edgefer.__file__).resolve().parent


def _link_edgefer(new: Path, say: Say) -> None:
    """Link edgefer alone: beside it, where it is installed, lie packages for this machine's processor."""
    (new / "edgefer").symlink_to(_package())


def _board(new: Path, board: Board, system: str) -> None:
    for name in FOLDERS:
        (new / name).symlink_to(Path("..") / system / name)
    for name, text in board.files().items():
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        (new / name).write_text(text, encoding="utf-8")


def _refuse_failure(done: Finished, what: str) -> None:
    if done.status:
        raise EmulatorError(f"{what}: {done.reason()}")


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8")).hexdigest()[:12]


def _escaped(path: Path) -> str:
    """Return the path as QEMU reads it in a list of options."""
    return str(path).replace(",", ",,")
