"""An evaluation for people: aligned text for a terminal, and the confusion matrix as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgefer import files, plugins
from edgefer.bench import robustness
from edgefer.bench.evaluation import Evaluation
from edgefer.bench.robustness import Robustness
from edgefer.bench.voted import Voted


def as_text(evaluation: Evaluation) -> str:
    """Return the figures, a table by class and the confusion matrix as aligned text."""
    a = evaluation.accuracy
    low, high = a.ci95
    lines = [
        f"{evaluation.artifact} ({evaluation.precision}) in {evaluation.engine} {evaluation.engine_version},"
        f" {evaluation.provider}",
        f"split {evaluation.split}: {a.n:,} pictures"
        + (f", {evaluation.skipped} could not be read" if evaluation.skipped else ""),
        "",
        f"accuracy     {a.accuracy:.4f}  (95 % interval {low:.4f}–{high:.4f})",
        f"macro F1     {a.macro_f1:.4f}",
        f"weighted F1  {a.weighted_f1:.4f}",
        f"ECE          {a.ece:.4f}  (expected calibration error, 15 bins; 0 is perfect)",
        "",
    ]
    lines += [*aligned(class_rows(evaluation)), "", "rows: true; columns: predicted"]
    matrix = [["", *evaluation.labels]]
    matrix += [[n, *map(str, row)] for n, row in zip(evaluation.labels, a.confusion, strict=True)]
    lines += aligned(matrix)
    if evaluation.votes is not None:
        lines += ["", *_votes_text(evaluation.votes)]
    if evaluation.robustness is not None:
        lines += ["", *_robustness_text(evaluation.robustness)]
    return "\n".join(lines)


def all_as_text(evaluations: Sequence[Evaluation]) -> str:
    """Return evaluations of one bundle on one split as aligned text: a row each, then what spoilt pictures leave."""
    first = evaluations[0]
    lines = [f"{first.bundle.name}, split {first.split}: {first.accuracy.n:,} pictures", ""]
    lines += aligned(summary_rows(evaluations), left=2)
    reference = next((e.against for e in evaluations if e.against is not None), None)
    if reference is not None:
        lines.append(
            f"vs float: points of accuracy above {reference.artifact} in {reference.engine}, and p by McNemar's test"
        )
    spoilt = [e.robustness for e in evaluations if e.robustness is not None]
    if spoilt:
        lines += ["", f"accuracy on {spoilt[0].n:,} spoilt pictures, mean of the strengths; columns: the rows above"]
        rows = [["corruption", *(str(i + 1) for i in range(len(spoilt)))]]
        for i, row in enumerate(spoilt[0].rows):
            rows.append([row.name, *(f"{one.rows[i].mean:.3f}" for one in spoilt)])
        rows.append(["all", *(f"{one.mean:.3f}" for one in spoilt)])
        rows.append(["clean", *(f"{one.clean:.3f}" for one in spoilt)])
        lines += aligned(rows)
    return "\n".join(lines)


def summary_rows(evaluations: Sequence[Evaluation]) -> list[list[str]]:
    """Return a table of several evaluations as text: its head, then a row each; columns that all lack are left out."""
    rows = [
        ["artifact", "engine", "kB", "accuracy", "95 %", "macro F1", "ECE"]
        + ["vs float", "p", "same label", "FER+", "spoilt", "of clean"]
    ]
    for e in evaluations:
        a, beside = e.accuracy, e.against
        row = [e.artifact, f"{e.engine} {e.engine_version}", f"{e.bytes / 1000:,.0f}", f"{a.accuracy:.4f}"]
        row += [f"{a.ci95[0]:.3f}–{a.ci95[1]:.3f}", f"{a.macro_f1:.4f}", f"{a.ece:.4f}"]
        if beside is None:
            row += ["", "", ""]
        else:
            row += [f"{beside.mcnemar.difference:+.2f}", f"{beside.mcnemar.p:.2f}", f"{100 * beside.same_label:.2f} %"]
        row.append("" if e.votes is None else f"{e.votes.accuracy.accuracy:.4f}")
        r = e.robustness
        rows.append(row + (["", ""] if r is None else [f"{r.mean:.3f}", f"{100 * r.relative:.0f} %"]))
    used = [any(row[i] for row in rows[1:]) for i in range(len(rows[0]))]
    return [[cell for cell, keep in zip(row, used, strict=True) if keep] for row in rows]


def _votes_text(votes: Voted) -> list[str]:
    a = votes.accuracy
    low, high = a.ci95
    out = ", ".join(f"{name} {count:,}" for name, count in votes.left_out.items() if count)
    wrong = max(votes.wrong, 1)
    parts = {"the model": votes.with_model, "the label": votes.with_label, "neither": votes.with_neither}
    sides = ", with ".join(f"{name} on {n:,} ({100 * n / wrong:.0f} %)" for name, n in parts.items())
    return [
        f"by the majority of FER+'s votes: accuracy {a.accuracy:.4f}  (95 % interval {low:.4f}–{high:.4f}),"
        f" macro F1 {a.macro_f1:.4f}",
        f"{a.n:,} pictures, of which {votes.relabelled:,} have another label there"
        + (f"; left out: {out}" if out else ""),
        f"of {votes.wrong:,} answers that are wrong by the data's label, the majority sides with {sides}",
    ]


def _robustness_text(found: Robustness) -> list[str]:
    return [
        f"robustness: {found.n:,} pictures, clean {found.clean:.4f}; spoilt {found.mean:.4f} on average,"
        f" {100 * found.relative:.0f} % of it",
        *aligned(robustness.table(found), left=2),
    ]


def class_rows(evaluation: Evaluation) -> list[list[str]]:
    """Return a table by class as text: its head, then a row a class."""
    rows = [["class", "precision", "recall", "F1", "pictures"]]
    for name, f in evaluation.accuracy.per_class.items():
        rows.append([name, f"{f.precision:.3f}", f"{f.recall:.3f}", f"{f.f1:.3f}", str(f.support)])
    return rows


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Return rows of text as lines: the first `left` columns to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def confusion_png(evaluation: Evaluation, path: Path) -> None:
    """Draw the confusion matrix into a PNG file: counts, shaded by the part of the true class.

    Raises MissingDependencyError without matplotlib, OSError when the file cannot be written.
    """
    matplotlib = plugins.require("matplotlib", "report", "the report's plots")
    figures = plugins.require("matplotlib.figure", "report", "the report's plots")
    counts = np.array(evaluation.accuracy.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    k = len(evaluation.labels)
    side = max(4.0, 1.6 + 0.65 * k)
    with matplotlib.rc_context({"text.parse_math": False, "font.size": 9}):
        figure = figures.Figure(figsize=(side, side), layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(k), evaluation.labels, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(k), evaluation.labels)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        accuracy = evaluation.accuracy
        title = f"{evaluation.artifact}, {evaluation.engine}: accuracy {accuracy.accuracy:.3f} (n = {accuracy.n})"
        axes.set_title(title, fontsize=9)
        for row in range(k):
            for column in range(k):
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour)
        image = io.BytesIO()
        figure.savefig(image, format="png", dpi=150)
    with files.atomic(path) as stream:
        stream.write(image.getvalue())
