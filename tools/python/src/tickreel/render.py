"""Tables for people: as text, and as HTML in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from html import escape

ROWS_SHOWN = 60
"""More rows than these are cut in the middle."""


def number(value: float | Decimal) -> str:
    """A price or quantity without needless zeros, never in powers of ten."""
    text = f"{value:f}" if isinstance(value, Decimal) else f"{value:.12g}"
    if "e" in text:
        text = f"{Decimal(text):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def text_table(heads: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[int]) -> str:
    """Aligned columns; those of `right` to the right."""
    lines = [tuple(heads), *_shown([tuple(map(str, row)) for row in rows])]
    widths = [max(len(line[at]) for line in lines) for at in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def html_table(heads: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> str:
    """The same for a notebook."""
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in _shown([tuple(map(str, row)) for row in rows])
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _shown(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    if len(rows) <= ROWS_SHOWN:
        return rows
    half = ROWS_SHOWN // 2
    return [*rows[:half], tuple("..." for _ in rows[0]), *rows[-half:]]
