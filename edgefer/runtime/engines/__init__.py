"""Engines: one runtime a file, all with one contract.

A file defines `FORMAT` (what it runs), `MODULE` (the package it needs), `EXTRA` (what brings that; None = the base
install) and a class `Engine(contents, threads, providers=())`, of which only onnxruntime uses the providers. Pictures
go in as uint8 [n, h, w, 1]; what the model says of each comes out as float32, of a classifier probabilities [n, k], of
a face detector a grid [n, rows, columns, 15]. Scale and zero point never leave the engine. On a CPU an answer never
depends on which pictures stand beside it: they run one by one, which is as fast there. What a runtime raises while it
runs becomes an EngineError. The file knows nothing of the bundle's temperature: `open_engine` puts that around the
engine, the same for all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edgefer import plugins, quiet
from edgefer.bundle import Artifact, Bundle, Stored
from edgefer.errors import EngineError, MissingDependencyError

Pictures = npt.NDArray[np.uint8]
Answers = npt.NDArray[np.float32]
Probabilities = Answers
"""Answers of a classifier, [n, k]."""


class Engine(Protocol):
    """One loaded model in one runtime."""

    provider: str
    """What really runs it, such as `XNNPACK` or `CPUExecutionProvider`."""
    version: str
    """Version of the runtime."""

    def run(self, pictures: Pictures) -> Answers:
        """Return the model's answers float32 [n, …] for pictures uint8 [n, h, w, 1].

        Raises EngineError for other input.
        """

    def close(self) -> None:
        """Release the model."""


@dataclass(frozen=True)
class LoadedEngine:
    """An engine with the model that it holds and what it is called."""

    engine: Engine
    name: str
    artifact: Artifact


def engine_names() -> list[str]:
    """Return every engine that edgefer knows, installed or not."""
    return plugins.names(__name__)


def load(name: str) -> ModuleType:
    """Return the engine's module without importing its runtime; raises EngineError for an unknown name."""
    return plugins.load(__name__, name, EngineError, "engine")


def is_installed(name: str) -> bool:
    """Return whether the engine's runtime is installed, without importing it."""
    return plugins.installed(load(name).MODULE)


def installed_engines() -> list[str]:
    """Return the engines whose runtime is installed."""
    return [name for name in engine_names() if is_installed(name)]


def how_to_install(name: str) -> str:
    """Return the command that installs the engine's runtime."""
    extra = load(name).EXTRA
    return f"pip install 'edgefer[{extra}]'" if extra else "pip install 'edgefer'"


def open_engine(
    bundle: Bundle,
    name: str,
    precision: str | None = None,
    threads: int = 1,
    providers: Sequence[str] = (),
    *,
    probe: bool = True,
) -> LoadedEngine:
    """Load the bundle's artifact for the engine `name`; without `precision`, int8 before fp16 before fp32.

    Its probabilities are those of the model brought to the bundle's temperature. `providers` are the execution
    providers that onnxruntime is to use, in order of preference, those that it has; the CPU's always comes last.
    Without `probe` the first inference, which shows that the answer has the right shape, is left to the caller.
    Raises EngineError (unknown, or refuses the model), MissingDependencyError (names the extra), BundleError.
    """
    module = _installed(name)
    loaded = open_artifact(bundle, bundle.artifact(module.FORMAT, precision), name, threads, providers)
    if probe:
        try:
            _check_answer(loaded.engine, bundle, f"{loaded.artifact.path} in {name}")
        except BaseException:
            loaded.engine.close()
            raise
    return replace(loaded, engine=_with_temperature(loaded.engine, bundle.temperature))


def open_artifact(
    bundle: Stored, artifact: Artifact, name: str, threads: int = 1, providers: Sequence[str] = ()
) -> LoadedEngine:
    """Load one artifact of a bundle of any kind in the engine `name`, which gives what the model gives, unchecked.

    Raises EngineError (unknown, or refuses the model), MissingDependencyError (names the extra), BundleError.
    """
    module = _installed(name)
    contents = [bundle.read(file) for file in (artifact.file, *artifact.companions)]
    try:
        engine = module.Engine(contents, max(1, threads), providers)
    except EngineError:
        raise
    except Exception as error:  # each runtime has its own exceptions; all mean that it refuses the model
        raise EngineError(f"{name} cannot load {artifact.path}: {_first_line(error)}") from error
    return LoadedEngine(engine, name, artifact)


def _installed(name: str) -> ModuleType:
    """Return the engine's module; raises EngineError for an unknown one, MissingDependencyError without its package."""
    module = load(name)
    if not is_installed(name):
        raise MissingDependencyError(
            f"the engine {name} needs the package {module.MODULE.split('.')[0]!r}, which is not installed:"
            f" {how_to_install(name)}"
        )
    return module


