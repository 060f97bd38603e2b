"""Does what the strategy believes in the end agree with the channels' books?"""

import numpy as np

from oversold.checkers.judging import counted, judge
from oversold.checkers.payouts.books import (
    UNSTATED,
    believed,
    effect_counts,
    paid_fen,
    reasoned,
    short_fen,
    statuses,
)
from oversold.checkers.payouts.words import was
from oversold.model import Finding, yuan
from oversold.payout_evidence import PayoutEvidence


def false_terminal(evidence: PayoutEvidence) -> Finding:
    """Fail when an obligation ended in the wrong end state, or in none that the strategy would tell.

    Money that moved behind a FAILED is the early sign of the next double payment. All effects count, those after
    the horizon too. Values: `false_failed` (FAILED or FAILED_DEFINITE although money moved), `false_failed_fen`
    (the money), `false_paid` (PAID although less than due was paid), `false_paid_fen` (what lacks), `unstated`.
    """
    paid = paid_fen(evidence)
    failed = believed(evidence, "FAILED", "FAILED_DEFINITE") & (effect_counts(evidence) > 0)
    unpaid = believed(evidence, "PAID") & (paid < evidence.due_fen)
    values = {
        "false_failed": int(failed.sum()),
        "false_failed_fen": int(paid[failed].sum()),
        "false_paid": int(unpaid.sum()),
        "false_paid_fen": int((evidence.due_fen - paid)[unpaid].sum()),
        "unstated": int((statuses(evidence) == UNSTATED).sum()),
    }
    clauses = [
        f"{counted(number, 'obligation')} {clause.format(was(number))}"
        for number, clause in (
            (values["false_failed"], f"{{}} believed failed although {yuan(values['false_failed_fen'])} moved"),
            (values["false_paid"], f"{{}} believed paid although {yuan(values['false_paid_fen'])} is missing"),
            (values["unstated"], "{} not accounted for by the strategy"),
        )
        if number
    ]
    detail = "; ".join(clauses) if clauses else "Nothing was believed failed that was paid, or paid that was not"
    return judge("false_terminal", evidence, broken=bool(clauses), detail=detail + ".", values=values)


def review_reason(evidence: PayoutEvidence) -> Finding:
    """Fail when an obligation is left to a person without a reason: nobody could tell what to look for.

    Values: `unexplained` (obligations).
    """
    review = believed(evidence, "REVIEW")
    number = int((review & ~reasoned(evidence)).sum())
    if number:
        detail = f"{number:,} of {counted(int(review.sum()), 'review')} {was(number)} left to people unexplained."
    elif review.any():
        detail = f"All of {counted(int(review.sum()), 'review')} came with a reason."
    else:
        detail = "Nothing was left for people to look at."
    return judge("review_reason", evidence, broken=number > 0, detail=detail, values={"unexplained": number})


def unresolved(evidence: PayoutEvidence) -> Finding:
    """Fail when the strategy's books are behind the truth: paid in full at the horizon, but in no end state.

    An obligation in no end state that was not paid is `missed` already. Values: `unresolved` (obligations),
    `unresolved_fen` (what is due on them).
    """
    behind = believed(evidence, "DUE", "CLAIMED", "SENT", "UNKNOWN") & (short_fen(evidence) == 0)
    number, fen = int(np.count_nonzero(behind)), int(evidence.due_fen[behind].sum())
    if number:
        detail = f"{counted(number, 'obligation')} of {yuan(fen)} {was(number)} paid but never marked as paid."
    else:
        detail = "Every obligation that was paid in full reached an end state."
    values = {"unresolved": number, "unresolved_fen": fen}
    return judge("unresolved", evidence, broken=number > 0, detail=detail, values=values)
