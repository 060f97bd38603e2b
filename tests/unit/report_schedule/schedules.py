"""Schedules to draw: lost updates, leases that end, lost replies that pay twice, crowds, standstills, circles."""

from typing import Any

from oversold.schedule import Broken, Choice, Outcome, Schedule, Step

HOSTILE = '<script>alert("x")</script>; end %% #1: 满标 "a" & é\x00\n`b`'
OVERSOLD = Broken("oversubscription", "In the end 2 of 1 shares are sold.", 6)


def step(
    number: int,
    actor: str,
    operation: str,
    reply: str = "",
    *,
    reads: str = "",
    writes: str = "",
    changed: bool | None = None,
    choice: Choice = "go",
) -> Step:
    """Return a step; keys are parted by blanks, and what writes has changed something unless `changed` says no."""
    took = bool(writes) if changed is None else changed
    return Step(number, actor, choice, operation, tuple(reads.split()), tuple(writes.split()), reply, took)


def schedule(steps: list[Step], strategy: str = "none", outcome: Outcome = "VIOLATION", **more: Any) -> Schedule:
    """Return a schedule of bids over these steps."""
    numbers = {"bidders": 2, "capacity_bids": 1, "shares": "1"}
    return Schedule(**{"kind": "bids", "scenario": numbers, "versions": {"redis": "7.0.15"}, **more},
                    strategy=strategy, steps=tuple(steps), outcome=outcome)  # fmt: skip


def lost_update() -> Schedule:
    """Two bidders read the same stock: the shortest schedule that oversells."""
    left, first, second = "redis/left", "ledger/1", "ledger/2"
    return schedule(
        [
            step(1, "bidder 1", "GET left", "100", reads=left),
            step(2, "bidder 2", "GET left", "100", reads=left),
            step(3, "bidder 1", "SET left 0", "OK", writes=left),
            step(4, "bidder 1", "order of bidder 1", "1 of 1 sold", writes=first),
            step(5, "bidder 2", "SET left 0", "OK", writes=left),
            step(6, "bidder 2", "order of bidder 2", "2 of 1 sold", writes=second),
        ],
        broken=OVERSOLD,
    )


def lease_ends() -> Schedule:
    """A lock's time to live ends under its holder, as the explorer found it."""
    lock, left = "redis/lock", "redis/left"
    one, two = "9bb7023479b62f7c", "2c758ff72a425f35"
    return schedule(
        [
            step(1, "bidder 1", f"SET lock {one} NX PX 2000", "OK", writes=lock),
            step(2, "bidder 1", "GET left", "100", reads=left),
            step(3, "time", "lock expires", writes=lock, choice="expire"),
            step(4, "bidder 2", f"SET lock {two} NX PX 2000", "OK", writes=lock),
            step(5, "bidder 2", "GET left", "100", reads=left),
            step(6, "bidder 1", "SET left 0", "OK", writes=left),
            step(7, "bidder 1", f"script UNLOCK(lock) {one}", "0", writes=lock, changed=False),
            step(8, "bidder 1", "SET settled:bid-1 confirmed NX", "OK", writes="redis/settled:bid-1"),
            step(9, "bidder 1", "order of bidder 1", "1 of 1 sold", writes="ledger/1"),
            step(10, "bidder 2", "SET left 0", "OK", writes=left),
            step(11, "bidder 2", f"script UNLOCK(lock) {two}", "1", writes=lock),
            step(12, "bidder 2", "SET settled:bid-2 confirmed NX", "OK", writes="redis/settled:bid-2"),
            step(13, "bidder 2", "order of bidder 2", "2 of 1 sold", writes="ledger/2"),
        ],
        "redis-lock",
        broken=Broken("oversubscription", OVERSOLD.detail, 13),
    )


