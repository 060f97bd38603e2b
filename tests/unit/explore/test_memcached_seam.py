"""The seam of pymemcache without a server: commands, their keys, versions, leases, lost messages."""

import pytest
from pymemcache.exceptions import MemcacheServerError, MemcacheUnknownCommandError

from oversold.explore.actor import Actor, Port
from oversold.explore.bidding import SAFETY, Sale
from oversold.explore.crowd import Crowd
from oversold.explore.execution import Execution, Pruned
from oversold.explore.naming import Naming
from oversold.explore.operation import Operation, dependent
from oversold.explore.seams import memcached_protocol as protocol
from oversold.explore.seams.fake_memcached import FakeMemcached
from oversold.explore.search import DepthFirst
from oversold.explore.subject import Code
from oversold.explore.world import World
from oversold.strategies import registry

LEFT, LOCK, NEW = (f"oversold:t-1:{name}" for name in ("left", "lock", "new"))
A_DAY = 86_400


class Script:
    """Chooses what is written down for each step, then `go`."""

    def __init__(self, choices):
        self.choices = list(choices)

    def choose(self, options, execution):
        """Take the next choice of the list."""
        wanted = self.choices.pop(0) if self.choices else "go"
        return next(option for option in options if option.choice == wanted)


@pytest.fixture
def desk():
    """A server whose stock is 100, remembered."""
    seam = FakeMemcached(Naming("t-1", "tranche"))
    seam.connect(Port()).set(LEFT, "100", expire=A_DAY)
    seam.remember()
    yield seam
    seam.close()


@pytest.fixture
def lived(desk):
    """Let one actor live, with these choices for its steps; return what became of it: execution, raised."""

    def live(life, *choices):
        port = Port()
        client = desk.connect(port)
        raised = []

        def guarded():
            try:
                life(client)
            except OSError as error:
                raised.append(error)

        actor = Actor("bidder 1", port, lambda: guarded)
        execution = Execution([actor], Script(choices), len(choices), died=lambda _: desk.clean(client))
        desk.reset()
        execution.run()
        assert actor.error is None
        desk.clean(client)
        return execution, raised

    return live


def told(execution):
    """Return what happened, a line a step."""
    return [f"{step.operation} -> {step.reply}{' *' * step.changed}" for step in execution.steps]


def commands(data):
    """Return what is read off the wire: name, keys, exptime."""
    return [(each.name, each.keys, each.exptime_s) for each in protocol.parsed(data)]


# The protocol


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"get a\r\n", [("get", (b"a",), None)]),
        (b"gets a b\r\n", [("gets", (b"a", b"b"), None)]),
        (b"gat 5 a b\r\n", [("gat", (b"a", b"b"), 5)]),
        (b"cas a 0 7 1 99\r\nx\r\n", [("cas", (b"a",), 7)]),
        (b"incr a 5 noreply\r\n", [("incr", (b"a",), None)]),
        (b"touch a 9\r\n", [("touch", (b"a",), 9)]),
        (b"flush_all\r\nversion\r\n", [("flush_all", (), None), ("version", (), None)]),
        (b"set a 0 0 8\r\nget b\r\nx\r\nset c 0 -1 0\r\n\r\n", [("set", (b"a",), 0), ("set", (b"c",), -1)]),
    ],
)
def test_commands_are_cut_apart_with_their_keys_and_times(data, found):
    """Each command of one write is read by the protocol's rules, whatever its value looks like."""
    assert commands(data) == found


@pytest.mark.parametrize(
    "data",
    [b"mg left v\r\n", b"set a 0 0\r\nx\r\n", b"set a 0 soon 1\r\nx\r\n", b"get\r\n", b"\r\n", b"touch a\r\n"],
)
def test_what_is_not_known_is_one_command_that_touches_everything(desk, data):
    """A command that is unknown or malformed is sent as it is, and nothing commutes with it."""
    (command,) = protocol.parsed(data + b"get a\r\n")
    assert command.wire == data + b"get a\r\n"
    assert dependent(desk.operation(command), Operation("", "", reads=frozenset({"memcached/other"})))
    (known,) = protocol.parsed(b"get a\r\n")
    assert not dependent(desk.operation(known), Operation("", "", writes=frozenset({"memcached/other"})))


def test_what_is_sent_is_answered_and_never_expires_by_itself():
    """`noreply` goes, a lease becomes a day, and what is gone at once stays so."""
    sent = [
        each.wire for each in protocol.parsed(b"set a 3 2 1 noreply\r\nx\r\nadd a 0 -7 1\r\nx\r\ntouch a 0\r\n")
    ]
    assert sent == [b"set a 3 86400 1\r\nx\r\n", b"add a 0 -1 1\r\nx\r\n", b"touch a 0\r\n"]


@pytest.mark.parametrize(
    ("exptime_s", "how"),
    [
        (-1, None),
        (0, "evict"),
        (1, "expire"),
        (3600, "expire"),
        (3601, "evict"),
        (2_592_001, None),
        (2**40, "evict"),
    ],
)
def test_a_time_to_live_tells_how_a_key_disappears(exptime_s, how):
    """Up to an hour it is a lease; a date in the past is the end at once."""
    assert protocol.life(exptime_s) == how


def test_values_are_read_by_their_length():
    """A value may look like the protocol itself."""
    reply = b"VALUE a 0 5 17\r\nEND\r\n\r\nVALUE b 1 0\r\n\r\nEND\r\n"
    assert protocol.values(reply) == {b"a": (b"END\r\n", b"17"), b"b": (b"", None)}
    assert protocol.values(b"END\r\n") == {}


# Commands for people


def test_steps_are_told_without_the_session_and_without_tokens(lived):
    """Keys lose the session's prefix, versions are counted from 1, and only leases tell their time."""

    def life(cache):
        _, token = cache.gets(LEFT)
        cache.cas(LEFT, "0", token, expire=A_DAY)
        cache.cas(LEFT, "1", token)
        cache.cas(LEFT, "1", "123456")
        cache.add(LOCK, "me", expire=2)
        cache.get_many([LEFT, LOCK, NEW])
        cache.gets(LEFT)
        cache.touch(LOCK, -1)
        cache.delete(LOCK)
        cache.incr(LEFT, 7)

    execution, _ = lived(life)
    assert told(execution) == [
        "gets left -> 100 (version 1)",
        "cas left 0 if version 1 -> STORED *",
        "cas left 1 if version 1 -> EXISTS",
        "cas left 1 if an unknown version -> EXISTS",
        "add lock me for 2 s -> STORED *",
        "get left lock new -> left: 0, lock: me, new: nil",
        "gets left -> 0 (version 2)",
        "touch lock for no time -> TOUCHED *",
        "delete lock -> NOT_FOUND",
        "incr left 7 -> 7 *",
    ]
    assert (execution.steps[0].reads, execution.steps[0].writes) == (("memcached/left",), ())
    assert (execution.steps[1].reads, execution.steps[1].writes) == ((), ("memcached/left",))


def test_the_next_execution_is_told_in_the_same_words(lived):
    """Tokens go on counting at the server, the words do not."""
    tokens = []

    def life(cache):
        tokens.append(cache.gets(LEFT)[1])
        cache.cas(LEFT, "50", tokens[-1])

    first, second = (told(lived(life)[0]) for _ in range(2))
    assert first == second
    assert tokens[0] != tokens[1]


def test_several_commands_of_one_write_are_a_step_each(lived):
    """memcached serves them one by one, and others in between."""
    execution, _ = lived(lambda cache: cache.set_many({LEFT: "1", NEW: "2"}))
    assert told(execution) == ["set left 1 -> STORED *", "set new 2 -> STORED *"]


def test_what_says_nothing_of_the_data_passes_unseen(lived):
    """`version` and `stats` are no steps."""
    execution, _ = lived(lambda cache: (cache.version(), cache.stats(), cache.get(LEFT)))
    assert told(execution) == ["get left -> 100"]


