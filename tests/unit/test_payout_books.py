"""From channels' books, manifests and samples to the evidence of a payday, and whether its jobs met."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oversold.audit import Raw
from oversold.errors import HarnessError
from oversold.evidence import HISTORY, NEVER
from oversold.model import PAY_REPLIES, PAYOUT_STATUSES, PayoutState
from oversold.payout_books import Sample, channels_misled, gathered, jobs_met, longest_stall_ns
from oversold.payout_evidence import BELIEF, PAYMENT, WITHDRAWAL, JobRun
from oversold.payout_plan import PayoutPlan, PayoutSettings, draw_payday, obligation_id, user_id
from oversold.platform.channels.books import Books

PAYDAY = "p1"
S = 1_000_000_000
T0 = 7_000 * S  # the gate's opening, on the machine's clock
HORIZON_S = 240


def plan(jobs="overlap", **payouts):
    """Return a plan of four obligations, two of interest and two of principal; a minute takes a second."""
    chosen = {"obligations": 4, "maturing": 0.5, "minute_s": 1, "horizon_s": HORIZON_S, "jobs": jobs, **payouts}
    return PayoutPlan(scenario="s", strategy="none+blind-failover", payouts=PayoutSettings(**chosen))


def ref(index):
    """Return the ref of an obligation."""
    return obligation_id(PAYDAY, index)


def call(index=0, t=1.0, **fields):
    """Return a pay call that was answered ok and paid, `t` seconds after the gate; `fields` say what differs."""
    arrived = T0 + int(t * S)
    return {
        "ref": ref(index),
        "user_id": user_id(PAYDAY, index % 2),
        "amount_fen": 100 + index,
        "key": None,
        "caller": "interest%231/3",  # as it goes over the wire
        "reply": "ok",
        "replay_of": None,
        "t_arrived": arrived,
        "t_replied": arrived + 2,
        "t_effect": arrived + 1,
        **fields,
    }


@pytest.fixture
def bookkeeping(tmp_path):
    """Write the books of one channel; written(name, calls, withdrawals, voids) returns their file."""

    def written(name, *calls, withdrawals=(), voids=()):
        path = tmp_path / f"channel-{name}.sqlite"
        books = Books(path)
        for each in calls:
            books.add(**each)
        for user, amount_fen, t in withdrawals:
            books.withdraw(user, amount_fen, t)
        for each, t in voids:
            books.void(each, t)
        books.close()
        return path

    return written


def worked(run, start=0.0, end: float | None = 30.0, worker=0, **more):
    """Return a worker's row of a manifest; times in seconds after the gate."""
    t_end = None if end is None else T0 + int(end * S)
    return {"run": run, "worker": worker, "t_start": T0 + int(start * S), "t_end": t_end, **more}


def raw(*manifests):
    """Return what the processes left: the rows of the job workers of each."""
    reports = {number: {"jobs": list(rows)} for number, rows in enumerate(manifests)}
    return Raw(np.zeros(0, HISTORY), reports, T0, 0, True)


def gather(books=None, left=None, samples=(), states=None, of=None, complete=True):
    """Gather the evidence of a payday."""
    chosen = of or plan()
    drawn = draw_payday(chosen, PAYDAY)
    return gathered(chosen, drawn, books or {}, left or raw(), samples, states or {}, complete=complete)


def believing(**statuses):
    """Return beliefs by name."""
    return {name: PayoutState(status) for name, status in statuses.items()}


def sample(t, **statuses):
    """Return a sample `t` seconds after the gate."""
    return Sample.of(T0 + int(t * S), believing(**statuses))


def test_a_sample_counts_the_beliefs_by_status():
    """In the order of the statuses, and it names those that are unknown."""
    taken = Sample.of(5, believing(a="PAID", b="UNKNOWN", c="PAID", d="UNKNOWN", e="DUE"))
    assert taken.t == 5
    assert dict(zip(PAYOUT_STATUSES, taken.counts, strict=True)) == dict.fromkeys(PAYOUT_STATUSES, 0) | {
        "PAID": 2,
        "UNKNOWN": 2,
        "DUE": 1,
    }
    assert taken.unknown == {"b", "d"}


def test_a_sample_of_no_beliefs_is_one_of_zeros():
    """A strategy may say nothing yet."""
    assert Sample.of(5, {}) == Sample(5, (0,) * len(PAYOUT_STATUSES), frozenset())


@given(st.dictionaries(st.text(max_size=3), st.sampled_from(PAYOUT_STATUSES)))
def test_a_sample_loses_nobody(statuses):
    """Every obligation counts once, whatever is believed of it."""
    taken = Sample.of(0, believing(**statuses))
    assert sum(taken.counts) == len(statuses)
    assert len(taken.unknown) == taken.counts[PAYOUT_STATUSES.index("UNKNOWN")]


def test_an_empty_payday_can_be_gathered():
    """Nobody called, nothing was sampled, no worker told anything: all columns are there, with their types."""
    found = gather()
    assert (found.payments.dtype, found.withdrawals.dtype, found.beliefs.dtype) == (PAYMENT, WITHDRAWAL, BELIEF)
    assert len(found.payments) == len(found.withdrawals) == len(found.beliefs) == 0
    assert found.unknown_since.tolist() == found.unknown_until.tolist() == []
    assert found.states == [None] * 4
    assert found.t_end == 0
    assert [run.t_start for run in found.runs] == [NEVER, NEVER]


def test_what_was_due_is_that_of_the_plan():
    """Amounts and investors as drawn; interest is due when its job starts, principal an hour later."""
    found = gather()
    drawn = draw_payday(plan(), PAYDAY)
    assert found.due_fen.tolist() == drawn.due_fen.tolist()
    assert found.user.tolist() == [0, 1, 0, 1]
    assert found.t_due.tolist() == [0, 0, 60 * S, 60 * S]
    assert [gather(complete=whole).complete for whole in (True, False)] == [True, False]


def test_a_call_in_the_books_is_a_payment(bookkeeping):
    """Every column: channel, obligation, who called, what was said and done; times count from the gate."""
    first = call(2, t=1.5, reply="failed", amount_fen=10**16, caller="maturity%231/15")
    [row] = gather({"A": bookkeeping("A", first)}).payments
    assert {name: int(row[name]) for name in PAYMENT.names} == {
        "channel": 0,
        "obligation": 2,
        "run": 1,
        "worker": 15,
        "amount_fen": 10**16,
        "reply": PAY_REPLIES.index("failed"),
        "replay": 0,
        "t_arrived": 1.5 * S,
        "t_replied": 1.5 * S + 2,
        "t_effect": 1.5 * S + 1,
    }


@pytest.mark.parametrize("reply", PAY_REPLIES)
def test_every_reply_is_known(reply, bookkeeping):
    """The number in the column stands for the word in the books."""
    [row] = gather({"A": bookkeeping("A", call(reply=reply))}).payments
    assert PAY_REPLIES[row["reply"]] == reply


def test_a_call_that_moved_nothing_has_no_effect(bookkeeping):
    """Neither one that failed nor one that was answered from memory."""
    calls = (call(0), call(0, t=2, replay_of=1, t_effect=None), call(1, t=3, t_effect=None))
    found = gather({"A": bookkeeping("A", *calls)}).payments
    assert found["t_effect"].tolist() == [S + 1, NEVER, NEVER]
    assert found["replay"].tolist() == [0, 1, 0]


