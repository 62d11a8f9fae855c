"""The optimizer of a run: its rate over the steps, its average and what it spares from decay."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("keras", reason="needs edgefer[train]")

from edgefer.train.backend import load_keras
from edgefer.train.optimizer import make_optimizer

PLAIN = {"steps": 1000, "warmup_steps": 100, "learning_rate": 0.5, "weight_decay": 0.1, "gradient_clip": 2.0}


def made(ema: float = 0.9, **changed: Any) -> Any:
    return make_optimizer(load_keras(), **{**PLAIN, "ema": ema, **changed})


def rates(optimizer: Any, *steps: int) -> list[float]:
    return [float(optimizer._learning_rate(step)) for step in steps]


def test_the_rate_rises_and_falls_to_zero_as_a_cosine() -> None:
    assert rates(made(), 0, 50, 100, 550, 1000) == pytest.approx([0, 0.25, 0.5, 0.25, 0], abs=1e-6)
    assert rates(made(warmup_steps=0), 0, 500, 1000) == pytest.approx([0.5, 0.25, 0], abs=1e-6)


def test_a_short_run_warms_up_for_half_of_its_steps() -> None:
    assert rates(made(steps=20), 0, 5, 10, 15, 20) == pytest.approx([0, 0.25, 0.5, 0.25, 0], abs=1e-6)
    assert rates(made(steps=1), 0, 1) == pytest.approx([0.5, 0], abs=1e-6)


def test_another_schedule_leaves_the_rate_to_be_set() -> None:
    optimizer = made(schedule="plateau")
    assert float(optimizer.learning_rate) == 0.5
    optimizer.learning_rate = 0.25
    assert float(optimizer.learning_rate) == 0.25


@pytest.mark.parametrize(
    ("steps", "ema", "momentum"),
    [(1000, 0.9, 0.9), (1000, 0.999, 0.99), (50, 0.999, 0.8), (10, 0.999, 0), (1000, 0, 0)],
)
def test_the_average_looks_back_over_a_tenth_of_the_run_at_most(steps: int, ema: float, momentum: float) -> None:
    optimizer = made(ema, steps=steps)
    assert optimizer.use_ema == (momentum > 0)
    if momentum:
        assert optimizer.ema_momentum == pytest.approx(momentum)


@pytest.mark.parametrize("kind", ["adamw", "adam", "sgd"])
def test_every_kind_decays_kernels_alone_and_clips(kind: str) -> None:
    keras = load_keras()
    optimizer = made(kind=kind)
    assert type(optimizer).__name__.lower() == kind
    assert (optimizer.weight_decay, optimizer.global_clipnorm) == (0.1, 2.0)
    names = ("kernel", "bias", "gamma", "beta")
    variables = [keras.Variable([1.0], name=name) for name in names]
    optimizer.build(variables)
    assert [optimizer._use_weight_decay(v) for v in variables] == [True, False, False, False]
    off = made(kind=kind, weight_decay=0.0, gradient_clip=0.0)
    assert (off.weight_decay or 0.0, off.global_clipnorm) == (0.0, None)
