from __future__ import annotations

import pytest

from edgefer.runtime.pace import MOST, Pace


def learnt(detect_ms: float, other_ms: float, fps: float | None) -> Pace:
    pace = Pace(None, fps)
    for _ in range(100):
        pace.took(detect_ms if pace.due() else None, other_ms)
    return pace


@pytest.mark.parametrize("every", [1, 2, 7])
def test_a_fixed_number_begins_with_the_first_frame(every: int) -> None:
    pace = Pace(every)
    assert [n for n in range(30) if pace.due()] == list(range(0, 30, every))


@pytest.mark.parametrize(
    ("detect_ms", "other_ms", "fps", "every"),
    [
        (5, 2, 30, 1),  # there is room
        (60, 3, 30, 3),  # 60 / (30 - 3) = 2.2
        (100, 10, 30, 5),
        (1000, 3, 30, MOST),
        (5, 40, 30, MOST),  # too slow without any detection
        (1000, 40, None, 1),  # a file has no rate to keep
    ],
)
def test_it_finds_the_smallest_number_that_keeps_the_rate(
    detect_ms: float, other_ms: float, fps: float | None, every: int
) -> None:
    pace = learnt(detect_ms, other_ms, fps)
    assert pace.every == every
    if fps and every < MOST:
        assert detect_ms / every + other_ms <= 1000 / fps


def test_it_follows_a_board_that_slows_down() -> None:
    pace = learnt(5, 2, 30)
    assert pace.every == 1
    for _ in range(200):
        pace.took(70 if pace.due() else None, 2)
    assert pace.every == 3
