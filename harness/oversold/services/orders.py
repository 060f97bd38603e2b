"""From a service's own orders to the ledger that the checkers read, or from what bidders were told."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from oversold.bid_plan import bid_index
from oversold.errors import UsageError
from oversold.evidence import NEVER, Ints, Ledger, Outcome
from oversold.services.probes.rows import Row

# How far outside its bid's time an order may be dated: books that keep whole seconds round down by nearly one.
SLACK_NS = 1_000_000_000
SECOND_NS = 1_000_000_000
# How far orders and the answers to their bidders may be apart in the middle: more is another clock, or a shop that
# does much between the two, and then nobody could tell which it is.
APART_NS = 20_000_000
NOBODY = -1


def orders(
    rows: Sequence[Row],
    *,
    run_id: str,
    users: int,
    user_ids: Callable[[int], str],
    taps: npt.NDArray[np.void],
    gate_wall_ns: int,
    t_end: int,
) -> Ledger:
    """Return the ledger that a service's own orders make, in the order of their times.

    An order belongs to the bid whose bid_id it has; where that is none of ours, to the bid of its user; else to
    nobody (-1). Its time is its own where `dated` believes the books, else when its bidder was told ok, else
    `t_end`.

    Args:
        rows: what a ledger probe read.
        run_id: what the ids of the run's bids begin with.
        users: how many bids the plan has.
        user_ids: the user of bid i; all are asked for, if any order has to be known by its user.
        taps: rows of `evidence.HISTORY`, gate = 0.
        gate_wall_ns: Unix time when the gate opened, in ns.
        t_end: end of the run, ns since the gate.

    Raises:
        UsageError: orders are known by their users alone, and several bidders have the same user id.
    """
    bid = _bids(rows, run_id, users, user_ids)
    t = dated(rows, bid, taps, gate_wall_ns, t_end)
    if t is None:
        t = _told(bid, taps, otherwise=t_end)
    in_time = np.argsort(t, kind="stable")
    amount_fen = np.array([row.amount_fen for row in rows], np.int64)
    return Ledger(bid=bid[in_time], amount_fen=amount_fen[in_time], t=t[in_time])


def _bids(rows: Sequence[Row], run_id: str, users: int, user_ids: Callable[[int], str]) -> Ints:
    found = [NOBODY if row.bid_id is None else bid_index(run_id, row.bid_id, users) for row in rows]
    unknown = [place for place, index in enumerate(found) if index == NOBODY and rows[place].user_id is not None]
    if unknown:
        # A user's id may be anything, so all of them are made; only where they are needed.
        of_user = {user_ids(index): index for index in range(users)}
        if len(of_user) < users:
            raise UsageError(
                "the service's user_id gives several bidders the same id, and its ledger no bid_id of ours: "
                "put {n} into user_id, or let the ledger yield bid_id"
            )
        for place in unknown:
            found[place] = of_user.get(rows[place].user_id or "", NOBODY)
    return np.array(found, np.int64)


def dated(
    rows: Sequence[Row], bid: Ints, taps: npt.NDArray[np.void], gate_wall_ns: int, t_end: int
) -> Ints | None:
    """Return the orders' own times, in ns since the gate; None where the books' clock cannot be believed.

    It is believed where every order has a time, not all of them in whole seconds, and none was written before its
    bid was first sent (an order of nobody: before the gate) or after the run's end, both with a second's grace.
    Local time that was taken for UTC shows so. A clock that is wrong by less shows where orders and answers are
    apart: by no more than 20 ms in the middle. Within the grace an order counts from when its bid was sent.

    Args:
        rows: the orders.
        bid: their bids' places in the plan, -1 for nobody.
        taps: rows of `evidence.HISTORY`, gate = 0.
        gate_wall_ns: Unix time when the gate opened, in ns.
        t_end: end of the run, ns since the gate.
    """
    if any(row.at_ns is None for row in rows):
        return None
    # The difference is taken in Python: a time may be decades away.
    times = [row.at_ns for row in rows if row.at_ns is not None]
    if times and not any(at_ns % SECOND_NS for at_ns in times):
        return None
    t = np.array([at_ns - gate_wall_ns for at_ns in times], np.int64)
    began = _first(taps, "t_sent", bid, 0)
    if np.any(t < began - SLACK_NS) or np.any(t > t_end + SLACK_NS):
        return None
    told = _told(bid, taps, otherwise=NEVER)
    apart = (t - told)[told != NEVER]
    if len(apart) and abs(float(np.median(apart))) > APART_NS:
        return None
    return np.asarray(np.maximum(t, began))


def _told(bid: Ints, taps: npt.NDArray[np.void], otherwise: int) -> Ints:
    """Return when the bidder of each order was told ok; `otherwise` where none was."""
    return _first(taps[taps["outcome"] == Outcome.OK], "t_done", bid, otherwise)


def _first(taps: npt.NDArray[np.void], name: str, bid: Ints, otherwise: int) -> Ints:
    """Return for each of `bid` the smallest time `name` of its taps; `otherwise` where there is none."""
    t = taps[name]
    there = t > NEVER // 2  # half-way to "did not happen" is years before any gate
    bids, t = taps["bid"][there].astype(np.int64), t[there]
    in_order = np.lexsort((t, bids))
    bids, t = bids[in_order], t[in_order]
    place = np.searchsorted(bids, bid)
    # One more entry, for places past the end: no bid is -2.
    found = np.append(bids, -2)[place] == bid
    return np.where(found, np.append(t, 0)[place], otherwise).astype(np.int64)


def claimed(taps: npt.NDArray[np.void]) -> Ledger:
    """Return what bidders were told ok for, as if it were the ledger: each bid once, dated when it first heard.

    It stands in where a service has no ledger probe. It is a claim, so a run on it can never be a pass.
    """
    ok = taps[taps["outcome"] == Outcome.OK]
    ok = ok[np.lexsort((ok["t_done"], ok["bid"]))]
    bids = ok["bid"]
    ok = ok[np.append(True, bids[1:] != bids[:-1])[: len(bids)]]
    ok = ok[np.argsort(ok["t_done"], kind="stable")]
    return Ledger(*(ok[name].astype(np.int64) for name in ("bid", "amount_fen", "t_done")))


def resolved(taps: npt.NDArray[np.void], ledger: Ledger) -> dict[str, int]:
    """Return what the ledger says of the bids whose last word was `unknown`.

    Keys: `unknown` (those bids), of which `ordered` have an order and `not_ordered` have none; `ordered_fen` is
    what those orders come to.
    """
    in_order = np.lexsort((taps["t_admitted"], taps["attempt"], taps["bid"]))
    bids = taps["bid"][in_order].astype(np.int64)
    last = np.append(bids[1:] != bids[:-1], True)[: len(bids)]
    unknown = bids[last & (taps["outcome"][in_order] == Outcome.UNKNOWN)]
    theirs = np.isin(ledger.bid, unknown)
    ordered = len(np.unique(ledger.bid[theirs]))
    return {
        "unknown": len(unknown),
        "ordered": ordered,
        "not_ordered": len(unknown) - ordered,
        "ordered_fen": int(ledger.amount_fen[theirs].sum()),
    }
