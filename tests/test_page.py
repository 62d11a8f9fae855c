"""The parts of a page: every text is a text, and the page needs no other file."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from edgefer import page

HOSTILE = "<b onload='x'>&amp;\"\x00\n\u202eé</b>"


class Reader(HTMLParser):
    """Collects tags and texts; fails for tags that are not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in {"img", "meta"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize(
    "part",
    [
        lambda t: page.document(t, ""),
        lambda t: page.heading(t, 2),
        page.paragraph,
        lambda t: page.paragraph(t, "code"),
        lambda t: page.paragraph("x", t) + page.escape(t),
        lambda t: page.facts([(t, t)]),
        lambda t: page.table([t], [[t]], left={t}, marks={0: t}),
        lambda t: page.image(b"", t) + page.escape(t),
        lambda t: page.svg("", t) + page.escape(t),
    ],
)
def test_every_text_is_a_text(part: Callable[[str], str]) -> None:
    read = Reader(part(HOSTILE))
    assert "b" not in read.tags
    assert not [name for name, _ in read.attributes if name.startswith("on")]
    assert "<b onload='x'>&amp;\"\ufffd\ufffd\ufffdé</b>" in read.texts


def test_a_document_is_closed_and_titled() -> None:
    read = Reader(page.document("the title", page.heading("one", 1) + page.paragraph("two")))
    assert read.tags == ["html", "head", "meta", "meta", "title", "style", "body", "h1", "p"]
    assert {"the title", "one", "two"} <= set(read.texts)


def test_a_table_has_sides_and_marks() -> None:
    text = page.table(["name", "n"], [["a", "1"], ["b", "2"]], left={"name"}, marks={1: "best"})
    assert '<th scope="col" class="l">name</th><th scope="col" class="r">n</th>' in text
    assert '<tr><td class="l">a</td><td class="r">1</td></tr>' in text
    assert '<tr class="best"><td class="l">b</td><td class="r">2</td></tr>' in text


def test_rows_must_fit_the_head() -> None:
    with pytest.raises(ValueError, match="zip"):
        page.table(["a"], [["1", "2"]])


@pytest.mark.parametrize("level", [0, 7])
def test_headings_have_levels(level: int) -> None:
    with pytest.raises(ValueError, match="1–6"):
        page.heading("x", level)


def test_pictures_are_part_of_the_page() -> None:
    data = bytes(range(256))
    found = re.search(r'width="320" src="data:image/png;base64,([^"]+)"', page.image(data, "alt", 320))
    assert found
    assert base64.b64decode(found[1]) == data
    assert "width" not in page.image(data, "alt")
    assert base64.b64encode("<svg>é</svg>".encode()).decode() in page.svg("<svg>é</svg>", "alt")