def paid_twice(choice: Choice = "lost_reply") -> Schedule:
    """A payment whose answer is lost, or a lie, is made again over the other channel."""
    row, said = "sql/obligation/i1", "failed" if choice == "lie" else ""
    return schedule(
        [
            step(1, "worker 1", "SELECT i1 FOR UPDATE", "due", reads=row),
            step(2, "worker 1", "INSERT outbox i1", "1 row", writes="sql/outbox/i1"),
            step(3, "worker 1", "COMMIT", "", writes="sql/outbox/i1"),
            step(4, "worker 1", "pay i1 over A", said, writes="channel/A/i1 channel/A/key/k1", choice=choice),
            step(5, "worker 1", "UPDATE outbox i1 state = 'failed on A'", "1 row", writes="sql/outbox/i1"),
            step(6, "worker 1", "COMMIT", "", writes="sql/outbox/i1"),
            step(7, "worker 1", "pay i1 over B", "ok", writes="channel/B/i1 channel/B/key/k1"),
        ],
        "row-lock+unique-outbox",
        kind="payouts",
        scenario={"obligations": 1, "channels": 2},
        broken=Broken("overpaid", "1 of 1 obligation was paid twice or more: 860.00 yuan too much.", 7),
    )


def paid_by_two() -> Schedule:
    """Two workers read that something is due before either says that it is paid."""
    rows, row, lock = "sql/obligations/*", "sql/obligations/i1", "sql-lock/obligations/i1"
    steps = []
    for who in ("worker 1", "worker 2"):
        steps.append(step(len(steps) + 1, who, "SELECT * FROM obligations", "1 row", reads=rows))
    for who in ("worker 1", "worker 2"):
        at = len(steps) + 1
        steps += [
            step(at, who, "pay i1 by A", "ok", writes="channel/A/i1"),
            step(at + 1, who, "UPDATE obligations SET status=PAID", "1 row", reads=row, writes=lock),
            step(at + 2, who, "COMMIT", "done", writes=f"{lock} {row}"),
            step(at + 3, who, "SELECT * FROM obligations", "0 rows", reads=rows),
        ]
    broken = Broken("overpaid", "1 of 1 obligation was paid twice or more.", 7)
    return schedule(steps, "none+blind-failover", kind="payouts", broken=broken)


def tapped_again() -> Schedule:
    """The reply to a decrement is lost, and the bidder taps again: a share is gone for nothing."""
    left = "redis/left"
    return schedule(
        [
            step(1, "bidder 1", "DECRBY left 100", "0", writes=left, choice="lost_reply"),
            step(2, "bidder 1", "DECRBY left 100", "-100", writes=left),
            step(3, "bidder 1", "INCRBY left 100", "0", writes=left),
        ],
        "redis-decr",
        broken=Broken("undersubscription", "1.00 yuan of 1.00 yuan (100 %) stayed unsold.", 4),
    )


def crowd(bidders: int = 6) -> Schedule:
    """All bidders read the same stock before the first of them writes."""
    left = "redis/left"
    actors = [f"bidder {place}" for place in range(1, bidders + 1)]
    steps = [step(place, actor, "GET left", "100", reads=left) for place, actor in enumerate(actors, 1)]
    for place, actor in enumerate(actors, 1):
        steps.append(step(len(steps) + 1, actor, "SET left 0", "OK", writes=left))
        order = step(len(steps) + 1, actor, f"order of {actor}", f"{place} of 1 sold", writes=f"ledger/{place}")
        steps.append(order)
    detail = f"In the end {bidders} of 1 shares are sold."
    return schedule(steps, broken=Broken("oversubscription", detail, len(steps)))


def standstill() -> Schedule:
    """Two bidders hold a lock each and want the other's; a third polls for one whose holder is dead."""
    return schedule(
        [
            step(1, "bidder 1", "SET lock:a 1 NX", "OK", writes="redis/lock:a"),
            step(2, "bidder 2", "SET lock:b 2 NX", "OK", writes="redis/lock:b", choice="crash_after"),
            step(3, "bidder 1", "SET lock:b 1 NX", "nil", writes="redis/lock:b", changed=False),
            step(4, "bidder 3", "SET lock:a 3 NX", "nil", writes="redis/lock:a", changed=False),
        ],
        "two-locks",
        "DEADLOCK",
    )


def rows_crossed() -> Schedule:
    """Two transactions lock two rows in opposite order; who waits takes no step."""
    one, other = "sql-lock/stock/t1", "sql-lock/stock/t2"
    return schedule(
        [
            step(1, "bidder 1", "SELECT * FROM stock FOR UPDATE", "1", reads="sql/stock/t1", writes=one),
            step(2, "bidder 2", "SELECT * FROM stock FOR UPDATE", "1", reads="sql/stock/t2", writes=other),
        ],
        "two-rows",
        "DEADLOCK",
        broken=Broken("deadlock", "All who are left wait for one another.", 2),
    )