def test_an_unknown_command_is_refused_by_the_server_itself(lived):
    """It is a step like others, and the client hears what the server says."""

    def life(cache):
        with pytest.raises(MemcacheUnknownCommandError):
            cache.raw_command(f"verb {NEW}")
        cache.get(LEFT)

    execution, _ = lived(life)
    assert told(execution) == ["verb new -> ERROR *", "get left -> 100"]


def test_a_command_without_a_reply_is_known_to_be_applied(lived):
    """`noreply` leaves nothing to read, and the next command reads its own answer."""
    looked = []

    def life(cache):
        cache.set(LEFT, "5", noreply=True)
        looked.append(cache.get(LEFT))

    execution, _ = lived(life)
    assert looked == [b"5"]
    assert told(execution)[0] == "set left 5 -> STORED *"


# Keys that disappear


def test_leases_expire_and_everything_else_may_be_forgotten(desk, lived):
    """What may disappear follows from the commands that took effect, and from no others."""
    seen = []

    def note(_=None):
        seen.append(sorted(desk.expiring()))

    def life(cache):
        note(cache.add(LOCK, "me", expire=2))
        note(cache.add(LOCK, "you", expire=A_DAY))  # not stored
        note(cache.touch(LOCK, A_DAY))
        note(cache.incr(LEFT, 1))
        note(cache.raw_command(f"gat 3 {LOCK}", end_tokens="END\r\n"))
        note(cache.cas(LOCK, "me", cache.gets(LOCK)[1], expire=-1))
        note(cache.delete(LEFT))
        note(cache.set(NEW, "1"))
        note(cache.flush_all())

    lived(life)
    left, lock, new = "memcached/left", "memcached/lock", "memcached/new"
    assert seen == [
        [("evict", left), ("expire", lock)],
        [("evict", left), ("expire", lock)],
        [("evict", left), ("evict", lock)],
        [("evict", left), ("evict", lock)],
        [("evict", left), ("expire", lock)],
        [("evict", left)],
        [],
        [("evict", new)],
        [],
    ]


def test_a_key_disappears_as_its_time_would_end_it(desk, lived):
    """After it, `cas` finds nothing, and the key is no more among those that may disappear."""
    stored = []

    def life(cache):
        _, token = cache.gets(LEFT)
        desk.disappear("memcached/left")
        stored.append(cache.cas(LEFT, "0", token))

    lived(life)
    assert stored == [None]
    assert list(desk.expiring()) == []


def test_each_execution_begins_with_what_was_remembered(desk, lived):
    """What was forgotten comes back with its flags and its life, what was new is gone, and `incr` works."""
    desk.connect(port := Port()).set(LOCK, "7", expire=30, flags=5)
    desk.remember()
    before = desk.admin.get_many([LEFT, LOCK, NEW]), list(desk.expiring())
    lived(lambda cache: (cache.set(NEW, "1"), cache.delete(LEFT), cache.set(LOCK, "9"), cache.touch(NEW, 5)))
    desk.disappear("memcached/lock")
    assert desk.admin.get_many([LEFT, LOCK, NEW]) != before[0]
    desk.reset()
    assert (desk.admin.get_many([LEFT, LOCK, NEW]), list(desk.expiring())) == before
    assert before[0][LOCK] == (b"7", 5)
    assert desk.connect(port).incr(LEFT, 1) == 101


def test_a_value_that_is_too_large_leaves_nothing(desk, lived):
    """memcached drops the old value as well; the next execution has it again."""
    raised = []

    def life(cache):
        try:
            cache.set(LEFT, "x" * (1 << 21))
        except MemcacheServerError as error:
            raised.append(error)
        raised.append(cache.get(LEFT))

    lived(life)
    assert "too large" in str(raised[0])
    assert (raised[1], list(desk.expiring())) == (None, [])
    desk.reset()
    assert desk.admin.get(LEFT) == (b"100", 0)


# What is lost


