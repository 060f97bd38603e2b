"""Did money leave the channels that nobody owed, and can it still be had back?"""

import numpy as np

from oversold.checkers.judging import counted, judge, percent
from oversold.checkers.payouts.books import effect_counts, effects, moved, overpaid_fen, summed
from oversold.checkers.payouts.words import people, share, was
from oversold.evidence import Ints
from oversold.model import Finding, yuan
from oversold.payout_evidence import PayoutEvidence


def overpaid(evidence: PayoutEvidence) -> Finding:
    """Fail when an obligation received more than is due. It stands for incomplete runs: an effect is a fact.

    Values: `duplicates` (obligations with two effects or more), `duplicate_rate` (of all obligations),
    `overpaid` (obligations), `overpaid_fen`, `overpaid_rate` (of all that is due), `users_affected`.
    """
    total, counts, too_much = len(evidence.due_fen), effect_counts(evidence), overpaid_fen(evidence)
    affected = too_much > 0
    number, fen = int(affected.sum()), int(too_much.sum())
    users = len(np.unique(evidence.user[affected]))
    if number:
        how = "twice or more" if (counts[affected] > 1).all() else "more than is due"
        detail = (
            f"{number:,} of {counted(total, 'obligation')} {was(number)} paid {how}: "
            f"{yuan(fen)} too much to {people(users)} ({percent(number / total)})."
        )
    else:
        detail = f"None of {counted(total, 'obligation')} was paid more than is due."
    duplicates = int((counts > 1).sum())
    values = {
        "duplicates": duplicates,
        "duplicate_rate": share(duplicates, total),
        "overpaid": number,
        "overpaid_fen": fen,
        "overpaid_rate": share(fen, int(evidence.due_fen.sum())),
        "users_affected": users,
    }
    return judge("overpaid", evidence, broken=number > 0, detail=detail, values=values, stands=True)


def _gone_fen(evidence: PayoutEvidence) -> Ints:
    """Return by user what was overpaid and is no longer in any account: all channels count together."""
    rows, taken = effects(evidence), evidence.withdrawals[evidence.withdrawals["user"] >= 0]
    size = int(max(evidence.user.max(initial=-1), taken["user"].max(initial=-1))) + 1
    too_much = summed(evidence.user, overpaid_fen(evidence), size)
    received = summed(evidence.user[rows["obligation"]], rows["amount_fen"], size)
    withdrawn = summed(taken["user"], taken["amount_fen"], size)
    return np.asarray(too_much - np.maximum(np.minimum(too_much, received - withdrawn), 0))


def unrecoverable(evidence: PayoutEvidence) -> Finding:
    """Fail when some of what was overpaid has been withdrawn already: a part of `overpaid`, told separately.

    What is left in a user's accounts is taken for the overpaid part first, so this is the least that is lost.
    It does not stand for incomplete runs: the books that are lost may hold money of the same user.
    Values: `unrecoverable_fen`, `users`.
    """
    gone, too_much = _gone_fen(evidence), int(overpaid_fen(evidence).sum())
    fen, users = int(gone.sum()), int((gone > 0).sum())
    if fen:
        verb = "has" if users == 1 else "have"
        detail = f"{yuan(fen)} of {yuan(too_much)} paid too much is gone: {people(users)} {verb} withdrawn it."
    elif too_much:
        detail = f"All of {yuan(too_much)} paid too much is still in the accounts of its receivers."
    else:
        detail = "Nothing was paid too much, so nothing has to be had back."
    values = {"unrecoverable_fen": fen, "users": users}
    return judge("unrecoverable", evidence, broken=fen > 0, detail=detail, values=values)


def stranger(evidence: PayoutEvidence) -> Finding:
    """Fail when money moved under a ref that nobody is owed. It stands: an effect is a fact.

    Values: `payments`, `stranger_fen`.
    """
    rows = evidence.payments[moved(evidence) & (evidence.payments["obligation"] < 0)]
    fen = int(rows["amount_fen"].sum())
    if len(rows):
        detail = f"{counted(len(rows), 'payment')} of {yuan(fen)} {was(len(rows))} made that nobody is owed."
    else:
        detail = "Every payment that moved money was made for an obligation."
    values = {"payments": len(rows), "stranger_fen": fen}
    return judge("stranger", evidence, broken=len(rows) > 0, detail=detail, values=values, stands=True)
