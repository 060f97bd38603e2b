"""Payout strategies under the explorer, over a store in memory: who acts when, what channels do."""

from collections import Counter
from typing import Any, ClassVar

import pytest

from oversold.errors import UsageError
from oversold.explore.actor import Port
from oversold.explore.execution import Pruned
from oversold.explore.naming import Naming
from oversold.explore.operation import Operation
from oversold.explore.paying import CHANNELS, Disbursement
from oversold.explore.seams.channel import HONEST, PaymentChannels
from oversold.explore.search import DepthFirst
from oversold.explore.subject import Code
from oversold.explore.workload import Workload, workload_of
from oversold.explore.world import World
from oversold.model import PayoutState

PAYDAY = "tp-1"


class Table:
    """A store with one status an obligation, in memory: reading and taking are one step each."""

    def __init__(self) -> None:
        self.status: dict[str, str] = {}
        self.now_s = 0.0

    def connect(self, port: Port) -> Any:
        return Client(self, port)

    def clean(self, client: Any) -> None:
        """It has nothing open."""

    def remember(self) -> None:
        self._kept = dict(self.status)

    def reset(self) -> None:
        self.status = dict(self._kept)

    def expiring(self) -> Any:
        return ()

    def disappear(self, key: str) -> None:
        """Nothing does."""

    def pass_time(self, now_s: float) -> None:
        self.now_s = now_s

    def close(self) -> None:
        """It has nothing open."""


class Client:
    """One actor's view of the table."""

    def __init__(self, table: Table, port: Port) -> None:
        self._table, self._port = table, port

    def get(self, ref: str) -> str:
        self._step("get", ref, writing=False)
        return self._done(self._table.status[ref], changed=False)

    def take(self, ref: str, before: str, after: str) -> bool:
        self._step("take", ref, writing=True)
        taken = self._table.status[ref] == before
        if taken:
            self._table.status[ref] = after
        return self._done(taken, changed=taken)

    def _step(self, name: str, ref: str, *, writing: bool) -> None:
        keys = frozenset({f"table/{ref}"})
        touched = {"writes" if writing else "reads": keys}
        self._choice = self._port.ask(Operation(f"{name} {ref[-1]}", name, **touched))
        if self._choice == "lost_request":
            raise ConnectionError("the request was lost")

    def _done(self, answer: Any, *, changed: bool) -> Any:
        self._port.reply(str(answer), changed=changed)
        if self._choice == "crash_after":
            self._port.crash()
        if self._choice == "lost_reply":
            raise ConnectionError("the reply was lost")
        return answer


def kept() -> tuple[Any, Any]:
    """Return how to write down what is due, and how to read it: in the place of the table of obligations."""
    owed: list[Any] = []

    def write(payday: Any) -> None:
        owed[:] = [(each.obligation_id, each.user_id, each.amount_fen) for each in payday.obligations]

    return write, lambda: owed


WRITE_DOWN, OWED = kept()
_, DRAWN = kept()


class Payer:
    """Reads, pays by the first channel, marks: two workers both pay."""

    stores: ClassVar[frozenset[str]] = frozenset({"redis"})  # the table stands in its place

    def __init__(self, context: Any) -> None:
        self.context = context
        self.table = context.redis
        self.channels = list(context.channels.values())

    def open(self, payday: Any) -> None:
        WRITE_DOWN(payday)

    def run_job(self, job: Any) -> None:
        for owed in OWED():
            if self.claim(owed[0]):
                self.pay(owed)

    def claim(self, ref: str) -> bool:
        return bool(self.table.get(ref) == "DUE")

    def pay(self, owed: Any) -> None:
        if self.channels[0].pay(*owed) == "ok":
            self.table.take(owed[0], "DUE", "PAID")

    def reconcile(self, payday_id: str) -> int:
        return 0

    def state(self, payday_id: str) -> Any:
        return {ref: PayoutState(self.table.get(ref)) for ref, *_ in OWED()}


class Claimer(Payer):
    """Takes before it pays; after any answer but ok the next channel pays."""

    def claim(self, ref: str) -> bool:
        return bool(self.table.take(ref, "DUE", "CLAIMED"))

    def pay(self, owed: Any) -> None:
        if any(channel.pay(*owed) == "ok" for channel in self.channels):
            self.table.take(owed[0], "CLAIMED", "PAID")


class Careful(Claimer):
    """One channel, under the obligation's id as key; reconciliation pays what is still claimed alike."""

    def pay(self, owed: Any) -> None:
        if self.channels[0].pay(*owed, key=owed[0]) == "ok":
            self.table.take(owed[0], "CLAIMED", "PAID")

    def reconcile(self, payday_id: str) -> int:
        for owed in OWED():
            if self.table.get(owed[0]) == "CLAIMED":
                self.pay(owed)
        return sum(self.table.get(ref) != "PAID" for ref, *_ in OWED())


