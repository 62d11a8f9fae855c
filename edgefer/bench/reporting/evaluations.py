"""Accuracy on labelled faces: by class, how well confidence fits, on spoilt pictures, by people's votes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from edgefer.bench.evaluation import Evaluation
from edgefer.bench.plots import answers
from edgefer.bench.reporting.blocks import Block, Heading, Plot, Table, Text, left_out, table_of
from edgefer.bench.reporting.words import MAX_TEXT, artifact, count, cut, interval, kilobytes, percent, provider
from edgefer.bench.robustness import MAX_ROWS, table
from edgefer.bench.voted import Voted

MAX_EVALUATIONS = 50


def blocks(evaluations: Sequence[Evaluation]) -> Iterator[Block]:
    """Yield what evaluations say: those on the same faces first side by side, then each by itself."""
    groups: dict[tuple[str, str], list[Evaluation]] = {}
    for evaluation in evaluations:
        groups.setdefault((evaluation.split, evaluation.data), []).append(evaluation)
    several = len({e.bundle.digest for e in evaluations}) > 1
    for (split, data), group in groups.items():
        yield Heading(f"{cut(split)}, {group[0].accuracy.n:,} faces ({cut(data, 8)})", 3)
        yield from table_of([_line(e, several) for e in group])
        if any(e.against for e in group):
            yield Text(
                "Against float: difference of the accuracy in points with its 95 % interval, p of McNemar's exact test"
                " (small: one of them is really better), and the part of the faces that both name alike.",
                "note",
            )
        yield from _robustness(group, several)
    for evaluation in evaluations[:MAX_EVALUATIONS]:
        yield from _one(evaluation, several)
    yield from left_out(len(evaluations), MAX_EVALUATIONS, "evaluations are in the tables only")


def _line(e: Evaluation, several: bool) -> dict[str, str]:
    a = e.accuracy
    line = {"bundle": cut(e.bundle.name)} if several else {}
    line |= {
        "engine": f"{cut(e.engine)} {cut(e.engine_version)}",
        "provider": provider(e.provider),
        "artifact": artifact(e.artifact, e.precision),
        "kB": kilobytes(e.bytes),
        "accuracy (95 %)": f"{a.accuracy:.4f} ({interval(a.ci95)})",
        "macro F1": f"{a.macro_f1:.4f}",
        "ECE": f"{a.ece:.4f}",
    }
    if e.against is not None:
        m = e.against.mcnemar
        line["against float, points"] = f"{m.difference:+.2f} ({m.ci95[0]:+.2f} to {m.ci95[1]:+.2f})"
        line["p"] = f"{m.p:.2f}"
        line["same label"] = percent(e.against.same_label, 2)
    if e.votes is not None:
        line["by FER+ votes (95 %)"] = f"{e.votes.accuracy.accuracy:.4f} ({interval(e.votes.accuracy.ci95)})"
    if e.robustness is not None:
        line["spoilt"] = f"{e.robustness.mean:.3f} ({percent(e.robustness.relative)} of clean)"
    return line


def _robustness(group: Sequence[Evaluation], several: bool) -> Iterator[Block]:
    """Yield a plot of the artifacts that were asked about the same spoilt pictures."""
    sets: dict[tuple[int, int], list[Evaluation]] = {}
    for e in group:
        if e.robustness is not None:
            sets.setdefault((e.robustness.seed, e.robustness.n), []).append(e)
    for (_, n), found in sets.items():
        shown = found[: answers.MAX_LINES]
        names = list(dict.fromkeys(row.name for e in shown if e.robustness for row in e.robustness.rows))
        panels = [answers.Panel(name, _lines(shown, name, several)) for name in names[: answers.MAX_PANELS]]
        yield Plot(
            "Robustness: accuracy on spoilt pictures",
            partial(answers.robustness, panels),
            f"Accuracy on {count(n, 'face')} over the strength of what spoils them; 0 is the clean picture."
            + (" The band is the 95 % interval." if len(shown) == 1 else ""),
        )
        yield from left_out(len(found), answers.MAX_LINES, "artifacts are not drawn")
        yield from left_out(len(names), answers.MAX_PANELS, "corruptions are not drawn")


def _lines(evaluations: Sequence[Evaluation], name: str, several: bool) -> tuple[answers.Line, ...]:
    return tuple(
        answers.Line(
            name=(f"{cut(e.bundle.name, 16)}: " if several else "") + f"{cut(e.engine, 20)} {cut(e.precision, 10)}",
            engine=e.engine,
            precision=e.precision,
            clean=e.robustness.clean,
            accuracy=tuple(level.accuracy for level in row.levels),
            ci95=tuple(level.ci95 for level in row.levels),
        )
        for e in evaluations
        if e.robustness is not None
        for row in e.robustness.rows
        if row.name == name
    )


def _one(e: Evaluation, several: bool) -> Iterator[Block]:
    a = e.accuracy
    bundle = f"{cut(e.bundle.name)}: " if several else ""
    yield Heading(f"{bundle}{cut(e.artifact)} in {cut(e.engine)} {cut(e.engine_version)}, {cut(e.split)}", 3)
    skipped = f"; {count(e.skipped, 'picture')} could not be read" if e.skipped else ""
    yield Text(
        f"Accuracy {a.accuracy:.4f} (95 % interval {a.ci95[0]:.4f}–{a.ci95[1]:.4f}, n = {a.n:,}), macro F1"
        f" {a.macro_f1:.4f}, weighted F1 {a.weighted_f1:.4f}, expected calibration error {a.ece:.4f}{skipped}."
    )
    yield from table_of(
        [
            {
                "class": cut(name),
                "precision": f"{f.precision:.3f}",
                "recall": f"{f.recall:.3f}",
                "F1": f"{f.f1:.3f}",
                "pictures": f"{f.support:,}",
            }
            for name, f in a.per_class.items()
        ]
    )
    if len(e.labels) <= answers.MAX_LABELS:
        names = [cut(label, 24) for label in e.labels]
        rows = [[name, *(f"{n:,}" for n in row)] for name, row in zip(names, a.confusion, strict=True)]
        yield Plot(
            "Confusion matrix",
            partial(answers.confusion, a.confusion, names),
            "Confusion: rows are true labels, columns predicted ones; the shade is the part of the true class.",
            half=True,
            instead=Table(["true / predicted", *names], rows),
        )
    else:
        yield Text(f"The confusion matrix of {len(e.labels):,} labels is too large to be shown.", "note")
    yield Plot(
        "Reliability diagram",
        partial(answers.reliability, e.reliability[:100]),
        f"Bars: part that is right among the faces of that confidence; dots: at their mean confidence; on the dashed"
        f" line confidence is honest. The mean distance from it is the calibration error, {a.ece:.4f}.",
        half=True,
        instead=_bins(e),
    )
    if e.votes is not None:
        yield from _votes(e.votes)
    if e.robustness is not None:
        r = e.robustness
        yield Text(
            f"Robustness: on {r.n:,} faces (drawn with seed {r.seed}) clean {r.clean:.4f}; spoilt {r.mean:.4f} on"
            f" average, {percent(r.relative)} of it. Columns 1 to 5: accuracy at each strength, from the weakest."
        )
        head, *rows = [[cut(cell) for cell in row] for row in table(r)]
        yield Table(head, rows[: MAX_ROWS + 1], {len(rows) - 1: "sum"})
    if e.command:
        yield Text(cut(e.command, 4 * MAX_TEXT), "code")


def _bins(e: Evaluation) -> Table:
    rows = [
        [f"{b.low:.2f}–{b.high:.2f}", f"{b.confidence:.3f}", f"{b.accuracy:.3f}", f"{b.count:,}"]
        for b in e.reliability[:100]
        if b.count
    ]
    return Table(["confidence", "mean", "right", "faces"], rows)


def _votes(votes: Voted) -> Iterator[Block]:
    a = votes.accuracy
    out = ", ".join(f"{cut(name)} {n:,}" for name, n in list(votes.left_out.items())[:20] if n)
    yield Text(
        f"By the majority of FER+'s votes instead of the data's labels: accuracy {a.accuracy:.4f} (95 % interval"
        f" {a.ci95[0]:.4f}–{a.ci95[1]:.4f}, n = {a.n:,}), macro F1 {a.macro_f1:.4f}. {votes.relabelled:,} of these"
        " faces have another label there" + (f"; left out: {out}." if out else ".")
    )
    wrong = max(votes.wrong, 1)
    sides = {"the answer": votes.with_model, "the label": votes.with_label, "neither": votes.with_neither}
    yield Table(
        ["wrong by the label: the majority sides with", "faces", "part"],
        [[name, f"{n:,}", percent(n / wrong)] for name, n in sides.items()],
    )
