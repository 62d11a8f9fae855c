"""Bundles side by side: from manifests alone, and never mixed when they were measured on other pictures."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefer.bundle import Artifact, Bundle, describe, shipped, write_bundle
from edgefer.errors import BundleError
from edgefer.metrics import measure
from edgefer.preprocess import Preprocess
from edgefer.train.compare import HEAD, as_table, compare, summary

LABELS = ("angry", "happy", "sad")


def figures(hits: int, n: int = 30) -> dict[str, Any]:
    """Return what edgefer train writes for `hits` right of `n`."""
    labels = np.arange(n) % 3
    said = np.where(np.arange(n) < hits, labels, (labels + 1) % 3)
    entry = measure(np.eye(3)[said], labels, LABELS).as_dict() | {"split": "validation", "engine": "keras on jax"}
    return entry | {"best_epoch": 8, "epochs": 9, "train_seconds": 3723.4, "train_pictures": 900, "parameters": 12345}


def bundle(folder: Path, name: str, entry: Any, format: str = "keras", labels: Any = LABELS, **recipe: Any) -> Path:
    file = describe(f"m.{format}", b"weights")
    made = Bundle(
        path=folder / f"{name}.edgefer",
        architecture="edge-s",
        labels=labels,
        preprocess=Preprocess(),
        artifacts=(Artifact(file, format, "fp32"),),
        metrics={file.path: entry},
        recipe={"seed": 1, "epochs": 9} | recipe,
    )
    return write_bundle(made, {file.path: b"weights"}).path


def test_rows_are_what_the_manifests_say_best_first(tmp_path: Path) -> None:
    paths = [bundle(tmp_path, name, figures(hits)) for name, hits in (("a", 12), ("b", 25), ("c", 18))]
    rows = compare(paths)
    assert [row.bundle.name for row in rows] == ["b.edgefer", "c.edgefer", "a.edgefer"]
    best = rows[0]
    assert (best.architecture, best.parameters, best.epochs, best.best_epoch) == ("edge-s", 12345, 9, 8)
    assert (best.train_pictures, best.seconds, best.seed, best.n) == (900, 3723.4, 1, 30)
    assert best.accuracy == pytest.approx(25 / 30)
    assert best.ci95 == pytest.approx(figures(25)["ci95"])
    assert best.ece == pytest.approx(5 / 30)
    assert (best.ferplus, best.comparable) == (None, True)


def test_seeds_are_summed_up(tmp_path: Path) -> None:
    hits = {1: 20, 2: 22, 3: 27}
    paths = [bundle(tmp_path, f"s{seed}", figures(h), seed=seed) for seed, h in hits.items()]
    paths += [bundle(tmp_path, "copy", figures(20), seed=1)]  # a seed counts once
    paths += [bundle(tmp_path, "other", figures(9), seed=4, epochs=10)]  # more than the seed differs
    (group,) = summary(compare(paths))
    assert group.seeds == (1, 2, 3)
    values = [h / 30 for h in hits.values()]
    assert group.accuracy == pytest.approx((statistics.fmean(values), statistics.stdev(values)))
    assert group.ferplus is None
    _, body = as_table(compare(paths))
    assert len(body) == 6
    assert body[-1][0].endswith(" + 2: mean ± std")
    assert f"{statistics.fmean(values):.4f} ± {statistics.stdev(values):.4f}" in body[-1]


@pytest.mark.parametrize("differs", ["n", "labels", "support"])
def test_other_data_is_marked_and_last(tmp_path: Path, differs: str) -> None:
    paths = [bundle(tmp_path, name, figures(hits)) for name, hits in (("a", 12), ("b", 25))]
    entry = figures(33 if differs == "n" else 30, 33 if differs == "n" else 30)
    labels = LABELS
    if differs == "labels":
        labels = ("angry", "happy", "bored")
        del entry["per_class"]
    elif differs == "support":
        entry["per_class"]["sad"] = entry["per_class"]["sad"] | {"support": 11}
    rows = compare([bundle(tmp_path, "x", entry, labels=labels), *paths])
    assert [row.bundle.name for row in rows] == ["b.edgefer", "a.edgefer", "x.edgefer"]
    assert [row.comparable for row in rows] == [True, True, False]
    assert rows[2].accuracy == 1
    head, body = as_table(rows)
    marks = [line[head.index("n")] for line in body]
    assert [("other data" in mark) for mark in marks] == [False, False, True]
    assert not summary(rows)


def test_the_order_of_labels_does_not_matter(tmp_path: Path) -> None:
    moved = bundle(tmp_path, "moved", figures(20), labels=("sad", "angry", "happy"))
    assert all(row.comparable for row in compare([moved, bundle(tmp_path, "a", figures(12))]))


def test_an_export_without_weights_has_what_the_gate_measured(tmp_path: Path) -> None:
    entry = {"split": "validation", "n": 30, "accuracy": 0.7, "ci95": [0.5, 0.8], "macro_f1": 0.6}
    (row,) = compare([bundle(tmp_path, "x", entry, format="onnx")])
    assert (row.accuracy, row.macro_f1, row.ci95) == (0.7, 0.6, (0.5, 0.8))
    assert (row.weighted_f1, row.ece, row.parameters, row.epochs, row.seconds) == (None,) * 5
    (line,) = as_table([row])[1]
    assert line.count("–") == 7


def test_the_table_is_text_of_one_width(tmp_path: Path) -> None:
    paths = [bundle(tmp_path / "one", "a", figures(12)), bundle(tmp_path / "two", "a", figures(25), seed=2)]
    head, body = as_table(compare(paths))
    assert head == list(HEAD[:-1])
    assert all(len(line) == len(head) and all(isinstance(cell, str) for cell in line) for line in body)
    assert [line[0] for line in body[:2]] == [str(paths[1]), str(paths[0])]  # a name that two have tells nothing
    assert body[0][head.index("time")] == "1:02:03"
    voted = bundle(tmp_path, "voted", figures(12) | {"ferplus": {"accuracy": 0.81, "n": 30}})
    head, body = as_table(compare([voted]))
    assert (head[-1], body[0][-1]) == ("FER+", "0.8100")


def test_the_bundle_that_ships_is_compared() -> None:
    (row,) = compare([shipped()])
    assert row.n == 3579
    assert 0.6 < row.accuracy < 0.75
    assert as_table([]) == (list(HEAD[:-1]), [])
    assert compare([]) == []


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="there is no bundle at"):
        compare([shipped(), tmp_path / "nothing"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "test"}, "no figures of its validation split"),
        ({"accuracy": None}, "lack accuracy or n"),
        ({"n": 0}, "lack accuracy or n"),
        ({"accuracy": "good"}, "accuracy must be a number"),
        ({"accuracy": -1}, "accuracy must be a number"),
        ({"parameters": True}, "parameters must be a number"),
        ({"n": 10**400}, "n must be a number"),
        ({"ci95": [0.1, "x"]}, "ci95 must be a number"),
    ],
)
def test_figures_that_are_none_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = bundle(tmp_path, "x", figures(12) | change)
    with pytest.raises(BundleError, match=message) as caught:
        compare([path])
    assert "\n" not in str(caught.value)


def test_nothing_but_the_manifest_is_read(tmp_path: Path) -> None:
    path = bundle(tmp_path, "x", figures(12))
    (path / "m.keras").write_bytes(b"changed")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["recipe"]["seed"] = "none"
    (path / "manifest.json").write_text(json.dumps(manifest))
    (row,) = compare([path])
    assert row.seed is None