def payday(kind: Any, **numbers: Any) -> Disbursement:
    """Return a payday under a strategy, with its store in memory."""
    table, naming, load = Table(), Naming(PAYDAY, "payday"), Workload(**numbers)
    table.status = {f"{PAYDAY}-{index:06d}": "DUE" for index in range(load.obligations)}
    world = World(naming, Disbursement.seats(load))
    world.add("redis", table)
    world.add(CHANNELS, PaymentChannels(naming, load.profiles))
    world.sit()
    return Disbursement(kind, world, PAYDAY, load, 1, Code("mine"))


def walk(subject: Disbursement, faults: int) -> tuple[Counter[str], dict[str, Any]]:
    """Walk all schedules; return how many broke each promise, and one schedule each."""
    search, seen, first = DepthFirst(), Counter(), {}
    while not search.exhausted:
        search.begin()
        try:
            execution = subject.play(search, faults)
        except Pruned:
            pass
        else:
            for check in [finding.check for finding in subject.broken()] or [execution.ending or "sound"]:
                seen[check] += 1
                first.setdefault(check, (execution, subject.step_of(check)))
        search.end()
    return seen, first


class First:
    """Takes what comes first, unless a step's choice is given by its number."""

    def __init__(self, **choices: str) -> None:
        self.choices = {int(number[1:]): choice for number, choice in choices.items()}

    def choose(self, options: Any, execution: Any) -> Any:
        wanted = self.choices.get(len(execution.steps) + 1, "go")
        return next((option for option in options if option.choice == wanted), options[0])


def told(execution: Any) -> list[tuple[str, str, str, str]]:
    """Return who did what, with what to show for it."""
    return [(step.actor, step.choice, step.operation, step.reply) for step in execution.steps]


def test_stale_reads_pay_twice_without_any_fault() -> None:
    """Two workers that both read DUE pay twice, and the second payment is named as the step that did it."""
    seen, first = walk(payday(Payer), 0)
    execution, step = first["overpaid"]
    assert seen["overpaid"]
    assert seen["sound"]
    assert execution.steps[step - 1].operation.startswith("pay payday-000000 1 yuan by A")
    assert sum(each.operation.startswith("pay") for each in execution.steps[:step]) == 2


def test_a_claim_stops_the_overlap_but_not_the_second_channel() -> None:
    """Claimed rows are paid once while channels are heard and believed; one lost reply or one lie pays twice."""
    assert set(walk(payday(Claimer), 0)[0]) == {"sound"}
    seen, first = walk(payday(Claimer, pauses=0), 1)
    execution, step = first["overpaid"]
    assert seen["overpaid"]
    assert {"lost_reply", "lie"} & {each.choice for each in execution.steps}
    assert " by B" in execution.steps[step - 1].operation


@pytest.mark.parametrize(
    ("choice", "replies"),
    [
        ("go", [("ok", "go")]),
        ("lost_request", [("timeout, not paid", "lost_request"), ("ok", "go")]),
        ("lost_reply", [("timeout, paid", "lost_reply"), ("ok", "go")]),
        ("lie", [("failed, paid", "lie"), ("ok", "go")]),
        ("crash_after", [("ok", "crash_after")]),
    ],
)
def test_what_becomes_of_a_pay_call(choice: str, replies: Any) -> None:
    """Each choice moves money or not, and says so or not; a worker that dies calls nobody any more."""
    subject = payday(Claimer, workers=1)
    execution = subject.play(First(s2=choice), 1)
    calls = [(each.reply, each.choice) for each in execution.steps if each.operation.startswith("pay")]
    assert calls == replies
    paid = sum(moved for moved in subject.evidence().payments["t_effect"] < 1000)
    assert paid == sum("ok" in reply or ", paid" in reply for reply, _ in calls)


def test_a_key_is_honoured_even_when_the_reply_was_lost() -> None:
    """The same key again is answered ok from memory and moves nothing, so any one fault does no harm."""
    assert set(walk(payday(Careful, pauses=0), 1)[0]) == {"sound"}


def test_a_key_that_has_lost_its_life_pays_again() -> None:
    """Where keys are honoured for half an hour, who goes on an hour after a worker's death pays a second time."""
    assert "overpaid" in walk(payday(Careful, workers=1, key_life_s=1800), 1)[0]
    assert "overpaid" not in walk(payday(Careful, workers=1, key_life_s=7200), 1)[0]