def test_a_voided_call_has_no_effect(bookkeeping):
    """What was cancelled before its time never happened; what had happened by then stays."""
    soon, late = call(0), call(0, t=2, reply="processing", t_effect=T0 + 90 * S)
    path = bookkeeping("A", soon, late, voids=[(ref(0), T0 + 5 * S)])
    found = gather({"A": path})
    assert found.payments["t_effect"].tolist() == [S + 1, NEVER]
    assert found.t_end == S + 1
    kept = gather({"A": bookkeeping("B", soon, late)})
    assert kept.payments["t_effect"].tolist() == [S + 1, 90 * S]
    assert kept.t_end == 90 * S


def test_the_calls_of_all_channels_are_in_order_of_arrival(bookkeeping):
    """Whichever books they stand in; the channels keep the order in which a job tries them."""
    books = {
        "B": bookkeeping("B", call(0, t=1), call(1, t=4)),
        "A": bookkeeping("A", call(2, t=0.5), call(3, t=1)),
    }
    found = gather(books)
    assert found.channels == ("B", "A")
    assert found.payments["t_arrived"].tolist() == [0.5 * S, S, S, 4 * S]
    assert found.payments["channel"].tolist() == [1, 0, 1, 0]
    assert found.payments["obligation"].tolist() == [2, 0, 3, 1]


@pytest.mark.parametrize(
    ("caller", "run", "worker"),
    [
        ("interest%231/0", 0, 0),
        ("interest#1/7", 0, 7),
        ("maturity#1/7", 1, 7),
        ("interest#2/0", -1, 0),  # in this mode there is no second start
        ("coordinator/0", -1, 0),
        ("reconcile/0", -1, 0),
        ("interest#1/x", 0, -1),
        ("interest#1/-1", 0, -1),
        ("interest#1", -1, -1),
        ("", -1, -1),
        ("%", -1, -1),
    ],
)
def test_a_caller_is_a_worker_or_somebody_else(caller, run, worker, bookkeeping):
    """What a caller says of itself may be anything."""
    [row] = gather({"A": bookkeeping("A", call(caller=caller))}).payments
    assert (row["run"], row["worker"]) == (run, worker)


@pytest.mark.parametrize("stranger", ["p2-000000", ref(4), "p1-1", "x"])
def test_a_ref_that_nobody_owes_is_kept(stranger, bookkeeping):
    """The money is gone all the same: such a payment stays in the evidence, as nobody's."""
    [row] = gather({"A": bookkeeping("A", call(ref=stranger))}).payments
    assert row["obligation"] == -1
    assert row["t_effect"] != NEVER


def test_withdrawals_are_those_of_the_investors(bookkeeping):
    """By channel and investor, with times since the gate; a stranger's are kept as nobody's."""
    first = bookkeeping("A", withdrawals=[(user_id(PAYDAY, 1), 500, T0 + 5)])
    second = bookkeeping("B", withdrawals=[(user_id(PAYDAY, 0), 7, T0 + 9), (user_id(PAYDAY, 2), 8, T0 + 3)])
    found = gather({"A": first, "B": second}).withdrawals
    assert found.tolist() == [(0, 1, 500, 5), (1, 0, 7, 9), (1, -1, 8, 3)]


def test_books_that_cannot_be_read_are_named(bookkeeping, tmp_path):
    """Books that are gone, or are none: without them nothing is known, and the error says which channel's."""
    good = bookkeeping("A", call())
    (tmp_path / "junk").write_text("no books at all, " * 100)
    for bad in ("missing", "junk"):
        with pytest.raises(HarnessError, match="the books of channel B cannot be read: "):
            gather({"A": good, "B": tmp_path / bad})


@pytest.mark.parametrize(
    ("samples", "effects", "t_end"),
    [
        ([], [5], 5),
        ([9], [5], 9),
        ([9], [12], 12),
        ([9, 3], [], 9),
        ([9], [HORIZON_S + 10], HORIZON_S),
        ([HORIZON_S + 2], [5], HORIZON_S),
        ([-3], [], 0),
    ],
    ids=["an effect", "a sample", "a late effect", "samples", "too late", "sampled too long", "before the gate"],
)
def test_the_payday_ends_with_all_work_or_at_the_horizon(samples, effects, t_end, bookkeeping):
    """A late effect before the horizon is in time, though nobody waits for it any more."""
    calls = [call(0, t_effect=T0 + effect * S) for effect in effects]
    found = gather({"A": bookkeeping("A", *calls)}, samples=[sample(t) for t in samples])
    assert found.t_end == t_end * S


