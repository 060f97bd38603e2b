"""How the single consumer of a queue allocates: one request after the other, from what is left."""

from collections.abc import Callable, Iterable


def allocate(
    left_fen: int,
    requests: Iterable[tuple[str, str, int]],
    states: dict[str, str],
    has_its_amount: Callable[[str | None], bool],
) -> tuple[int, list[str]]:
    """Decide requests; return what is left in fen, and the answer to each (`ok` or `sold_out`).

    Args:
        left_fen: the stock before.
        requests: (`reserve` or `release`, bid id, amount in fen), in the order of their arrival.
        states: bid id -> `held` or `released`, of those that were decided before; it is brought up to date.
        has_its_amount: tells from its state whether a bid was granted before, since a message may come twice.
    """
    answers = []
    for what, bid_id, amount_fen in requests:
        state, fits = states.get(bid_id), True
        if what == "release":
            if state == "held":
                left_fen += amount_fen
                states[bid_id] = "released"
        elif not has_its_amount(state):
            fits = left_fen >= amount_fen
            if fits:
                left_fen -= amount_fen
                states[bid_id] = "held"
        answers.append("ok" if fits else "sold_out")
    return left_fen, answers
