"""The report as GitHub's Markdown, short enough for the description of a pull request."""

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

from oversold.report.page import words
from oversold.report.page.conditions import conditions, differences
from oversold.report.page.entries import Card, Entry, Table, Value

LIMIT_BYTES = 60_000  # GitHub takes 65,536 characters
_CUTS = (600, 240, 100)  # characters of a reason, the first that the limit allows
_NAME = 60  # characters of a name in a table, where a longer one tells nothing more
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!$&])")


def written(
    document: Mapping[str, Any],
    table: Table,
    charts: Sequence[str],
    date: str,
    cards: Mapping[str, Card] | None = None,
) -> str:
    """Return the report of a comparison, or of one run, in less than `LIMIT_BYTES`.

    `charts` are the names of the pictures' files without their endings, `date` says when the runs were made,
    `cards` what is told of the strategies. What does not fit is left out from the end of the reasons on, and the
    text says so.
    """
    runs = [run for entry in table.entries for run in entry.runs]
    head = [*_head(document, table, cards or {}, date), "", *_table(table)]
    tail = [*_conditions(document, runs), *_charts(charts)]
    for cut in (*_CUTS, 0):
        text = "\n".join([*head, "", *_whys(table, cut), *_holes(table, cards or {}, cut), *tail]) + "\n"
        if len(text.encode()) < LIMIT_BYTES:
            return text
    return _cut("\n".join(head), LIMIT_BYTES - 200) + "\n\nThe rest is too long for this page: see report.html.\n"


def plain(text: str) -> str:
    """Return a text that Markdown takes as it is: no formatting, no HTML, no mention of anybody.

    >>> print(plain("a_b <i> @someone | 1"))
    a\\_b \\<i\\> @\u200bsomeone \\| 1
    """
    return _SPECIAL.sub(r"\\\1", " ".join(text.split())).replace("@", "@\u200b")


def code(text: str) -> str:
    """Return a text as a code span, in a table as well.

    >>> print(code("a|b"), code("a`b"))
    `a\\|b` `` a`b ``
    """
    said = " ".join(text.split()).replace("|", "\\|")
    fence = _fence(said, 1)
    return f"{fence} {said} {fence}" if "`" in said else f"{fence}{said or ' '}{fence}"


def _fence(text: str, least: int) -> str:
    """Return more backticks than stand in a row anywhere in the text."""
    return "`" * max(least, 1 + max(map(len, re.findall("`+", text)), default=0))


def _head(document: Mapping[str, Any], table: Table, cards: Mapping[str, Card], date: str) -> list[str]:
    runs = [run for entry in table.entries for run in entry.runs]
    tallies = ", ".join(f"{count} {verdict}" for verdict, count in words.counts(table))
    tallies += f", {table.broken_passes} of the passes broken on purpose" if table.broken_passes else ""
    lines = [f"## {plain(table.answer)}", "", plain(" · ".join([*words.about(table, runs, date), tallies])), ""]
    if document.get("interrupted"):
        lines += ["**Interrupted:** not everything that was asked for was run.", ""]
    said = [words.proof(document)[1], table.pace, words.differing(differences(runs)[1])]
    where = "told below for each design" if cards else "in each row of report.html"
    said.append(words.a_pass(table, cards, where))
    return [*lines, " ".join(plain(_cut(one, 400)) for one in said if one)]


def _table(table: Table) -> list[str]:
    """Return one row a design: its numbers at the first load to look at, its verdict over all of them."""
    titles = ["", "design", "verdict", *(column.title for column in table.columns)]
    rules = [":-:", ":--", ":--", *("--:" for _ in table.columns)]
    lines = [_row(titles), _row(rules)]
    shown: dict[str, Entry] = {}
    for entry in table.entries:
        if entry.name not in shown or entry.load == table.first:
            shown[entry.name] = entry
    for name, entry in shown.items():
        verdict = table.designs[name]
        tag = " canary" if entry.canary else " **broken on purpose**" if entry.broken else ""
        there = f" ({plain(table.loads[entry.load])})" if entry.load != table.first else ""
        said = f"**{verdict}**" if verdict == "fail" else verdict
        said += f" ({plain(table.elsewhere(entry).removeprefix(f'{verdict} '))})" if table.elsewhere(entry) else ""
        cells = [words.SYMBOLS[verdict], code(_middle(name, _NAME)) + tag + there, said, *map(_cell, entry.values)]
        lines.append(_row(cells))
    if len(table.loads) > 1:
        where = "the load beside the name" if table.first is None else plain(table.loads[table.first])
        lines += ["", f"Numbers at {where}; a verdict is the worst of all {len(table.loads)} loads."]
    return lines


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: Value) -> str:
    return plain(f"{value.text} ({value.small})" if value.small else value.text)


