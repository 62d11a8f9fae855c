"""Evaluation: what is written is read again, what is broken or contradicts itself is refused with a reason."""

from __future__ import annotations

import copy
import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefer import metrics
from edgefer.bench import evaluation as evaluations
from edgefer.bench._figures import CLOSE
from edgefer.bench.evaluation import (
    Against,
    Evaluation,
    evaluations_of,
    is_evaluation,
    read_evaluations,
)
from edgefer.bench.evaluation_text import all_as_text, as_text, confusion_png, summary_rows
from edgefer.bench.robustness import Level, Robustness, Row
from edgefer.bench.rows import BundleIdentity
from edgefer.bench.voted import voted
from edgefer.errors import MissingDependencyError, RecordError

NAMES = ("happy", "sad", "neutral")
PREPROCESS = {"size": 48, "margin": 0.0, "method": "grey-area-v1"}


def example(seed: int = 0, n: int = 40, parts: bool = True, names: tuple[str, ...] = NAMES) -> Evaluation:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(len(names)), n).astype(np.float32)
    others = rng.dirichlet(np.ones(len(names)), n).astype(np.float32)
    labels = rng.integers(0, len(names), n)
    votes = np.array([[3, 4, 0, 3, 0, 0, 0, 0, 0, 0], [0, 0, 0, 9, 0, 0, 0, 1, 0, 0], [0] * 8 + [9, 1]], np.uint8)
    levels = tuple(Level(float(s), int(rng.integers(0, n + 1)), n) for s in (1, 2, 3, 4, 5))
    beside = Against("m.fp32.tflite", "litert", 0.75, metrics.mcnemar(probabilities, others, labels))
    spoilt = Robustness(seed, n, 7, (Row("blur", "px", levels), Row("dark", "of the light", levels[:2])))
    return Evaluation(
        accuracy=metrics.measure(probabilities, labels, names),
        reliability=metrics.reliability(probabilities, labels),
        bundle=BundleIdentity("m", "edge-s", "0a" * 32, names, PREPROCESS),
        engine="litert",
        engine_version="2.3.0",
        provider="XNNPACK",
        artifact="m.int8.tflite",
        precision="int8",
        bytes=83_040,
        split="test",
        data="ab" * 32,
        seconds=1.25,
        created="2025-11-21T05:00:00+00:00",
        command="edgefer evaluate --data 'my faces.csv' --json",
        skipped=2,
        votes=voted(probabilities, labels, votes[rng.integers(0, 3, n)], names) if parts else None,
        robustness=spoilt if parts else None,
        against=beside if parts else None,
    )


def plain(found: Evaluation) -> Any:
    return json.loads(json.dumps(found.as_dict(), allow_nan=False))


@given(st.integers(0, 10_000), st.integers(3, 60), st.booleans())
@settings(max_examples=40)
def test_plain_data_gives_the_evaluation_back(seed: int, n: int, parts: bool) -> None:
    found = example(seed, max(n, 20) if parts else n, parts)
    assert Evaluation.from_dict(plain(found)) == found
    assert Evaluation.from_dict(plain(found)).as_dict() == found.as_dict()


def test_a_file_holds_one_or_a_list(tmp_path: Path) -> None:
    one, several = tmp_path / "one.json", tmp_path / "several.json"
    one.write_text(json.dumps(example().as_dict()))
    several.write_text(json.dumps([example(1).as_dict(), example(2, parts=False).as_dict()]))
    assert read_evaluations(one) == (example(),)
    assert read_evaluations(several) == (example(1), example(2, parts=False))


def test_a_file_can_be_told_from_a_record() -> None:
    assert is_evaluation(plain(example()))
    assert is_evaluation([plain(example())])
    for other in ({"kind": "measured"}, {}, None, "evaluation", 3):
        assert not is_evaluation(other)


DELETE = object()


def changed(*keys: Any, value: Any) -> Callable[[Any], None]:
    def change(data: Any) -> None:
        for key in keys[:-1]:
            data = data[key]
        if value is DELETE:
            del data[keys[-1]]
        else:
            data[keys[-1]] = value

    return change


