"""Augmentation inside the compiled training step: one affine warp, light, erasing, and mixing of two pictures.

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
        self.strange = self.add_weight(name="strange", shape=(), initializer="ones", trainable=False)
        """1 while pictures may be erased, noisy and mixed, 0 in the last epochs."""

    def call(self, pictures: Any, training: bool = False) -> Any:
        """Return float32 [n, h, w, 1] in [0, 1]."""
        x = ops.cast(pictures, "float32") / 255.0
        if not training:
            return x
        s = self.settings
        if s.flip or s.rotation or s.scale or s.crop or s.shift or s.shear:
            x = self._warp(x)
        if s.brightness or s.contrast:
            x = self._light(x)
        if s.noise:
            x = self._noise(x)
        return self._erase(x) if s.erase else x

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
        if s.crop:
            kept = self._uniform(n, 1.0 - s.crop, 1.0)
            scale = scale * kept
            dx = dx + self._uniform(n, -0.5, 0.5) * (1.0 - kept) * (width - 1)
            dy = dy + self._uniform(n, -0.5, 0.5) * (1.0 - kept) * (height - 1)
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

    def _noise(self, x: Any) -> Any:
        # Below 0 means none: half of the pictures stay as they are.
        deviation = ops.maximum(self._uniform(ops.shape(x)[0], -self.settings.noise, self.settings.noise), 0.0)
        deviation = deviation * self.strange
        grain = keras.random.normal(ops.shape(x), seed=self.generator)
        return ops.clip(x + ops.reshape(deviation, (-1, 1, 1, 1)) * grain, 0.0, 1.0)

    def _erase(self, x: Any) -> Any:
        n, height, width = ops.shape(x)[0], x.shape[1], x.shape[2]
        chosen = self._uniform(n, 0.0, 1.0) < self.settings.erase * self.strange
        across = self._uniform(n, 0.1, 0.4)
        down = self._uniform(n, 0.1, 0.4)
        hole = self._rectangle(n, height, width, ops.where(chosen, down, 0.0), ops.where(chosen, across, 0.0))
        grey = ops.reshape(self._uniform(n, 0.0, 1.0), (-1, 1, 1, 1))
        return ops.where(hole, grey, x)

    def _rectangle(self, n: Any, height: int, width: int, down: Any, across: Any) -> Any:
        """Return bool [n, height, width, 1]: a rectangle at a random place of the extents [n] given as fractions."""

        def band(size: int, extent: Any) -> Any:
            position = ops.cast(ops.arange(size), "float32")[None, :]
            start = (self._uniform(n, 0.0, 1.0) - extent / 2.0)[:, None] * size
            return ops.logical_and(position >= start, position < start + extent[:, None] * size)

        return ops.logical_and(band(height, down)[:, :, None], band(width, across)[:, None, :])[..., None]


class Mix(Augment):
    """Blend each picture with its neighbour in the batch (mixup) or paste a part of that one in (cutmix).

    Takes (pictures float32 [n, h, w, 1], targets float32 [n, k], …) and returns the same; whatever stands beside the
    pictures is blended in the same proportion. With both switched on, each picture has one of them, by a coin.
    """

    def call(self, values: Any, training: bool = False) -> Any:
        """Return the mixed values in the same order."""
        s = self.settings
        pictures, *beside = values
        if not training:
            return list(values)
        n, height, width = ops.shape(pictures)[0], pictures.shape[1], pictures.shape[2]
        other = ops.roll(pictures, 1, axis=0)
        coin = self._uniform(n, 0.0, 1.0) < (1.0 if not s.mixup else 0.0 if not s.cutmix else 0.5)
        blend = self._beta(n, s.mixup) if s.mixup else ops.zeros((n,))
        area = self._beta(n, s.cutmix) if s.cutmix else ops.zeros((n,))
        blend = ops.where(coin, 0.0, blend * self.strange)
        side = ops.sqrt(ops.where(coin, area * self.strange, 0.0))
        hole = ops.cast(self._rectangle(n, height, width, side, side), "float32")
        # What really was pasted: a rectangle may hang over the edge.
        share = blend + ops.mean(hole, axis=(1, 2, 3))
        picture_share = ops.reshape(blend, (-1, 1, 1, 1)) + hole
        mixed = [pictures * (1.0 - picture_share) + other * picture_share]
        for value in beside:
            part = ops.reshape(share, (-1, 1))
            mixed.append(value * (1.0 - part) + ops.roll(value, 1, axis=0) * part)
        return mixed

    def _beta(self, n: Any, alpha: float) -> Any:
        return keras.random.beta((n,), alpha, alpha, seed=self.generator)
