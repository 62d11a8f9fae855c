"""Every link from one of our pages to another leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/*.md", "benchmarks/**/*.md", "edgefer/**/*.md", "deploy/**/*.md")
    for page in ROOT.glob(pattern)
)
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")


def headings(page: Path) -> set[str]:
    """Return the anchors that a page's headings get."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    if not (ROOT / "benchmarks").is_dir():
        pytest.skip("a source distribution has no benchmarks")
    lost = []
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        path = page.parent / target if target else page
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in headings(path)):
            lost.append(f"{target}#{anchor}" if anchor else target)
    assert not lost


def test_the_pattern_finds_links() -> None:
    assert LINK.findall("[a](docs/x.md#y-z) ![b](c.png) [d](https://e.f/g) [h](#i)") == [
        ("docs/x.md", "y-z"),
        ("c.png", ""),
        ("", "i"),
    ]
    assert len(PAGES) > 3