BROKEN = [
    (changed("schema", value=2), "schema is 2, this version reads 1; install a newer edgefer"),
    (changed("schema", value=0), "evaluate again"),
    (changed("schema", value=True), "'schema' must be int"),
    (changed("kind", value="measured"), "known: evaluation"),
    (changed("more", value=1), "unknown field 'more'"),
    (changed("engine", value=DELETE), "'engine' is missing"),
    (changed("engine", value="\ud800"), "'engine' must be a text"),
    (changed("command", value="x" * 10_001), "'command' must be a text of at most 10,000 characters"),
    (changed("created", value="yesterday"), "'created' must be a date"),
    (changed("accuracy", value=0.99), "'accuracy' is stated as 0.99, but the counts give"),
    (changed("accuracy", value=float("nan")), "'accuracy' is nan"),
    (changed("ci95", value=[0.1]), "'ci95' is stated as"),
    (changed("ci95", value=[0.1, 0.2]), "'ci95' is stated as"),
    (changed("n", value=41), "'confusion' adds up to 40 pictures, but 'n' is 41"),
    (changed("n", value=0), "'n' must be 1"),
    (changed("n", value=2**62), "'n' must be 1"),
    (changed("confusion", 0, 0, value=-1), "'confusion' must hold counts"),
    (changed("confusion", 0, 0, value=1.0), "'confusion' must hold counts"),
    (changed("confusion", 0, value=[1]), "'confusion' must be 3 rows of 3 counts"),
    (changed("per_class", "sad", "recall", value=0.9999), "recall of 'sad' is stated as 0.9999"),
    (changed("per_class", "sad", "support", value=1), "support of 'sad'"),
    (changed("per_class", "sad", value=DELETE), "'sad' is missing"),
    (changed("per_class", "bored", value={}), "unknown field 'bored'"),
    (changed("ece", value=0.9), "'ece' is stated as 0.9"),
    (changed("ece", value=1.5), "'ece' must be 0–1"),
    (changed("reliability", value=[]), "'reliability' must be 1–1,000 bins"),
    (changed("reliability", 0, "count", value=1), "the bins of 'reliability' hold 41 pictures"),
    (changed("reliability", 3, "low", value=0.21), "bin 3 of the reliability"),
    (changed("reliability", 7, "accuracy", value=7.0), "must be 0–1"),
    (changed("labels", value=["happy", "sad", "angry"]), "'labels' are not those of the bundle"),
    (changed("bundle", "labels", value=["happy"]), "'labels' must be 2 or more different names"),
    (changed("bundle", "labels", 0, value="sad"), "'labels' must be 2 or more different names"),
    (changed("bundle", "name", value="\udcff"), "bundle: holds what no bundle has"),
    (changed("bundle", "preprocess", value={"margin": float("inf")}), "a number is inf"),
    (changed("votes", "n", value=7), "'confusion'"),
    (changed("votes", "wrong", value=1), "votes: 'wrong' is not the sum of its parts"),
    (changed("votes", "left_out", "unknown", value=1), "votes: .* left out are not 40"),
    (changed("votes", "relabelled", value=0), "votes: its counts contradict each other"),
    (changed("votes", "left_out", "", value=0), "votes: what is left out must have names"),
    (changed("robustness", "n", value=41), "must be 41–41 pictures|but the counts give"),
    (changed("robustness", "mean", value=0.0001), "'mean' of the robustness is stated"),
    (changed("robustness", "corruptions", value=[]), "'corruptions' must be a list of 1–100"),
    (changed("robustness", "corruptions", 0, "levels", value=[]), "'blur' must have 1–100 strengths"),
    (changed("robustness", "corruptions", 0, "levels", 2, "hits", value=41), "'hits' must be 0–40"),
    (changed("robustness", "corruptions", 0, "levels", 2, "accuracy", value=0.123), "'accuracy' is stated as 0.123"),
    (changed("robustness", "corruptions", 0, "relative", value=0.0), "'relative' of 'blur'"),
    (changed("against", "p", value=1.01), "against: its figures are out of range"),
    (changed("against", "difference_points", value=99.0), "'difference_points' is stated as 99.0"),
    (changed("against", "difference_points", value=float("nan")), "'difference_points' is stated as nan"),
    (changed("against", "ci95_points", value=[1.0, -1.0]), "against: its figures are out of range"),
    (changed("against", "ci95_points", value=[float("nan")] * 2), "against: its figures are out of range"),
    (changed("against", "ci95_points", value=["1", 2.0]), "'ci95_points' must be two numbers"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN)
def test_what_is_broken_is_refused_with_its_reason(change: Callable[[Any], None], message: str, tmp_path: Path) -> None:
    data = plain(example())
    change(data)
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(data))
    with pytest.raises(RecordError, match=message) as caught:
        read_evaluations(path)
    assert "\n" not in str(caught.value)
    assert "evaluation.json" in str(caught.value)


