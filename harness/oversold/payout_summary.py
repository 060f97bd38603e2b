"""The payday's own part of summary.json: obligations, rates, times, replies, and what set the pace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from oversold.checkers.payouts import measures
from oversold.evidence import NEVER
from oversold.model import Finding
from oversold.payout_evidence import PayoutEvidence
from oversold.payout_plan import PayoutPlan
from oversold.platform.channels.profile import Profile


def summarise(
    evidence: PayoutEvidence, findings: Sequence[Finding], plan: PayoutPlan, profile: Profile
) -> dict[str, Any]:
    """Return the keys that a payday adds to its summary, as plain JSON types."""
    values = {finding.check: finding.values for finding in findings}
    overpaid, missed = values.get("overpaid", {}), values.get("missed", {})
    payments = evidence.payments
    span_s = (payments["t_replied"].max() - payments["t_arrived"].min()) / 1e9 if len(payments) else 0.0
    paid_fen = int(payments["amount_fen"][payments["t_effect"] != NEVER].sum())
    return {
        "profile": plan.profile,
        "obligations": {
            "count": len(evidence.due_fen),
            "due_fen": int(evidence.due_fen.sum()),
            "paid_fen": paid_fen,
            "duplicates": int(overpaid.get("duplicates", 0)),
            "overpaid_fen": int(overpaid.get("overpaid_fen", 0)),
            "unrecoverable_fen": int(values.get("unrecoverable", {}).get("unrecoverable_fen", 0)),
            "users_affected": int(overpaid.get("users_affected", 0)),
            "missed": int(missed.get("missed", 0)),
            "missed_fen": int(missed.get("missed_fen", 0)),
            "reviews": int(missed.get("reviews", 0)),
            "reviews_fen": int(missed.get("reviews_fen", 0)),
            "false_terminal": int(values.get("false_terminal", {}).get("false_failed", 0)),
            "false_paid": int(values.get("false_terminal", {}).get("false_paid", 0)),
        },
        "rates": {
            "duplicate": float(overpaid.get("duplicate_rate", 0.0)),
            "overpaid": float(overpaid.get("overpaid_rate", 0.0)),
            "missed": float(missed.get("missed_rate", 0.0)),
        },
        "unknown": measures.unknown_backlog(evidence),
        "time_to_paid_s": measures.time_to_paid_s(evidence),
        "outcomes": measures.outcomes(evidence),
        "replies": measures.calls(evidence),
        "lies": measures.lies(evidence),
        "duplicates_by_run": measures.duplicates_by_run(evidence),
        "load": {
            "calls": len(payments),
            "calls_per_s": len(payments) / span_s if span_s > 0 else 0.0,
            "peak_in_flight": measures.peak_in_flight(evidence),
            "overlap_s": measures.overlap_s(evidence),
        },
        "limits": {
            "causes": [],
            "otherwise": "the channels' own latency and the number of job workers",
        },
        "channels": {name: channel.model_dump(mode="json") for name, channel in profile.channels.items()},
        "t_end_s": evidence.t_end / 1e9,
    }
