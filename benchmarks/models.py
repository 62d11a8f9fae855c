"""Write the README's table of the models that ship, from their evaluations and records.

    for name in edge-m edge-s edge-xs; do
      edgefer evaluate $name --data publictest.npz --all --json > benchmarks/records/$name-evaluations.json
      edgefer evaluate $name --data publictest.npz --engine litert --precision int8 --robustness --json \\
        > benchmarks/records/$name-robustness.json
      edgefer bench $name --precision int8 --scope model --quick --json benchmarks/records/x86-$name.json
      for board in rpi4 rpi5; do
        edgefer bench $name --emulate $board --engine litert --json benchmarks/records/$name-$board-emulated.json
      done
    done
    python benchmarks/models.py

`publictest.npz` is FER2013's PublicTest with FER+ votes. Of the default model, edge-m, the emulated records are
`rpi4-emulated.json` and `rpi5-emulated.json`, with every engine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgefer import files
from edgefer.bench.evaluation import Evaluation, read_evaluations
from edgefer.bench.record import BenchRecord, read_record
from edgefer.bundle import DEFAULT, Bundle, open_bundle
from edgefer.train.architectures import facts

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "benchmarks" / "records"
BOARDS = ("rpi4", "rpi5")
NAMES = ("edge-m", "edge-s", "edge-xs")
START, END = "<!-- models: written by benchmarks/models.py -->", "<!-- models end -->"


@dataclass(frozen=True)
class Model:
    """What is known of a model."""

    bundle: Bundle
    evaluations: dict[tuple[str, str], Evaluation]
    """By engine and precision."""
    spoilt: Evaluation
    """Of int8 in litert, on spoilt pictures too."""
    measured: BenchRecord
    emulated: dict[str, BenchRecord]
    """By board."""


def main() -> None:
    """Write the table."""
    models = [read(name) for name in NAMES]
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(f"{START}\n")
    _, _, after = rest.partition(END)
    files.write_text(readme, f"{before}{START}\n{table(models)}{END}{after}")
    print(f"wrote {readme}", file=sys.stderr)


def read(name: str) -> Model:
    """Read all that belongs to a model; exits when an evaluation is of another bundle."""
    bundle = open_bundle(name)
    evaluations = read_evaluations(RECORDS / f"{name}-evaluations.json")
    (spoilt,) = read_evaluations(RECORDS / f"{name}-robustness.json")
    prefix = "" if name == DEFAULT else f"{name}-"
    boards = {board: read_record(RECORDS / f"{prefix}{board}-emulated.json") for board in BOARDS}
    measured = read_record(RECORDS / f"x86-{name}.json")
    identities = [measured.bundle, spoilt.bundle]
    identities += [e.bundle for e in evaluations] + [record.bundle for record in boards.values()]
    if any(identity.digest != bundle.digest() for identity in identities):
        raise SystemExit(f"{name}: a file in {RECORDS} is of another bundle; take it anew")
    return Model(bundle, {(e.engine, e.precision): e for e in evaluations}, spoilt, measured, boards)


def table(models: list[Model]) -> str:
    """Return the table, a column a model."""
    rows: list[tuple[str, Callable[[Model], str]]] = [
        ("parameters; multiplications a face", _size),
        ("int8 TFLite", lambda m: f"{m.evaluations['litert', 'int8'].bytes / 1000:.0f} kB"),
        ("**accuracy, int8 in litert** (95 %)", lambda m: "**{:.4f}** ({:.3f}–{:.3f})".format(*_accuracy(m, "litert"))),
        (
            "int8 in onnxruntime, OpenVINO",
            lambda m: f"{_accuracy(m, 'onnxruntime')[0]:.4f}, {_accuracy(m, 'openvino')[0]:.4f}",
        ),
        ("the same network in float", lambda m: f"{m.evaluations['litert', 'fp32'].accuracy.accuracy:.4f}"),
        ("by the votes of ten people (FER+)", _voted),
        ("lowest recall of an emotion", _lowest),
        ("calibration error", lambda m: f"{m.evaluations['litert', 'int8'].accuracy.ece:.3f}"),
        ("kept on spoilt pictures", _kept),
        ("ms a face on x86: litert, onnxruntime, OpenVINO", _latency),
        ("instructions a face, Pi 4 / Pi 5, emulated", _instructions),
    ]
    lines = ["| |" + "".join(f" `{m.bundle.name}` |" for m in models), "|---|" + "---|" * len(models)]
    lines += [f"| {label} |" + "".join(f" {of(m)} |" for m in models) for label, of in rows]
    return "\n".join(lines) + "\n"


def _size(model: Model) -> str:
    known = facts()[model.bundle.architecture]
    return f"{known.parameters:,}; {known.macs / 1e6:.1f} M"


def _accuracy(model: Model, engine: str) -> tuple[float, float, float]:
    found = model.evaluations[engine, "int8"].accuracy
    return found.accuracy, *found.ci95


def _voted(model: Model) -> str:
    votes = model.evaluations["litert", "int8"].votes
    return f"{votes.accuracy.accuracy:.4f}" if votes else "–"


def _lowest(model: Model) -> str:
    recalls = {name: c.recall for name, c in model.evaluations["litert", "int8"].accuracy.per_class.items()}
    name = min(recalls, key=lambda n: recalls[n])
    return f"{recalls[name]:.2f} ({name})"


def _kept(model: Model) -> str:
    found = model.spoilt.robustness
    return f"{found.mean:.3f}, {found.part(found.mean):.0%}" if found else "–"


def _latency(model: Model) -> str:
    rows = {
        r.engine: r for r in model.measured.measurements if (r.scope, r.precision, r.threads) == ("model", "int8", 1)
    }
    return ", ".join(f"{rows[engine].latency.p50:.2f}" for engine in ("litert", "onnxruntime", "openvino"))


def _instructions(model: Model) -> str:
    found = []
    for board in BOARDS:
        rows = [r for r in model.emulated[board].emulations if (r.engine, r.precision) == ("litert", "int8")]
        found.append(f"{rows[0].instructions.total / 1e6:.2f} M")
    return " / ".join(found)


if __name__ == "__main__":
    main()
