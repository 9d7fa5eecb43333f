"""Tables in Markdown: for model cards, reports and the command line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """A Markdown table; the first `texts` columns are aligned left, the others right."""
    marks = [":--" if column < texts else "--:" for column in range(len(header))]
    lines = [
        f"| {' | '.join(header)} |",
        f"|{'|'.join(marks)}|",
    ]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines)