def test_robustness_on_more_pictures_than_there_are_is_refused() -> None:
    data = plain(example(n=30))
    data["robustness"] = plain(example(n=40))["robustness"]
    with pytest.raises(RecordError, match="robustness is on 40 of 30 pictures"):
        evaluations_of(data)


def test_a_list_says_which_is_broken() -> None:
    bad = plain(example())
    del bad["engine"]
    with pytest.raises(RecordError, match=r"evaluation 2 of 2: evaluation: 'engine' is missing"):
        evaluations_of([plain(example()), bad])
    with pytest.raises(RecordError, match="a list must hold 1–256 evaluations, found 0"):
        evaluations_of([])


def test_files_that_are_no_evaluations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "e.json"
    with pytest.raises(RecordError, match=r"cannot read .*e\.json: No such file.*edgefer evaluate --data PATH --json"):
        read_evaluations(path)
    for text, message in [
        ("", "is not JSON"),
        ("accuracy 0.66\n", "is not JSON"),
        ("3", "must be an object, found int"),
        ("[" * 100_000, "is not JSON|nested too deeply"),
        ("9" * 10_000, "is not JSON|must be an object"),
        (json.dumps(plain(example())).replace('"size": 48', '"size": ' + "[" * 900 + "]" * 900), "."),
    ]:
        path.write_text(text)
        with pytest.raises(RecordError, match=message):
            read_evaluations(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecordError, match="is not JSON"):
        read_evaluations(path)
    monkeypatch.setattr(evaluations, "MAX_BYTES", 100)
    path.write_text(json.dumps(plain(example())))
    with pytest.raises(RecordError, match="larger than 100 bytes: not an evaluation"):
        read_evaluations(path)


def test_no_part_of_a_file_is_an_evaluation(tmp_path: Path) -> None:
    text = json.dumps(plain(example())).encode()
    path = tmp_path / "e.json"
    for end in [*range(0, len(text), 97), len(text) - 1]:
        path.write_bytes(text[:end])
        with pytest.raises(RecordError):
            read_evaluations(path)


