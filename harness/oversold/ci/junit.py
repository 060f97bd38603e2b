"""A run as JUnit XML, as Jenkins, GitLab and GitHub's actions read it: a suite a run, a case a finding."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree as ET

from oversold.ci import files
from oversold.ci.designs import Document, dutiful, is_comparison, runs_of
from oversold.ci.metrics import worded
from oversold.ci.news import changed, where
from oversold.report.tables import shown_name

# What XML 1.0 has no way to write: control characters, halves of surrogate pairs, two that are no characters.
_UNWRITABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_HEAD = '<?xml version="1.0" encoding="utf-8"?>\n'
_LONG = 200  # characters of the message beside a case; the text below it has all

Ending = Literal["failure", "error", "skipped"]


@dataclass(frozen=True)
class Case:
    """One line of a suite: its name, how it ended if not well, in a word and in a text."""

    name: str
    ending: Ending | None = None
    what: str = ""
    text: str = ""


def write(path: Path, documents: Sequence[Document]) -> None:
    """Write the suites of some runs and comparisons into one file.

    A finding that failed is a failure, an inconclusive one an error: neither is green. Thresholds and numbers of
    the baseline are cases as well. The canary of a comparison breaks its promise by duty: that is skipped.

    Raises:
        UsageError: the file cannot be written.
    """
    root = ET.Element("testsuites", {"name": "oversold"})
    for document in documents:
        for run, name in _named(document):
            _add(root, name, _cases(document, run), run)
        for title, cases in _others(document):
            _add(root, f"{_scenario(document)}.{title}", cases, {})
    for key in ("tests", "failures", "errors", "skipped"):
        root.set(key, str(sum(int(suite.get(key, 0)) for suite in root)))
    ET.indent(root)
    files.write(path, f"{_HEAD}{ET.tostring(root, encoding='unicode')}\n", "--junit")


def clean(text: object) -> str:
    """Return a text without what XML cannot carry.

    >>> clean("a\\x1b[31mb\\x00")
    'a\ufffd[31mb\ufffd'
    """
    return _UNWRITABLE.sub("\ufffd", str(text))


def _named(document: Document) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield each run with the name of its suite: scenario and strategy, and which run where there are several."""
    runs = runs_of(document)
    for run in runs:
        name = f"{run.get('scenario', 'run')}.{shown_name(run)}"
        if sum(shown_name(other) == shown_name(run) for other in runs) > 1:
            name += f" ({run.get('folder') or run.get('seed')})"
        yield run, name


def _scenario(document: Document) -> str:
    return next((str(run.get("scenario", "run")) for run in runs_of(document)), "run")


def _cases(document: Document, run: Mapping[str, Any]) -> list[Case]:
    due = dutiful(document, run)
    cases = [_case(found, run, due=due) for found in run.get("findings") or []]
    if run["verdict"] != "pass" and not any(case.ending for case in cases):
        reasons = " ".join(map(str, run.get("reasons") or ["The run recorded no reason."]))
        cases.append(Case("verdict", "failure" if run["verdict"] == "fail" else "error", "verdict", reasons))
    return cases


def _case(found: Mapping[str, Any], run: Mapping[str, Any], *, due: bool) -> Case:
    name, detail = str(found["check"]), str(found["detail"])
    if found["verdict"] == "pass":
        return Case(name)
    if due:
        return Case(name, "skipped", "canary", f"The canary must break its promise, and did: {detail}")
    again = f"{detail}\nAgain: {run['command']}" if run.get("command") else detail
    return Case(name, "failure" if found["verdict"] == "fail" else "error", str(found["verdict"]), again)


def _others(document: Document) -> Iterator[tuple[str, list[Case]]]:
    """Yield what belongs to no single run: (name of the suite, its cases)."""
    if cases := [
        Case(
            f"{where(row)}: {row['metric']} {row['bound']} {worded(row['limit'])}",
            None if row["held"] else "failure", "threshold", row["detail"],
        )
        for row in document.get("thresholds") or []
    ]:  # fmt: skip
        yield "thresholds", cases
    if found := document.get("baseline"):
        yield (
            "baseline",
            [
                *(
                    Case(
                        f"{where(row)}: {row['metric']}",
                        "failure" if row["worse"] else None,
                        "worse",
                        changed(row),
                    )
                    for row in found["rows"]
                ),
                *(Case(line, "skipped", "caveat", line) for line in found["caveats"]),
            ],
        )
    if not is_comparison(document):
        return
    missing = [
        Case(f"{row.get('strategy')}, {row.get('users')} users, seed {row.get('seed')}", "error", "not run",
             str(row.get("why")))
        for row in document.get("failed") or []
    ]  # fmt: skip
    if document.get("interrupted"):
        missing.append(Case("all runs", "error", "interrupted", "Not everything that was asked for was run."))
    missing += [
        Case(f"{row.get('strategy')} ({row.get('sql')})", "skipped", "left out", str(row.get("why")))
        for row in document.get("left_out") or []
    ]
    if missing:
        yield "not run", missing


def _add(root: ET.Element, name: str, cases: Sequence[Case], run: Mapping[str, Any]) -> None:
    wall_s = float((run.get("load") or {}).get("wall_s") or 0.0)
    endings = [case.ending for case in cases]
    suite = ET.SubElement(
        root,
        "testsuite",
        {
            "name": clean(name),
            "tests": str(len(cases)),
            "failures": str(endings.count("failure")),
            "errors": str(endings.count("error")),
            "skipped": str(endings.count("skipped")),
            "time": f"{wall_s:.3f}",
            # The format knows no zone.
            **({"timestamp": clean(run["recorded"])[:19]} if run.get("recorded") else {}),
        },
    )
    if properties := _properties(run):
        own = ET.SubElement(suite, "properties")
        for key, value in properties.items():
            ET.SubElement(own, "property", {"name": clean(key), "value": clean(value)})
    for case in cases:
        # The time of a run is that of all its checks together.
        made = ET.SubElement(
            suite, "testcase", {"classname": clean(name), "name": clean(case.name), "time": "0.000"}
        )
        if case.ending:
            said = clean(case.text)
            message = " ".join(said.split())
            short = message if len(message) <= _LONG else f"{message[: _LONG - 1]}…"
            kind = {} if case.ending == "skipped" else {"type": clean(case.what)}
            ET.SubElement(made, case.ending, {**kind, "message": short}).text = said


def _properties(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a reader needs to repeat a run: seed, command, servers and versions."""
    told = {key: run[key] for key in ("scenario", "strategy", "seed", "verdict", "command") if key in run}
    users = (run.get("load") or {}).get("users")
    told |= {"users": users} if users is not None else {}
    stores = {
        f"server.{name}": " ".join(str(store[key]) for key in ("provider", "version") if store.get(key))
        for name, store in (run.get("stores") or {}).items()
    }
    versions = {f"environment.{name}": value for name, value in (run.get("environment") or {}).items()}
    return {**told, **stores, **versions}
