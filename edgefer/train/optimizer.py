"""The optimizer of a training run, of whatever network: the learning rate's course, decay, and averaged weights."""

from __future__ import annotations

from typing import Any


def make_optimizer(
    keras: Any,
    *,
    steps: int,
    warmup_steps: int,
    learning_rate: float,
    weight_decay: float,
    gradient_clip: float,
    ema: float,
    kind: str = "adamw",
    schedule: str = "cosine",
) -> Any:
    """Return the keras.Optimizer for a run of `steps`; 0 switches `weight_decay`, `gradient_clip` and `ema` off.

    `kind` is `adamw`, `adam` or `sgd`. With any other `schedule` than `cosine` the rate stays for others to set.
    """
    rate: Any = learning_rate
    if schedule == "cosine":
        warmup = min(warmup_steps, steps // 2)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else learning_rate,
            decay_steps=max(1, steps - warmup),
            warmup_target=learning_rate if warmup else None,
            warmup_steps=warmup,
        )
    options: dict[str, Any] = {
        # AdamW insists on a number, and the others count 0 as decay.
        "weight_decay": weight_decay if kind == "adamw" else weight_decay or None,
        "global_clipnorm": gradient_clip or None,
    }
    # The average looks back over a tenth of the run at most: a short run would else average its first steps.
    momentum = min(ema, max(0.0, 1.0 - 10.0 / steps))
    if momentum > 0:
        options |= {"use_ema": True, "ema_momentum": momentum}
    if kind == "sgd":
        optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, **options)
    else:
        optimizer = {"adamw": keras.optimizers.AdamW, "adam": keras.optimizers.Adam}[kind](rate, **options)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer
