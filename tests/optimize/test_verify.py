"""The gate compares what the model files give: the temperature of the bundle is not part of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgefer import cartoon
from edgefer.bundle import Bundle
from edgefer.optimize.verify import Reference, verify
from edgefer.runtime.engines import open_engine


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_is_not_compared(tiny_bundle: Bundle, temperature: float) -> None:
    images, labels = cartoon.dataset(3, 0)
    faces = np.stack([tiny_bundle.preprocess(image) for image in images])
    raw = open_engine(replace(tiny_bundle, temperature=1.0), "litert", "fp32").engine.run(faces)
    bundle = replace(tiny_bundle, temperature=temperature)
    parity, found = verify(bundle, "litert", "fp32", Reference(faces, labels, raw, raw))
    assert parity.passed
    assert (parity.agreement, parity.max_difference, parity.drop_points) == (100, 0, 0)
    np.testing.assert_array_equal(found, raw)
