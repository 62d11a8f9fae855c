"""Search: precision × pruning × calibration × engine for a target device, and one artifact recommended.

Each variant of the network is one export into a bundle of its own in the search folder, with a record of what was
measured beside it, so that an interrupted search goes on where it was. Everything is measured first; what may be
recommended is decided from the table.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgefer import __version__, files
from edgefer.bundle import MANIFEST, Bundle, Recommendation, open_bundle, write_bundle
from edgefer.devices.profile import DeviceProfile, detect
from edgefer.errors import BundleError, EngineError, ExportError
from edgefer.optimize import exporters, plan, worker
from edgefer.optimize.convert import FORMATS, PRECISIONS
from edgefer.optimize.export import ExportResult, export
from edgefer.optimize.memory import peak_activation_bytes
from edgefer.optimize.plan import Plan
from edgefer.optimize.search_table import Row, SearchResult, recommend
from edgefer.optimize.tune import Tuning
from edgefer.optimize.verify import MAX_DROP, Parity
from edgefer.runtime import engines
from edgefer.train.data import Dataset

EVERYTHING = 100.0
"""Points that a variant may lose to be measured; what may be recommended is decided afterwards."""
BEGUN, FOUND, STATES = "begun.json", "search.json", "stages"
"""Files of a search folder: that it is one, what came of it, and the fine-tuning that variants share."""


@dataclass(frozen=True)
class Search:
    """What to try."""

    precisions: tuple[str, ...] = PRECISIONS
    narrow: tuple[Tuning, ...] = ()
    """Amounts of structured pruning, each a variant."""
    qat: Tuning | None = None
    """Quantization-aware training of every variant, besides int8 after training."""
    max_drop: float = MAX_DROP
    """Points of accuracy that what is recommended may lose against the trained network."""


@dataclass(frozen=True)
class Variant:
    """One network to export."""

    name: str
    tunings: tuple[Tuning, ...] = ()

    @property
    def trains_rounding(self) -> bool:
        """Return whether its int8 comes of quantization-aware training; its float forms are another variant's."""
        return any(tuning.stage == "qat" for tuning in self.tunings)


def variants(wanted: Search) -> tuple[Variant, ...]:
    """Return the variants to make, in order; each one's float network comes before its int8-trained form."""
    found: list[Variant] = []
    for tuning in (None, *wanted.narrow):
        name, tunings = ("as-trained", ()) if tuning is None else (f"narrow-{tuning.amount:g}", (tuning,))
        found.append(Variant(name, tunings))
        if wanted.qat is not None and "int8" in wanted.precisions:
            found.append(Variant("qat" if tuning is None else f"{name}-qat", (*tunings, wanted.qat)))
    return tuple(found)


def formats(target: DeviceProfile) -> tuple[str, ...]:
    """Return the formats whose engines the target knows and this machine has; raises ExportError for none."""
    found = [f for f in FORMATS if exporters.load(f).ENGINE in target.engines]
    here = tuple(f for f in found if engines.is_installed(exporters.load(f).ENGINE))
    if not here:
        names = [exporters.load(f).ENGINE for f in found]
        raise ExportError(
            f"nothing to measure for {target.name}: of its engines ({', '.join(target.engines)}), an export is possible"
            f" for {', '.join(names) or 'none'}, and none of these is installed here"
        )
    return here


