"""Why some mutants of the payout designs survive.

The later entries are no limits of the explorer but of the phases: each says which phase would find its mutants.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.mutants.explained import Explained, named

TABLE: Sequence[Explained] = (
    # The claim
    (
        "equivalent",
        "CAS and fenced claims compare status and version, and every change of status raises the version: "
        "either condition is enough. The state machine never puts a row back to DUE, so a row that is DUE has "
        "version 0, tries 0 and fence 0, and nobody has had it",
        named(
            "cas+state-machine clause:desk.TAKE.[12]",
            "lease-fenced+state-machine *:desk.TAKE_FENCED.1 never:lease._next.1 deleted:lease._next.1",
        ),
    ),
    (
        "equivalent",
        "more or other rows are read, or read again; each of them is still claimed by its version, and the "
        "list is empty when no row is due, since the state machine puts none back",
        named(
            "cas+state-machine clause:desk.SOME_DUE.1 half:cas.claim.1 swapped:cas._look.1",
            "cas+state-machine deleted:cas._look.1",
            "lease-fenced+state-machine clause:desk.SHARE.1 always:lease._next.[12] half:lease._next.[12]",
            "lease-fenced+state-machine boundary:lease._next.1",
        ),
    ),
    (
        "equivalent",
        "`begin` clears what is empty by then: `Cas.claim` ends when no candidate is left, and the first "
        "token of a lease differs from 0, which clears the list; `Cas.done` does nothing",
        named(
            "cas+state-machine *:composed.run_job.1 swapped:composed.run_job.2 deleted:composed.run_job.3",
            "lease-fenced+state-machine deleted:lease.begin.1",
        ),
    ),
    (
        "equivalent",
        "a read at READ COMMITTED sees what is committed at its own moment and locks no row; the next change "
        "or read ends the transaction that was left open",
        named(
            "cas+state-machine *:desk.count_due.1 *:desk.count_open.1 *:desk._read.1",
            "row-lock+state-machine deleted:desk.take_locked.1",
        ),
    ),
    (
        "equivalent",
        "nothing calls it: the lease walks its list itself, and of that module only PASSES is used",
        named("lease-fenced+state-machine *:none.claim.[12]"),
    ),
    (
        "equivalent",
        "the same command once more within one script, which leaves what it left before; or the holder gets a "
        "new and higher token where it had one, and reads its list again",
        named("lease-fenced+state-machine lua-twice:* lua-deleted:lease.HOLD.3 lua-never:lease.HOLD.2"),
    ),
    (
        "equivalent",
        "a claim is taken over from whoever is slow, and SENT, which compares the version, is then written by "
        "one of them only; or a dead worker's claim is left to reconciliation, which sweeps it up; or an "
        "entry is read once more, and skipped since its row is in an end state",
        named(
            "queue+state-machine never:queue.claim.1 zero:queue.claim.1 half:queue.claim.4",
            "queue+state-machine element:queue.claim.2 deleted:queue.claim.1 deleted:queue.done.2",
            "queue+state-machine half:queue._wait.1",
        ),
    ),
    (
        "equivalent",
        "the state machine never puts a row back to DUE, so there is nothing to enter anew, an entry too many "
        "is skipped, and a row that is DUE has an entry, which is either unread or unacknowledged; `done` "
        "always follows a claim that has set the entry",
        named("queue+state-machine *:queue.done.1 never:queue.done.2 half:queue._wait.2"),
    ),
    # Settling
    (
        "equivalent",
        "the state machine's `recover` is its `settle`; the second call, or that of a worker whose claim was "
        "not written, finds that the version has changed and calls no channel",
        named(
            "cas+state-machine never:composed._pay.1 always:composed._pay.1 twice:composed._pay.1",
            "cas+state-machine always:desk._taken.1 twice:state_machine.recover.1",
            "cas+state-machine twice:state_machine.reconcile.1",
            "cas+failover-after-proof twice:failover_after_proof.recover.1",
            "cas+failover-after-proof twice:failover_after_proof.reconcile.1",
        ),
    ),
    (
        "equivalent",
        "two branches of which one at most is taken, or two lines neither of which needs the other; what a "
        "round leaves to the other half of it the next round finds",
        named(
            "cas+state-machine swapped:composed.reconcile.1 swapped:state_machine.reconcile.1",
            "cas+state-machine swapped:state_machine._call.[134]",
            "cas+failover-after-proof swapped:failover_after_proof._call.[12]",
        ),
    ),
    (
        "equivalent",
        "every call has a key of its own that was never used, so it stands for no other call, can belong to "
        "no other payment (mismatch), and is as good as none; the key in the table is not read",
        named(
            "cas+state-machine without:desk.CHANGE.2 payment-key:state_machine._call.[12]",
            "cas+state-machine swapped:state_machine._call.5 never:state_machine._call.5",
            "cas+query-then-retry payment-key:query_then_retry.settle.[12]",
            "cas+failover-after-proof payment-key:failover_after_proof._call.[12]",
        ),
    ),
    (
        "equivalent",
        "what is not written down is found out: reconciliation takes SENT for a dead worker's and CLAIMED for "
        "a claim to be swept up, and asks the channel what became of the call",
        named(
            "cas+state-machine deleted:state_machine._call.1 deleted:state_machine._call.3",
            "cas+query-then-retry deleted:query_then_retry.settle.1 never:query_then_retry.reconcile.3",
            "cas+query-then-retry deleted:query_then_retry.reconcile.2 never:query_then_retry._decided.2",
            "cas+query-then-retry element:query_then_retry._decided.2 deleted:query_then_retry._decided.2",
            "cas+failover-after-proof never:failover_after_proof._call.2 deleted:failover_after_proof._call.1",
            "cas+failover-after-proof deleted:failover_after_proof._prove.2",
        ),
    ),
    (
        "equivalent",
        "PAID is written a second time, with the same words",
        named(
            "cas+retry-same-key twice:desk.paid.1 clause:desk.PAID.1 twice:retry_same_key._pay.1",
            "cas+query-then-retry twice:query_then_retry.settle.1 twice:query_then_retry.reconcile.1",
            "cas+query-then-retry twice:query_then_retry._decided.1",
            "cas+failover-after-proof twice:failover_after_proof._call.1 twice:failover_after_proof._prove.1",
        ),
    ),
    (
        "equivalent",
        "calls under the obligation's own key that were answered ok are answered so again and pay nothing; "
        "PAID has raised the version, so UNKNOWN is not written over it. So what a death undoes is called "
        "again too",
        named(
            "cas+retry-same-key twice:retry_same_key.recover.1 half:retry_same_key.settle.1",
            "cas+retry-same-key half:retry_same_key.reconcile.1 never:retry_same_key.settle.2",
            "cas+retry-same-key never:retry_same_key.reconcile.1 swapped:desk.paid.1 deleted:desk.paid.2",
        ),
    ),
    (
        "equivalent",
        "only the state machine looks since when a row is PAID; only claims are asked how old they are by "
        "this policy",
        named("cas+retry-same-key without:desk.PAID.3 clause:desk.TOUCH.1"),
    ),
    (
        "equivalent",
        "an age is exactly so many microseconds once in a lifetime, and then the next round does what this "
        "one did not",
        named(
            "cas+state-machine boundary:desk.in_status.1 boundary:patience.overdue.1",
            "cas+state-machine boundary:state_machine._call.1 boundary:state_machine._resolve.1",
            "queue+state-machine boundary:queue.claim.1",
        ),
    ),
    (
        "equivalent",
        "five queries where one would do, of which the last one counts; or all three calls under one key, "
        "which is safer; or one wait and touch more, or after a call instead of before the next",
        named(
            "cas+query-then-retry never:query_then_retry._ask.2 hoisted:query_then_retry.settle.1",
            "cas+query-then-retry always:query_then_retry._ask.1",
            "cas+retry-same-key swapped:retry_same_key.settle.1 always:retry_same_key.settle.1",
            "cas+retry-same-key twice:desk.touch.1",
        ),
    ),
    # What the explorer does not have: seconds
    (
        "gap",
        "a matter of seconds, which no schedule has: claims, leases or waits are shorter or longer, locks are "
        "held during a call, or somebody waits for whom the design does not wait",
        named(
            "cas+state-machine without:desk.TAKE.3 zero:desk.in_status.1 swapped:desk._taken.1",
            "cas+state-machine deleted:desk._taken.1",
            "row-lock+state-machine without:desk.NEXT_DUE.1",
            "lease-fenced+state-machine lua-swapped:lease.HOLD.2",
            "cas+retry-same-key swapped:desk.touch.1 deleted:desk.touch.[12] never:retry_same_key.settle.1",
            "cas+retry-same-key deleted:retry_same_key.settle.1 granted:retry_same_key._refused.1",
            "cas+query-then-retry swapped:query_then_retry._ask.1 never:query_then_retry._ask.1",
            "cas+query-then-retry deleted:query_then_retry._ask.1 swapped:query_then_retry._ask.2",
            "cas+query-then-retry deleted:query_then_retry._ask.2",
        ),
    ),
    (
        "gap",
        "under a clock that goes on by itself every call comes too late and none is made; the explorer's "
        "stands still between two steps. A burst shows it at once",
        named("cas+state-machine zero:state_machine._call.1"),
    ),
    (
        "gap",
        "a call that is made hours after SENT was written: it takes a pause while that is committed and "
        "another one at the call, which breaks the design too",
        named("cas+state-machine never:state_machine._call.2"),
    ),
    # What the explorer does not have: such channels
    (
        "gap",
        "it takes a channel that cannot be reached, refuses, has used the key for another payment, or has "
        "other terms than the others: those of the explorer have paid or not heard of the call, and are alike",
        named(
            "cas+state-machine never:desk.next_channel.1 never:state_machine._call.4",
            "cas+state-machine always:state_machine.reconcile.1 element:state_machine._resolve.1",
            "cas+state-machine hoisted:state_machine.settle.1",
            "cas+retry-same-key unasked:retry_same_key.* half:retry_same_key.settle.2",
            "cas+retry-same-key half:retry_same_key.reconcile.2 never:retry_same_key._refused.1",
            "cas+retry-same-key deleted:retry_same_key._refused.1",
            "cas+query-then-retry element:query_then_retry.reconcile.1 element:query_then_retry._decided.3",
            "cas+failover-after-proof hoisted:failover_after_proof.settle.1",
            "cas+failover-after-proof never:failover_after_proof._call.3",
        ),
    ),
    (
        "gap",
        "it takes a payment that is made later: a channel that was stalled and takes up the call after a "
        "query, or says processing. In the explorer a call pays when it arrives, or never",
        named(
            "cas+state-machine element:state_machine.UNHEARD.[12] never:state_machine._resolve.3",
            "cas+state-machine zero:state_machine._resolve.1 always:state_machine._resolve.4",
            "cas+query-then-retry hoisted:query_then_retry._ask.1 element:query_then_retry._decided.1",
        ),
    ),
    (
        "gap",
        "it takes three faults or more: so many calls that come to nothing, or a channel that never answers "
        "again, until people have to look",
        named(
            "cas+state-machine never:state_machine.settle.2 boundary:state_machine.settle.1",
            "cas+state-machine deleted:state_machine.settle.1 never:state_machine._resolve.5",
            "cas+state-machine deleted:state_machine._resolve.4",
            "cas+retry-same-key hoisted:retry_same_key.settle.1 deleted:retry_same_key.settle.2",
            "cas+retry-same-key never:retry_same_key.reconcile.2 deleted:retry_same_key.reconcile.2",
            "cas+retry-same-key always:retry_same_key.reconcile.1 boundary:retry_same_key.reconcile.1",
            "cas+retry-same-key zero:retry_same_key.reconcile.1 deleted:retry_same_key.reconcile.1",
            "cas+retry-same-key always:retry_same_key._refused.1",
            "cas+query-then-retry swapped:query_then_retry.settle.2 deleted:query_then_retry.settle.2",
            "cas+query-then-retry always:query_then_retry.reconcile.2 never:query_then_retry.reconcile.4",
            "cas+query-then-retry always:query_then_retry.reconcile.4 unasked:query_then_retry.reconcile.1",
            "cas+query-then-retry deleted:query_then_retry.reconcile.3 always:query_then_retry._decided.2",
            "cas+failover-after-proof never:failover_after_proof.settle.2",
            "cas+failover-after-proof boundary:failover_after_proof.settle.1",
            "cas+failover-after-proof deleted:failover_after_proof.settle.1",
            "cas+failover-after-proof never:failover_after_proof._prove.[34]",
            "cas+failover-after-proof always:failover_after_proof._prove.[23]",
            "cas+failover-after-proof unasked:failover_after_proof._prove.1",
            "cas+failover-after-proof deleted:failover_after_proof._prove.3",
        ),
    ),
    # What no check asks
    (
        "gap",
        "two starts of a job overlap, which no check asks: the version in each claim keeps the money safe",
        named(
            "lease-fenced+state-machine lua-deleted:lease.HOLD.1 lua-never:lease.HOLD.1",
            "lease-fenced+state-machine lua-swapped:lease.HOLD.1 lua-deleted:lease.HOLD.2",
            "lease-fenced+state-machine lua-always:lease.LEAVE.1 lua-half:lease.LEAVE.[12]",
            "lease-fenced+state-machine one-key:lease.claim.1",
        ),
    ),
    (
        "gap",
        "`reconcile` never says that nothing is left, so a run goes on to its horizon: no check asks for that",
        named("cas+state-machine clause:desk.COUNT_OPEN.1"),
    ),
    (
        "gap",
        "the job pays nothing, or throws a claim away, and reconciliation pays it all, an hour later: no "
        "check asks by whom, or how soon",
        named(
            "cas+state-machine deleted:composed.run_job.2 deleted:composed._pay.1 never:cas.claim.1",
            "lease-fenced+state-machine never:lease.claim.1",
            "queue+state-machine never:queue.claim.2",
        ),
    ),
    (
        "gap",
        "the row stays as it is when it should have changed hands, which takes a pause and then an order that "
        "is not straight, or four calls that fail besides",
        named(
            "cas+state-machine always:desk.write.1",
            "cas+retry-same-key without:desk.PAID.2 sign:desk.PAID.1",
            "cas+query-then-retry always:query_then_retry.reconcile.3",
            "cas+failover-after-proof never:failover_after_proof._call.1",
        ),
    ),
    (
        "gap",
        "one of two workers ends too early, while something is due: it takes two obligations and the other "
        "one's death",
        named("row-lock+state-machine clause:desk.NEXT_DUE.2"),
    ),
    # What other phases find
    (
        "gap",
        "the same after two faults, both of them at a channel, and with queries that know a call after 90 minutes",
        named(
            "cas+state-machine granted:patience.overdue.1 zero:patience.overdue.1",
            "cas+state-machine always:state_machine._resolve.5 unasked:state_machine._resolve.1",
            "cas+query-then-retry never:query_then_retry.reconcile.[12] element:query_then_retry.reconcile.2",
        ),
    ),
    (
        "gap",
        "it takes two faults at channels: a call that comes to nothing, and then a query, a void or a call "
        "that is not answered. Found by one worker with two faults of channels alone",
        named(
            "cas+state-machine always:state_machine.reconcile.2 always:state_machine._resolve.2",
            "cas+query-then-retry always:query_then_retry.reconcile.1 deleted:query_then_retry.reconcile.1",
            "cas+query-then-retry twice:query_then_retry.reconcile.2 always:query_then_retry._decided.1",
            "cas+failover-after-proof always:failover_after_proof.reconcile.1",
            "cas+failover-after-proof always:failover_after_proof._prove.1",
        ),
    ),
    (
        "gap",
        "it takes two faults of channels, and queries that know a call after 90 minutes: since when is only "
        "told apart by them",
        named("cas+state-machine without:desk.CHANGE.4"),
    ),
    (
        "gap",
        "paid falsely after a call that came to nothing, until the next one pays: four faults of channels find it",
        named("cas+retry-same-key always:retry_same_key._pay.1"),
    ),
    (
        "gap",
        "somebody else has taken the row over: found with a pause that may come whenever nobody is about to pay",
        named(
            "cas+state-machine clause:desk.CHANGE.1 always:composed.reconcile.1 never:state_machine._call.1",
            "cas+state-machine swapped:state_machine._call.2",
            "queue+state-machine half:queue.claim.5",
        ),
    ),
)
