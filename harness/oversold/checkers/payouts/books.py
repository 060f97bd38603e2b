"""What the channels' books say: which payments moved money, and what every obligation received."""

from typing import Any

import numpy as np
import numpy.typing as npt

from oversold.checkers.taps import happened
from oversold.evidence import Flags, Ints
from oversold.model import PAYOUT_STATUSES, PayoutStatus
from oversold.payout_evidence import PayoutEvidence

UNSTATED = -1  # in `statuses`: the strategy said nothing of the obligation


def moved(evidence: PayoutEvidence) -> Flags:
    """Tell which payments moved money. A replay repeats an answer and never moves any."""
    return np.asarray(happened(evidence.payments["t_effect"]) & (evidence.payments["replay"] == 0))


def effects(evidence: PayoutEvidence) -> npt.NDArray[np.void]:
    """Return the payments that moved money for an obligation."""
    return evidence.payments[moved(evidence) & (evidence.payments["obligation"] >= 0)]


def effects_in_order(evidence: PayoutEvidence) -> npt.NDArray[np.void]:
    """Return the effects by obligation and then by time; of two at one time, the call that arrived first."""
    rows = effects(evidence)
    return rows[np.lexsort((rows["run"], rows["t_arrived"], rows["t_effect"], rows["obligation"]))]


def summed(index: npt.NDArray[Any], amount: npt.NDArray[Any], size: int) -> Ints:
    """Return the sums of the amounts by index, as whole numbers: floats would round large sums."""
    total = np.zeros(size, np.int64)
    np.add.at(total, index, amount)
    return total


def effect_counts(evidence: PayoutEvidence) -> Ints:
    """Return how many payments moved money for each obligation, whenever that was."""
    counts = np.bincount(effects(evidence)["obligation"], minlength=len(evidence.due_fen))
    return counts.astype(np.int64)


def paid_fen(evidence: PayoutEvidence) -> Ints:
    """Return what each obligation received in the end: effects after the horizon count too."""
    rows = effects(evidence)
    return summed(rows["obligation"], rows["amount_fen"], len(evidence.due_fen))


def paid_in_time_fen(evidence: PayoutEvidence) -> Ints:
    """Return what each obligation had received at the horizon, effects at that very moment included."""
    rows = effects(evidence)
    rows = rows[rows["t_effect"] <= evidence.t_end]
    return summed(rows["obligation"], rows["amount_fen"], len(evidence.due_fen))


def overpaid_fen(evidence: PayoutEvidence) -> Ints:
    """Return what each obligation received in the end beyond what is due.

    Money that moved stays moved, so who has too much at any moment has too much in the end.
    """
    return np.asarray(np.maximum(paid_fen(evidence) - evidence.due_fen, 0))


def short_fen(evidence: PayoutEvidence) -> Ints:
    """Return what each obligation lacked at the horizon."""
    return np.asarray(np.maximum(evidence.due_fen - paid_in_time_fen(evidence), 0))


def statuses(evidence: PayoutEvidence) -> Ints:
    """Return the final status of each obligation as an index into PAYOUT_STATUSES, or `UNSTATED`."""
    codes = {status: code for code, status in enumerate(PAYOUT_STATUSES)}
    stated = (UNSTATED if state is None else codes[state.status] for state in evidence.states)
    return np.fromiter(stated, np.int64, len(evidence.states))


def believed(evidence: PayoutEvidence, *among: PayoutStatus) -> Flags:
    """Tell which obligations the strategy believed to be in one of these statuses in the end."""
    return np.isin(statuses(evidence), [PAYOUT_STATUSES.index(status) for status in among])


def reasoned(evidence: PayoutEvidence) -> Flags:
    """Tell for which obligations the strategy gave a reason; blanks are none."""
    given = (state is not None and bool(state.reason.strip()) for state in evidence.states)
    return np.fromiter(given, np.bool_, len(evidence.states))
