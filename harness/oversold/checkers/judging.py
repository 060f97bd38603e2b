"""How a checker's result becomes a finding: the three verdicts and the words they share."""

from collections.abc import Mapping
from typing import Protocol

from oversold.model import Finding, Verdict

INCOMPLETE = "; the run is incomplete, so this proves nothing."


class Gathered(Protocol):
    """The evidence of any kind of run, as far as judging needs it."""

    @property
    def complete(self) -> bool:
        """False when something was lost, so that what is missing is no one's fault."""


def judge(
    check: str,
    evidence: Gathered,
    *,
    broken: bool,
    detail: str,
    values: Mapping[str, float],
    stands: bool = False,
) -> Finding:
    """Return the finding of a check; `detail` is one sentence that ends with a full stop.

    A broken promise of an incomplete run is inconclusive, for what is missing may be what would have
    kept it. A check that `stands` needs the ledger or the books alone, and what is in there is a fact.
    """
    verdict: Verdict = "fail" if broken else "pass"
    if broken and not stands and not evidence.complete:
        verdict, detail = "inconclusive", detail.removesuffix(".") + INCOMPLETE
    return Finding(check, verdict, detail, dict(values))


def counted(number: int, noun: str) -> str:
    """Return a number with its noun in singular or plural.

    >>> counted(1, "bid"), counted(1200, "order")
    ('1 bid', '1,200 orders')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def percent(share: float) -> str:
    """Return a share of 1 for people, with three significant digits.

    >>> percent(0.176), percent(0.00002)
    ('17.6 %', '0.002 %')
    """
    return f"{100 * share:.3g} %"
