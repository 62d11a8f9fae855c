"""The parts of a detector's export that need no TensorFlow: what is compared, what is refused, what goes on disk."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefer.bundle import Artifact, DetectorBundle, describe
from edgefer.errors import DataError, ExportError
from edgefer.grid import Found
from edgefer.optimize.convert import file_names
from edgefer.optimize.detect import finds, plan, scenes, verify
from edgefer.optimize.detect.agree import Agreement, agree
from edgefer.optimize.detect.plan import DetectPlan
from edgefer.optimize.stored import artifacts_of
from edgefer.train.scenes import Scene


def found(*boxes: tuple[float, float, float, float, float]) -> Found:
    """Finds of (x, y, width, height, score), landmarks in their middles."""
    rows = np.array(sorted(boxes, key=lambda box: -box[4]), np.float32).reshape(-1, 5)
    middles = rows[:, :2] + rows[:, 2:4] / 2
    return Found(rows[:, :4], rows[:, 4], np.repeat(middles[:, None], 5, axis=1))


def test_the_same_finds_agree() -> None:
    one = [found((0, 0, 10, 10, 0.9), (50, 50, 20, 20, 0.4)), found()]
    assert agree(one, one, 0.5) == Agreement(1, 1.0, 1.0, 0.0, 0.0, 0.0)
    assert agree([found()], [found()], 0.5) == Agreement(0, 1.0, 1.0, 0.0, 0.0, 0.0)


def test_a_find_that_is_less_sure_is_still_there() -> None:
    agreed = agree([found((0, 0, 10, 10, 0.45))], [found((0, 0, 10, 10, 0.55))], 0.5)
    assert (agreed.n, agreed.share) == (1, 1.0)
    assert agreed.max_score_difference == pytest.approx(0.1)
    assert agreed.distance == pytest.approx(0.1)


def test_what_is_gone_and_what_has_come_counts() -> None:
    kept, gone, come = (0, 0, 10, 10, 0.9), (40, 0, 10, 10, 0.8), (80, 0, 10, 10, 0.7)
    assert agree([found(kept)], [found(kept, gone)], 0.5).share == 0.5
    assert agree([found(kept)], [found(kept, gone)], 0.5).distance == pytest.approx(0.5)
    assert agree([found()], [found(gone)], 0.5).distance == 1
    assert agree([found(kept, come)], [found(kept, gone)], 0.5).share == pytest.approx(1 / 3)
    assert agree([found()], [found(gone)], 0.5) == Agreement(1, 0.0, 0.0, 0.0, 0.0, 0.0)
    weak = (80, 0, 10, 10, 0.3)
    assert agree([found(kept, weak)], [found(kept)], 0.5).share == 1.0


def test_places_are_compared() -> None:
    agreed = agree([found((0, 0, 10, 10, 0.9))], [found((2, 0, 10, 10, 0.9))], 0.5)
    assert agreed.mean_iou == pytest.approx(80 / 120)
    assert agreed.landmark_difference == pytest.approx(0.2)
    assert agree([found((6, 0, 10, 10, 0.9))], [found((0, 0, 10, 10, 0.9))], 0.5).share == 0.0


PLACES = st.lists(
    st.tuples(*[st.integers(0, 60).map(float)] * 2, *[st.integers(8, 40).map(float)] * 2, st.floats(0.02, 1.0)),
    max_size=6,
)


@given(one=st.lists(PLACES, min_size=3, max_size=3), other=st.lists(PLACES, min_size=3, max_size=3))
def test_agreement_is_the_same_both_ways(one: list[Any], other: list[Any]) -> None:
    a, b = ([found(*boxes) for boxes in side] for side in (one, other))
    there, back = agree(a, b, 0.5), agree(b, a, 0.5)
    assert 0 <= there.share <= 1
    assert there.n == back.n
    assert there.share == pytest.approx(back.share)
    assert agree(a, a, 0.5).share == 1


@given(pictures=st.lists(PLACES, max_size=5))
def test_finds_come_back_from_disk(tmp_path_factory: pytest.TempPathFactory, pictures: list[Any]) -> None:
    path = tmp_path_factory.mktemp("finds") / "found.npz"
    wanted = [found(*boxes) for boxes in pictures]
    finds.write(path, wanted)
    read = finds.read(path)
    assert len(read) == len(wanted)
    for one, other in zip(read, wanted, strict=True):
        for name in ("boxes", "scores", "landmarks"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def scene(k: int, boxes: int, path: Path = Path("none.png")) -> Scene:
    return Scene(
        name=f"{k}.png",
        path=path,
        boxes=np.tile(np.array([4, 8, 16, 20], np.float32), (boxes, 1)),
        landmarks=np.zeros((boxes, 5, 2), np.float32),
        scores=np.ones(boxes, np.float32),
        ignore=np.full((k % 2, 4), 5, np.float32),
    )


def test_scenes_come_back_from_disk(tmp_path: Path) -> None:
    written = [scene(k, k % 3, Path(f"ä\udcff {k}.png")) for k in range(6)]
    scenes.write(tmp_path / "scenes.json", written)
    for one, other in zip(scenes.read(tmp_path / "scenes.json"), written, strict=True):
        assert (one.name, one.path) == (other.name, other.path.absolute())
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.ignore, other.ignore)


def test_scenes_with_and_without_faces_take_turns() -> None:
    train = [scene(k, int(k < 60)) for k in range(200)]
    calibration, choosing = scenes.divided(train, 80)
    assert [len(one.boxes) for one in calibration] == [1, 0] * 40
    assert {one.name for one in calibration} & {one.name for one in choosing} == set()
    assert sum(len(one.boxes) for one in choosing) == 20
    again, _ = scenes.divided(train, 80)
    assert [one.name for one in again] == [one.name for one in calibration]
    other, _ = scenes.divided(train, 80, seed=1)
    assert [one.name for one in other] != [one.name for one in calibration]


def test_few_scenes_serve_twice_and_too_few_are_refused() -> None:
    train = [scene(k, 1) for k in range(40)]
    calibration, choosing = scenes.divided(train, 512)
    assert sorted(one.name for one in calibration) == sorted(one.name for one in choosing)
    with pytest.raises(ExportError, match="at least 32 training scenes, found 31"):
        scenes.divided(train[:31], 512)


def test_large_pictures_need_not_be_many() -> None:
    assert scenes.enough((120, 160)) > 512
    assert scenes.enough((480, 640)) == 130
    assert scenes.enough((4096, 4096)) == scenes.MIN_SCENES


def test_boxes_are_brought_to_the_networks_picture(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "p.png"), np.full((60, 40), 200, np.uint8))
    [one] = scenes.shown([scene(1, 1, tmp_path / "p.png")], (120, 160))
    assert one.pixels.shape == (120, 160, 1)
    assert one.pixels[:, :80].min() == 200
    assert one.pixels[:, 80:].max() == 114
    np.testing.assert_array_equal(one.faces, [[8, 16, 32, 40]])
    np.testing.assert_array_equal(one.ignore, [[10, 10, 10, 10]])
    with pytest.raises(DataError, match="cannot be read"):
        scenes.pictures([scene(0, 1, tmp_path / "gone.png")], (120, 160))


@pytest.mark.parametrize(("text", "size"), [("320x240", (240, 320)), ("160×120", (120, 160))])
def test_sizes_are_written_width_first(text: str, size: tuple[int, int]) -> None:
    assert plan.parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "320", "320x", "x240", "320x240x1", "-320x240", "320 x 240", "1e3x240", "999999x8"]
)
def test_what_is_no_size_is_said(text: str) -> None:
    with pytest.raises(ExportError, match="a size is WIDTHxHEIGHT, such as 320x240"):
        plan.parse_size(text)


def bundle(**changes: Any) -> DetectorBundle:
    weights = Artifact(describe("w.weights.h5", b"w"), "keras", "fp32")
    return dataclasses.replace(DetectorBundle(Path("d.edgefer"), "det-s", (weights,), 0.5), **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": ()}, "name a size"),
        ({"sizes": ((240, 321),)}, "multiples of 8, 32 to 4096, found 321x240"),
        ({"sizes": ((24, 320),)}, "found 320x24"),
        ({"sizes": ((4104, 320),)}, "found 320x4104"),
        ({"formats": ()}, "nothing to export"),
        ({"precisions": ("int4",)}, "there is no precision called 'int4'"),
        ({"methods": ("guess",)}, "there is no calibration called 'guess'"),
        ({"max_drop": -1.0}, "max-drop must be 0 or more"),
        ({"opset": 12}, "opset must be 13 to 18"),
        ({"batch": 0}, "batch must be 1 to 1024"),
        ({"precisions": ("fp32",), "keep_float": ("grid",)}, "keep-float is for int8"),
        ({"own": True, "methods": ("converter",)}, "onnx's own quantiser cannot calibrate by converter"),
    ],
)
def test_plans_that_cannot_work_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        plan.check(DetectPlan(**changes), bundle())


def test_bundles_that_cannot_be_exported_are_refused() -> None:
    with pytest.raises(ExportError, match="the detector 'yolo' is not known; known are det-"):
        plan.check(DetectPlan(), bundle(architecture="yolo"))
    with pytest.raises(ExportError, match="holds no trained weights"):
        plan.weights(bundle(artifacts=()))


def test_files_are_named_by_size_and_listed_with_it() -> None:
    made = ("openvino", "int8", (240, 320))
    names = file_names("det-s", made)
    assert names == ["det-s.320x240.int8.xml", "det-s.320x240.int8.bin"]
    [artifact], contents = artifacts_of({made: dict(zip(names, (b"x", b"b"), strict=True))})
    assert (artifact.size, artifact.path, artifact.companions[0].path) == ((240, 320), *names)
    assert contents == {names[0]: b"x", names[1]: b"b"}


@pytest.mark.parametrize(
    ("precision", "share", "n", "drop", "finite", "reason"),
    [
        ("int8", 1.0, 100, 0.4, True, ""),
        ("int8", 1.0, 100, 0.6, True, "loses 0.60 points of average precision; at most 0.5 are allowed"),
        ("int8", 0.9, 100, 0.0, True, ""),
        ("int8", 0.89, 100, -3.0, True, "shares 89.0 % of the sure finds with its network only; 90 % are needed"),
        ("fp32", 0.99, 100, 0.0, True, ""),  # one find
        ("fp32", 0.98, 100, 0.0, True, "99.5 % are needed"),
        ("fp16", 0.5, 2, 0.0, True, ""),
        ("int8", 1.0, 100, 0.0, False, "gives numbers that are not finite"),
    ],
)
def test_when_an_artifact_is_refused(
    precision: str, share: float, n: int, drop: float, finite: bool, reason: str
) -> None:
    said = verify._refusal(precision, Agreement(n, share, 0.9, 0.05, 0.1, 0.0), drop, 0.5, finite)
    assert reason in said
    assert bool(reason) == bool(said)
