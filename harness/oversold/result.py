"""What a test gets of one run: its verdict, its numbers and its findings, which tell more when an assert fails."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from oversold.model import Finding, Verdict

# Numbers that say how badly a promise was broken: without a finding on it they are none.
PROMISES = frozenset({"oversubscription", "undersubscription", "duplicate", "overpaid", "missed"})
# Which finding a number belongs to, where it is not the one of its name.
CHECKS = {"false_full_s": "false_full", "duplicate": "overpaid"}
# Findings on whether all that happened is known. Those on whether the load was hard enough are others.
GROUNDS = ("complete", "strategy", "ledger", "books", "truth")
MARKS = {"pass": "pass", "fail": "FAIL", "inconclusive": "INCONCLUSIVE"}
BRIEF = 200  # pytest cuts what an object says of itself soon after


class Number(float):
    """A number of a run that knows its name and its run, so that a failing assert can tell both.

    It is NaN where the run cannot tell: whatever that is compared with by `==` or `<=`, the assert fails.
    """

    name: str
    result: Result

    def __new__(cls, value: float, name: str, result: Result) -> Number:
        """Make it; a float has its value before `__init__`."""
        number = super().__new__(cls, value)
        number.name, number.result = name, result
        return number


class Answer:
    """What a fixture gives back: true or false, and when a test fails it tells why.

    `command` repeats what it came from.
    """

    command: str

    def story(self, about: str | None = None) -> list[str]:
        """Return the lines that a reader needs; `about` is a number's name, where a test was about one."""
        raise NotImplementedError


def brief(text: str) -> str:
    """Return as much of a text as pytest shows of what an object says of itself."""
    return text if len(text) <= BRIEF else text[: BRIEF - 3] + "..."


@dataclass(frozen=True, eq=False, repr=False)
class Result(Answer):
    """One audited run.

    `summary` is the document of summary.json, `folder` has it and the run's other files, `command` repeats the
    run. A result is true when its verdict is `pass`: never when the run proves nothing.
    """

    summary: Mapping[str, Any]
    folder: Path
    command: str

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        text = " ".join([f"{self.verdict}:", *self.reasons]) if self.reasons else self.verdict
        return f"<{self.strategy}: {brief(text)}>"

    @property
    def strategy(self) -> str:
        """The strategy's name; of a class in a file, the class's name."""
        return str(self.summary["strategy"]).rpartition(":")[2].rpartition("/")[2]

    @property
    def verdict(self) -> Verdict:
        """`pass`, `fail` or `inconclusive`."""
        verdict: Verdict = self.summary["verdict"]
        return verdict

    @property
    def passed(self) -> bool:
        """Whether every promise was kept, and the run proves it."""
        return self.verdict == "pass"

    @property
    def failed(self) -> bool:
        """Whether a promise was broken; false of a run that proves nothing."""
        return self.verdict == "fail"

    @property
    def inconclusive(self) -> bool:
        """Whether the run proves nothing."""
        return self.verdict == "inconclusive"

    @property
    def reasons(self) -> Sequence[str]:
        """Why it did not pass, one sentence each, the broken promises first."""
        return tuple(self.summary["reasons"])

    @property
    def findings(self) -> Mapping[str, Finding]:
        """What each check found, by its name; of two with one name the worse one."""
        found: dict[str, Finding] = {}
        for row in self.summary["findings"]:
            before = found.get(row["check"])
            if before is None or before.verdict == "pass" or row["verdict"] == "fail":
                found[row["check"]] = Finding(row["check"], row["verdict"], row["detail"], row["values"])
        return MappingProxyType(found)

    @property
    def outcomes(self) -> Mapping[str, int]:
        """How many bids, or pay calls, ended in which way."""
        outcomes: Mapping[str, int] = self.summary["outcomes"]
        return outcomes

    @property
    def latency(self) -> Mapping[str, Mapping[str, Number]]:
        """Milliseconds by kind and percentile: `latency["response"]["p99"]`.

        `response` counts from the moment when the bidder meant to tap, `service` from the call.
        """
        return {
            kind: {name: Number(value, f"{kind} {name}", self) for name, value in row.items()}
            for kind, row in self._table("latency_ms").items()
        }

    @property
    def oversubscription(self) -> Number:
        """Bids: the share of the capacity that was sold besides the capacity."""
        return self._rate("oversubscription")

    @property
    def undersubscription(self) -> Number:
        """Bids: the share of the capacity that stayed unsold although people wanted it."""
        return self._rate("undersubscription")

    @property
    def rollback(self) -> Number:
        """Bids: the share of the holds that were released."""
        return self._rate("rollback")

    @property
    def false_full_s(self) -> Number:
        """Bids: seconds during which the tranche was marked full and was not."""
        return self._rate("false_full_s")

    @property
    def duplicate(self) -> Number:
        """Payouts: the share of the obligations that were paid more than once."""
        return self._rate("duplicate")

    @property
    def overpaid(self) -> Number:
        """Payouts: the share of the money due that was paid besides it."""
        return self._rate("overpaid")

    @property
    def missed(self) -> Number:
        """Payouts: the share of the obligations that were not paid in the end."""
        return self._rate("missed")

    def story(self, about: str | None = None) -> list[str]:
        """Return what a reader needs when a test fails: findings that are no pass, how to repeat, where files are.

        `about` is the name of a number: its own finding then comes first, whatever it says.
        """
        own = CHECKS.get(about or "", about)
        rows = [each for each in self.findings.values() if each.check == own or each.verdict != "pass"]
        order = {"fail": 1, "inconclusive": 2, "pass": 3}
        rows.sort(key=lambda each: 0 if each.check == own else order[each.verdict])
        told = [f"{each.check}: {MARKS[each.verdict]}: {each.detail}" for each in rows]
        counted = about in self.summary.get("rates", {})
        unknown = [f"{about}: this run cannot tell"] * (counted and math.isnan(self._known(str(about))))
        explain = self.summary.get("explain")
        return [
            f"oversold: {self.strategy}: {self.verdict}",
            *unknown,
            *told,
            f"repeat: {self.command}",
            *([f"why: {explain}"] if explain else []),
            f"files: {self.folder}",
        ]

    def _table(self, name: str) -> Mapping[str, Any]:
        table = self.summary.get(name)
        if not isinstance(table, Mapping):
            raise AttributeError(f"this run has no {name}: it is of {self.summary['scenario']}")
        return table

    def _rate(self, name: str) -> Number:
        rates = self._table("rates")
        if name not in rates:
            raise AttributeError(f"a run of {self.summary['scenario']} has no {name}: it has {', '.join(rates)}")
        return Number(self._known(name), name, self)

    def _known(self, name: str) -> float:
        """Return a rate; NaN where nobody judged it, or where something is missing that it was counted from.

        A broken promise stands in any case. And a load that was too easy takes nothing from what was counted.
        """
        value, findings = self.summary["rates"][name], self.findings
        own = findings.get(CHECKS.get(name, name))
        doubts = [own] if own else []
        doubts += [findings[check] for check in GROUNDS if check in findings]
        if value is None or (own is None and name in PROMISES):
            return math.nan
        broken = own is not None and own.verdict == "fail"
        if not broken and any(each.verdict == "inconclusive" for each in doubts):
            return math.nan
        return float(value)
