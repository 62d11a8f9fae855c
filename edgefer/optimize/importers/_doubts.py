"""What labelled faces say of a model from outside: is the order of its labels right, and the scaling of its pixels?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from edgefer import metrics

Probabilities = npt.NDArray[np.float32]

GAIN = 0.1
"""By how much accuracy must grow in another order, or with another scaling, for that to be worth a word."""
MAX_LABELS = 12
"""The search for the best order takes 2^labels steps."""


def doubts(
    chosen: Probabilities,
    others: Mapping[str, Probabilities],
    labels: npt.NDArray[np.int64],
    names: Sequence[str],
    orders: Mapping[str, Sequence[str]],
) -> list[str]:
    """Return warnings, one line each, for probabilities float32 [n, k] of faces with `labels` that index `names`.

    `others` are the answers to the first faces with other scalings, `orders` the orders of labels that have a name.
    """
    found = []
    accuracy = metrics.measure(chosen, labels, names).accuracy
    best, order = best_order(chosen, labels, names)
    n, k = len(labels), len(names)
    if accuracy < 1.5 / k:
        found.append(f"accuracy {accuracy:.3f} on {n} faces is near chance ({1 / k:.3f})")
    if best >= accuracy + GAIN:
        known = next((f" (--labels {name})" for name, it in orders.items() if tuple(it) == order), "")
        found.append(
            f"with the labels in another order accuracy would be {best:.3f} instead of {accuracy:.3f}:"
            f" --labels {','.join(order)}{known}"
        )
    for name, answers in others.items():
        m = len(answers)
        # In their best order, so that wrong names do not hide a right scaling.
        now, then = (best_order(p, labels[:m], names)[0] for p in (chosen[:m], answers))
        if then >= now + GAIN:
            found.append(f"with --preprocess {name} {then:.3f} of {m} faces could be right, now {now:.3f}: check it")
    return found


def best_order(
    probabilities: Probabilities, labels: npt.NDArray[np.int64], names: Sequence[str]
) -> tuple[float, tuple[str, ...]]:
    """Return the highest accuracy that any order of the names gives, and that order; the given one wins a tie.

    With more than `MAX_LABELS` names the given order is taken as the best.
    """
    k, n = len(names), len(labels)
    counts = np.bincount(labels * k + probabilities.argmax(axis=1), minlength=k * k).reshape(k, k).astype(np.float64)
    if k > MAX_LABELS:
        return float(counts.trace() / n), tuple(names)
    worth = counts + np.eye(k) * 1e-6
    # Output by output: for each set of names that are given away, the best way to do so.
    reached: dict[int, tuple[float, tuple[int, ...]]] = {0: (0.0, ())}
    for column in range(k):
        following: dict[int, tuple[float, tuple[int, ...]]] = {}
        for used, (score, given) in reached.items():
            for row in range(k):
                new = used | 1 << row
                total = score + worth[row, column]
                if new != used and (new not in following or total > following[new][0]):
                    following[new] = (total, (*given, row))
        reached = following
    _, rows = reached[(1 << k) - 1]
    hits = sum(counts[row, column] for column, row in enumerate(rows))
    return float(hits / n), tuple(names[row] for row in rows)