@pytest.mark.parametrize(("choice", "left"), [("lost_request", b"100"), ("lost_reply", b"0")])
def test_a_lost_message_is_a_timeout_and_the_client_lives_on(lived, choice, left):
    """A lost request changes nothing, a lost reply comes after the change; connecting anew is no step."""
    looked = []

    def life(cache):
        try:
            cache.set(LEFT, "0")
        except TimeoutError as error:
            looked.append(error)
        looked.append(cache.get(LEFT))

    execution, _ = lived(life, choice)
    assert isinstance(looked[0], TimeoutError)
    assert looked[1] == left
    assert [step.operation for step in execution.steps] == ["set left 0", "get left"]


def test_a_dead_actor_has_changed_the_store_and_says_nothing_more(desk, lived):
    """The command is applied; what `finally` still wants to send is refused."""

    def life(cache):
        try:
            cache.set(LEFT, "0")
        finally:
            cache.set(LEFT, "1")

    execution, raised = lived(life, "crash_after")
    assert (len(execution.steps), raised) == (1, [])
    assert desk.admin.get(LEFT) == (b"0", 0)


def test_behind_a_command_that_was_lost_unnoticed_nothing_arrives(desk, lived):
    """Who waits for no reply misses none, and learns of it by the next command."""

    def life(cache):
        cache.set(LEFT, "0", noreply=True)
        cache.set(LEFT, "1")

    execution, raised = lived(life, "lost_request")
    assert [step.operation for step in execution.steps] == ["set left 0"]
    assert isinstance(raised[0], ConnectionResetError)
    assert desk.admin.get(LEFT) == (b"100", 0)


def test_what_a_dead_actor_has_not_read_is_nobodys_answer(desk, lived):
    """Dead in the middle of a write, it leaves replies unread; whoever has its client next does not read them."""
    port = Port()
    client = desk.connect(port)
    actor = Actor("bidder 1", port, lambda: lambda: client.set_many({LEFT: "1", NEW: "2"}))
    Execution([actor], Script(["go", "crash_after"]), 2).run()
    unclean = client.sock._ahead
    desk.clean(client)
    assert unclean == b"STORED\r\n"
    assert client.get(LEFT) == b"1"


# The search


def explored(name, crowd, *, seam=FakeMemcached, reduction=True):
    """Walk all schedules; return how many there are, and what came of them: broken checks and the orders."""
    naming = Naming("t-1", "tranche")
    world = World(naming, crowd.bidders + 1)
    world.add("memcached", seam(naming))
    world.sit()
    sale = Sale(registry.load_bids(name), world, "t-1", crowd, 1, Code(name))
    search, runs, came = DepthFirst(reduction=reduction), 0, set()
    while not search.exhausted:
        search.begin()
        try:
            sale.play(search, 0)
            came |= {(finding.check, finding.detail) for finding in sale.broken()}
            came.add(("sold", len(sale.books.orders)))
            runs += 1
        except Pruned:
            pass
        search.end()
    world.close()
    return runs, came


@pytest.mark.parametrize(
    ("name", "bids_each", "oversells"),
    [
        ("memcached-cas", 1, False),
        ("memcached-decr", 1, True),
        ("memcached-decr-offset", 1, False),
        ("memcached-cas", 2, False),
        ("memcached-decr", 2, True),
    ],
)
def test_all_orders_of_two_bidders_and_fewer_of_them_come_to_the_same(name, bids_each, oversells):
    """Leaving out orders of independent commands loses no result, and only the broken design oversells."""
    crowd = Crowd(2, 1, bids_each=bids_each)
    few, came = explored(name, crowd)
    many, all_came = explored(name, crowd, reduction=False)
    assert came == all_came
    assert few < many
    assert any(check in SAFETY for check, _ in came) is oversells


class WithoutKeys(FakeMemcached):
    """Believes that no command touches any key."""

    def operation(self, command):
        """Keep the words only."""
        known = super().operation(command)
        return Operation(known.text, known.name)


def test_a_seam_that_knows_no_keys_is_found_out():
    """The comparison with all orders fails when the keys are wrong: the oversold sale is then missed."""
    _, came = explored("memcached-decr", Crowd(2, 1), seam=WithoutKeys)
    assert not any(check in SAFETY for check, _ in came)
