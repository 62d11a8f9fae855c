"""`edgefer export` of a face detector: what differs from a classifier's, and what is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefer.commands._shared import bar, print_json, print_table, say, step

if TYPE_CHECKING:
    from edgefer.bundle import DetectorBundle
    from edgefer.optimize.detect.export import DetectExport
    from edgefer.optimize.detect.plan import DetectPlan


def plan_of(sizes: tuple[str, ...], **shared: Any) -> DetectPlan:
    """Return the plan for pictures of these sizes, or of the usual ones; `shared` are the fields that any plan has.

    Raises ExportError for a size that is none.
    """
    from edgefer.optimize.detect.plan import DetectPlan, parse_size

    return DetectPlan(sizes=tuple(dict.fromkeys(map(parse_size, sizes))) or DetectPlan.sizes, **shared)


def run(
    bundle: DetectorBundle,
    data: Path,
    plan: DetectPlan,
    *,
    out: Path | None,
    force: bool,
    as_json: bool,
    listener: Callable[[Mapping[str, Any]], None],
) -> None:
    """Export the detector and show how its files compare with the trained network."""
    from edgefer.optimize.detect.export import export_detector
    from edgefer.train import scenes
    from edgefer.train.detect.recipe import from_dict

    with bar("Reading scenes") as progress:
        splits = scenes.read(data, progress)
    train, validation = scenes.for_training(splits, from_dict(bundle.recipe).seed)
    with step("Export"):
        result = export_detector(bundle, train, validation, plan, out=out, force=force, listener=listener)
    for path in result.skipped:
        say(f"{path} is there already and stays as it is; --force makes it anew")
    if as_json:
        print_json(_as_json(result))
    else:
        _show(result)


def _as_json(result: DetectExport) -> dict[str, Any]:
    from edgefer.bundle import size_name

    macs = None if result.macs is None else {size_name(size): count for size, count in result.macs.items()}
    return {
        "bundle": str(result.bundle.path),
        "parity": [p.as_dict() for p in result.parities],
        "calibration": [vars(c) for c in result.choices],
        "skipped": list(result.skipped),
        "macs": macs,
        "parameters": result.parameters,
    }


def _show(result: DetectExport) -> None:
    if not result.parities:
        return
    first = result.parities[0].measured
    say(f"measured on {first.pictures} validation scenes; a find is sure from {first.threshold:g}")
    head = ["artifact", "bytes", "gzip", "engine", "faces", "AP", "lost", "recall", "false in empty", "shared", "IoU"]
    head += ["max diff", "ms"]
    rows = [
        [
            p.artifact,
            f"{p.bytes:,}",
            f"{p.gzip_bytes:,}",
            f"{p.engine} {p.engine_version}",
            f"{p.measured.faces}",
            f"{p.measured.average_precision:.4f}",
            f"{p.drop_points:+.2f}",
            f"{p.measured.recall:.3f}",
            f"{p.measured.false_in_empty}/{p.measured.empty}",
            f"{100 * p.agreement.share:.1f} %",
            f"{p.agreement.mean_iou:.3f}",
            f"{p.agreement.max_score_difference:.3f}",
            f"{p.latency_ms:.3f}",
        ]
        for p in result.parities
    ]
    print_table(head, rows)
    say(
        "AP: average precision at IoU .5 of faces from 24 pixels of the network's picture; lost: points of it, against"
        " the trained network at that size; shared: sure finds of either that both have, with their overlap and the"
        " largest difference of a score; ms: one picture, one thread, this machine, a short run"
    )
    say(f"wrote {result.bundle.path}")
