"""Curves for TensorBoard, read back with TensorBoard's own reader."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgefer.errors import TrainError
from edgefer.train.state import EpochReport
from edgefer.train.tensorboard import TAGS, Scalars

pytest.importorskip("tensorboard", reason="needs edgefer[train]")


def report(epoch: int, accuracy: float = 0.5) -> EpochReport:
    return EpochReport(epoch, 2.0 / epoch, accuracy, 1.5 / epoch, accuracy + 0.125, 1e-3 / epoch, 9.0)


def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_every_epoch_is_read_back(tmp_path: Path) -> None:
    reports = [report(1), report(2), report(3)]
    with Scalars(tmp_path / "new" / "folder") as scalars:
        for one in reports:
            scalars.epoch(one)
    found = read(tmp_path / "new" / "folder")
    assert (
        set(found)
        == set(TAGS)
        == {
            "loss",
            "accuracy",
            "validation_loss",
            "validation_accuracy",
            "learning_rate",
        }
    )
    for tag, field in TAGS.items():
        assert [step for step, _ in found[tag]] == [1, 2, 3]
        assert [value for _, value in found[tag]] == pytest.approx([getattr(r, field) for r in reports])


def test_an_epoch_can_be_read_while_the_run_goes_on(tmp_path: Path) -> None:
    with Scalars(tmp_path) as scalars:
        scalars.epoch(report(1))
        assert read(tmp_path)["loss"] == [(1, 2.0)]


@pytest.mark.parametrize(
    ("again", "expected"),
    [
        ([3, 4], [1, 2, 3, 4]),  # killed after its second epoch
        ([2, 3, 4], [1, 2, 3, 4]),  # killed before the state of the second was kept
        ([1, 2], [1, 2]),  # trained anew
    ],
)
def test_a_resumed_run_doubles_no_epoch(tmp_path: Path, again: list[int], expected: list[int]) -> None:
    for epochs, accuracy in (([1, 2], 0.25), (again, 0.75)):
        with Scalars(tmp_path) as scalars:
            for epoch in epochs:
                scalars.epoch(report(epoch, accuracy))
    found = read(tmp_path)["accuracy"]
    assert found == [(step, 0.75 if step in again else 0.25) for step in expected]
    assert len(list(tmp_path.iterdir())) == 2


def test_an_error_in_the_run_passes_and_what_was_written_stays(tmp_path: Path) -> None:
    def run() -> None:
        with Scalars(tmp_path) as scalars:
            scalars.epoch(report(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
    assert read(tmp_path)["loss"] == [(1, 2.0)]


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainError, match=r"cannot write .*file"), Scalars(tmp_path / "file"):
        pass


def test_tensorflow_is_not_needed(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from edgefer.train.state import EpochReport
from edgefer.train.tensorboard import Scalars
with Scalars(Path({str(tmp_path)!r})) as scalars:
    scalars.epoch(EpochReport(1, 2.0, 0.5, 1.0, 0.5, 0.1, 3.0))
assert "tensorflow" not in sys.modules
assert "keras" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert read(tmp_path)["loss"] == [(1, 2.0)]