def search(
    bundle: Bundle,
    train: Dataset,
    validation: Dataset,
    target: DeviceProfile,
    wanted: Search,
    out: Path,
    *,
    resume: bool = False,
    keep: bool = False,
    tune_on: Dataset | None = None,
    listener: worker.Listener | None = None,
) -> SearchResult:
    """Make and measure every variant, and write the recommended one's bundle to `out`.

    The data are as for `export`. Variants lie in `out`.search until the search ends with a recommendation, and after
    it with `keep`; `resume` goes on from there. A variant that cannot be made is listed with the reason.

    Raises BundleError when `out` exists, ExportError when no variant can be made or the search folder is of another
    search, and what `export` raises for the data and for packages that are missing.
    """
    listen = listener or (lambda message: None)
    if out.exists():
        raise BundleError(f"{out} exists; choose another name or remove it")
    made = formats(target)
    plans = {
        v: Plan(formats=made, precisions=wanted.precisions, tunings=v.tunings, max_drop=EVERYTHING)
        for v in variants(wanted)
    }
    for planned in plans.values():
        plan.check(planned, bundle)
    folder = out.with_name(out.name + ".search")
    _begin(folder, resume)
    work = _Work(folder, bundle, train, validation, tune_on, listen)
    records: dict[str, dict[str, Any]] = {}
    for number, (variant, planned) in enumerate(plans.items(), 1):
        listen({"variant": variant.name, "number": number, "variants": len(plans)})
        records[variant.name] = work.finished(variant, planned) or work.make(variant, planned)
    result = _result(target, wanted, records)
    files.write_text(folder / FOUND, json.dumps(result.as_dict(), indent=1) + "\n")
    if result.recommended is None:
        return result
    result = replace(result, bundle=_crown(result, folder, out))
    shutil.rmtree(folder / STATES if keep else folder, ignore_errors=True)
    return result


@dataclass(frozen=True)
class _Work:
    """Makes variants, each a bundle with a record beside it in the search folder."""

    folder: Path
    bundle: Bundle
    train: Dataset
    validation: Dataset
    tune_on: Dataset | None
    listen: worker.Listener

    def finished(self, variant: Variant, planned: Plan) -> dict[str, Any] | None:
        """Return the record of a variant that is there; raises ExportError when it is of another search."""
        path = self._path(variant, ".json")
        if not path.is_file():
            return None
        try:
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            identity, rows = record["identity"], record["rows"]
        except (ValueError, KeyError, TypeError) as error:
            raise ExportError(f"{path} is damaged ({error!r}); remove it, and {variant.name} is made anew") from error
        if identity != self._identity(planned):
            raise ExportError(
                f"{path} is of another bundle, other data or other settings; give those that the search was begun"
                f" with, or remove {self.folder} and begin anew"
            )
        if not rows or not self._path(variant).is_dir():
            return None
        self.listen({"say": "done already"})
        return record

    def make(self, variant: Variant, planned: Plan) -> dict[str, Any]:
        """Export a variant and return its record; where it cannot be made there is nothing but the reason in it."""
        record: dict[str, Any] = {"identity": self._identity(planned), "refused": "", "rows": []}
        self._write(variant, record)
        # One artifact that is refused takes the whole export with it; the float ones may be fine.
        floats = tuple(p for p in planned.precisions if p in ("fp32", "fp16"))
        fewer = (floats,) if floats and floats != planned.precisions and not variant.trains_rounding else ()
        for precisions in (planned.precisions, *fewer):
            try:
                result = self._export(variant, replace(planned, precisions=precisions))
            except (ExportError, EngineError) as error:
                self.listen({"say": f"left out: {error}"})
                record["refused"] = record["refused"] or str(error)
                continue
            record |= {"rows": [asdict(row) for row in _rows(variant, result)]}
            record |= {"n": result.parities[0].n, "accuracy": result.parities[0].parent_accuracy}
            record |= {"calibrations": [asdict(choice) for choice in result.choices]}
            self._write(variant, record)
            break
        return record

    def _write(self, variant: Variant, record: Mapping[str, Any]) -> None:
        files.write_text(self._path(variant, ".json"), json.dumps(record, indent=1) + "\n")

    def _export(self, variant: Variant, planned: Plan) -> ExportResult:
        target = self._path(variant)
        shutil.rmtree(target, ignore_errors=True)  # of a search that ended before it was measured
        self._share_states(variant)
        return export(
            self.bundle,
            self.train,
            self.validation,
            planned,
            out=target,
            resume=bool(variant.tunings),
            tune_on=self.tune_on,
            listener=self.listen,
        )

    def _share_states(self, variant: Variant) -> None:
        """Let fine-tuning keep its state where the next variant finds it: what is narrowed is narrowed once.

        Export removes what lies in its own folder of states, and of a link the link alone.
        """
        states = self._path(variant, ".edgefer.tuning")
        for tuning in variant.tunings:
            name = variant.name if tuning.stage == "qat" else variant.name.removesuffix("-qat")
            (self.folder / STATES / name).mkdir(parents=True, exist_ok=True)
            states.mkdir(exist_ok=True)
            link = states / tuning.stage
            if not link.is_symlink():
                link.symlink_to(Path("..", STATES, name), target_is_directory=True)

    def _path(self, variant: Variant, suffix: str = ".edgefer") -> Path:
        return self.folder / f"{variant.name}{suffix}"

    def _identity(self, planned: Plan) -> str:
        """Return a digest of all that a variant depends on."""
        digest = hashlib.sha256(json.dumps([__version__, self.bundle.digest(), asdict(planned)]).encode())
        for data in (self.train, self.validation, self.tune_on if planned.tunings else None):
            if data is not None:
                digest.update(json.dumps(data.names).encode())
                for array in (data.images, data.labels, data.targets):
                    digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def _begin(folder: Path, resume: bool) -> None:
    begun = (folder / BEGUN).is_file()
    if folder.exists() and not begun:
        raise ExportError(f"{folder} exists and holds no search; move it away, or choose another --out")
    if begun and not resume:
        raise ExportError(f"{folder} holds a search that has not ended; go on with --resume, or remove it")
    if resume and not begun:
        raise ExportError(f"there is nothing to resume: {folder} does not exist; leave out --resume")
    files.write_text(folder / BEGUN, json.dumps({"edgefer": __version__}) + "\n")


