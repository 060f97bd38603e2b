"""Why some mutants of the bid designs over SQL survive.

The gaps come after the equivalents. The first gaps are no limits of the explorer but of the phases: each says what
finds its mutants.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.mutants.explained import Explained, named

EQUIVALENT: Sequence[Explained] = (
    (
        "equivalent",
        "the statement writes the same values to the same rows a second time, in the transaction that has them "
        "locked since the first time",
        named(
            "row-lock twice:row_lock.reserve.1",
            "row-lock-held twice:row_lock_held.reserve.1 twice:row_lock_held.confirm.1",
            "skip-locked twice:skip_locked.reserve.1 twice:skip_locked.release.1",
            "serializable twice:serializable._once.1",
            "advisory-lock twice:advisory_lock.reserve.1",
            "two-phase twice:two_phase._sweep.1",
        ),
    ),
    (
        "equivalent",
        "what is given back leaves a marker in the same transaction, and whoever finds the marker adds nothing",
        named(
            "row-lock twice:stock_table.give_back.1 twice:stock_table.release.1",
            "serializable twice:serializable.release.1",
        ),
    ),
    (
        "equivalent",
        "row-lock never reads the version, which the statement counts. In the design version, which does read it, "
        "both are found: by the phase of 2 bidders for 2 shares with one fault, and by a hunt of 3 bidders for "
        "1, 2 and 1 of 4 shares with one fault",
        named("row-lock without:stock_table.ADD.2 sign:stock_table.ADD.2"),
    ),
    (
        "equivalent",
        "a roll-back of a connection that has no transaction does nothing. A bid whose transaction is open here "
        "when another one is reserved or released is lost, and the next reserve rolls it back anyway",
        named("row-lock-held always:row_lock_held.reserve.1 always:row_lock_held.release.1"),
    ),
    (
        "equivalent",
        "the size of a unit never changes; the design keeps it only to ask once",
        named("skip-locked always:skip_locked._unit_fen.1"),
    ),
    (
        "equivalent",
        "no two transactions of this design deadlock on PostgreSQL: each of them locks its own bid's marker, if "
        "any, and then the one stock row",
        named("serializable element:stock_table.CONFLICTS.2"),
    ),
    (
        "equivalent",
        "an error of a driver always is there, with its text or number as first argument: SQLAlchemy makes a "
        "DBAPIError of nothing else",
        named("serializable always:stock_table.is_conflict.1 half:stock_table.is_conflict.[12]"),
    ),
    (
        "equivalent",
        "only an error that is raised further sees the difference, and the transaction that it ends is undone "
        "with its connection otherwise",
        named("serializable swapped:serializable._undo.1"),
    ),
    (
        "equivalent",
        "nobody has seen what is rolled back, and at READ COMMITTED nobody else writes the row before the "
        "roll-back: the lock may be given up before it",
        named("advisory-lock swapped:advisory_lock._locked.2"),
    ),
    (
        "equivalent",
        "MariaDB answers 0 or NULL to a RELEASE_LOCK of a lock that one does not have, and nobody reads the "
        "answer; PostgreSQL's lock ends with its transaction",
        named("advisory-lock half:advisory_lock._give_up.1 twice:advisory_lock._give_up.1"),
    ),
    (
        "equivalent",
        "a hold may be posted or swept in the millisecond in which it expires: its row's lock and its state "
        "decide for one of the two",
        named("two-phase boundary:two_phase.POST.1 boundary:two_phase.EXPIRED.1"),
    ),
    (
        "equivalent",
        "how often a lane sweeps, and how many rows at a time, only bounds its work",
        named("two-phase never:two_phase._sweep.1 zero:two_phase._sweep.1 clause:two_phase.EXPIRED.2"),
    ),
    (
        "equivalent",
        "a sweep has locked the rows of the holds before it writes them and the stock, in either order; a release "
        "looks at the state only where it adds nothing",
        named("two-phase swapped:two_phase._sweep.2 swapped:two_phase.release.1"),
    ),
    (
        "equivalent",
        "where nothing has expired, no hold is voided and nothing is added to the stock, or the stock is asked "
        "once more: what was undone with the first try can be tried again",
        named("two-phase always:two_phase._sweep.1 granted:two_phase._sweep.1"),
    ),
)

PHASES: Sequence[Explained] = (
    (
        "gap",
        "the mutants are explored on PostgreSQL, and this is wrong on MariaDB alone. Of 2 bidders for one share "
        "there, one oversells without any fault; the lock that nobody gives up is a deadlock; the snapshot of "
        "REPEATABLE READ shows with one fault",
        named(
            "advisory-lock swapped:advisory_lock._end.1 deleted:advisory_lock._end.2",
            "advisory-lock never:advisory_lock._give_up.1 deleted:advisory_lock._give_up.1",
            "advisory-lock without:advisory_lock.__init__.1",
        ),
    ),
    (
        "gap",
        "the mutants are explored on PostgreSQL, whose default is READ COMMITTED. MariaDB's default locks the "
        "gaps between rows too, so that bidders wait for one another; of skip-locked 100 schedules of 3 bidders "
        "on MariaDB show nothing",
        named("skip-locked without:skip_locked.__init__.1", "two-phase without:two_phase.__init__.1"),
    ),
    (
        "gap",
        "the numbers of conflicts are MariaDB's, and the mutants are explored on PostgreSQL, which has words",
        named(
            "serializable element:stock_table.CONFLICTS.[34] element:stock_table.is_conflict.2",
            "serializable never:stock_table.is_conflict.1",
        ),
    ),
    (
        "gap",
        "PostgreSQL's lock is always got where one waits for it; MariaDB's may not be, after 60 s. Of the "
        "lock that is only tried (advisory-lock-try) the first phase finds it",
        named("advisory-lock never:advisory_lock.reserve.1"),
    ),
    (
        "gap",
        "the version comes back to what it was with another stock when 2 shares are taken and 1 is given back "
        "in between: a hunt of 3 bidders for 1, 2 and 1 of 4 shares with one fault shows it after 756 schedules",
        named("version sign:version.TAKE.1"),
    ),
    (
        "gap",
        "it also confirms a hold that was released or swept. The platform never confirms what it gave back",
        named("two-phase clause:two_phase.POST.1"),
    ),
)

LIMITS: Sequence[Explained] = (
    (
        "gap",
        "it needs a bid that the platform has lost on its way, neither confirmed nor given back, and the next one "
        "over the same connection, or a question in the middle of a bid: here neither happens",
        named(
            "row-lock-held swapped:row_lock_held.reserve.1 never:row_lock_held.reserve.1",
            "row-lock-held deleted:row_lock_held.reserve.1 always:row_lock_held._end_of_reading.1",
        ),
    ),
    (
        "gap",
        "a transaction that has only read is left open until the next call: at READ COMMITTED it locks nothing "
        "and sees no old rows, so no order shows it. What it costs the server is no promise",
        named(
            "row-lock-held deleted:row_lock_held.confirm.3",
            "row-lock-held never:row_lock_held._end_of_reading.1 deleted:row_lock_held._end_of_reading.1",
            "skip-locked-busy swapped:skip_locked._left_fen.1 deleted:skip_locked._left_fen.1",
            "two-phase swapped:two_phase.release.2",
        ),
    ),
    (
        "gap",
        "it is part of `status`, not of a bid: the explorer asks once, at the end, and the word open or full is "
        "judged by false_full, which needs the platform's mark",
        named("row-lock *:stock_table.claim.1"),
    ),
    (
        "gap",
        "nobody waits for a row, says the design, and this one waits. Time is no promise that can be explored",
        named("skip-locked without:skip_locked.SOME_FREE.1", "two-phase without:two_phase.EXPIRED.1"),
    ),
    (
        "gap",
        "busy and sold out are two words for one who goes away: nobody here taps again for busy, and that sold "
        "out is said too early is judged by false_full, which needs the platform's mark",
        named("skip-locked-busy *:skip_locked_busy._too_few.1"),
    ),
    (
        "gap",
        "a release that waited for the stock row fails at SERIALIZABLE, since its only statement has its snapshot "
        "from before the wait. The explorer takes a statement that waits to begin when its wait is over, and says "
        "so: SAMPLED",
        named("serializable ignored:serializable.release.1 deleted:serializable.release.2"),
    ),
    (
        "gap",
        "PostgreSQL's lock is always got where one waits for it; MariaDB's may not be, after 60 s, and the "
        "mutants are explored on PostgreSQL",
        named("advisory-lock always:advisory_lock.release.1 granted:advisory_lock.release.1"),
    ),
    (
        "gap",
        "on MariaDB the lock stays with a connection on which a statement failed for another reason than its "
        "loss. No such failure is explored",
        named("advisory-lock deleted:advisory_lock._locked.2"),
    ),
    (
        "gap",
        "no checker has the promise that a confirm after the expiry is refused. As long as nobody has swept the "
        "hold nothing is sold twice: its row's state and lock see to that",
        named("two-phase clause:two_phase.POST.2 zero:two_phase.POST.1"),
    ),
    (
        "gap",
        "shares of dead bidders come back later, or to others, or not at all. That is undersold after a pause, as "
        "the design itself is where the others came before the pause (its known hole)",
        named(
            "two-phase without:two_phase.RENEW.2 zero:two_phase.EXPIRED.1 never:two_phase.reserve.1",
            "two-phase never:two_phase._sweep.2",
        ),
    ),
    (
        "gap",
        "too few free units stay locked until the next call on the same connection, and others are told sold out. "
        "That is undersold without a fault, as the design itself is (its known hole)",
        named("skip-locked deleted:skip_locked.reserve.1"),
    ),
    (
        "gap",
        "a sweep that gives back too little for its bidder is undone with his try: the stock looks smaller until "
        "somebody sweeps for whom it is enough. Nobody sells or loses by it",
        named("two-phase deleted:two_phase._sweep.3"),
    ),
    (
        "gap",
        "a sweep voids holds that have not expired. It takes one that has, one entered after the pause, and a "
        "third bidder who sweeps: 2,500 hunted schedules of 3 bidders with one fault do not show it",
        named("two-phase clause:two_phase.VOID_ALL.1"),
    ),
    (
        "gap",
        "the platform never gives back what it has confirmed, so nobody hears that it must not",
        named("two-phase granted:two_phase.release.1"),
    ),
)

TABLE = (*EQUIVALENT, *PHASES, *LIMITS)