def test_a_query_does_not_see_what_is_younger_than_the_lag() -> None:
    """Right after a call a channel with a lag knows nothing of it; an hour later it does."""

    class Asking(Careful):
        def run_job(self, job: Any) -> None:
            self.channels[0].pay(*OWED()[0])
            DRAWN().append(self.channels[0].query(OWED()[0][0]))

        def reconcile(self, payday_id: str) -> int:
            DRAWN().append(self.channels[0].query(OWED()[0][0]))
            return 0

    for lag_s, expected in ((0, ["success", "success"]), (60, ["not_found", "success"])):
        DRAWN().clear()
        payday(Asking, workers=1, visibility_s=lag_s).play(First(), 0)
        assert DRAWN() == expected


def test_reconciliation_comes_when_the_workers_are_gone_or_time_passes() -> None:
    """The reconciler begins after an hour: by itself when nobody is at work, beside the workers as a fault."""
    steps = told(payday(Careful).play(First(s2="crash_after"), 1))
    hour = [actor for actor, _, _, _ in steps].index("time")
    assert all(actor.startswith("worker") for actor, *_ in steps[:hour])
    assert steps[hour + 1][:3] == ("reconciler", "go", "begin to reconcile")
    assert ("reconciler", "go", "pay payday-000000 1 yuan by A, key payday-000000", "ok") in steps
    early = told(payday(Careful).play(First(s1="time_passes"), 1))
    assert early[0][:2] == ("time", "time_passes")
    assert {actor for actor, *_ in early[1:]} == {"worker 1", "worker 2", "reconciler"}
    assert "time" not in {actor for actor, *_ in early[1:]}


class Pausing(First):
    """Lets all pause before a step; while the reconciler can go on, the workers stay away."""

    def choose(self, options: Any, execution: Any) -> Any:
        chosen = super().choose(options, execution)
        awake = [option for option in options if option.choice == "go" and option.actor == "reconciler"]
        return awake[0] if awake and chosen.choice == "go" else chosen


def test_one_pause_is_as_long_as_it_takes() -> None:
    """While no worker goes on reconciliation comes round after round, at the price of one fault."""

    class Slow(Careful):
        def reconcile(self, payday_id: str) -> int:
            return super().reconcile(payday_id) if DRAWN().append(0) or len(DRAWN()) >= 3 else 1

    DRAWN().clear()
    execution = payday(Slow, workers=1).play(Pausing(s2="time_passes"), 1)
    begun = [step.operation for step in execution.steps if step.operation.startswith("begin")]
    again = "begin to reconcile, another hour later"
    assert begun == ["begin to reconcile", again, again, "begin to reconcile"]
    late = [step.actor for step in execution.steps if step.operation.startswith("pay")]
    assert late == ["reconciler", "worker 1"]
    assert execution.budget == 0


def test_where_workers_never_pause_time_passes_only_when_all_wait() -> None:
    """Without pauses the reconciler never meets a worker, and less has to be walked."""
    with_pauses, without = (walk(payday(Careful, workers=1, pauses=pauses), 1)[0] for pauses in (1, 0))
    assert sum(without.values()) < sum(with_pauses.values())
    steps = told(payday(Careful, pauses=0).play(First(s1="time_passes"), 1))
    assert "time_passes" not in {choice for _, choice, _, _ in steps}


def test_a_reconciler_that_dies_begins_again_and_gives_up_in_the_end() -> None:
    """After its death it comes back an hour later; what never comes to an end is asked eight times."""

    class Never(Careful):
        def reconcile(self, payday_id: str) -> int:
            super().reconcile(payday_id)
            return 1

    subject = payday(Careful, workers=1)
    steps = told(subject.play(First(s1="crash_after", s4="crash_after"), 2))
    begun = [place for place, step in enumerate(steps) if step[2] == "begin to reconcile"]
    assert [steps[place - 1][2] for place in begun] == ["an hour passes", "an hour passes"]
    assert not subject.broken()
    steps = told(payday(Never, workers=1).play(First(), 0))
    assert sum(step[2] == "begin to reconcile" for step in steps) == 8


def test_strangers_and_what_nobody_pays_are_told() -> None:
    """Money under a ref that nobody is owed breaks a promise of safety, what is left unpaid one of progress."""

    class Misled(Claimer):
        def pay(self, owed: Any) -> None:
            self.channels[0].pay("gift", *owed[1:])

    subject = payday(Misled)
    seen, first = walk(subject, 0)
    assert {"stranger", "missed"} <= set(seen)
    execution, step = first["stranger"]
    assert execution.steps[step - 1].operation == "pay gift 1 yuan by A, no key"
    assert subject.safety == ("overpaid", "stranger")


