"""The curves of a run for TensorBoard: an event file in TensorBoard's own format, with any Keras backend.

TensorBoard's `EventFileWriter` would import TensorFlow where that is installed, under JAX and torch too, and write
from a thread. Its `RecordWriter`, which it is made of, does neither.
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from edgefer import plugins
from edgefer.errors import TrainError
from edgefer.train.state import EpochReport

TAGS = {
    "loss": "loss",
    "accuracy": "train_accuracy",
    "validation_loss": "validation_loss",
    "validation_accuracy": "validation_accuracy",
    "learning_rate": "learning_rate",
}
"""Name in TensorBoard → field of EpochReport."""


class Scalars:
    """Writes the figures of each epoch into `folder`; the step is the number of the epoch.

    A resumed run writes into a new file there. Its first epoch says to TensorBoard that what earlier files hold from
    that step on was given up, so no epoch is shown twice; a run from epoch 1 takes the place of an earlier one.
    Raises MissingDependencyError without tensorboard, TrainError when the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started = False
        self._file: IO[bytes]
        self._records: Any

    def __enter__(self) -> Scalars:
        writers = _require("tensorboard.summary.writer.record_writer")
        events = _require("tensorboard.compat.proto.event_pb2")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = _new_file(self._folder)
            self._records = writers.RecordWriter(self._file)
            self._write(events.Event(file_version="brain.Event:2"))
        except OSError as error:
            raise self._refusal(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def epoch(self, report: EpochReport) -> None:
        """Write one epoch; when this returns, it is in the file."""
        events = _require("tensorboard.compat.proto.event_pb2")
        summaries = _require("tensorboard.compat.proto.summary_pb2")
        values = [summaries.Summary.Value(tag=tag, simple_value=getattr(report, name)) for tag, name in TAGS.items()]
        try:
            if not self._started:
                start = events.SessionLog(status=events.SessionLog.START)
                self._write(events.Event(step=report.epoch, session_log=start))
                self._started = True
            self._write(events.Event(step=report.epoch, summary=summaries.Summary(value=values)))
        except OSError as error:
            raise self._refusal(error) from error

    def _write(self, event: Any) -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())
        self._records.flush()

    def _refusal(self, error: OSError) -> TrainError:
        return TrainError(f"cannot write {self._folder}: {error.strerror or error}; choose another folder")


def _require(module: str) -> Any:
    return plugins.require(module, "train", "writing curves for TensorBoard")


def _new_file(folder: Path) -> IO[bytes]:
    """Open a file that is new, unbuffered, with the name that TensorBoard looks for; it reads them in this order."""
    name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
    for number in range(1000):
        try:
            return (folder / f"{name}.{number}").open("xb", buffering=0)
        except FileExistsError:
            continue
    raise FileExistsError(f"{name}.0 to .999 exist")