def test_beliefs_are_the_samples():
    """One row each, with the time since the gate."""
    found = gather(samples=[sample(1, a="DUE", b="DUE"), sample(2, a="PAID", b="SENT")])
    assert found.beliefs["t"].tolist() == [S, 2 * S]
    due, paid, sent = (PAYOUT_STATUSES.index(status) for status in ("DUE", "PAID", "SENT"))
    assert found.beliefs["counts"][:, [due, paid, sent]].tolist() == [[2, 0, 0], [0, 1, 1]]


def test_final_beliefs_are_in_the_order_of_the_obligations():
    """Whatever the order in which they were told; of one that was left out nothing is believed."""
    states = {ref(3): PayoutState("REVIEW", "odd"), ref(0): PayoutState("PAID"), "stranger": PayoutState("DUE")}
    assert gather(states=states).states == [PayoutState("PAID"), None, None, PayoutState("REVIEW", "odd")]


def spells(*samples):
    """Return the spells of doubt that samples show, in seconds; None: to the end."""
    found = gather(samples=samples)
    pairs = zip(found.unknown_since.tolist(), found.unknown_until.tolist(), strict=True)
    return sorted((since // S, None if until == NEVER else until // S) for since, until in pairs)


def test_a_doubt_lasts_from_sample_to_sample():
    """From the first that shows it to the first that does not; one that comes back is another."""
    u = {"a": "UNKNOWN"}
    assert spells(sample(1, **u), sample(2, **u), sample(3, a="PAID"), sample(4, **u), sample(5)) == [
        (1, 3),
        (4, 5),
    ]


def test_a_doubt_that_nobody_resolved_has_no_end():
    """It is open when the payday is over."""
    assert spells(sample(1, a="UNKNOWN"), sample(2, a="UNKNOWN", b="UNKNOWN")) == [(1, None), (2, None)]
    assert spells(sample(1, a="DUE")) == []


def test_doubts_of_several_obligations_are_kept_apart():
    """One ends while the other goes on, and they do not become one."""
    both = {"a": "UNKNOWN", "b": "UNKNOWN"}
    assert spells(sample(1, **both), sample(2, b="UNKNOWN"), sample(3)) == [(1, 2), (1, 3)]


def runs_of(*manifests, of=None):
    """Return the job runs by name, with times in seconds."""
    return {run.run: run for run in gather(left=raw(*manifests), of=of).runs}


def test_a_job_runs_from_its_first_worker_to_its_last():
    """In whatever process they are; the planned start is that of the plan."""
    runs = runs_of(
        [worked("interest#1", 0.1, 20), worked("interest#1", 0.2, 31, worker=1), worked("maturity#1", 60.5, 70)],
        [worked("interest#1", 0.05, 30, worker=2), worked("maturity#1", 60.1, 69)],
    )
    assert runs["interest#1"] == JobRun("interest#1", 0, int(0.05 * S), 31 * S)
    assert runs["maturity#1"] == JobRun("maturity#1", 60 * S, int(60.1 * S), 70 * S)


def test_a_job_with_one_worker_still_busy_has_no_end():
    """The others ended long before: at the horizon it still runs."""
    runs = runs_of([worked("interest#1", end=5), worked("interest#1", end=None, worker=1)])
    assert runs["interest#1"].t_end == NEVER
    assert runs["interest#1"].t_start == 0


def test_a_killed_job_has_an_end_and_says_so():
    """One worker that had to be killed is enough; the second start is another run."""
    runs = runs_of(
        [worked("interest#1", end=9), worked("interest#1", end=10, killed=True), worked("interest#2", 20, 40)],
        of=plan("killed"),
    )
    assert runs["interest#1"] == JobRun("interest#1", 0, 0, 10 * S, killed=True)
    assert not runs["interest#2"].killed
    assert list(runs) == ["interest#1", "interest#2", "maturity#1"]


def test_a_process_without_a_manifest_tells_nothing():
    """Of a run whose workers were all in it neither start nor end is known; others keep theirs."""
    runs = runs_of([worked("interest#1", 1, 5)])
    assert (runs["interest#1"].t_start, runs["interest#1"].t_end) == (S, 5 * S)
    assert runs["maturity#1"] == JobRun("maturity#1", 60 * S, NEVER, NEVER)
    nothing = gathered(
        plan(), draw_payday(plan(), PAYDAY), {}, replace(raw(), manifests={0: {}}), (), {}, complete=False
    )
    assert {run.t_start for run in nothing.runs} == {NEVER}


def test_each_start_of_a_job_is_found_in_the_books(bookkeeping):
    """A caller's start is an index into the runs, which are in order of their planned time."""
    path = bookkeeping("A", call(caller="interest%232/1"), call(caller="maturity%231/1"))
    found = gather({"A": path}, of=plan("twice"))
    assert [found.runs[number].run for number in found.payments["run"]] == ["interest#2", "maturity#1"]


def met(jobs, *rows, t_end=None, books=None, complete=True, **payouts):
    """Return the finding on jobs that ran like this; `t_end` is when the last sample was taken, in seconds."""
    chosen = plan(jobs, **payouts)
    samples = () if t_end is None else [sample(t_end)]
    return jobs_met(chosen, gather(books, raw(rows), samples, of=chosen, complete=complete))


OTHER = {"overlap": "maturity#1", "twice": "interest#2"}
WORDS = {"overlap": "maturity job", "twice": "second start of the interest job"}
SETTING = {"overlap": "maturity_min", "twice": "again_min"}


@pytest.mark.parametrize("jobs", ["overlap", "twice"])
def test_jobs_that_ran_side_by_side_have_met(jobs):
    """For as long as the interest job went on after the other one began: said in the incident's minutes."""
    finding = met(jobs, worked("interest#1", 0, 90), worked(OTHER[jobs], 60, 120))
    assert (finding.check, finding.verdict, finding.values) == ("jobs", "pass", {"overlap_s": 30.0})
    said = "ran 30 minutes of the incident (30.0 s here) beside the interest job."
    assert finding.detail == f"The {WORDS[jobs]} {said}"
    fast = met(jobs, worked("interest#1", 0, 90), worked(OTHER[jobs], 60, 120), minute_s=0.5)
    assert "ran 60 minutes of the incident (30.0 s here)" in fast.detail


@pytest.mark.parametrize("jobs", ["overlap", "twice"])
@pytest.mark.parametrize(
    "times",
    [
        pytest.param({"first": (0, 50)}, id="over long before"),
        pytest.param({"first": (0, 60)}, id="over at that moment"),
        pytest.param({"first": (0, 50), "other": None}, id="the other never began"),
        pytest.param({"first": None}, id="the first never began"),
    ],
)
def test_jobs_that_did_not_meet_prove_nothing(jobs, times):
    """The incident was not replayed; the sentence names the setting that brings them together."""
    spans = {"interest#1": times["first"], OTHER[jobs]: times.get("other", (60, 120))}
    finding = met(jobs, *(worked(run, *span) for run, span in spans.items() if span))
    assert (finding.verdict, finding.values) == ("inconclusive", {"overlap_s": 0.0})
    assert f"before the {WORDS[jobs]} began: lower {SETTING[jobs]} or raise obligations." in finding.detail


@pytest.mark.parametrize("jobs", ["overlap", "twice"])
def test_a_job_that_never_ended_meets_until_the_end(jobs):
    """At the horizon it was still at work, and so it was beside the other one."""
    rows = (worked("interest#1", 0, None), worked(OTHER[jobs], 60, 120))
    assert met(jobs, *rows, t_end=100).values == {"overlap_s": 40.0}
    assert met(jobs, *rows, t_end=200).values == {"overlap_s": 60.0}, "the other one ended before"
    both = (worked("interest#1", 0, None), worked(OTHER[jobs], 60, None))
    assert met(jobs, *both, t_end=HORIZON_S + 5).values == {"overlap_s": HORIZON_S - 60.0}
    assert met(jobs, *rows, t_end=50).verdict == "inconclusive"


@pytest.mark.parametrize("jobs", ["overlap", "twice"])
def test_only_the_start_that_the_mode_is_about_counts(jobs):
    """In mode `twice` the maturity job may come when it likes; in mode `overlap` it is the other one."""
    rows = [worked("interest#1", 0, 90), worked(OTHER[jobs], 95, 120)]
    if jobs == "twice":
        rows.append(worked("maturity#1", 60, 120))
    assert met(jobs, *rows).verdict == "inconclusive"


def test_jobs_that_met_for_a_moment_prove_nothing():
    """A minute of the incident is the least; an incomplete run does not say why they did not meet."""
    rows = (worked("interest#1", 0, 60.5), worked("maturity#1", 60, 120))
    short = met("overlap", *rows)
    assert (short.verdict, short.values) == ("inconclusive", {"overlap_s": 0.5})
    assert "less than a minute beside the maturity job: lower maturity_min" in short.detail
    assert met("overlap", *rows, minute_s=0.5, maturity_min=120).verdict == "pass"
    assert "incomplete" in met("overlap", *rows, complete=False).detail


def test_a_job_that_was_killed_and_started_again_is_the_incident(bookkeeping):
    """The two need not run at one time; but it must have paid something before it died."""
    rows = (worked("interest#1", 0, 10, killed=True), worked("interest#2", 20, 50))
    finding = met("killed", *rows, books={"A": bookkeeping("A", call(0))})
    assert (finding.check, finding.verdict) == ("jobs", "pass")
    later = {"A": bookkeeping("B", call(0, caller="interest#2/0"))}
    assert met("killed", *rows, books=later).verdict == "inconclusive"


def test_money_that_went_to_somebody_else_is_a_strangers(bookkeeping):
    """The ref alone does not make a payment: it must reach the account of the one it is owed to."""
    calls = (call(0), call(1, user_id=user_id(PAYDAY, 0)), call(2, user_id="my-own-pocket"))
    found = gather({"A": bookkeeping("A", *calls)}).payments
    assert found["obligation"].tolist() == [0, -1, -1]


@pytest.mark.parametrize(
    ("jobs", "answers", "verdict"),
    [
        ("overlap", {"reply": "failed"}, "pass"),  # it paid
        ("overlap", {"reply": "ok", "t_effect": None}, "pass"),  # it did not
        ("overlap", {"reply": "failed", "t_effect": None}, "inconclusive"),
        ("overlap", {"reply": "ok"}, "inconclusive"),
        ("twice", {"reply": "ok"}, "pass"),
    ],
)
def test_channels_that_mislead_nobody_prove_nothing(jobs, answers, verdict, bookkeeping):
    """Where the jobs pay different obligations over honest channels, any design pays once."""
    chosen = plan(jobs)
    evidence = gather({"A": bookkeeping("A", call(0, **answers))}, of=chosen)
    finding = channels_misled(chosen, evidence)
    assert (finding.check, finding.verdict) == ("channels", verdict)


def test_a_channel_that_stood_still_is_a_doubt(bookkeeping, tmp_path):
    """However much it misled: half a second is the most, and the books say how long it was."""
    path = bookkeeping("A", call(0, reply="failed"))
    books = Books(path)
    books.note_stall(S)
    books.close()
    assert longest_stall_ns({"A": path, "B": tmp_path / "none"}) == S
    evidence = gather({"A": path})
    assert channels_misled(plan(), evidence, S // 2).verdict == "pass"
    doubt = channels_misled(plan(), evidence, S)
    assert (doubt.verdict, doubt.values) == ("inconclusive", {"stall_s": 1.0})


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([worked("interest#1", 0, 9), worked("interest#2", 20, 21)], id="over before"),
        pytest.param([worked("interest#2", 20, 50, killed=True)], id="the wrong one"),
        pytest.param([], id="nothing at all"),
    ],
)
def test_a_job_that_was_not_killed_proves_nothing(rows):
    """The sentence names the setting that kills it in time."""
    finding = met("killed", *rows)
    assert finding.verdict == "inconclusive"
    assert "lower kill_min or raise obligations" in finding.detail


def test_a_job_that_was_killed_for_good_proves_nothing():
    """The sentence names the setting that starts it again in time."""
    finding = met("killed", worked("interest#1", 0, 10, killed=True))
    assert finding.verdict == "inconclusive"
    assert "lower again_min" in finding.detail


NAMELESS = [
    # job starts as (run, start, end, killed), what is paid (0: interest, 2: principal), when -> whose call it is
    ([("interest#1", 0, 30)], 0, 5, "interest#1"),
    ([("interest#1", 0, 30)], 0, 31, "interest#1"),  # the only start there was: it works on after its end
    ([("interest#1", 2, 30)], 0, 1, None),  # nobody had begun
    ([("interest#1", 0, 30), ("maturity#1", 5, 40)], 2, 6, "maturity#1"),
    ([("interest#1", 0, 30), ("maturity#1", 5, 40)], 0, 6, "interest#1"),
    ([("interest#1", 0, 30), ("maturity#1", 5, 40)], 2, 4, None),
    ([("interest#1", 0, 10), ("interest#2", 20, 40)], 0, 15, "interest#1"),
    ([("interest#1", 0, 10), ("interest#2", 20, 40)], 0, 25, "interest#2"),
    ([("interest#1", 0, 30), ("interest#2", 20, 40)], 0, 25, None),  # both were at it
    ([("interest#1", 0, 10), ("interest#2", 20, None)], 0, 50, "interest#2"),
    ([("interest#1", 0, 10), ("interest#2", 20, 40)], 0, 50, None),  # both are over
]


@pytest.mark.parametrize(("starts", "index", "t", "run"), NAMELESS)
def test_a_call_without_a_caller_belongs_to_the_one_start_that_can_have_made_it(
    bookkeeping, starts, index, t, run
):
    """Somebody's own service need not say who calls: what it paid and when tell, or it is nobody's."""
    books = {"A": bookkeeping("A", call(index, t=t, caller=""))}
    left = raw([worked(name, start, end) for name, start, end in starts])
    evidence = gather(books, left, of=plan("twice"))
    found = evidence.payments["run"][0]
    assert (evidence.runs[found].run if found >= 0 else None) == run


def test_a_caller_who_is_named_is_believed(bookkeeping):
    """A name that is no job's is nobody's, whoever else could have called."""
    books = {"A": bookkeeping("A", call(caller="reconcile/0"), call(1, caller="interest%231/3"))}
    evidence = gather(books, raw([worked("interest#1"), worked("interest#2")]), of=plan("twice"))
    assert evidence.payments["run"].tolist() == [-1, 0]


def test_a_payment_to_a_stranger_is_nobodys(bookkeeping):
    """What nobody owes was not a job's."""
    books = {"A": bookkeeping("A", call(caller="", ref="x"))}
    assert gather(books, raw([worked("interest#1")])).payments["run"].tolist() == [-1]
