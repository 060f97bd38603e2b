"""One small change of a source text: where, what instead, and by which operator."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

SHOWN = 90


@dataclass(frozen=True)
class Edit:
    """The characters from `start` up to `end` are replaced by `new`. `line` counts from 1."""

    operator: str
    line: int
    start: int
    end: int
    new: str

    def applied(self, text: str) -> str:
        """Return the text with the change."""
        return text[: self.start] + self.new + text[self.end :]

    def diff(self, text: str) -> str:
        """Return the change on one line.

        >>> Edit("boundary", 1, 5, 6, "<=").diff("left < amount")
        'left < amount -> left <= amount'
        """
        first = text.rfind("\n", 0, self.start) + 1
        last = text.find("\n", self.end)
        last = len(text) if last < 0 else last
        before, after = text[first:last], text[first : self.start] + self.new + text[self.end : last]
        return f"{_short(before)} -> {_short(after)}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…"


class Source:
    """A module's text and tree, and where in the text each node is."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = ast.parse(text)
        self._starts = [0]
        for line in text.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._lines = text.splitlines()
        self._plain = text.isascii()

    def start(self, node: ast.AST) -> int:
        """Return where a node begins, in characters."""
        return self._place(node.lineno, node.col_offset)  # type: ignore[attr-defined]

    def end(self, node: ast.AST) -> int:
        """Return where it ends."""
        return self._place(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    def _place(self, line: int, column: int) -> int:
        # Columns count bytes.
        if self._plain:
            return self._starts[line - 1] + column
        return self._starts[line - 1] + len(self._lines[line - 1].encode()[:column].decode())

    def of(self, node: ast.AST) -> str:
        """Return a node's text."""
        return self.text[self.start(node) : self.end(node)]

    def replaced(self, operator: str, node: ast.AST, new: str) -> Edit:
        """Return the edit that puts another text in a node's place."""
        return Edit(operator, node.lineno, self.start(node), self.end(node), new)  # type: ignore[attr-defined]

    def line_start(self, line: int) -> int:
        """Return where a line begins."""
        return self._starts[line - 1]

    def lines(self, first: int, last: int) -> Iterator[tuple[int, str]]:
        """Yield numbered lines."""
        for number in range(first, last + 1):
            yield number, self._lines[number - 1]
