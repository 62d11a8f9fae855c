"""Opens one artifact of a bundle, of whichever kind it is, to be measured. It needs no OpenCV."""

from __future__ import annotations

from collections.abc import Sequence

from edgefer.bundle import Bundle, DetectorBundle, Size
from edgefer.runtime.engines import LoadedEngine, load, open_artifact, open_engine


def open_one(
    bundle: Bundle | DetectorBundle,
    engine: str,
    precision: str,
    size: Size | None = None,
    threads: int = 1,
    providers: Sequence[str] = (),
    *,
    probe: bool = True,
) -> LoadedEngine:
    """Load the artifact in the engine; `size` is that of a detector's pictures, `probe` is of a classifier.

    Raises EngineError, MissingDependencyError or BundleError.
    """
    if isinstance(bundle, DetectorBundle):
        artifact = bundle.sized(load(engine).FORMAT, precision, size)
        return open_artifact(bundle, artifact, engine, threads, providers)
    return open_engine(bundle, engine, precision, threads, providers, probe=probe)
