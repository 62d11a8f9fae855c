"""Several GPUs, and several machines: TensorFlow's own engine, tf.distribute, told by TF_CONFIG who takes part.

Every worker runs the same command with the same data; tf.data deals the rows of each batch out. Only the chief
validates and writes. Everything here is needed by TensorFlow alone; without TF_CONFIG and with one GPU it does nothing.
"""

from __future__ import annotations

import contextlib
import faulthandler
import hashlib
import json
import os
import re
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgefer.errors import TrainError

WAIT = 600
"""Seconds that a worker waits for the others at the start; then it ends (TensorFlow itself would wait for ever)."""
SEED_STEP = 1_000_003
"""Between the seeds of two replicas."""


@dataclass(frozen=True)
class Task:
    """This process's place among the workers."""

    index: int = 0
    """0 is the chief, which alone validates and writes."""
    addresses: tuple[str, ...] = ("localhost",)

    @property
    def chief(self) -> bool:
        """Return whether this process writes the state and the bundle."""
        return self.index == 0


def task() -> Task:
    """Return what TF_CONFIG says; raises TrainError when it is malformed or names roles other than chief and worker."""
    if not os.environ.get("TF_CONFIG"):
        return Task()
    try:
        config = json.loads(os.environ["TF_CONFIG"])
        cluster, own = config["cluster"], (config["task"]["type"], config["task"]["index"])
        places = [(role, i) for role in ("chief", "worker") for i in range(len(cluster.get(role, ())))]
        addresses = tuple(str(cluster[role][i]) for role, i in places)
        index = places.index(own)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainError(
            'TF_CONFIG must be like {"cluster": {"worker": ["host:port", …]}, "task": {"type": "worker", "index": 0}}:'
            f" found {os.environ['TF_CONFIG'][:80]!r} ({error}); correct it, or unset it to train on this machine alone"
        ) from error
    return Task(index, addresses)


@dataclass(frozen=True)
class Workers:
    """The replicas that train together; `strategy` is None when there is only one."""

    task: Task
    strategy: Any = None

    @property
    def several(self) -> bool:
        """Return whether more than one process takes part."""
        return len(self.task.addresses) > 1

    @property
    def replicas(self) -> int:
        """Return how many devices share a batch."""
        return self.strategy.num_replicas_in_sync if self.strategy else 1

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which the network, the model and the optimizer are made."""
        return self.strategy.scope() if self.strategy else contextlib.nullcontext()

    def part_random(self, variables: Iterable[Any]) -> None:
        """Give each replica random numbers of its own; call once, when the variables stand as the chief kept them."""
        if not self.strategy:
            return
        for variable in variables:
            if variable.path.endswith("seed_generator_state"):
                seed, counter = (int(x) for x in np.asarray(variable.numpy()))
                local = self.strategy.experimental_local_results(variable.value)
                for i, part in enumerate(local):
                    part.assign([(seed + SEED_STEP * (self.task.index * len(local) + i)) % 2**31, counter])

    def from_chief(self, numbers: list[float]) -> list[float]:
        """Return the chief's `numbers`; the others give as many of any kind, and wait here for the chief."""
        if not self.several:
            return numbers
        import tensorflow as tf

        own = np.asarray(numbers, np.float64) * self.task.chief
        with self.errors():
            return [float(x) for x in self.strategy.reduce("SUM", tf.constant(own), axis=None).numpy()]

    def agree(self, fact: str) -> None:
        """Raise TrainError when the chief holds another `fact`: data, recipe or progress differ between workers."""
        own = [float(b) for b in hashlib.sha256(fact.encode()).digest()]
        if self.from_chief(own) != own:
            raise TrainError(
                f"worker {self.task.index} has other data, another recipe or another state than the chief; start all "
                "workers with the same command, and --out on a disk that they share"
            )

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what TensorFlow raises when a worker is gone into one TrainError."""
        if not self.several:
            yield
            return
        import tensorflow as tf

        gone = (tf.errors.UnavailableError, tf.errors.DeadlineExceededError, tf.errors.AbortedError)
        try:
            yield
        except gone as error:
            why = re.search(r"aborted by: (.*)", str(error))
            raise TrainError(
                f"worker {self.task.index} has lost another worker ({(why.group(1) if why else str(error))[:200]}); "
                "see what that one said, then start all of them again with --resume"
            ) from error


ALONE = Workers(Task())
"""One process with one device."""


def join(keras: Any) -> Workers:
    """Meet the other workers and return them; call before TensorFlow computes anything.

    Without TF_CONFIG, two or more GPUs are used together. What is worked around here was found by running Keras 3.15 on
    TensorFlow 2.21. Raises TrainError when TF_CONFIG is wrong or the backend is not TensorFlow.
    """
    place = task()
    if keras.backend.backend() != "tensorflow":
        if len(place.addresses) > 1:
            raise TrainError("TF_CONFIG is set, which needs KERAS_BACKEND=tensorflow; set that, or unset TF_CONFIG")
        return ALONE
    import tensorflow as tf

    if len(place.addresses) == 1:
        several = len(tf.config.list_physical_devices("GPU")) > 1
        return Workers(place, tf.distribute.MirroredStrategy() if several else None)
    interrupt = signal.signal(signal.SIGINT, signal.SIG_DFL)  # the wait is in C++ and would swallow Ctrl-C
    faulthandler.dump_traceback_later(WAIT, exit=True)  # and it holds the GIL: nothing in Python can end it
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # TensorFlow takes SIGTERM for itself and goes on
    return Workers(place, strategy)


def model_class(keras: Any, workers: Workers) -> Any:
    """Return keras.Model, mended for several processes (Keras 3.15: keras-team/keras#20585 and #20329)."""
    if not workers.several:
        return keras.Model
    import tensorflow as tf

    class Model(keras.Model):  # type: ignore[misc, name-defined, unused-ignore]
        def train_step(self, data: Any) -> Any:
            # Keras averages the figures over their first axis, and they have none.
            return {name: tf.reshape(value, (1,)) for name, value in super().train_step(data).items()}

        def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
            # Keras averages the first batch over the workers to learn its shape, which fails; one part is enough.
            if iterator is not None:
                batch = next(next(iter(iterator))[2])
                local = workers.strategy.experimental_local_results
                data_batch = tf.nest.map_structure(lambda value: local(value)[0], batch)
            super()._maybe_symbolic_build(data_batch=data_batch)

    return Model


def synchronise(keras: Any, net: Any) -> None:
    """Let batch normalisation use the whole batch, not the part of one replica, so that the result is the same."""
    for layer in net._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
