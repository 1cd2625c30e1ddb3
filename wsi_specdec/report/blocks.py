"""Lines of a study's page, in the little Markdown that these are written in, as blocks for HTML."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Literal

from markupsafe import Markup, escape

Kind = Literal["table", "list", "text"]

_CELL_END: Final = re.compile(r"(?<!\\)\|")
_CODE: Final = re.compile(r"`([^`]+)`")
_BOLD: Final = re.compile(r"\*\*([^*]+)\*\*")
_EMPHASIS: Final = re.compile(r"\*([^*\s][^*]*)\*")
_LINK: Final = re.compile(r"\[([^\]]+)\]\([^)\s]+\)")
_ITEM: Final = "- "


@dataclass(frozen=True)
class Block:
    """A table, a list or a paragraph.

    Attributes
    ----------
    kind
        Which of them.
    rows
        Cells of a table, the items of a list or the one text of a paragraph, each a row of one.
    header
        Titles of a table's columns.
    text
        How many columns of a table hold text; the others hold numbers.
    """

    kind: Kind
    rows: Sequence[Sequence[Markup]]
    header: Sequence[Markup] = ()
    text: int = 1


def blocks_of(lines: Sequence[str]) -> list[Block]:
    """Read blocks, which blank lines part, from lines of Markdown.

    Links keep their text alone, since a page on its own cannot follow them.

    Examples
    --------
    >>> (table,) = blocks_of(["| arm | AUROC |", "|---|---:|", "| `sd` | 0.9 |"])
    >>> table.kind, table.text, [str(cell) for cell in table.rows[0]]
    ('table', 1, ['<code>sd</code>', '0.9'])
    """
    kinds = ((_kind(line), line) for line in lines)
    parts = groupby(kinds, key=lambda each: each[0])
    return [
        block
        for kind, part in parts
        if kind is not None
        for block in _blocks(kind, [line for _, line in part])
    ]


def _kind(line: str) -> Kind | None:
    if not line.strip():
        return None
    if line.startswith("|"):
        return "table"
    return "list" if line.startswith((_ITEM, "  ")) else "text"


def _blocks(kind: Kind, lines: Sequence[str]) -> Iterator[Block]:
    if kind == "table":
        header, marks, *rows = map(_cells, lines)
        text = sum(not mark.endswith(":") for mark in marks)
        shown = [[_inline(cell) for cell in row] for row in rows]
        yield Block(kind, shown, [_inline(cell) for cell in header], text)
        return
    joined = "\n".join(lines)
    items = joined.removeprefix(_ITEM).split(f"\n{_ITEM}") if kind == "list" else [joined]
    yield Block(kind, [[_inline(" ".join(item.split()))] for item in items])


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|").removesuffix("|")
    return [cell.strip().replace("\\|", "|") for cell in _CELL_END.split(inner)]


def _inline(text: str) -> Markup:
    """Escape a text, and mark up its code and what is stressed."""
    marked = str(escape(_LINK.sub(r"\1", text)))
    for pattern, tag in ((_CODE, "code"), (_BOLD, "b"), (_EMPHASIS, "i")):
        marked = pattern.sub(rf"<{tag}>\1</{tag}>", marked)
    # Escaped above, so that no text becomes a tag.
    return Markup(marked)  # noqa: S704
