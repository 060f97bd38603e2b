"""JUnit: well formed, counted right, nothing green that is not a pass, whatever the texts are."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from tests.unit.ci.recorded import HOSTILE, broken, comparison, several, single

from oversold.ci import junit
from oversold.errors import UsageError

# What Jenkins's schema allows: element -> (attributes, those that are needed, children in their order).
SCHEMA = {
    "testsuites": ({"name", "tests", "failures", "errors", "skipped"}, set(), ["testsuite"]),
    "testsuite": (
        {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"},
        {"name", "tests", "failures", "errors", "skipped", "time"},
        ["properties", "testcase"],
    ),
    "properties": (set(), set(), ["property"]),
    "property": ({"name", "value"}, {"name", "value"}, []),
    "testcase": ({"name", "classname", "time"}, {"name", "classname", "time"}, ["failure", "error", "skipped"]),
    "failure": ({"message", "type"}, {"message", "type"}, []),
    "error": ({"message", "type"}, {"message", "type"}, []),
    "skipped": ({"message"}, set(), []),
}
WORDS = {"failure": "failures", "error": "errors", "skipped": "skipped"}


def invalid(root: ET.Element) -> list[str]:
    """Return what of a tree is not as the schema has it, counts included."""
    found = []
    for element in root.iter():
        if element.tag not in SCHEMA:
            found.append(f"{element.tag} is unknown")
            continue
        may, must, children = SCHEMA[element.tag]
        keys, tags = set(element.keys()), [child.tag for child in element]
        if not must <= keys <= may:
            found.append(f"{element.tag} has {sorted(keys)}")
        if any(tag not in children for tag in tags) or sorted(tags, key=children.index) != tags:
            found.append(f"{element.tag} holds {tags}")
        if element.tag in {"testsuites", "testsuite"}:
            cases = list(element.iter("testcase"))
            counts = {"tests": len(cases)} | {
                key: sum(case.find(tag) is not None for case in cases) for tag, key in WORDS.items()
            }
            found += [f"{element.tag}: {key}" for key, count in counts.items() if element.get(key) != str(count)]
        if element.tag == "testcase" and len(element) > 1:
            found.append("a case ends once")
    stamps = [suite.get("timestamp") for suite in root.iter("testsuite") if suite.get("timestamp")]
    found += [stamp for stamp in stamps if not re.fullmatch(r"\d{4}(-\d\d){2}T\d\d(:\d\d){2}", stamp)]
    names = [suite.get("name") for suite in root]
    return found + ["two suites of one name"] * (len(set(names)) < len(names))


@pytest.fixture
def written(tmp_path):
    """written(document, ...) returns the tree of the file, which is valid."""

    def write(*documents):
        path = tmp_path / "made" / "on the way" / "junit.xml"
        junit.write(path, documents)
        root = ET.fromstring(path.read_bytes())
        assert invalid(root) == []
        return root

    return write


def endings(root):
    """Return the cases that are not green: name -> (element, message)."""
    return {
        case.get("name"): (ending.tag, ending.get("message")) for case in root.iter("testcase") for ending in case
    }


@pytest.mark.parametrize(
    "text",
    [
        '<testsuites><testsuite name="a"/></testsuites>',
        '<testsuites tests="2" failures="0" errors="0" skipped="0"/>',
        "<testsuites><case/></testsuites>",
        "<testcase><failure/><failure/></testcase>",
    ],
)
def test_the_check_finds_what_is_invalid(text):
    """Missing attributes, wrong counts, unknown elements, two endings."""
    assert invalid(ET.fromstring(text))


def test_a_run_is_a_suite_and_a_finding_a_case(written):
    """All green for a pass, with what it takes to repeat it among the properties."""
    run = single()
    root = written(run)
    (suite,) = root
    assert suite.get("name") == "bid-burst.redis-lua"
    assert [case.get("name") for case in suite.iter("testcase")] == [found["check"] for found in run["findings"]]
    assert endings(root) == {}
    told = {each.get("name"): each.get("value") for each in suite.iter("property")}
    assert told["command"] == run["command"]
    assert (told["seed"], told["users"], told["server.redis"]) == ("1", "300", "local 7.0.15")
    assert told["environment.python"] == run["environment"]["python"]


def test_neither_a_failure_nor_a_doubt_is_green(written):
    """A finding that failed is a failure with its command; an inconclusive one is an error."""
    root = written(broken(broken(single(), "overlap", "inconclusive"), "lost_order"))
    assert endings(root) == {
        "lost_order": ("failure", f"The check lost_order says so. Again: {single()['command']}"),
        "overlap": ("error", f"The check overlap says so. Again: {single()['command']}"),
    }


def test_a_verdict_without_a_finding_is_not_green(written):
    """What a run says of itself counts, though no check says why."""
    assert endings(
        written({**single(), "verdict": "inconclusive", "reasons": ["Cut short."], "findings": []})
    ) == {"verdict": ("error", "Cut short.")}
    assert endings(written({**single(), "verdict": "fail", "reasons": []}))["verdict"][0] == "failure"


def test_a_canary_that_does_its_duty_is_no_failure(written):
    """In a comparison it is skipped; run by itself it is the design under test."""
    kinds = {ending for ending, _ in endings(written(comparison("bid-burst", "none", "redis-lua"))).values()}
    assert kinds == {"skipped"}
    assert endings(written(single("none")))["oversubscription"][0] == "failure"


def test_thresholds_and_the_baseline_are_cases(written):
    """In suites of their own; a caveat is skipped, with its words."""
    row = {"strategy": "redis-lua", "load": "300 users", "metric": "p99_ms"}
    document = {
        **single(),
        "thresholds": [
            {**row, "bound": "max", "limit": 200.0, "held": False, "detail": "p99_ms 312 is above 200."},
            {**row, "bound": "min", "limit": 0.0, "held": True, "detail": ""},
        ],
        "baseline": {
            "rows": [
                {**row, "before": 10.0, "now": 90.0, "worse": True, "why": "Worse by 80."},
                {**row, "metric": "verdict", "before": "pass", "now": "pass", "worse": False, "why": ""},
            ],
            "caveats": ["CPUs was 2, is 4."],
        },
    }
    root = written(document)
    assert [suite.get("name") for suite in root] == [
        "bid-burst.redis-lua", "bid-burst.thresholds", "bid-burst.baseline",
    ]  # fmt: skip
    assert endings(root) == {
        "redis-lua, 300 users: p99_ms max 200": ("failure", "p99_ms 312 is above 200."),
        "redis-lua, 300 users: p99_ms": ("failure", "p99_ms was 10, is 90. Worse by 80."),
        "CPUs was 2, is 4.": ("skipped", "CPUs was 2, is 4."),
    }


def test_what_was_not_run_is_told(written):
    """A run that failed and an interruption are errors; what no server was there for is skipped."""
    document = {
        **several(single(), single(), single("row-lock")),
        "failed": [{"strategy": "redlock", "sql": "postgres", "users": 5, "seed": 1, "why": "no disk"}],
        "left_out": [{"strategy": "version", "sql": "mariadb", "why": "no MariaDB"}],
        "interrupted": True,
    }
    assert endings(written(document)) == {
        "redlock, 5 users, seed 1": ("error", "no disk"),
        "all runs": ("error", "Not everything that was asked for was run."),
        "version (mariadb)": ("skipped", "no MariaDB"),
    }
    written({**several(), "interrupted": True})


def test_hostile_text_stays_text(written):
    """Control characters, halves of surrogates and markup in names, details and commands change no element."""
    run = {**broken(single()), "strategy": HOSTILE, "command": HOSTILE, "environment": {HOSTILE: HOSTILE}}
    run["findings"] = [{"check": HOSTILE, "verdict": "fail", "detail": HOSTILE * 50}]
    root = written(run)
    ((name, (ending, message)),) = endings(root).items()
    assert ending == "failure"
    assert "<script>" in name
    assert "中文" in message
    assert len(message) <= 200
    assert root.find(".//failure").text.count("<script>") == 51


def test_a_recorded_payday_is_valid(written):
    """Payouts make the same kind of file."""
    root = written(comparison("payout-overlap"), single())
    assert endings(root)["overpaid"][0] in {"failure", "skipped"}
    assert len(root) == 5


def test_a_file_that_cannot_be_written_is_one_line():
    """A full disk, in words."""
    with pytest.raises(
        UsageError, match=r"--junit /dev/full cannot be written \(No space left on device\): .* kept"
    ):
        junit.write(Path("/dev/full"), [single()])