def _rows(variant: Variant, result: ExportResult) -> list[Row]:
    """Return the rows of a variant; of one that was trained with rounding those in int8, as float is another's."""
    bundle = result.bundle
    made = {parity.artifact for parity in result.parities}
    models = {a.precision: a.file for a in bundle.artifacts if a.format == "tflite" and a.path in made}
    peaks = {precision: peak_activation_bytes(bundle.read(file)) for precision, file in models.items()}
    assert result.macs is not None
    return [
        _row(variant.name, parity, bundle, result.macs, peaks.get(parity.precision))
        for parity in result.parities
        if parity.precision == "int8" or not variant.trains_rounding
    ]


def _row(variant: str, parity: Parity, bundle: Bundle, macs: int, peak: int | None) -> Row:
    quantised = bundle.metrics[parity.artifact].get("quantisation", {})
    names = ["artifact", "format", "precision", "engine", "engine_version", "n", "accuracy", "drop_points", "p_value"]
    names += ["source_agreement", "bytes", "gzip_bytes"]
    return Row(
        variant=variant,
        calibrated=quantised.get("method", ""),
        macs=macs,
        peak_bytes=peak,
        ms=parity.latency_ms,
        **{name: getattr(parity, name) for name in names},
    )


def _result(target: DeviceProfile, wanted: Search, records: Mapping[str, Mapping[str, Any]]) -> SearchResult:
    refused = {name: record["refused"] for name, record in records.items() if record["refused"]}
    measured = {name: record for name, record in records.items() if record["rows"]}
    if not measured:
        raise ExportError(f"no variant could be made: {next(iter(refused.values()))}")
    rows = tuple(Row(**row) for record in measured.values() for row in record["rows"])
    first = next(iter(measured.values()))
    return SearchResult(
        target=target.name,
        measured_on=detect().name,
        max_drop=wanted.max_drop,
        accuracy=first["accuracy"],
        n=first["n"],
        rows=rows,
        refused=refused,
        calibrations={name: record["calibrations"] for name, record in measured.items()},
        recommended=recommend(rows, target.engines, wanted.max_drop),
    )


def _crown(result: SearchResult, folder: Path, out: Path) -> Bundle:
    """Write the winner's bundle to `out`, with what was found and which artifact is recommended."""
    winner = result.recommended
    assert winner is not None
    bundle = open_bundle(folder / f"{winner.variant}.edgefer").verify()
    listed = {p.relative_to(bundle.path).as_posix(): p for p in sorted(bundle.path.rglob("*")) if p.is_file()}
    contents = {name: path.read_bytes() for name, path in listed.items() if name != MANIFEST}
    contents[FOUND] = (json.dumps(result.as_dict(), indent=1) + "\n").encode()
    advice = {result.target: Recommendation(winner.artifact, winner.engine)}
    return write_bundle(replace(bundle, path=out, recommended=advice), contents)
