"""Accuracy on labelled faces: by class, how well confidence fits, on spoilt pictures, by people's votes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from edgefer.bench.evaluation import Evaluation
from edgefer.bench.plots import answers
from edgefer.bench.reporting.blocks import Block, Heading, Plot, Table, Text, left_out, table_of
from edgefer.bench.reporting.words import MAX_TEXT, artifact, count, cut, interval, kilobytes, percent, provider
from edgefer.bench.robustness import MAX_ROWS, table
from edgefer.bench.voted import Voted

MAX_EVALUATIONS = 50
MAX_NAMED = 20


def blocks(evaluations: Sequence[Evaluation]) -> Iterator[Block]:
    """Yield what evaluations say: those on the same faces side by side, then each with an answer of its own."""
    several = len({e.bundle.digest for e in evaluations}) > 1
    for (split, data), group in on_same_faces(evaluations).items():
        yield Heading(f"{cut(split)}, {group[0].accuracy.n:,} faces ({cut(data, 8)})", 3)
        lines = [_line(e, several) for e in group]
        unused = {name for name in lines[0] if all(line[name] == "–" for line in lines)}
        yield from table_of([{name: cell for name, cell in line.items() if name not in unused} for line in lines])
        if any(e.against for e in group):
            yield Text(
                "Against float: difference of the accuracy in points with its 95 % interval, p of McNemar's exact test"
                " (small: one of them is really better), and the part of the faces that both name alike.",
                "note",
            )
        yield from _robustness(group, several)
    alike: dict[Any, list[Evaluation]] = {}
    for e in evaluations:
        alike.setdefault((e.bundle.digest, e.split, e.data, e.accuracy.confusion), []).append(e)
    for same in list(alike.values())[:MAX_EVALUATIONS]:
        yield from _one(same, several)
    yield from left_out(len(alike), MAX_EVALUATIONS, "evaluations are in the tables only")


def on_same_faces(evaluations: Sequence[Evaluation]) -> dict[tuple[str, str], list[Evaluation]]:
    """Return evaluations by the split and the digest of the faces: only those of one group compare."""
    groups: dict[tuple[str, str], list[Evaluation]] = {}
    for evaluation in evaluations:
        groups.setdefault((evaluation.split, evaluation.data), []).append(evaluation)
    return groups


def _line(e: Evaluation, several: bool) -> dict[str, str]:
    a = e.accuracy
    line = {"bundle": cut(e.bundle.name)} if several else {}
    line |= {
        "engine": f"{cut(e.engine)} {cut(e.engine_version)}",
        "artifact": artifact(e.artifact, e.precision),
        "kB": kilobytes(e.bytes),
        "accuracy (95 %)": f"{a.accuracy:.4f} ({interval(a.ci95)})",
    }
    beside, votes, r = e.against, e.votes, e.robustness
    m = beside.mcnemar if beside is not None else None
    return line | {
        "against float, points": "–" if m is None else f"{m.difference:+.2f} ({m.ci95[0]:+.2f} to {m.ci95[1]:+.2f})",
        "p": "–" if m is None else f"{m.p:.2f}",
        "same label": "–" if beside is None else percent(beside.same_label, 2),
        "by FER+ votes (95 %)": "–"
        if votes is None
        else f"{votes.accuracy.accuracy:.4f} ({interval(votes.accuracy.ci95)})",
        "spoilt": "–" if r is None else f"{r.mean:.3f} ({percent(r.relative)} of clean)",
        "macro F1": f"{a.macro_f1:.4f}",
        "ECE": f"{a.ece:.4f}",
        "provider": provider(e.provider),
    }


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


def _one(same: Sequence[Evaluation], several: bool) -> Iterator[Block]:
    """Yield the details of evaluations with the same confusion matrix: of the first, and what others have beside it."""
    e = same[0]
    a = e.accuracy
    bundle = f"{cut(e.bundle.name)}: " if several else ""
    yield Heading(f"{bundle}{_name(e)}, {cut(e.split)}", 3)
    others = dict.fromkeys(_name(other) for other in same if _name(other) != _name(e))
    if others:
        yield Text(f"The same confusion matrix, so not shown again: {'; '.join(list(others)[:MAX_NAMED])}.", "note")
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
    votes = next((one.votes for one in same if one.votes is not None), None)
    if votes is not None:
        yield from _votes(votes)
    for one in same:
        yield from _spoilt(one)
    for command in dict.fromkeys(one.command for one in same if one.command):
        yield Text(cut(command, 4 * MAX_TEXT), "code")


def _name(e: Evaluation) -> str:
    return f"{cut(e.artifact)} in {cut(e.engine)} {cut(e.engine_version)}"


def _spoilt(e: Evaluation) -> Iterator[Block]:
    if e.robustness is not None:
        r = e.robustness
        yield Text(
            f"Robustness of {_name(e)}: on {r.n:,} faces (drawn with seed {r.seed}) clean {r.clean:.4f}; spoilt"
            f" {r.mean:.4f} on average, {percent(r.relative)} of it. Columns 1 to 5: accuracy at each strength, from"
            " the weakest."
        )
        head, *rows = [[cut(cell) for cell in row] for row in table(r)]
        yield Table(head, rows[: MAX_ROWS + 1], {len(rows) - 1: "sum"})


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
