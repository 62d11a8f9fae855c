"""HTML pages that need no other file: the parts that every page of edgefer is made of, standard library only.

Every text is escaped here and nowhere else. Pictures are written into the page, so that it can be mailed as one file
and loads nothing from anywhere.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Collection, Iterable, Mapping, Sequence

STYLE = """
:root{color-scheme:light}
body{font:16px/1.5 system-ui,sans-serif;color:#1c2430;background:#fff;max-width:72rem;margin:0 auto;padding:1rem}
h1{font-size:1.5rem;margin:.5rem 0}
h2{font-size:1.2rem;margin:2.2rem 0 .3rem;border-top:1px solid #dde3ea;padding-top:1.2rem}
h3{font-size:1rem;margin:1.3rem 0 .3rem}p{margin:.4rem 0}.note{color:#55606e}
.bad{background:#fdecea;border-left:4px solid #c0392b;padding:.5rem .8rem;margin:.6rem 0}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .6rem;text-align:right;
border-bottom:1px solid #e6eaef;white-space:nowrap}th{color:#55606e;font-weight:600}
td.l,th.l{text-align:left}tr.invalid td{color:#a33;text-decoration:line-through}
tr.best td{background:#eaf2fb;font-weight:600}tr.sum td{border-top:2px solid #b8c2cd}
td.wrong{color:#a33;font-weight:600}
img{display:block;max-width:100%;height:auto;margin:.6rem 0}
figure{margin:.8rem 0 1.4rem}figure img{margin:0}figure.broad img{min-width:42rem}
figure.half{display:inline-block;vertical-align:top;margin-right:1rem;max-width:min(27rem,100%)}
figure.half img{min-width:24rem}
figcaption{color:#55606e;font-size:.85rem}
nav ul{list-style:none;margin:.6rem 0;padding:0}nav li{padding:.15rem 0}
code{background:#f3f5f8;padding:.1rem .3rem;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:max-content 1fr;
gap:.1rem .9rem;font-size:.9rem}dt{color:#55606e}dd{margin:0;overflow-wrap:anywhere}
"""


def document(title: str, body: str) -> str:
    """Return a whole page around `body`, which is HTML that the functions below returned, joined."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def heading(text: str, level: int, anchor: str = "") -> str:
    """Return a heading of level 1–6, to which `contents` can lead by its anchor."""
    if not 1 <= level <= 6:
        raise ValueError(f"a heading has a level of 1–6, found {level}")
    place = f' id="{escape(anchor)}"' if anchor else ""
    return f"<h{level}{place}>{escape(text)}</h{level}>"


def contents(places: Iterable[tuple[str, str]]) -> str:
    """Return a list of links to headings of the same page, given as (text, anchor)."""
    items = "".join(f'<li><a href="#{escape(anchor)}">{escape(text)}</a></li>' for text, anchor in places)
    return f"<nav><ul>{items}</ul></nav>"


def paragraph(text: str, style: str = "") -> str:
    """Return a paragraph; `style` is empty, `note` (grey), `bad` (a warning) or `code`."""
    if style == "code":
        return f"<p><code>{escape(text)}</code></p>"
    return f'<p class="{escape(style)}">{escape(text)}</p>' if style else f"<p>{escape(text)}</p>"


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return names with what they are, one pair a line."""
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(value)}</dd>' for name, value in pairs)}</dl>"


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    left: Collection[str] = (),
    marks: Mapping[int, str] | None = None,
    wrong: Collection[tuple[int, int]] = (),
) -> str:
    """Return a table that scrolls sideways where it is too wide.

    Columns named in `left` are aligned left, the others right. `marks` gives rows, by index, one of the styles
    `invalid` (struck out), `best` and `sum` (a rule above). Cells in `wrong`, (row, column), are red. Raises ValueError
    for a row of another length than `head`.
    """
    sides = ["l" if name in left else "r" for name in head]
    lines = [
        _row(
            row,
            [f"{side} wrong" if (i, j) in wrong else side for j, side in enumerate(sides)],
            (marks or {}).get(i, ""),
        )
        for i, row in enumerate(rows)
    ]
    names = "".join(f'<th scope="col" class="{side}">{escape(n)}</th>' for side, n in zip(sides, head, strict=True))
    return f'<div class="wide"><table><thead><tr>{names}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def image(png: bytes, alt: str, width: int | None = None) -> str:
    """Return a PNG picture that is part of the page, `width` CSS pixels wide (without: as wide as it is)."""
    return _picture("image/png", png, alt, width)


def svg(text: str, alt: str, width: int | None = None) -> str:
    """Return an SVG drawing that is part of the page; as a picture, nothing in it can run or be loaded."""
    return _picture("image/svg+xml", text.encode("utf-8"), alt, width)


def figure(text: str, alt: str, caption: str = "", half: bool = False) -> str:
    """Return an SVG drawing with a caption; on a narrow screen it scrolls sideways rather than shrink out of sight.

    Two of `half` the width stand side by side where there is room.
    """
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure class="{"half" if half else "broad"}"><div class="wide">{svg(text, alt)}</div>{below}</figure>'


def escape(text: str) -> str:
    """Return `text` as HTML that shows it, without control characters."""
    return html.escape(plain(text))


def plain(text: str) -> str:
    """Return one line of what can be printed; everything else becomes a replacement character."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _row(cells: Sequence[str], sides: Sequence[str], mark: str) -> str:
    inner = "".join(f'<td class="{side}">{escape(cell)}</td>' for side, cell in zip(sides, cells, strict=True))
    return f'<tr class="{escape(mark)}">{inner}</tr>' if mark else f"<tr>{inner}</tr>"


def _picture(kind: str, data: bytes, alt: str, width: int | None) -> str:
    size = "" if width is None else f' width="{int(width)}"'
    return f'<img alt="{escape(alt)}"{size} src="data:{kind};base64,{base64.b64encode(data).decode("ascii")}">'
