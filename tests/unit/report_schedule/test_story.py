"""The story of a schedule: which reads were stale, and why that broke the promise, in words."""

from dataclasses import replace

import pytest
from tests.unit.report_schedule import schedules
from tests.unit.report_schedule.schedules import schedule, step

from oversold.report.schedule import cards, svg
from oversold.report.schedule.keys import acts, effective
from oversold.report.schedule.marks import marked
from oversold.report.schedule.story import headline, sentence, stale_reads
from oversold.schedule import Broken, Schedule, Step

LEFT = "redis/left"


def numbers(found: Schedule) -> list[tuple[int, int, int]]:
    """Return the steps of each stale read: read, change, act."""
    return [(stale.read.number, stale.change.number, stale.act.number) for stale in stale_reads(found)]


def after(*steps: Step) -> Schedule:
    """Return a schedule where bidder 1 reads at step 1, bidder 2 changes at step 2, and these follow."""
    first = step(1, "bidder 1", "GET left", "100", reads=LEFT)
    return schedule([first, step(2, "bidder 2", "SET left 0", "OK", writes=LEFT), *steps])


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (schedules.lost_update(), [(2, 3, 5)]),
        (schedules.lease_ends(), [(5, 6, 10)]),
        (schedules.crowd(), [(place, 7, 2 * place + 5) for place in range(2, 7)]),
        (schedules.polling(), []),
        (schedules.paid_twice(), []),
    ],
)
def test_a_read_is_stale_when_somebody_else_changes_it_before_it_is_acted_on(
    made: Schedule, found: list[tuple[int, int, int]]
) -> None:
    """Read, change and act are found by their steps; without a change in between nothing is told."""
    assert numbers(made) == found


def test_a_transaction_changes_when_it_commits() -> None:
    """The change of a row is dated to the commit, and one that is rolled back is none."""
    made = schedules.transactions()
    assert numbers(made) == [(2, 4, 6)]
    lock = ("sql-lock/stock/t1",)
    undone = [
        replace(each, operation="ROLLBACK", writes=lock) if each.number == 4 else each for each in made.steps
    ]
    assert numbers(schedule(undone)) == []


def test_a_snapshot_is_not_a_read_of_everything() -> None:
    """What stands for all of a store is no key that somebody acted on."""
    steps = [
        replace(each, reads=("sql/*",)) if each.number in {1, 2} else each
        for each in schedules.transactions().steps
    ]
    assert numbers(schedule(steps)) == []


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ([step(3, "bidder 1", "order of bidder 1", "1", writes="ledger/1")], [(1, 2, 3)]),
        ([step(3, "bidder 1", "SET mine 1", "OK", writes="redis/mine")], [(1, 2, 3)]),
        # The decisive write counts, not the first one.
        (
            [
                step(3, "bidder 1", "SET mine 1", "OK", writes="redis/mine"),
                step(4, "bidder 1", "SET left 0", "OK", writes=LEFT),
            ],
            [(1, 2, 4)],
        ),
        # What takes no effect is no act, and who looks again acts on what it sees then.
        ([step(3, "bidder 1", "MULTI SET left 0 EXEC", "nil", writes=LEFT, changed=False)], []),
        (
            [
                step(3, "bidder 1", "GET left", "0", reads=LEFT),
                step(4, "bidder 1", "SET left 0", "OK", writes=LEFT),
            ],
            [],
        ),
        # A look that also locks decides nothing, and neither does undoing.
        (
            [
                step(3, "bidder 1", "SELECT left FOR UPDATE", "0", reads=LEFT, writes="sql-lock/left"),
                step(4, "bidder 1", "SET left 0", "OK", writes=LEFT),
            ],
            [],
        ),
        ([step(3, "bidder 1", "ROLLBACK", "undone", writes="sql-lock/left")], []),
        ([step(3, "bidder 1", "COMMIT", "done", writes="sql-lock/left")], []),
        # The store's answer was lost: nobody looked again.
        (
            [
                step(3, "bidder 1", "GET left", "0", reads=LEFT, choice="lost_reply"),
                step(4, "bidder 1", "SET left 0", "OK", writes=LEFT),
            ],
            [(1, 2, 4)],
        ),
    ],
)
def test_what_counts_as_acting_on_a_read(steps: list[Step], found: list[tuple[int, int, int]]) -> None:
    """An effective write of the key, an order, or else the next effective write; a second look begins anew."""
    assert numbers(after(*steps)) == found