def _whys(table: Table, cut: int) -> list[str]:
    """Return why designs did not pass, a fold for each; reasons are cut, without any room left out."""
    failing = [entry for entry in _worst_entries(table) if entry.reasons]
    if not failing:
        return []
    if not cut:
        return ["Why designs did not pass is in report.html: here it would be too long.", ""]
    lines = ["### Why not", ""]
    for entry in failing:
        name = html.escape(" ".join(_middle(entry.name, _NAME).split()))
        where = [entry.which, table.loads[entry.load] if len(table.loads) > 1 else ""]
        about = html.escape(", ".join(part for part in (entry.verdict, *where) if part))
        lines += [f"<details><summary><code>{name}</code>: {about}</summary>", ""]
        for check, reason in entry.reasons:
            lines.append(
                f"- **{plain(check)}**: {plain(_cut(reason, cut))}" if check else f"- {plain(_cut(reason, cut))}"
            )
        lines += [f"- **cause**: {plain(_cut(entry.cause, cut))}"] if entry.cause else []
        commands = [" ".join(each.split()) for each in (entry.command, entry.explain) if each]
        fence = _fence("\n".join(commands), 3)
        lines += ["", f"{fence}sh", *commands, fence, "</details>", ""]
    return lines


def _holes(table: Table, cards: Mapping[str, Card], cut: int) -> list[str]:
    """Return the known hole of each design that has one, those that are broken on purpose first; without any room
    left out."""
    known = {name for name, card in cards.items() if card.hole}
    entries = {entry.name: entry for entry in table.entries if entry.strategy in known}
    told = sorted(entries.values(), key=lambda entry: not entry.broken)
    if not told or not cut:
        return []
    lines = ["<details><summary>Known holes</summary>", ""]
    for entry in told:
        mark = " (**broken on purpose**)" if entry.broken else ""
        hole = plain(_cut(cards[entry.strategy].hole, cut))
        lines.append(f"- {code(_middle(entry.name, _NAME))}{mark}: {hole}")
    return [*lines, "", "</details>", ""]


def _worst_entries(table: Table) -> list[Entry]:
    """Return one entry a design that did not pass: the largest load of those with its worst verdict."""
    found: dict[str, Entry] = {}
    for entry in table.entries:
        if entry.verdict == table.designs[entry.name] != "pass":
            found.setdefault(entry.name, entry)
    return list(found.values())


def _conditions(document: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["<details><summary>Conditions</summary>", ""]
    if warning := words.pace_warning(runs):
        lines += [plain(_cut(warning, 400)), ""]
    left = words.left_out(document)
    lines += [f"- not run: {code(_middle(what, _NAME))}: {plain(_cut(why, 200))}" for what, why in left[:60]]
    lines += [f"- and {len(left) - 60} more that were not run"] if len(left) > 60 else []
    groups: dict[str, list[str]] = {}
    for condition in conditions(runs):
        if condition.group != "Settings" or len(condition.values) > 1:
            said = _cut(" or ".join(condition.said), 200)
            groups.setdefault(condition.group, []).append(f"{condition.name} {said}")
    lines += [f"- **{plain(group)}**: {plain(_cut('; '.join(said), 800))}" for group, said in groups.items()]
    commands = list(dict.fromkeys(str(run["command"]) for run in runs if run.get("command")))
    if commands:
        fence = _fence(commands[0], 3)
        lines += ["", "The first run again:", "", f"{fence}sh", " ".join(commands[0].split()), fence]
    return [*lines, "</details>", ""]


def _charts(charts: Sequence[str]) -> list[str]:
    files = ", ".join(code(f"{name}.png") for name in charts)
    said = f" The charts are {files}." if files else ""
    return [f"The whole page is `report.html`, beside the data.{said}"]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def _middle(text: str, most: int) -> str:
    """Return a text without its middle where it is too long: of a path both ends tell the most."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[len(text) - most // 2 + 1 :]}"