def circles(rounds: int = 14) -> Schedule:
    """Two bidders take and give back for ever."""
    steps = [step(1, "bidder 1", "GET left", "100", reads="redis/left")]
    for _ in range(rounds):
        for actor in ("bidder 1", "bidder 2"):
            at = len(steps) + 1
            steps.append(step(at, actor, f"SET lock {actor[-1]} NX", "OK", writes="redis/lock"))
            steps.append(step(at + 1, actor, "DEL lock", "1", writes="redis/lock"))
    return schedule(steps, "polite", "LIVELOCK")


def polling() -> Schedule:
    """A bidder asks for a lock many times before it gets it."""
    steps = [step(1, "bidder 1", "SET lock 1 NX", "OK", writes="redis/lock")]
    vain = range(2, 16)
    steps += [step(at, "bidder 2", "SET lock 2 NX", "nil", writes="redis/lock", changed=False) for at in vain]
    steps += [step(16, "bidder 1", "DEL lock", "1", writes="redis/lock")]
    steps += [step(17, "bidder 2", "SET lock 2 NX", "OK", writes="redis/lock")]
    return schedule(steps, "patient", "EXHAUSTED")


def transactions() -> Schedule:
    """A version is compared in the application and not by the statement: two transactions sell the last share."""
    row, lock = "sql/stock/t1", "sql-lock/stock/t1"
    names = ("bidder 1", "bidder 2")
    steps = [step(at, who, "SELECT remaining FROM stock WHERE id = t1", "remaining=100", reads=row)
             for at, who in enumerate(names, 1)]  # fmt: skip
    for place, who in enumerate(names, 1):
        at = len(steps) + 1
        steps += [
            step(at, who, "UPDATE stock SET remaining = 0 WHERE id = t1", "1 row", reads=row, writes=lock),
            step(at + 1, who, "COMMIT", "done", writes=f"{lock} {row}"),
            step(at + 2, who, f"order of {who}", f"{place} of 1 sold", writes=f"ledger/{place}"),
        ]
    return schedule(steps, "version-forgotten", broken=Broken("oversubscription", OVERSOLD.detail, 8))


def hostile() -> Schedule:
    """Names, commands and replies that would like to be code."""
    return schedule(
        [
            step(1, "bidder 1", f"GET {HOSTILE}", HOSTILE, reads="redis/" + HOSTILE.replace(" ", "_")),
            step(2, "bidder 2", f"SET 标的:满标 {'x' * 90}", "好的", writes="redis/" + HOSTILE.replace(" ", "_")),
            step(3, "bidder 1", "SET 标的:满标 0", HOSTILE, writes="redis/" + HOSTILE.replace(" ", "_")),
        ],
        f"../{HOSTILE}.py:Über",
        broken=Broken("oversubscription", HOSTILE, 3),
        scenario={"bidders": 2, HOSTILE: HOSTILE},
    )


def long(bidders: int = 3, turns: int = 20) -> Schedule:
    """Sixty steps of three bidders with all sorts of faults."""
    choices: dict[int, Choice] = {7: "lost_request", 18: "lost_reply", 29: "step_fails", 44: "crash_after"}
    steps, left = [], "memcached/left"
    for at in range(1, bidders * turns + 1):
        who, choice = f"bidder {(at * 7 + at // 5) % bidders + 1}", choices.get(at, "go")
        stored = at % 2 == 1
        if at == 35:
            steps.append(step(at, "cache", "left is forgotten by the cache", writes=left, choice="evict"))
        elif at % 3:
            steps.append(step(at, who, "gets left", f"({at}, cas 1)", reads=left, choice=choice))
        else:
            said = "STORED" if stored else "EXISTS"
            steps.append(step(at, who, f"cas left {at} 1", said, writes=left, changed=stored, choice=choice))
    return schedule(steps, "memcached-cas", broken=Broken("undersubscription", "1.00 yuan stayed unsold.", 61))


ALL = (
    lost_update,
    lease_ends,
    paid_twice,
    paid_by_two,
    tapped_again,
    crowd,
    standstill,
    rows_crossed,
    circles,
    polling,
    transactions,
    hostile,
    long,
)