def _check_answer(engine: Engine, bundle: Bundle, what: str) -> None:
    size = bundle.preprocess.size
    answer = engine.run(np.zeros((1, size, size, 1), np.uint8))
    if answer.shape != (1, len(bundle.labels)):
        values = answer.shape[-1] if answer.ndim == 2 else "×".join(map(str, answer.shape[1:]))
        raise EngineError(f"{what} gives {values} values, but the bundle has {len(bundle.labels)} labels")


def passed_over(loaded: LoadedEngine, providers: Sequence[str]) -> str | None:
    """Return why the first of the preferred providers is not what runs; None when it is, or the engine has none."""
    available = getattr(load(loaded.name), "available_providers", None)
    if available is None or not providers or loaded.engine.provider == providers[0]:
        return None
    has: list[str] = available()
    if providers[0] in has:
        return f"this onnxruntime has it and could not start it; {loaded.engine.provider} runs"
    if len(has) == 1:
        return f"this onnxruntime has only {has[0]}"
    return f"this onnxruntime has only {', '.join(has)}; {loaded.engine.provider} runs"


def calibrated(probabilities: Probabilities, temperature: float) -> Probabilities:
    """Return softmax(logits / temperature), float32 [n, k], for probabilities = softmax(logits), float32 [n, k].

    That is p^(1/temperature), brought back to a sum of 1. A 0, which int8 gives for less than 1/512, stays 0. The most
    likely label of each row stays what it was.
    """
    p = np.maximum(probabilities, 0.0, dtype=np.float64)
    # Relative to the largest, which becomes 1: no power of it can vanish, and the sum of a row is 1 or more, or 0.
    largest = p.max(axis=1, keepdims=True)
    p /= np.where(largest > 0, largest, 1.0)
    p **= 1.0 / temperature
    p /= np.maximum(p.sum(axis=1, keepdims=True), 1.0)
    result = p.astype(np.float32)
    _keep_labels(result, probabilities.argmax(axis=1))
    return result


def _keep_labels(result: Probabilities, labels: npt.NDArray[np.intp]) -> None:
    """Where two were so close that float32 cannot tell them apart now, put the one that led one step ahead again."""
    lost = np.flatnonzero(result.argmax(axis=1) != labels)
    result[lost, labels[lost]] = np.nextafter(result[lost].max(axis=1), np.float32(2))


def _with_temperature(engine: Engine, temperature: float) -> Engine:
    return engine if temperature == 1.0 else _Calibrated(engine, temperature)


class _Calibrated:
    """An engine whose probabilities are brought to a temperature."""

    def __init__(self, engine: Engine, temperature: float) -> None:
        self.provider = engine.provider
        self.version = engine.version
        self._engine = engine
        self._temperature = temperature

    def run(self, pictures: Pictures) -> Probabilities:
        """Return probabilities float32 [n, k] for pictures uint8 [n, h, w, 1]."""
        return calibrated(self._engine.run(pictures), self._temperature)

    def close(self) -> None:
        """Release the model."""
        self._engine.close()


def choose(bundle: Stored, preferred: Iterable[str]) -> tuple[str, list[str]]:
    """Return the first engine of `preferred` that is installed and that the bundle has a model for, and why not others.

    Raises EngineError when there is none.
    """
    notes: list[str] = []
    formats = {a.format for a in bundle.artifacts}
    for name in preferred:
        module = load(name)
        if not is_installed(name):
            notes.append(f"{name} is not installed ({how_to_install(name)})")
        elif module.FORMAT not in formats:
            notes.append(f"{name} needs a {module.FORMAT} artifact, which the bundle lacks")
        else:
            return name, notes
    if formats == {"keras"}:
        raise EngineError(
            f"{bundle.path} holds training weights only; make it runnable: edgefer export {bundle.path} --int8"
        )
    raise EngineError(f"no engine can run {bundle.path}: {'; '.join(notes) or 'none was named'}")


def checked(pictures: Pictures) -> Pictures:
    """Return `pictures`, contiguous, when they are uint8 [n, h, w, 1]; raises EngineError otherwise."""
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[3] != 1:
        raise EngineError(f"engines take uint8 [n, h, w, 1], found {pictures.dtype} {list(pictures.shape)}")
    return np.ascontiguousarray(pictures)


_opened: set[str] = set()


@contextlib.contextmanager
def quiet_at_first(name: str) -> Iterator[None]:
    """Keep what a runtime says on the terminal when this process opens it for the first time to itself.

    Only then: a later opening may fall in a run, whose sinks would lose what they write in that moment.
    """
    first = name not in _opened
    _opened.add(name)
    with quiet.native_chatter_silenced() if first else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def running(name: str) -> Iterator[None]:
    """Turn what a runtime raises while it runs into an EngineError that names the engine, which can be reopened."""
    try:
        yield
    except EngineError:
        raise
    except Exception as error:  # each runtime has its own exceptions
        raise EngineError(f"{name} failed while it ran the model: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
