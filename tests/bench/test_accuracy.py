"""Accuracy through a real engine: alone, by votes, and artifacts beside each other."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from edgefer import cartoon, metrics
from edgefer.bench.accuracy import evaluate, evaluate_all
from edgefer.bench.answers import digest
from edgefer.bench.evaluation import Evaluation, evaluations_of
from edgefer.bench.voted import voted
from edgefer.bundle import Bundle
from edgefer.errors import DataError
from edgefer.labels import FER2013_LABELS
from edgefer.runtime.engines import LoadedEngine, open_engine
from edgefer.train.data import Dataset
from edgefer.train.data.votes import CHOICES

DATA = Dataset(*cartoon.dataset(12, 3), FER2013_LABELS)


@pytest.fixture(scope="module")
def loaded(tiny_bundle: Bundle) -> Iterator[LoadedEngine]:
    found = open_engine(tiny_bundle, "litert")
    yield found
    found.engine.close()


def test_accuracy_does_not_depend_on_the_order_of_the_labels(tiny_bundle: Bundle, loaded: LoadedEngine) -> None:
    names = tuple(sorted(FER2013_LABELS))
    moved = np.array([names.index(n) for n in FER2013_LABELS])[DATA.labels]
    seen: list[tuple[int, int]] = []
    one = evaluate(tiny_bundle, replace(DATA, skipped=1), loaded, "test", command="edgefer evaluate")
    other = evaluate(tiny_bundle, Dataset(DATA.images, moved, names), loaded, progress=lambda *at: seen.append(at))
    assert one.accuracy == other.accuracy
    assert one.data == other.data
    assert one.reliability == other.reliability
    assert seen == [(64, 84), (84, 84)]
    assert (one.split, other.split, one.skipped) == ("test", "all", 1)
    assert (one.command, other.command) == ("edgefer evaluate", "")
    data = json.loads(json.dumps(one.as_dict(), allow_nan=False))
    assert (data["schema"], data["kind"], data["n"]) == (1, "evaluation", 84)
    assert data["labels"] == list(tiny_bundle.labels)
    assert data["bundle"]["digest"] == tiny_bundle.digest()
    assert np.sum(data["confusion"]) == 84
    assert data["engine"] == "litert"
    assert not {"votes", "robustness", "against"} & set(data)


def test_what_was_measured_can_be_read_again(tiny_bundle: Bundle, loaded: LoadedEngine) -> None:
    votes = np.random.default_rng(0).integers(0, 6, (len(DATA), len(CHOICES))).astype(np.uint8)
    found = evaluate(tiny_bundle, replace(DATA, votes=votes), loaded)
    assert found.votes is not None
    assert evaluations_of(json.loads(json.dumps(found.as_dict()))) == (found,)


def test_the_digest_is_of_pictures_and_labels() -> None:
    labels = DATA.labels.copy()
    labels[0] = (labels[0] + 1) % 7
    images = DATA.images.copy()
    images[5, 7, 7] ^= 1
    others = [replace(DATA, labels=labels), replace(DATA, images=images), DATA.take(np.arange(1, len(DATA)))]
    assert len({digest(data) for data in [DATA, *others]}) == 4
    assert digest(replace(DATA, skipped=3)) == digest(DATA)


def test_a_temperature_changes_how_sure_and_nothing_else(tiny_bundle: Bundle) -> None:
    found = []
    for temperature in (1.0, 10.0):
        bundle = replace(tiny_bundle, temperature=temperature)
        loaded = open_engine(bundle, "litert", "fp32")
        found.append(evaluate(bundle, DATA, loaded).accuracy)
        loaded.engine.close()
    assert found[0].ece != found[1].ece
    assert replace(found[0], ece=0.0) == replace(found[1], ece=0.0)


def test_labels_that_the_bundle_lacks_are_refused(tiny_bundle: Bundle, loaded: LoadedEngine) -> None:
    with pytest.raises(DataError, match="bored"):
        evaluate(tiny_bundle, replace(DATA, names=("bored", *FER2013_LABELS[1:])), loaded)


def test_artifacts_are_held_against_the_float_one(tiny_bundle: Bundle) -> None:
    engines = [open_engine(tiny_bundle, "litert", precision) for precision in ("int8", "fp32")]
    seen: list[tuple[int, int]] = []
    int8, fp32 = evaluate_all(tiny_bundle, DATA, engines, "test", lambda *at: seen.append(at))
    alone = evaluate(tiny_bundle, DATA, engines[0], "test")
    answers = [loaded.engine.run(DATA.images[..., None]) for loaded in engines]
    for loaded in engines:
        loaded.engine.close()
    assert fp32.against is None
    assert int8.against is not None
    assert (int8.against.artifact, int8.against.engine) == (fp32.artifact, "litert")
    assert int8.against.mcnemar == metrics.mcnemar(*answers, DATA.ordered(tiny_bundle.labels).labels)
    assert int8.against.mcnemar.difference == pytest.approx(
        100 * (int8.accuracy.accuracy - fp32.accuracy.accuracy), abs=1e-9
    )
    assert int8.against.same_label == (answers[0].argmax(1) == answers[1].argmax(1)).mean()
    assert replace(int8, against=None, seconds=0.0, created="") == replace(alone, seconds=0.0, created="")
    assert seen == [(64, 168), (84, 168), (148, 168), (168, 168)]
    assert Evaluation.from_dict(int8.as_dict()) == int8


def test_without_a_float_artifact_nothing_is_compared(tiny_bundle: Bundle, loaded: LoadedEngine) -> None:
    assert [e.against for e in evaluate_all(tiny_bundle, DATA, [loaded, loaded])] == [None, None]


def ballot(**votes: int) -> list[int]:
    return [votes.get(choice, 0) for choice in CHOICES]


def sure(*labels: str, names: tuple[str, ...] = FER2013_LABELS) -> np.ndarray:
    """Return answers that are each sure of a label."""
    return np.eye(len(names), dtype=np.float32)[[names.index(name) for name in labels]]


def numbers(*labels: str, names: tuple[str, ...] = FER2013_LABELS) -> np.ndarray:
    return np.array([names.index(name) for name in labels])


def test_votes_say_who_was_right() -> None:
    votes = [
        ballot(happiness=9, neutral=1),  # all agree
        ballot(sadness=6, neutral=4),  # with the model
        ballot(neutral=10),  # with the label
        ballot(fear=5, surprise=3, disgust=2),  # with neither
        ballot(anger=7),  # model and label are of one mind, people of another
        ballot(contempt=6, neutral=4),
        ballot(unknown=6, neutral=4),
        ballot(NF=10),
        ballot(happiness=5, surprise=5),
        [1] * 10,
    ]
    answers = sure("happy", "sad", "happy", "happy", "sad", *["happy"] * 5)
    labels = numbers("happy", "neutral", "neutral", "neutral", "sad", *["happy"] * 5)
    found = voted(answers, labels, np.array(votes, np.uint8), FER2013_LABELS)
    assert (found.with_model, found.with_label, found.with_neither, found.wrong) == (1, 1, 1, 3)
    assert found.relabelled == 3
    assert found.left_out == {"contempt": 1, "unknown": 1, "not a face": 1, "no majority": 2}
    assert (found.accuracy.n, found.accuracy.accuracy) == (5, 2 / 5)
    assert found.accuracy.per_class["fear"].support == 1


def test_a_single_vote_does_not_count() -> None:
    votes = np.array([ballot(happiness=2, **dict.fromkeys(("sadness", "anger", "fear", "NF"), 1))], np.uint8)
    assert voted(sure("happy"), numbers("sad"), votes, FER2013_LABELS).with_model == 1


def test_votes_for_merged_labels_add_up() -> None:
    names = ("angry", "disgust", "fear", "happy", "low", "surprise")
    votes = np.array([ballot(sadness=3, neutral=3, anger=4)], np.uint8)
    found = voted(sure("low", names=names), numbers("low", names=names), votes, names, ["sad+neutral=low"])
    assert found.accuracy.accuracy == 1
    assert "sad" not in found.left_out


def test_an_emotion_that_the_bundle_lacks_is_left_out() -> None:
    votes = np.array([ballot(disgust=9), ballot(sadness=9)], np.uint8)
    found = voted(np.array([[1, 0], [1, 0]], np.float32), np.array([0, 1]), votes, ("sad", "happy"))
    assert found.left_out["disgust"] == 1
    assert (found.accuracy.n, found.with_model) == (1, 1)


def test_votes_for_nothing_that_the_bundle_has_are_refused() -> None:
    with pytest.raises(DataError, match="on no picture did most people choose a label"):
        voted(sure("happy"), numbers("happy"), np.array([ballot(NF=10)], np.uint8), FER2013_LABELS)


def test_votes_agree_with_those_of_training(tiny_bundle: Bundle) -> None:
    """Where training and evaluation both give a clear majority, it is the same one."""
    from edgefer.train.data import votes as ferplus

    votes = np.random.default_rng(1).multinomial(10, np.ones(10) / 10, 500).astype(np.uint8)
    labels = np.zeros(500, np.int64)
    majority, kept = ferplus.majority(votes, FER2013_LABELS, labels)
    found = voted(np.eye(7, dtype=np.float32)[majority], labels, votes, FER2013_LABELS)
    wrong = found.accuracy.n - round(found.accuracy.accuracy * found.accuracy.n)
    assert wrong == 0
    assert found.accuracy.n <= kept.sum() + found.left_out["contempt"]


def test_the_figures_are_a_dataclass_that_cannot_be_changed(tiny_bundle: Bundle, loaded: LoadedEngine) -> None:
    found = evaluate(tiny_bundle, DATA, loaded)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.seconds = 0.0  # type: ignore[misc]
