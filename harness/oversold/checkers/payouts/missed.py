"""Was everything paid by the horizon, and how much was left for people to look at?"""

from oversold.checkers.judging import counted, judge, percent
from oversold.checkers.payouts.books import believed, overpaid_fen, paid_fen, reasoned, short_fen
from oversold.checkers.payouts.words import share, was
from oversold.model import Finding, yuan
from oversold.payout_evidence import PayoutEvidence


def missed(evidence: PayoutEvidence) -> Finding:
    """Fail when an obligation was neither paid in full at the horizon nor left to a person with a reason.

    A design that leaves work for people passes, and its sentence says how much. Values: `missed` (obligations),
    `missed_fen` (what they lack), `missed_rate` (of all that is due), `reviews` (obligations in REVIEW),
    `reviews_fen` (what is due on them), `reviews_unneeded` (paid exactly, so that nobody had to look), `late`
    (obligations that were paid in full only after the horizon).
    """
    total, short = len(evidence.due_fen), short_fen(evidence)
    review = believed(evidence, "REVIEW")
    lost = (short > 0) & ~(review & reasoned(evidence))
    number, fen = int(lost.sum()), int(short[lost].sum())
    reviews = int(review.sum())
    values = {
        "missed": number,
        "missed_fen": fen,
        "missed_rate": share(fen, int(evidence.due_fen.sum())),
        "reviews": reviews,
        "reviews_fen": int(evidence.due_fen[review].sum()),
        "reviews_unneeded": int((review & (short == 0) & (overpaid_fen(evidence) == 0)).sum()),
        "late": int(((short > 0) & (paid_fen(evidence) >= evidence.due_fen)).sum()),
    }
    if number:
        detail = (
            f"{number:,} of {counted(total, 'obligation')} {was(number)} not paid in full at the horizon: "
            f"{yuan(fen)} missing ({percent(values['missed_rate'])})"
        )
    else:
        paid = int((short == 0).sum())
        detail = f"{paid:,} of {counted(total, 'obligation')} {was(paid)} paid in full at the horizon"
    detail += _extras(values)
    return judge("missed", evidence, broken=number > 0, detail=detail + ".", values=values)


def _extras(values: dict[str, float]) -> str:
    """Return the clauses on late payments and on the work that is left for people."""
    text = ""
    if late := int(values["late"]):
        text += f", {late:,} only after it"
    if reviews := int(values["reviews"]):
        text += f"; {reviews:,} ({yuan(values['reviews_fen'])}) {was(reviews)} left for people to look at"
    if unneeded := int(values["reviews_unneeded"]):
        text += f", {unneeded:,} of them for nothing"
    return text
