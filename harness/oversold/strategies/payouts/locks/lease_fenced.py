"""The job lock with a fencing token that the table checks."""

from oversold.model import Job
from oversold.strategies.payouts.desk import Row, claimant
from oversold.strategies.payouts.locks.lease import Lease


class LeaseFenced(Lease):
    """One start of one job holds the payday's lock, and a token that grows at every acquisition; each claim
    compares the token in SQL with the row's.

    Guarantee: a row is claimed by one worker only, and never by a holder whose token is older than the row's.

    Known hole: the fence is before the table, not before the channel. A worker that pauses between its claim and
    its call still pays; who sweeps up the claim meanwhile may pay as well. It stops overlap, not lies.
    """

    def _take(self, row: Row, job: Job) -> Row | None:
        """Claim the row, unless it is no longer due or a later holder has had it."""
        return self._desk.take_fenced(row, claimant(job), self._token)