def test_a_pattern_covers_its_keys_and_a_bare_star_none() -> None:
    """A change of all rows overtakes the read of one; of a command with unknown keys nothing is claimed."""
    for pattern, found in (("redis/*", [(1, 2, 3)]), ("*", []), ("sql/*", [])):
        steps = [
            step(1, "bidder 1", "GET left", "100", reads=LEFT),
            step(2, "bidder 2", "FLUSHDB", "OK", writes=pattern),
            step(3, "bidder 1", "SET left 0", "OK", writes=LEFT),
        ]
        assert numbers(schedule(steps)) == found


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            schedules.lost_update(),
            "Bidder 2 read left = 100 at step 2; bidder 1 had changed it by step 3, before bidder 2 acted on it "
            "at step 5. In the end 2 of 1 shares are sold.",
        ),
        (
            schedules.lease_ends(),
            "The lock expired at step 3 while bidder 1 still worked under it, and bidder 2 took it at step 4. "
            "Bidder 2 read left = 100 at step 5; bidder 1 had changed it by step 6, before bidder 2 acted on it "
            "at step 10. In the end 2 of 1 shares are sold.",
        ),
        (
            schedules.paid_twice(),
            "The answer of channel A to worker 1 (step 4) was lost, though it had paid; worker 1 paid again "
            "through B at step 7. 1 of 1 obligation was paid twice or more: 860.00 yuan too much.",
        ),
        (
            schedules.paid_twice("lie"),
            "Channel A paid and said failed at step 4; worker 1 paid again through B at step 7. 1 of 1 obligation "
            "was paid twice or more: 860.00 yuan too much.",
        ),
        (
            schedules.paid_twice("go"),
            "Worker 1 paid i1 through A at step 4, and again through B at step 7. 1 of 1 obligation was paid "
            "twice or more: 860.00 yuan too much.",
        ),
        (
            schedules.paid_by_two(),
            "Worker 1 paid i1 through A at step 3, and worker 2 paid it again through A at step 7. Worker 2 read "
            "obligations (1 row) at step 2; worker 1 had changed it by step 5, before worker 2 acted on it at "
            "step 7. 1 of 1 obligation was paid twice or more.",
        ),
        (
            schedules.tapped_again(),
            "The reply to bidder 1's DECRBY left 100 (step 1) was lost, though it was applied; bidder 1 sent it "
            "again at step 2. 1.00 yuan of 1.00 yuan (100 %) stayed unsold.",
        ),
        (
            schedules.standstill(),
            "Bidder 2 died after step 2 (SET lock:b 2 NX). Nobody can go on after step 4: bidder 1 waits for "
            "lock:b, which bidder 2 took at step 2 and died; bidder 3 waits for lock:a, which bidder 1 took at "
            "step 1.",
        ),
        (
            schedules.rows_crossed(),
            "Nobody can go on after step 2: bidder 1 holds stock/t1 since step 1; bidder 2 holds stock/t2 since "
            "step 2. All who are left wait for one another.",
        ),
        (
            schedules.circles(),
            "Bidder 1 and bidder 2 go round from step 2 on, 14 times: bidder 1 SET lock 1 NX, bidder 1 DEL lock, "
            "bidder 2 SET lock 2 NX, bidder 2 DEL lock.",
        ),
        (schedules.polling(), "Nothing is broken in 17 steps."),
    ],
)
def test_the_cause_is_told_in_plain_words(made: Schedule, said: str) -> None:
    """What went wrong by itself, the read that was overtaken, who waits or goes round, and what was broken."""
    assert sentence(made) == said


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("crash_before", "Bidder 1 died before step 2 (DECRBY left 100)."),
        ("lost_request", "Bidder 1's DECRBY left 100 (step 2) never arrived; bidder 1 did nothing more."),
        ("step_fails", "A later step of bidder 1's pipeline failed at step 2, so what it held is given back."),
        ("evict", "The cache forgot left at step 2."),
        ("time_passes", "Time passed for everybody at step 2."),
        ("expire", "Left expired at step 2, which bidder 1 had set."),
    ],
)
def test_each_fault_has_its_words(choice: str, said: str) -> None:
    """A fault is told by what it did to whom, at which step."""
    steps = [
        step(1, "bidder 1", "SET left 100", "OK", writes=LEFT),
        step(2, "bidder 1", "DECRBY left 100", writes=LEFT, choice=choice),  # type: ignore[arg-type]
    ]
    told = sentence(schedule(steps, broken=Broken("leak", "1 hold is lost", 3)))
    assert told == f"{said} 1 hold is lost."


