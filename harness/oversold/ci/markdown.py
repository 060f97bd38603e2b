"""A run as Markdown for a pull request or a step's summary: the verdict first, then what must be looked at."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from oversold.ci.designs import Document, dutiful, is_comparison, load_of, table_of
from oversold.ci.exits import missed, worsened
from oversold.ci.metrics import worded
from oversold.ci.news import value_of, verdict_of, where
from oversold.report.page.entries import Entry, Table
from oversold.report.page.markdown import LIMIT_BYTES, code, plain
from oversold.report.page.words import SYMBOLS

_MOST_ROWS = 60  # of a table
_MOST_REASONS = 20
_LOOK_FIRST = {"fail": 0, "inconclusive": 1, "pass": 2}
_CUT = 240  # characters of a sentence
_NOTE = "\nThe rest is too long for this page: it is in the run's folder.\n"


def text(document: Document) -> str:
    """Return a run or a comparison as GitHub's Markdown, in less than `LIMIT_BYTES` of UTF-8."""
    table = table_of(document)
    body = _designs(document, table) if is_comparison(document) else _findings(document)
    sections = [
        _head(document, table),
        _section("", body),
        _section("Thresholds", _thresholds(document)),
        _section("Against the baseline", _baseline(document)),
        _section("Why not", _whys(document, table)),
        _section("Again", _commands(document, table)),
    ]
    return _fitted([section for section in sections if section])


def _fitted(sections: Iterable[str]) -> str:
    """Join as many sections as there is room for, and say where some are left out."""
    room, kept, short = LIMIT_BYTES - len(_NOTE.encode()) - 1, "", False
    for section in sections:
        if len((kept + section).encode(errors="replace")) < room:
            kept += section
        else:
            short = True
    return kept + (_NOTE if short else "")


