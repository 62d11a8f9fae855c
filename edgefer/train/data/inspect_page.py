"""The page of an inspected data set: one HTML file that holds everything, and each drawing as a PNG beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from edgefer import files, page
from edgefer.errors import DataError
from edgefer.train.data import Splits, picture
from edgefer.train.data.inspect import Inspection, SplitFacts, findings
from edgefer.train.drawing import WIDTH

INDEX = "index.html"
CSS_WIDTH = round(100 * WIDTH)


def write_page(inspection: Inspection, splits: Splits, title: str, folder: Path) -> Path:
    """Write `index.html` and the PNG files into `folder`, each wholly or not at all; return the path of the page.

    Raises MissingDependencyError without matplotlib, DataError when a file cannot be written.
    """
    shown = next((name for name in ("train", "all") if name in splits), next(iter(splits)))
    pngs = {
        "classes.png": picture.class_plot(inspection),
        "samples.png": picture.sample_grid(splits[shown].ordered(inspection.names)),
        "copies.png": picture.pair_grid(inspection, splits),
    }
    index = folder / INDEX
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, png in pngs.items():
            with files.atomic(folder / name) as stream:
                stream.write(png)
        files.write_text(index, _document(inspection, shown, title, pngs))
    except OSError as error:
        raise DataError(f"cannot write {folder}: {error.strerror or error}; choose another --out") from error
    return index


def class_table(inspection: Inspection) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the counts: a row a class, for each split the pictures and their part."""
    head, rows = ["class"], [[page.plain(name)] for name in inspection.names]
    total = ["all"]
    for split in inspection.splits:
        head += [split.name, "%"]
        for name, row in zip(inspection.names, rows, strict=True):
            row += [f"{split.per_class[name]:,}", f"{100 * split.per_class[name] / split.pictures:.1f}"]
        total += [f"{split.pictures:,}", "100.0"]
    return head, [*rows, total]


def split_table(inspection: Inspection) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of what is told of each split: a column a split."""
    told: tuple[tuple[str, Callable[[SplitFacts], str]], ...] = (
        ("pictures", lambda s: f"{s.pictures:,}"),
        ("unreadable files", lambda s: f"{s.unreadable:,}"),
        ("blank pictures", lambda s: f"{s.blank:,}"),
        ("exact copies", lambda s: f"{s.copies.exact:,}"),
        ("near copies", lambda s: f"{s.copies.near:,}"),
        ("groups of copies", lambda s: f"{s.copies.groups:,}"),
        ("groups with different labels", lambda s: f"{s.copies.contradictory:,}"),
        ("brightness (0–255)", lambda s: f"{s.brightness.mean:.0f}"),
        ("brightness of 9 in 10 pictures", lambda s: f"{s.brightness.dark:.0f}–{s.brightness.bright:.0f}"),
        ("contrast", lambda s: f"{s.brightness.contrast:.0f}"),
    )
    rows = [[name, *(value(split) for split in inspection.splits)] for name, value in told]
    return ["", *(split.name for split in inspection.splits)], rows


def _document(inspection: Inspection, shown: str, title: str, pngs: dict[str, bytes]) -> str:
    def image(name: str, alt: str) -> str:
        return page.image(pngs[name], alt, CSS_WIDTH)

    def table(made: tuple[Sequence[str], Sequence[Sequence[str]]], last: bool = False) -> str:
        head, rows = made
        return page.table(head, rows, left=head[:1], marks={len(rows) - 1: "sum"} if last else None)

    parts = [
        page.heading(title, 1),
        *(page.paragraph(sentence) for sentence in findings(inspection)),
        page.heading("Classes", 2),
        table(class_table(inspection), last=True),
        image("classes.png", "pictures of each class in each split"),
        page.heading(f"Faces of {shown}", 2),
        image("samples.png", "a row of faces for each class"),
        page.heading("Splits", 2),
        table(split_table(inspection)),
        page.heading("Copies", 2),
        page.paragraph(
            "Pairs of one picture, exactly or nearly (another crop, brightness or watermark, or mirrored). Orange: the"
            " two have different labels."
        ),
        image("copies.png", "pairs of copies with their labels"),
    ]
    if any(split.votes for split in inspection.splits):
        parts += [
            page.heading("FER+ votes", 2),
            page.paragraph("Part of the labels that the majority of ten people agrees with."),
            table(_votes_table(inspection)),
        ]
    return page.document(title, "\n".join(parts))


def _votes_table(inspection: Inspection) -> tuple[list[str], list[list[str]]]:
    voted = [(split.name, split.votes) for split in inspection.splits if split.votes]
    rows = [
        [name, *("–" if (part := votes.per_class[name]) is None else f"{part:.1%}" for _, votes in voted)]
        for name in inspection.names
    ]
    rows += [["all", *(f"{votes.agree:.1%}" for _, votes in voted)]]
    rows += [["no face or no vote for a label", *(f"{votes.dropped:,}" for _, votes in voted)]]
    return ["label", *(name for name, _ in voted)], rows