def test_what_the_strategy_raises_is_told_unless_a_connection_failed() -> None:
    """Its own exception is its own fault, even after a channel's silence; a lost connection ends a worker only."""

    class Clumsy(Claimer):
        def pay(self, owed: Any) -> None:
            if self.channels[0].pay(*owed) != "ok":
                raise KeyError("no such reply")

    silent = payday(Clumsy, workers=1)
    silent.play(First(s2="lost_reply"), 1)
    assert [who for who, what in silent.raised if "no such reply" in what] == ["worker 1"]
    cut = payday(Clumsy, workers=1)
    cut.play(First(s1="lost_reply"), 1)
    assert not cut.raised


def test_each_life_draws_numbers_of_its_own_and_the_same_ones_in_each_execution() -> None:
    """A reconciler that begins again must not repeat its keys, or the channel would hide the second payment."""

    class Drawing(Careful):
        def reconcile(self, payday_id: str) -> int:
            DRAWN().append(self.context.random.random())
            self.table.get(OWED()[0][0])
            return 0

    subject = payday(Drawing, workers=1)
    DRAWN().clear()
    for _ in range(2):
        subject.play(First(s6="crash_after"), 1)
    assert len(set(DRAWN())) == 2
    assert DRAWN()[:2] == DRAWN()[2:]


def test_channels_begin_each_execution_with_empty_books() -> None:
    """The same choices give the same steps again, with the same replies."""
    subject = payday(Careful)
    runs = [told(subject.play(First(s2="lost_reply"), 1)) for _ in range(3)]
    assert runs[0] == runs[1] == runs[2]


def test_queries_voids_and_statements_are_steps_that_may_go_unheard() -> None:
    """What a channel knows is told as the kernel tells it; whoever does not hear it is told of a time-out."""

    class Asking(Payer):
        def run_job(self, job: Any) -> None:
            (owed,), (channel, _) = OWED(), self.channels
            heard = [channel.query(owed[0]), channel.void(owed[0]), channel.pay(*owed), channel.void(owed[0])]
            DRAWN().append((*heard, channel.query(owed[0]), sum(channel.statement().values())))

    known = ("not_found", "voided", "ok", "paid", "success", 100)
    unheard = ("timeout", "timeout", "timeout", "timeout", "timeout", 0)
    for choice in ("go", "lost_reply", "lost_request"):
        for place in range(6):
            DRAWN().clear()
            payday(Asking, workers=1).play(First(**{f"s{place + 1}": choice}), 1)
            expected = list(known)
            if choice != "go":
                expected[place] = unheard[place]
            if (choice, place) == ("lost_request", 2):
                expected[3:] = ["voided", "not_found", 0]
            assert DRAWN() == [tuple(expected)]


def test_a_channel_outside_an_execution_answers_at_once() -> None:
    """While nobody acts, as when a strategy is opened, calls pass unseen."""
    channels = PaymentChannels(Naming(PAYDAY, "payday"), {"A": HONEST})
    channel = channels.connect(Port())["A"]
    assert channel.pay("r", "u", 100, "k") == "ok"
    assert channel.pay("r", "u", 100, "k") == "ok"
    assert channel.pay("s", "u", 100, "k") == "mismatch"
    assert channel.statement() == {"r": 100}
    channels.reset()
    assert channel.statement() == {}
    channels.close()


def test_a_scenario_stands_for_its_workload() -> None:
    """The numbers of a replay file give the same workload again."""
    numbers = {"obligations": 2, "workers": 3, "visibility_s": 60, "key_life_s": 0, "pauses": 0}
    load = Workload(**numbers, channels=("A", "B", "C"))
    told_of = payday(Payer, **numbers, channels=("A", "B", "C")).scenario()
    assert told_of == {**numbers, "channels": "A,B,C"}
    assert workload_of(told_of) == load


@pytest.mark.parametrize(
    ("numbers", "mend"),
    [
        ({"worker": 2}, "did you mean"),
        ({"workers": 0}, "at least 1"),
        ({"workers": "two"}, "whole number"),
        ({"key_life_s": -1}, "at least 0"),
        ({"channels": "A,,B"}, "like A,B"),
        ({"channels": "A,A"}, "like A,B"),
    ],
)
def test_a_scenario_that_makes_no_sense_is_refused(numbers: Any, mend: str) -> None:
    """One line names the number and the mend; what is not said is as usual."""
    with pytest.raises(UsageError, match=mend) as refused:
        workload_of(numbers)
    assert "\n" not in str(refused.value)
    assert workload_of({}) == Workload()