def _section(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return "\n".join([*([f"\n### {title}"] if title else []), "", *lines, ""])


def _head(document: Document, table: Table) -> str:
    verdict = verdict_of(document)
    misses, worse = len(missed(document)), len(worsened(document))
    said = [f"{misses} of {len(document['thresholds'])} thresholds missed"] if misses else []
    said += [f"{worse} {'number' if worse == 1 else 'numbers'} worse than the baseline"] if worse else []
    symbol = SYMBOLS["fail"] if verdict == "pass" and said else SYMBOLS.get(verdict, "?")
    tail = f"{', but ' if verdict == 'pass' else '; '}{' and '.join(said)}" if said else ""
    lines = [f"## {symbol} oversold: {plain(verdict + tail)}", "", plain(_cut(table.answer, 400)) + "."]
    if document.get("interrupted"):
        lines += ["", "**Interrupted:** not everything that was asked for was run."]
    return "\n".join(lines) + "\n"


def _findings(document: Document) -> list[str]:
    rows = [
        [
            SYMBOLS.get(found["verdict"], "?"),
            plain(str(found["check"]).replace("_", " ")),
            _strong(found["verdict"]),
            _said(found["detail"]),
        ]
        for found in sorted(document.get("findings") or [], key=lambda found: _LOOK_FIRST.get(found["verdict"], 1))
    ]
    return _table(["", "check", "verdict", "what was found"], rows)


def _designs(document: Document, table: Table) -> list[str]:
    columns = table.columns[:-1]  # the last one counts the runs
    rows = []
    for entry in table.entries:
        due = " (as it must)" if dutiful(document, entry.worst) else ""
        numbers = [plain(f"{one.text} ({one.small})" if one.small else one.text) for one in entry.values[:-1]]
        name = code(_cut(entry.name, 80)) + (" **broken on purpose**" if entry.broken else "")
        verdict = f"{entry.verdict}{due}" if due else _strong(entry.verdict)
        symbol = " " if due else SYMBOLS.get(entry.verdict, "?")
        rows.append([symbol, name, plain(load_of(table, entry)), verdict, *numbers])
    lines = _table(["", "design", "load", "verdict", *(plain(column.title) for column in columns)], rows)
    for row in (document.get("failed") or [])[:_MOST_ROWS]:
        lines += ["", f"Not run: {code(_cut(str(row.get('strategy')), 80))}: {_said(str(row.get('why')))}"]
    return lines


def _thresholds(document: Document) -> list[str]:
    rows = sorted(document.get("thresholds") or [], key=lambda row: row["held"])
    cells = [
        [
            SYMBOLS["pass" if row["held"] else "fail"],
            plain(where(row)),
            code(f"--{row['bound']} {row['metric']}={row['limit']:g}"),
            plain(worded(row["value"])),
            _said(row["detail"]),
        ]
        for row in rows
    ]
    return _table(["", "design", "threshold", "value", ""], cells)


def _baseline(document: Document) -> list[str]:
    found = document.get("baseline")
    if not found:
        return []
    worse = worsened(document)
    cells = [
        [
            SYMBOLS["fail"],
            plain(where(row)),
            plain(row["metric"]),
            *(plain(value_of(row[side])) for side in ("before", "now")),
            _said(row["why"]),
        ]
        for row in worse
    ]
    compared = len(found["rows"])
    lines = _table(["", "design", "number", "before", "now", ""], cells)
    lines += ["" if lines else "Nothing got worse beyond the noise."] if compared else []
    lines += [f"{compared - len(worse)} of {compared} numbers compared did not get worse."] if worse else []
    return [*lines, *(f"- {_said(line)}" for line in found["caveats"][:_MOST_REASONS])]


def _whys(document: Document, table: Table) -> list[str]:
    """Return why designs did not pass; of a single run the table of findings has said it, but for the cause."""
    if not is_comparison(document):
        return [line for entry in table.entries for line in _cause(entry)]
    lines = []
    for entry in _failing(document, table)[:_MOST_REASONS]:
        about = html.escape(
            ", ".join(part for part in (entry.verdict, entry.which, load_of(table, entry)) if part)
        )
        name = html.escape(_cut(" ".join(entry.name.split()), 80))
        lines += [f"<details><summary><code>{name}</code>: {about}</summary>", ""]
        lines += [
            f"- **{plain(check)}**: {_said(why)}" if check else f"- {_said(why)}" for check, why in entry.reasons
        ]
        lines += _cause(entry)
        lines += ["", "</details>", ""]
    return lines


def _cause(entry: Entry) -> list[str]:
    """Return the shortest schedule that breaks a design in a sentence, and what shows it."""
    if not entry.explain:
        return []
    told = f"**cause**: {plain(_cut(entry.cause, 2 * _CUT))} " if entry.cause else "**cause**: "
    return [f"- {told}{code(_cut(entry.explain, _CUT))}"]


def _failing(document: Document, table: Table) -> list[Entry]:
    return [entry for entry in table.entries if entry.verdict != "pass" and not dutiful(document, entry.worst)]


def _commands(document: Document, table: Table) -> list[str]:
    """Return what repeats the runs that did not pass, or the first run where all did."""
    shown = _failing(document, table)[:5] or list(table.entries[:1])
    commands = [" ".join(entry.command.split()) for entry in shown if entry.command]
    if not commands:
        return []
    fence = "`" * max(3, 1 + max(command.count("`") for command in commands))
    return [f"{fence}sh", *commands, fence]


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    lines = [_row(titles), _row([":-:", *([":--"] * (len(titles) - 1))]), *map(_row, rows[:_MOST_ROWS])]
    return [*lines, "", f"and {len(rows) - _MOST_ROWS} more"] if len(rows) > _MOST_ROWS else lines


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _strong(verdict: str) -> str:
    return f"**{plain(verdict)}**" if verdict == "fail" else plain(verdict)


def _said(sentence: str) -> str:
    return plain(_cut(sentence, _CUT))


def _cut(sentence: str, most: int) -> str:
    return sentence if len(sentence) <= most else f"{sentence[: most - 1].rstrip()}…"
