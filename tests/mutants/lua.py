"""What can be wrong in a design's Lua script, as edits of the text that holds it."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator

from tests.mutants.edits import Edit, Source

TEST = re.compile(r"\bif (?P<test>.+?) then\b")
BOUNDARY = re.compile(r" (?P<sign><=|>=|<|>) ")
OTHER = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
JOINED = re.compile(r" (and|or) ")
COMMAND = re.compile(r"\s*redis\.call\(.*\)$")
RETURNS = re.compile(r"\s*if .* then return .* end$")


def edits(source: Source, node: ast.stmt) -> Iterator[Edit]:
    """Yield the edits of the script that a statement gives a name to."""
    if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)):
        return
    script = node.value
    if "redis.call" not in str(script.value) or script.end_lineno is None:
        return
    lines = list(source.lines(script.lineno + 1, script.end_lineno - 1))
    for number, line in lines:
        yield from _conditions(source, number, line)
        if COMMAND.fullmatch(line):
            yield _line("lua-deleted", source, number, line, "")
            yield _line("lua-twice", source, number, line, f"{line} {line.strip()}")
        elif RETURNS.fullmatch(line):
            yield _line("lua-deleted", source, number, line, "")
    for (number, line), (_, after) in itertools.pairwise(lines):
        if all(COMMAND.fullmatch(each) or RETURNS.fullmatch(each) for each in (line, after)):
            start = source.line_start(number)
            yield Edit("lua-swapped", number, start, start + len(line) + 1 + len(after), f"{after}\n{line}")


def _line(operator: str, source: Source, number: int, line: str, new: str) -> Edit:
    start = source.line_start(number)
    return Edit(operator, number, start, start + len(line), new)


def _conditions(source: Source, number: int, line: str) -> Iterator[Edit]:
    start = source.line_start(number)
    found = TEST.search(line)
    if found is None:
        return
    test, first, last = found["test"], start + found.start("test"), start + found.end("test")
    yield Edit("lua-never", number, first, last, f"(({test}) and false)")
    yield Edit("lua-always", number, first, last, f"(({test}) or true)")
    for sign in BOUNDARY.finditer(test):
        at = first + sign.start("sign")
        yield Edit("lua-boundary", number, at, at + len(sign["sign"]), OTHER[sign["sign"]])
    halves = JOINED.split(test)[::2]
    if len(halves) == 2 and all(each.count("(") == each.count(")") for each in halves):
        yield from (Edit("lua-half", number, first, last, each) for each in halves)
