from edgefer.preprocess import Box
from edgefer.runtime.frames import Face
from edgefer.runtime.tracker import Tracker, overlap


def face(x: int, y: int = 0, size: int = 100) -> Face:
    return Face(Box(x, y, size, size))


def ids(tracker: Tracker, *faces: Face) -> list[int]:
    return [number for number, _ in tracker.update(list(faces))]


def test_overlap() -> None:
    assert overlap(Box(0, 0, 10, 10), Box(0, 0, 10, 10)) == 1
    assert overlap(Box(0, 0, 10, 10), Box(5, 0, 10, 10)) == 50 / 150
    assert overlap(Box(0, 0, 10, 10), Box(20, 20, 10, 10)) == 0
    assert overlap(Box(0, 0, 0, 0), Box(0, 0, 0, 0)) == 0


def test_moving_faces_keep_their_numbers_in_whatever_order_they_come() -> None:
    tracker = Tracker()
    assert ids(tracker, face(0), face(300)) == [1, 2]
    for step in range(1, 20):
        left, right = face(step * 10), face(300 - step * 5, step * 4)
        if overlap(left.box, right.box) > 0:
            break
        assert ids(tracker, right, left) == [2, 1]


def test_the_faces_come_back_in_the_order_given() -> None:
    faces = [face(300), face(0), face(600)]
    assert [f for _, f in Tracker().update(faces)] == faces


def test_a_lost_face_keeps_its_number_for_a_while() -> None:
    tracker = Tracker(keep=3)
    assert ids(tracker, face(0)) == [1]
    for _ in range(3):
        assert ids(tracker) == []
    assert ids(tracker, face(5)) == [1]
    for _ in range(4):
        ids(tracker)
    assert ids(tracker, face(5)) == [2]


def test_a_face_elsewhere_gets_a_new_number_and_numbers_are_never_shared() -> None:
    tracker = Tracker()
    assert ids(tracker, face(0)) == [1]
    assert ids(tracker, face(0), face(10)) == [1, 2]
    assert ids(tracker, face(500)) == [3]


def test_the_better_overlap_wins() -> None:
    tracker = Tracker()
    assert ids(tracker, face(0)) == [1]
    assert ids(tracker, face(40), face(5)) == [2, 1]