@pytest.mark.parametrize(("reply", "overtakes"), [("1", True), ("0", False), ("nil", False)])
def test_a_script_that_refuses_has_changed_nothing(reply: str, overtakes: bool) -> None:
    """One that answers 0 or nil overtakes no read and acts on none; one that answers otherwise does."""
    took = step(2, "bidder 2", "script TAKE(left) 100", reply, writes=LEFT, changed=True)
    read = step(1, "bidder 1", "GET left", "100", reads=LEFT)
    made = schedule([read, took, step(3, "bidder 1", "SET left 0", "OK", writes=LEFT)])
    assert bool(stale_reads(made)) is overtakes
    assert (effective(took), acts(took)) == (overtakes, overtakes)
    assert (svg.drawn(made).count("took effect"), _bars(made)) == (1, 1 + overtakes)


def _bars(made: Schedule) -> int:
    """Return at how many steps a picture says that they took effect."""
    return sum(svg._took_effect(card) for card in cards.placed(marked(made), cards.lanes(made), 0.0))


def test_a_lock_that_refused_somebody_was_not_taken() -> None:
    """Whoever asked for an expired lock in vain is not told to have taken it."""
    steps = [
        step(1, "bidder 1", "SET lock 1 NX PX 2000", "OK", writes="redis/lock"),
        step(2, "time", "lock expires", writes="redis/lock", choice="expire"),
        step(3, "bidder 2", "script LOCK(lock, fence) 2000", "nil", writes="redis/lock redis/fence"),
    ]
    assert "took it" not in sentence(schedule(steps))
    assert "bidder 2 took it at step 3" in sentence(schedule([*steps[:2], replace(steps[2], reply="2")]))


def test_many_faults_are_counted() -> None:
    """Two are told, so that the cause stays readable; the rest is a number."""
    told = sentence(schedules.long())
    assert "3 more faults happened." in told
    assert told.endswith("1.00 yuan stayed unsold.")


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (schedules.lost_update(), "none oversells in 6 steps"),
        (schedules.paid_twice(), "row-lock+unique-outbox pays twice in 7 steps, 1 fault among them"),
        (schedules.standstill(), "two-locks comes to a standstill after 4 steps"),
        (schedules.circles(1), "polite goes round in circles, here for 5 steps"),
        (schedules.polling(), "patient keeps its promises in these 17 steps"),
    ],
)
def test_the_headline_is_the_main_message(made: Schedule, said: str) -> None:
    """It names the strategy, what it does wrong, and in how many steps."""
    assert headline(made) == said


def test_words_hold_nothing_that_cannot_be_seen() -> None:
    """Control characters of a key, a reply or a name reach neither sentence nor headline."""
    made = schedules.hostile()
    assert (sentence(made) + headline(made)).isprintable()
    assert not made.steps[0].operation.isprintable()
