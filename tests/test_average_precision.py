"""Average precision by hand, against a plain version of the same rules, and what must not matter."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefer.average_precision import Floats, Picture, compare, measure, threshold_for
from edgefer.boxes import inside, iou

NOTHING: list[tuple[float, ...]] = []


def boxes(rows: list[tuple[float, ...]]) -> Floats:
    return np.array(rows, np.float32).reshape(-1, 4)


def picture(
    found: list[tuple[float, ...]], faces: list[tuple[float, ...]], ignore: list[tuple[float, ...]] = NOTHING
) -> Picture:
    """Make a picture of finds (x, y, width, height, score), faces and places to ignore."""
    return Picture(
        boxes([row[:4] for row in found]),
        np.array([row[4] for row in found], np.float32),
        boxes(faces),
        boxes(ignore),
    )


def face(x: float, side: float = 40) -> tuple[float, float, float, float]:
    return (x, 0, side, side)


def test_all_found_and_nothing_else() -> None:
    found = measure([picture([(*face(0), 0.9), (*face(100), 0.8)], [face(100), face(0)])])
    assert (found.average_precision, found.ci95) == (1, (1, 1))
    assert (found.recall, found.precision, found.false_faces, found.recall_at_few) == (1, 1, 0, 1)
    assert (found.faces, found.pictures, found.empty) == (2, 1, 0)


def test_the_area_under_the_envelope_by_hand() -> None:
    """Right, false, right, false, right of four faces: .25 × 1 + .25 × 2/3 + .25 × 3/5."""
    finds = [(*face(0), 0.9), (*face(1000), 0.8), (*face(100), 0.7), (*face(1100), 0.6), (*face(200), 0.5)]
    found = measure([picture(finds, [face(0), face(100), face(200), face(300)])])
    assert found.average_precision == pytest.approx(0.25 * (1 + 2 / 3 + 3 / 5))
    assert (found.recall, found.precision, found.false_faces) == (0.75, 0.6, 2)
    found = measure([picture(finds, [face(0), face(100), face(200), face(300)])], threshold=0.75)
    assert (found.recall, found.precision, found.false_faces) == (0.25, 0.5, 1)


def test_precision_that_rises_again_counts_from_the_left() -> None:
    """False, right, right of two faces: precision 0, 1/2, 2/3, so the envelope is 2/3 everywhere."""
    finds = [(*face(1000), 0.9), (*face(0), 0.8), (*face(100), 0.7)]
    assert measure([picture(finds, [face(0), face(100)])]).average_precision == pytest.approx(2 / 3)


def test_a_face_counts_once_and_a_second_find_is_false() -> None:
    found = measure([picture([(*face(0), 0.9), (*face(1), 0.8)], [face(0)])])
    assert (found.average_precision, found.recall, found.precision, found.false_faces) == (1, 1, 0.5, 1)


def test_a_find_whose_face_is_taken_takes_the_next_best() -> None:
    near, far = (0, 0, 40, 40), (8, 0, 40, 40)
    found = measure([picture([(*near, 0.9), (3, 0, 40, 40, 0.8)], [near, far])])
    assert (found.recall, found.false_faces) == (1, 0)


@pytest.mark.parametrize(("width", "right"), [(20, True), (19.99, False)])
def test_half_an_overlap_is_enough(width: float, right: bool) -> None:
    found = measure([picture([(0, 0, width, 40, 0.9)], [face(0)])])
    assert found.recall == right
    assert found.false_faces == (not right)


def test_a_find_in_a_place_to_ignore_counts_neither_way() -> None:
    inside, half_out = (110, 10, 20, 20, 0.9), (130, 0, 39, 40, 0.8)
    found = measure([picture([inside, half_out, (*face(0), 0.7)], [face(0)], [face(100)])])
    assert (found.average_precision, found.false_faces) == (pytest.approx(0.5), 1)
    # Many may lie in it, and a face that lies in it is a face all the same.
    found = measure([picture([inside, inside, (*face(100), 0.7)], [face(100)], [face(100)])])
    assert (found.average_precision, found.recall, found.false_faces) == (1, 1, 0)


def test_faces_of_other_sizes_count_neither_way() -> None:
    small, large = (0, 0, 10, 10), (100, 0, 40, 30)
    scene = picture([(*small, 0.9), (*large, 0.8)], [small, large])
    found = measure([scene], min_size=24)
    assert (found.faces, found.average_precision, found.false_faces) == (1, 1, 0)
    found = measure([scene], max_size=24)
    assert (found.faces, found.average_precision, found.false_faces) == (1, 1, 0)
    assert measure([scene], min_size=40).faces == 1
    assert measure([scene], max_size=40).faces == 1
    assert measure([scene], min_size=40, scales=[0.99]).faces == 0
    assert measure([scene], min_size=20, scales=[2]).faces == 2


def test_a_false_find_counts_by_its_own_size() -> None:
    scene = picture([(0, 0, 10, 10, 0.9), (*face(100), 0.8)], [face(100)])
    assert measure([scene], min_size=24).false_faces == 0
    assert measure([scene]).false_faces == 1
    # What overlaps a face that is asked about is right whatever its own size.
    found = measure([picture([(0, 0, 23, 23, 0.9)], [(0, 0, 24, 24)])], min_size=24)
    assert (found.recall, found.false_faces) == (1, 0)


def test_a_face_that_is_asked_about_goes_before_one_that_is_not() -> None:
    scene = picture([(0, 0, 23, 23, 0.9)], [(0, 0, 23, 23), (0, 0, 24, 24)])
    assert measure([scene], min_size=24).recall == 1


def test_by_size() -> None:
    sides = (4, 8, 15.9, 16, 24, 48, 95, 96, 300)
    scene = picture(
        [(1000 * i, 0, s / 2, s, 0.9) for i, s in enumerate(sides)], [(1000 * i, 0, s, s) for i, s in enumerate(sides)]
    )
    found = measure([scene])
    assert [one.faces for one in found.by_size] == [2, 1, 1, 2, 2]
    assert all((one.average_precision, one.recall) == (1, 1) for one in found.by_size)
    data = found.as_dict()
    assert data["by_size"][-1]["high"] is None
    assert data["by_size"][0] == {
        "low": 8, "high": 16, "faces": 2, "average_precision": 1, "ci95": [1, 1], "recall": 1
    }  # fmt: skip


def test_recall_at_one_false_face_in_ten_pictures() -> None:
    empty = [picture([], []) for _ in range(17)]
    scenes = [
        picture([(*face(0), 0.9)], [face(0)]),
        picture([(*face(0), 0.8), (*face(100), 0.7), (*face(300), 0.6)], [face(300)]),
        picture([(*face(0), 0.5), (*face(100), 0.4)], [face(100), face(200)]),
    ]
    found = measure(scenes + empty)
    assert (found.pictures, found.empty) == (20, 17)
    assert found.recall_at_few == 0.5  # two false ones are allowed; the third, of .5, goes before the last face
    assert threshold_for(scenes + empty, 0.1) == pytest.approx(0.6)
    assert threshold_for(scenes + empty, 0.15) == pytest.approx(0.4)
    assert threshold_for(scenes + empty, 0.04) == pytest.approx(0.9)
    assert threshold_for(scenes + empty, 9) == pytest.approx(0.4)


def test_a_threshold_that_lets_nothing_through() -> None:
    assert threshold_for([picture([], [face(0)])], 0.1) == 1
    wrong = [picture([(*face(0), 0.75)], [])]
    assert threshold_for(wrong, 0.1) == math.nextafter(0.75, 1)
    found = measure(wrong)
    assert (found.false_faces, found.false_in_empty, found.recall_at_few, found.average_precision) == (1, 1, 0, 0)
    assert found.ci95 == (0, 0)


def test_finds_of_one_score_count_at_once() -> None:
    """Whatever order they are in: two right of four at one score are a precision of 1/2 up to the recall of 1."""
    finds = [(*face(100 * i), 1.0) for i in range(4)]
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]):
        found = measure([picture([finds[i] for i in order], [face(100), face(200)])])
        assert found.average_precision == 0.5
        assert measure([picture([finds[i]], [face(100)] if i == 1 else []) for i in order]).average_precision == 0.25


def plain(pictures: list[Picture], low: float, high: float) -> float:
    """The same rules written plainly, picture by picture, face by face."""
    finds: list[tuple[float, bool]] = []
    faces = 0
    for scene in pictures:
        sizes = scene.faces[:, 2:].max(axis=1, initial=0)
        wanted = [low <= size < high for size in sizes]
        faces += sum(wanted)
        taken: set[int] = set()
        rows = sorted(zip(-scene.scores, scene.boxes.tolist(), strict=True), key=lambda row: (row[0], row[1]))
        for negative, box in rows:
            ious = iou(np.array([box]), scene.faces)[0]
            free = [j for j in range(len(ious)) if ious[j] >= 0.5 and j not in taken]
            best = max(free, key=lambda j: (wanted[j], ious[j]), default=None)
            if best is not None:
                taken.add(best)
                if wanted[best]:
                    finds.append((-negative, True))
                continue
            if (inside(np.array([box]), scene.ignore) >= 0.5).any() or not low <= max(box[2:]) < high:
                continue
            finds.append((-negative, False))
    points = []
    for score in sorted({score for score, _ in finds}, reverse=True):
        right = sum(r for s, r in finds if s >= score)
        every = sum(s >= score for s, _ in finds)
        points.append((right, right / max(every, 1)))
    area, before = 0.0, 0
    for i, (right, _) in enumerate(points):
        area += (right - before) * max(precision for _, precision in points[i:])
        before = right
    return area / faces if faces else 0.0


side = st.sampled_from([6.0, 12.0, 20.0, 26.0, 30.0])
place = st.sampled_from([0.0, 3.0, 5.0, 30.0, 34.0])
rectangle = st.tuples(place, place, side, side)
find = st.tuples(place, place, side, side, st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]))
pictures = st.lists(
    st.builds(
        picture,
        st.lists(find, max_size=6),
        st.lists(rectangle, max_size=4),
        st.lists(rectangle, max_size=2),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=100)
@given(pictures, st.sampled_from([(0, math.inf), (16, math.inf), (8, 24)]))
def test_a_plain_version_gives_the_same(scenes: list[Picture], sizes: tuple[float, float]) -> None:
    found = measure(scenes, min_size=sizes[0], max_size=sizes[1], draws=0, sizes=[sizes])
    expected = plain(scenes, *sizes)
    assert found.average_precision == pytest.approx(expected)
    assert found.by_size[0].average_precision == pytest.approx(expected)
    assert found.by_size[0].faces == found.faces


@settings(max_examples=100)
@given(pictures, st.randoms(use_true_random=False))
def test_no_order_matters(scenes: list[Picture], chance: np.random.Generator) -> None:
    def shuffled(count: int) -> list[int]:
        order = list(range(count))
        chance.shuffle(order)  # type: ignore[arg-type]
        return order

    def mixed(scene: Picture) -> Picture:
        order = shuffled(len(scene.scores))
        return replace(scene, boxes=scene.boxes[order], scores=scene.scores[order])

    before = measure(scenes, draws=0).as_dict()
    after = measure([mixed(scenes[i]) for i in shuffled(len(scenes))], draws=0).as_dict()
    assert after.pop("average_precision") == pytest.approx(before.pop("average_precision"))
    assert after.pop("ci95") == pytest.approx(before.pop("ci95"))
    assert [one.pop("average_precision") for one in after["by_size"]] == pytest.approx(
        [one.pop("average_precision") for one in before["by_size"]]
    )
    for one in (*after["by_size"], *before["by_size"]):
        one.pop("ci95")
    assert after == before


def drawn(seed: int, count: int, spread: float = 4) -> list[Picture]:
    """Draw faces, most of them found, and false finds."""
    chance = np.random.default_rng(seed)
    scenes = []
    for _ in range(count):
        faces = np.hstack([chance.uniform(0, 300, (n := chance.integers(0, 4), 2)), chance.uniform(10, 90, (n, 2))])
        found = np.hstack([chance.uniform(0, 300, (20, 2)), chance.uniform(10, 90, (20, 2))])
        found[:n] = faces + chance.normal(0, spread, faces.shape)
        scores = chance.uniform(0, 0.5, 20)
        scores[:n] += 0.3
        scenes.append(Picture(found.astype(np.float32), scores.astype(np.float32), faces.astype(np.float32), boxes([])))
    return scenes


def test_the_interval_is_that_of_pictures_drawn_with_replacement() -> None:
    scenes = drawn(1, 60)
    found = measure(scenes)
    chance = np.random.default_rng(2)
    values = [
        measure([scenes[i] for i in chance.integers(60, size=60)], draws=0, sizes=()).average_precision
        for _ in range(200)
    ]
    low, high = np.quantile(values, (0.025, 0.975))
    assert found.ci95 == pytest.approx((low, high), abs=0.02)
    assert found.ci95[0] < found.average_precision < found.ci95[1]
    assert measure(scenes).ci95 == found.ci95
    assert measure(scenes, draws=0).ci95 == (found.average_precision, found.average_precision)


def test_two_detectors_are_compared_in_pairs() -> None:
    scenes = drawn(3, 150, spread=1)
    same = compare(scenes, scenes)
    assert (same.ratio, same.ratio_ci95, same.difference, same.difference_ci95) == (1, (1, 1), 0, (0, 0))
    worse = [replace(s, boxes=s.boxes + np.float32(1)) for s in scenes]
    found = compare(worse, scenes, min_size=24)
    first, second = (measure(s, min_size=24) for s in (worse, scenes))
    assert found.ratio == pytest.approx(first.average_precision / second.average_precision)
    assert found.difference == pytest.approx(first.average_precision - second.average_precision)
    assert found.ratio_ci95[0] < found.ratio < found.ratio_ci95[1]
    # In pairs, the difference is better known than each figure.
    assert found.difference_ci95[1] - found.difference_ci95[0] < first.ci95[1] - first.ci95[0]
    assert found.as_dict()["ratio_ci95"] == list(found.ratio_ci95)


def test_eight_hundred_pictures_take_less_than_two_seconds() -> None:
    scenes = drawn(4, 800)
    start = time.process_time()
    measure(scenes, min_size=24)
    assert time.process_time() - start < 2


def test_what_does_not_fit_is_refused() -> None:
    scene = picture([(*face(0), 0.9)], [face(0)])
    with pytest.raises(ValueError, match="no pictures"):
        measure([])
    with pytest.raises(ValueError, match="a scale for each of 1 pictures"):
        measure([scene], scales=[1, 2])
    with pytest.raises(ValueError, match="scores one a box"):
        replace(scene, scores=np.zeros(2, np.float32))
    with pytest.raises(ValueError, match=r"must be \[n, 4\]"):
        replace(scene, faces=np.zeros((2, 5), np.float32))
    with pytest.raises(ValueError, match="no number"):
        replace(scene, scores=np.array([np.nan], np.float32))
    with pytest.raises(ValueError, match="the same pictures"):
        compare([scene], [picture([], [face(100)])])
    with pytest.raises(ValueError, match="no ratio"):
        compare([scene], [picture([], [face(0)])])
