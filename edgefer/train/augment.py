"""Augmentation inside the compiled training step: one affine warp, brightness, contrast, erasing.

All geometry is composed into one matrix, so a picture is interpolated once. Written with `keras.ops` alone, so it
runs on every Keras backend.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from edgefer.train.recipe import Augmentation


class Augment(keras.layers.Layer):  # type: ignore[misc, unused-ignore]
    """Turn uint8 pictures [n, h, w, 1] into float32 in [0, 1]; in training, also warp and disturb them at random."""

    def __init__(self, settings: Augmentation, seed: int) -> None:
        super().__init__(name="augment", dtype="float32")
        self.settings = settings
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, pictures: Any, training: bool = False) -> Any:
        """Return float32 [n, h, w, 1] in [0, 1]."""
        x = ops.cast(pictures, "float32") / 255.0
        if not training:
            return x
        return self._erase(self._light(self._warp(x)))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape unchanged."""
        return input_shape

    def _uniform(self, n: Any, low: float, high: float) -> Any:
        return keras.random.uniform((n,), low, high, seed=self.generator)

    def _warp(self, x: Any) -> Any:
        s = self.settings
        n, height, width = ops.shape(x)[0], x.shape[1], x.shape[2]
        angle = self._uniform(n, -s.rotation, s.rotation) * (math.pi / 180.0)
        scale = ops.exp(self._uniform(n, -math.log(1.0 + s.scale), math.log(1.0 + s.scale)))
        shear = self._uniform(n, -s.shear, s.shear)
        mirror = ops.where(self._uniform(n, 0.0, 1.0) < s.flip, -1.0, 1.0)
        dx = self._uniform(n, -s.shift, s.shift) * width
        dy = self._uniform(n, -s.shift, s.shift) * height
        # Output pixel → input pixel, about the centre: A = scale · rotation · shear · mirror.
        cos, sin = ops.cos(angle) * scale, ops.sin(angle) * scale
        a0, a1 = cos * mirror, cos * shear - sin
        b0, b1 = sin * mirror, sin * shear + cos
        cx, cy = (width - 1) / 2.0, (height - 1) / 2.0
        a2 = cx + dx - a0 * cx - a1 * cy
        b2 = cy + dy - b0 * cx - b1 * cy
        zero = ops.zeros_like(a0)
        matrix = ops.stack([a0, a1, a2, b0, b1, b2, zero, zero], axis=1)
        return ops.image.affine_transform(
            x, matrix, interpolation="bilinear", fill_mode="nearest", data_format="channels_last"
        )

    def _light(self, x: Any) -> Any:
        s = self.settings
        n = ops.shape(x)[0]
        contrast = ops.reshape(1.0 + self._uniform(n, -s.contrast, s.contrast), (-1, 1, 1, 1))
        brightness = ops.reshape(self._uniform(n, -s.brightness, s.brightness), (-1, 1, 1, 1))
        mean = ops.mean(x, axis=(1, 2, 3), keepdims=True)
        return ops.clip((x - mean) * contrast + mean + brightness, 0.0, 1.0)

    def _erase(self, x: Any) -> Any:
        s = self.settings
        n, height, width = ops.shape(x)[0], x.shape[1], x.shape[2]
        column = ops.cast(ops.arange(width), "float32")[None, :]
        row = ops.cast(ops.arange(height), "float32")[None, :]

        def band(position: Any, size: int) -> Any:
            extent = self._uniform(n, 0.1, 0.4)[:, None] * size
            start = self._uniform(n, 0.0, 1.0)[:, None] * size - extent / 2.0
            return ops.logical_and(position >= start, position < start + extent)

        chosen = self._uniform(n, 0.0, 1.0)[:, None, None] < s.erase
        hole = ops.logical_and(band(row, height)[:, :, None], band(column, width)[:, None, :])
        hole = ops.logical_and(hole, chosen)[..., None]
        grey = ops.reshape(self._uniform(n, 0.0, 1.0), (-1, 1, 1, 1))
        return ops.where(hole, grey, x)
