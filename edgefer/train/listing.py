"""What can be trained, with what the documents and we got out of it: `edgefer train --list`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Any

from edgefer import toml
from edgefer.train.architectures import Facts, facts


@dataclass(frozen=True)
class Score:
    """What a run of ours reached, kept in scores.toml with the command that gives it again."""

    accuracy: float
    low: float
    """Ends of its 95 % interval."""
    high: float
    split: str
    n: int
    epochs: int
    seed: int
    command: str


@dataclass(frozen=True)
class Entry:
    """One architecture."""

    name: str
    facts: Facts
    score: Score | None
    """None: not trained by us."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; scripts rely on these names."""
        f, s = self.facts, self.score
        return {
            "name": self.name,
            "summary": f.summary,
            "parameters": f.parameters,
            "trainable_parameters": f.trainable,
            "macs": f.macs,
            "input": "uint8 48×48×1",
            "inner_input": f.inner,
            "document": f.document,
            "document_score": f.document_score,
            "document_split": f.document_split,
            "our_score": s and s.accuracy,
            "our_ci95": s and [s.low, s.high],
            "our_split": s and s.split,
            "our_n": s and s.n,
            "our_epochs": s and s.epochs,
            "our_seed": s and s.seed,
            "our_command": s and s.command,
            "pretrained": f.pretrained,
            "trainer": f.trainer,
        }


def listing() -> list[Entry]:
    """Return every architecture, sorted by name, without building any."""
    text = (resources.files(__package__) / "scores.toml").read_text(encoding="utf-8")
    scores = {name: Score(**values) for name, values in toml.parse(text).items()}
    return [Entry(name, known, scores.get(name)) for name, known in facts().items()]


def as_table(entries: list[Entry]) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of a table for people."""
    head = ["architecture", "parameters", "trained", "MMACs", "input", "document", "ours", "epochs", "layers"]
    return head, [
        [
            e.name,
            f"{e.facts.parameters:,}" if e.facts.parameters else "–",
            f"{e.facts.trainable:,}" if e.facts.trainable else "–",
            f"{e.facts.macs / 1e6:,.1f}" if e.facts.macs else "–",
            e.facts.inner,
            "–" if e.facts.document_score is None else f"{e.facts.document_score:.3f}",
            "not trained" if e.score is None else f"{e.score.accuracy:.3f}",
            "–" if e.score is None else str(e.score.epochs),
            e.facts.summary,
        ]
        for e in entries
    ]
