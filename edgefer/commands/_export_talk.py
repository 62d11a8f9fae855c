"""What the processes of an export and a search say, shown to a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgefer.commands._shared import say


class Talk:
    """Shows what a process says: lines, and the epochs of fine-tuning."""

    def __init__(self) -> None:
        self._epochs: Any = None

    def __call__(self, message: Mapping[str, Any]) -> None:
        """Show one message of `optimize.worker`."""
        from edgefer.commands._epochs import Epochs
        from edgefer.train.state import EpochReport

        if "say" in message:
            say(f"  {message['say']}")
        elif "stage" in message:
            say(f"  {message['stage']}: {message['epochs']} epochs")
            self._epochs = Epochs(message["epochs"])
        elif "step" in message:
            self._epochs.step(*(message[k] for k in ("epoch", "step", "steps", "loss", "accuracy")))
        elif "report" in message:
            self._epochs.epoch(EpochReport(**message["report"]), message["best"])
