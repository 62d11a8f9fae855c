"""Copies of a picture: the same pixels, or nearly (another crop, scale, brightness or watermark of one photograph).

Near copies are first looked for by a perceptual hash (64 bits: which of the 8 × 8 lowest DCT coefficients are above
their median) of the picture and of its mirror image. Then the pixels confirm it: the middle of one, moved by up to two
pixels, must correlate with the other, so that faces which merely look alike are not taken for copies. As that is slow,
means of 6 × 6 pixels are correlated before it.

The limits were chosen on FER2013 by looking at pairs of Training and PublicTest: with up to 12 bits apart, the first
pair that is not one photograph stands at a correlation of 0.927; the means of no pair above 0.94 correlate below 0.853.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from edgefer.train.data import Progress

MAX_BITS = 12
"""Hashes of near copies differ in at most so many of 64 bits."""
MIN_CORRELATION = 0.94
"""Pixels of near copies correlate at least so far (Pearson)."""
MAX_SHIFT = 2
"""Pixels by which one of the two may be moved, each way."""

MIN_COARSE = 0.85
"""So do the means of blocks of `BLOCK` × `BLOCK` pixels, where the two lie."""
BLOCK = 6

ROWS_AT_ONCE = 256
PICTURES_AT_ONCE = 4096

Images = npt.NDArray[np.uint8]
Image = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]
Index = npt.NDArray[np.int64]


def exact_groups(images: Images) -> list[Index]:
    """Return the groups of two or more pictures with the same pixels, as ascending positions in `images`."""
    found: dict[bytes, list[int]] = {}
    for i, picture in enumerate(images):
        found.setdefault(picture.tobytes(), []).append(i)
    return [np.array(group, np.int64) for group in found.values() if len(group) > 1]


def near_groups(images: Images, progress: Progress | None = None) -> list[Index]:
    """Return the groups of two or more pictures that are exact or near copies, as ascending positions in `images`.

    A copy of a copy belongs to the group.
    """
    return grouped(len(images), exact_groups(images), near_pairs(images, progress=progress)[0])


def grouped(count: int, groups: Iterable[Index], pairs: Index) -> list[Index]:
    """Return the groups of two or more among `count` positions, when those of each group and pair belong together."""
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    for i, j in [*((int(g[0]), int(other)) for g in groups for other in g[1:]), *pairs.tolist()]:
        low, high = sorted((root(i), root(j)))
        parent[high] = low
    found: dict[int, list[int]] = {}
    for i in range(count):
        found.setdefault(root(i), []).append(i)
    return [np.array(group, np.int64) for group in found.values() if len(group) > 1]


def copies_of(images: Images, reference: Images, near: bool, progress: Progress | None = None) -> npt.NDArray[np.bool_]:
    """Return which of `images`, bool [n], stand in `reference` too: with the same pixels, or with `near`, nearly."""
    known = {picture.tobytes() for picture in reference}
    found = np.array([picture.tobytes() in known for picture in images], bool)
    if near:
        pairs, _ = near_pairs(images, reference, progress)
        found[pairs[:, 0]] = True
    return found


def near_pairs(
    images: Images, reference: Images | None = None, progress: Progress | None = None
) -> tuple[Index, npt.NDArray[np.float32]]:
    """Return the pairs of near copies, int64 [m, 2], and the correlation of each, float32 [m].

    A pair is a position in `images` and one in `reference`; without `reference`, two positions in `images`, the lower
    first. Pictures of one grey level have no correlation and are in no pair. Where the pair is close as it is and with
    the first picture mirrored, the higher correlation counts.
    """
    hashes, mirrored = perceptual_hashes(images)
    others = hashes if reference is None else perceptual_hashes(reference)[0]
    target = images if reference is None else reference
    means, target_means = _block_means(images), _block_means(target)
    mirrored_means = means.reshape(len(means), images.shape[1] // BLOCK, -1)[:, :, ::-1].reshape(means.shape)
    best: dict[tuple[int, int], float] = {}
    for hashed, coarse, flip in ((hashes, means, False), (mirrored, mirrored_means, True)):
        for done, candidates in _close(hashed, others, triangle=reference is None):
            alike = np.einsum("nd,nd->n", coarse[candidates[:, 0]], target_means[candidates[:, 1]]) >= MIN_COARSE
            for i, j in candidates[alike].tolist():
                value = correlation(images[i, :, ::-1] if flip else images[i], target[j])
                if value >= MIN_CORRELATION:
                    best[i, j] = max(value, best.get((i, j), -1.0))
            if progress:
                progress(done + (len(images) if flip else 0), 2 * len(images))
    ordered = sorted(best.items())
    pairs = np.array([pair for pair, _ in ordered], np.int64).reshape(-1, 2)
    return pairs, np.array([value for _, value in ordered], np.float32)


def perceptual_hashes(images: Images) -> tuple[Hashes, Hashes]:
    """Return a 64-bit hash of each picture and of its mirror image, uint64 [n] each."""
    size = images.shape[1]
    cosines = np.cos(np.pi / (2 * size) * np.arange(8)[:, None] * (2 * np.arange(size) + 1)).astype(np.float32)
    low = np.empty((len(images), 8, 8), np.float32)
    for start in range(0, len(images), PICTURES_AT_ONCE):
        low[start : start + PICTURES_AT_ONCE] = (
            cosines @ images[start : start + PICTURES_AT_ONCE].astype(np.float32) @ cosines.T
        )
    mirror = low * np.where(np.arange(8) % 2, -1, 1).astype(np.float32)  # odd cosines change sign in a mirror
    return _bits(low), _bits(mirror)


def _bits(coefficients: npt.NDArray[np.float32]) -> Hashes:
    flat = coefficients.reshape(len(coefficients), 64)
    above = flat > np.median(flat[:, 1:], axis=1, keepdims=True)  # the first is the brightness, which tells nothing
    hashes: Hashes = np.packbits(above, axis=1).view(np.uint64)[:, 0]
    return hashes


def _block_means(images: Images) -> npt.NDArray[np.float32]:
    """Return the means of the blocks of each picture, float32 [n, blocks], of mean 0 and length 1 (or 0) each."""
    side = images.shape[1] // BLOCK
    blocks = images[:, : side * BLOCK, : side * BLOCK].reshape(len(images), side, BLOCK, side, BLOCK)
    means = blocks.mean(axis=(2, 4), dtype=np.float32).reshape(len(images), -1)
    means -= means.mean(axis=1, keepdims=True)
    unit: npt.NDArray[np.float32] = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-3)
    return unit


def correlation(first: Image, second: Image) -> float:
    """Return Pearson's correlation of the middle of `first` with `second` where it fits best, up to `MAX_SHIFT` away.

    It is 0 where the middle, or what it lies on, has one grey level.
    """
    import cv2

    middle = np.ascontiguousarray(first[MAX_SHIFT:-MAX_SHIFT, MAX_SHIFT:-MAX_SHIFT])
    if middle.min() == middle.max():  # for which OpenCV gives 1
        return 0.0
    found = cv2.matchTemplate(np.ascontiguousarray(second), middle, cv2.TM_CCOEFF_NORMED)
    return float(found.max())


def _close(hashes: Hashes, others: Hashes, triangle: bool) -> Iterator[tuple[int, Index]]:
    """Yield how many rows are done, and the pairs among them whose hashes are close; `triangle`: the second later."""
    for start in range(0, len(hashes), ROWS_AT_ONCE):
        rows = hashes[start : start + ROWS_AT_ONCE]
        offset = start if triangle else 0
        apart = bit_count(rows[:, None] ^ others[None, offset:])
        pairs = np.argwhere(apart <= MAX_BITS) + (start, offset)
        yield start + len(rows), pairs[pairs[:, 0] < pairs[:, 1]] if triangle else pairs


def bit_count(values: Hashes) -> npt.NDArray[np.uint8]:
    """Return how many bits are set in each of `values`, uint8 of the same shape."""
    if hasattr(np, "bitwise_count"):  # from numpy 2 on
        counted: npt.NDArray[np.uint8] = np.bitwise_count(values)
        return counted
    table = np.array([i.bit_count() for i in range(1 << 16)], np.uint8)
    parts = table[values.view(np.uint16)].reshape(*values.shape, 4)
    summed: npt.NDArray[np.uint8] = parts.sum(axis=-1, dtype=np.uint8)
    return summed
