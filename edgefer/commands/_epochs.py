"""How a training run shows on a terminal: a line that counts steps, and a line that stays for each epoch."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from edgefer.train.detect.fit import LookReport
    from edgefer.train.state import EpochReport


@contextlib.contextmanager
def interruptible(epochs: Epochs | Looks) -> Iterator[None]:
    """Let Ctrl-C end the run at the next step at the latest.

    Python loses a KeyboardInterrupt that strikes while it cleans up an object, and training would go on.
    """

    def interrupt(number: int, frame: Any) -> None:
        epochs.interrupted = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Epochs:
    """One line that counts steps while an epoch runs, and stays with the epoch's figures."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self._start = 0.0
        self._first = 0
        self._seconds: list[float] = []
        self._terminal = sys.stderr.isatty()
        self.interrupted = False

    def step(self, epoch: int, step: int, steps: int, loss: float, accuracy: float) -> None:
        """Redraw the line, on a terminal alone."""
        if self.interrupted:
            raise KeyboardInterrupt
        if not self._first or step < self._first:
            self._start, self._first = time.monotonic(), step
        if self._terminal and (step % 5 == 0 or step == steps):
            left = (time.monotonic() - self._start) / max(1, step - self._first) * (steps - step)
            figures = f"loss {loss:.3f}  accuracy {accuracy:.3f}"
            text = f"epoch {epoch:3}/{self._epochs} [{_bar(step, steps)}] {left:4.0f} s  {figures}"
            click.echo(f"\r{text}", nl=False, err=True)

    def epoch(self, report: EpochReport, is_best: bool) -> None:
        """Write what the epoch gave, and how long the rest will take."""
        self._first = 0
        self._seconds.append(report.seconds)
        left = sum(self._seconds[-3:]) / len(self._seconds[-3:]) * (self._epochs - report.epoch)
        text = (
            f"epoch {report.epoch:3}/{self._epochs}  loss {report.loss:.3f}  accuracy {report.train_accuracy:.3f}"
            f"  validation {report.validation_accuracy:.4f}  rate {report.learning_rate:.1e}  {report.seconds:.0f} s"
            f"  {_duration(left)} left{'  best' if is_best else ''}"
        )
        click.echo(f"\r{text:<110}" if self._terminal else text, err=True)


class Looks:
    """One line that counts the steps of a detector's training, and one that stays for each look at the validation."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._first: tuple[int, float] | None = None
        self._terminal = sys.stderr.isatty()
        self.interrupted = False

    def step(self, step: int, steps: int, loss: float) -> None:
        """Redraw the line, on a terminal alone."""
        if self.interrupted:
            raise KeyboardInterrupt
        if self._first is None:
            self._first = (step, time.monotonic())
        if self._terminal and (step % 10 == 0 or step == steps):
            text = f"step {step:,}/{steps:,} [{_bar(step, steps)}] {self._left(step)} left  loss {loss:.3f}"
            click.echo(f"\r{text:<90}", nl=False, err=True)

    def look(self, report: LookReport, is_best: bool) -> None:
        """Write what the look gave, and how long the rest will take."""
        text = (
            f"step {report.step:7,}/{self._steps:,}  loss {report.loss:.3f}  average precision"
            f" {report.average_precision:.4f}  rate {report.learning_rate:.1e}  {self._left(report.step)} left"
            f"{'  best' if is_best else ''}"
        )
        click.echo(f"\r{text:<100}" if self._terminal else text, err=True)

    def _left(self, step: int) -> str:
        """Return how long the rest will take, by the time that the steps of this process took."""
        first, start = self._first or (step, time.monotonic())
        return _duration((time.monotonic() - start) / max(1, step - first) * (self._steps - step))


def _bar(step: int, steps: int) -> str:
    filled = round(24 * step / steps)
    return "#" * filled + "-" * (24 - filled)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