def places(data: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every value within plain data."""
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [way for key, value in pairs for way in [(*at, key), *places(value, (*at, key))]]


WHOLE = plain(example())
EVERYWHERE = places(WHOLE)
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.integers(-3, 50),
    st.floats(),
    st.floats(0, 1),
    st.text(max_size=5),
    st.just("\ud800"),
    st.just([]),
    st.just({}),
    st.just(DELETE),
    st.sampled_from(EVERYWHERE),
)


@given(st.lists(st.tuples(st.sampled_from(EVERYWHERE), ODD), min_size=1, max_size=3))
@settings(max_examples=400)
def test_what_is_changed_is_refused_or_is_what_it_says(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    data = copy.deepcopy(WHOLE)
    for way, value in changes:
        try:
            changed(*way, value=list(value) if isinstance(value, tuple) else value)(data)
        except (KeyError, IndexError, TypeError):  # an earlier change took the place away
            continue
    try:
        found = Evaluation.from_dict(data)
    except RecordError:
        return
    assert found.as_dict() == data


@given(st.integers(0, 10_000), st.integers(0, 255), st.booleans())
@settings(max_examples=200)
def test_a_changed_byte_is_refused_or_is_what_it_says(place: int, byte: int, list_of_them: bool) -> None:
    text = bytearray(json.dumps([WHOLE] if list_of_them else WHOLE).encode())
    text[place % len(text)] = byte
    try:
        data = json.loads(bytes(text))
    except ValueError:
        return
    try:
        found = evaluations_of(data)
    except RecordError:
        return
    assert alike([one.as_dict() for one in found], data if list_of_them else [data])


def alike(one: object, other: object) -> bool:
    """Return whether both say the same; figures that follow from others are only read as near as `CLOSE`."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, (int, float)):
        return math.isclose(one, other, rel_tol=0, abs_tol=CLOSE)
    return one == other


def test_the_text_says_all_of_it() -> None:
    text = as_text(example())
    lines = text.splitlines()
    assert "split test: 40 pictures, 2 could not be read" in lines
    assert any(line.startswith("by the majority of FER+'s votes: accuracy 0.") for line in lines)
    assert "left out: unknown" in text
    assert "robustness: 40 pictures, clean 0.1750" in text
    assert any(line.split()[:7] == ["blur", "1,", "2,", "3,", "4,", "5", "px"] for line in lines)
    first = next(i for i, line in enumerate(lines) if line.startswith("class"))
    assert len({len(line) for line in lines[first : first + 4]}) == 1
    bare = as_text(example(parts=False))
    assert "FER+" not in bare
    assert "robustness" not in bare


def test_several_are_a_row_each() -> None:
    first = replace(example(parts=False), artifact="m.fp32.tflite", precision="fp32")
    second = example(1)
    head, *rows = summary_rows([first, second])
    assert head[:7] == ["artifact", "engine", "kB", "accuracy", "95 %", "macro F1", "ECE"]
    assert head[7:] == ["vs float", "p", "same label", "FER+", "spoilt", "of clean"]
    assert rows[0][-6:] == [""] * 6
    assert rows[1][9] == "75.00 %"
    assert len(summary_rows([first])[0]) == 7
    text = all_as_text([first, second])
    assert "m, split test: 40 pictures" in text
    assert "McNemar" in text
    assert "McNemar" not in all_as_text([first])


def test_the_confusion_matrix_is_drawn_to_a_png(tmp_path: Path) -> None:
    """The picture is decoded: the shade of each cell is the part of its true class, dark on the diagonal."""
    pytest.importorskip("matplotlib", reason="the report extra is not installed")
    import cv2

    labels = example().labels
    accuracy = metrics.of_confusion(np.diag([10] * len(labels)), labels, 0.0)
    path = tmp_path / "confusion.png"
    confusion_png(replace(example(), accuracy=accuracy), path)
    assert path.read_bytes().startswith(b"\x89PNG")
    picture = cv2.imread(str(path))
    assert picture is not None
    height, width = picture.shape[:2]
    assert min(height, width) >= 600
    dark = (picture == (107, 48, 8)).all(axis=2)  # the dark end of matplotlib's Blues, blue first
    rows, columns = np.nonzero(dark)
    # As many dark cells as labels, one below and right of the other: rows and columns go along.
    assert np.corrcoef(rows, columns)[0, 1] > 0.8
    whole = (rows.max() - rows.min()) * (columns.max() - columns.min())
    assert dark.sum() / whole == pytest.approx(1 / len(labels), rel=0.1)
    assert [p.name for p in tmp_path.iterdir()] == ["confusion.png"]


def test_a_confusion_matrix_without_pictures_of_a_class_and_with_odd_names(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the report extra is not installed")
    first = example()
    counts = np.zeros((len(first.labels),) * 2, np.int64)
    counts[0, 0] = 3
    odd = replace(first, artifact="$\\frac{$", accuracy=metrics.of_confusion(counts, first.labels, 0.0))
    confusion_png(odd, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_without_matplotlib_the_extra_is_named_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgefer\[report\]'"):
        confusion_png(example(), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
