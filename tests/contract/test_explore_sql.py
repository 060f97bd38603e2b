"""The explorer over real SQL servers: holes are found, sound designs exhausted, locks learned, faults true."""

import re

import psycopg
import pymysql
import pytest
import sqlalchemy as sa

from oversold.explore.actor import Actor, Port
from oversold.explore.bidding import SAFETY, Sale
from oversold.explore.crowd import Crowd
from oversold.explore.escapes import Escape
from oversold.explore.execution import Execution, Learned, Pruned
from oversold.explore.naming import Naming
from oversold.explore.replay import findings
from oversold.explore.seams.mariadb import AWHILE, MariadbServer, at_once
from oversold.explore.seams.postgres import PostgresServer
from oversold.explore.search import DepthFirst
from oversold.explore.subject import Code
from oversold.explore.world import World
from oversold.model import Hold
from oversold.platform.faults import connection_lost
from oversold.strategies import registry
from oversold.strategies.bids.stock_table import REMAINING, WRITE, StockRow, is_conflict

pytestmark = pytest.mark.servers

SEAMS = {"sql": PostgresServer, "mariadb": MariadbServer}
both = pytest.mark.parametrize("store", SEAMS)


@pytest.fixture
def naming(new_tranche):
    """The names of a tranche of its own."""
    return Naming(new_tranche(100).tranche_id, "tranche")


@pytest.fixture
def seam(endpoints, naming):
    """Make the seam of a server; what it makes there is gone after the test."""
    made = []

    def make(store, **options):
        made.append(SEAMS[store](endpoints[store], naming, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def explored(seam, naming):
    """Walk the schedules of a strategy, until what one broke is enough; return each with what it broke."""

    def explore(store, strategy, crowd, faults=0, *, reduction=True, until=lambda broken: False, server=None):
        kind = registry.load_bids(strategy) if isinstance(strategy, str) else strategy
        world = World(naming, crowd.bidders + 1)
        world.add("sql", server or seam(store, looked_at_clock=world.look_at_clock))
        world.sit()
        subject = naming.prefix.removeprefix("oversold:")
        sale = Sale(kind, world, subject, crowd, 1, Code("tried"))
        try:
            return walked(sale, DepthFirst(reduction=reduction), faults, until)
        finally:
            world.rest()

    return explore


def walked(sale, search, faults, until=lambda broken: False):
    """Walk a sale's schedules; return the execution and what it broke, of each that was walked to its end."""
    found = []
    while not search.exhausted:
        search.begin()
        try:
            execution = sale.play(search, faults)
            broken = {finding.check for finding in sale.broken()} if not execution.ending else {execution.ending}
            found.append((execution, broken | {what for _, what in sale.books.raised}))
            if until(found[-1][1]):
                break
        except Pruned:
            pass
        except Learned:
            search.learned()
            continue
        search.end()
    return found


def unsafe(broken):
    """Tell whether a promise of safety is among what was broken."""
    return not broken.isdisjoint(SAFETY)


def outcomes(found):
    """Return, over all schedules, who got an order, what was read by the statements, and what was broken."""
    return {
        (
            tuple(sorted(step.operation for step in execution.steps if step.operation.startswith("order"))),
            tuple(
                sorted(
                    (s.actor, s.operation, s.reply) for s in execution.steps if s.operation.startswith("SELECT")
                )
            ),
            tuple(sorted(broken)),
        )
        for execution, broken in found
    }


# Strategies


@pytest.mark.parametrize(
    ("store", "name", "bidders", "count"),
    [
        ("sql", "row-lock", 3, 6),
        ("sql", "conditional-update", 3, 6),
        ("sql", "version", 2, 4),
        ("sql", "serializable", 2, 6),
        ("sql", "advisory-lock", 2, 2),
        ("sql", "row-lock-held", 2, 2),
        ("sql", "two-phase", 2, 12),
        ("mariadb", "row-lock", 2, 2),
        ("mariadb", "conditional-update", 2, 2),
        ("mariadb", "skip-locked", 2, 14),
    ],
)
def test_sound_designs_are_exhausted(explored, store, name, bidders, count):
    """Every order of the statements of a sound design is walked, and there are no more of them than before."""
    found = explored(store, name, Crowd(bidders, 1))
    assert not [broken for _, broken in found if broken]
    assert 2 <= len(found) <= count


@both
def test_a_lock_given_up_before_the_commit_oversells(explored, store):
    """The hole of `advisory-lock-early` is found without a fault: a session's lock, an uncommitted write."""
    assert unsafe(explored(store, "advisory-lock-early", Crowd(2, 1), until=unsafe)[-1][1])


@both
def test_crashes_and_lost_replies_end_transactions(explored, store):
    """With one fault nobody is left waiting for whoever died or lost its connection, and nothing is oversold."""
    found = explored(store, "row-lock", Crowd(2, 1), 1)
    assert len(found) > 50
    assert not [broken for _, broken in found if unsafe(broken) or "deadlock" in broken]
    assert {step.choice for execution, _ in found for step in execution.steps} >= {
        "crash_after",
        "lost_request",
        "lost_reply",
        "step_fails",
    }


class Hurried(StockRow):
    """Waits five seconds for a named lock; goes on whether it has got it or not, unless it is `careful`."""

    careful = False

    def __init__(self, context):
        super().__init__(context)
        self._sql = context.sql.execution_options(isolation_level="READ COMMITTED")

    def reserve(self, bid):
        """Lock, look, write, unlock."""
        values = {"tranche": bid.tranche_id}
        got = self._sql.execute(sa.text("SELECT GET_LOCK(:lock, 5)"), {"lock": bid.tranche_id}).scalar_one()
        if self.careful and not got:
            return Hold("busy")
        left = self._sql.execute(REMAINING, values).scalar_one()
        if left >= bid.amount_fen:
            self._sql.execute(WRITE, {**values, "rest": left - bid.amount_fen})
        self._sql.commit()
        self._sql.execute(sa.text("DO RELEASE_LOCK(:lock)"), {"lock": bid.tranche_id})
        self._sql.commit()
        return Hold("ok" if left >= bid.amount_fen else "sold_out")


class Careful(Hurried):
    """Turns the bidder away when it has not got the lock."""

    careful = True


def test_whoever_waits_for_a_named_lock_may_have_waited_in_vain(explored):
    """With one fault GET_LOCK may answer 0: who takes that for the lock oversells, who looks at it does not."""
    assert not [broken for _, broken in explored("mariadb", Hurried, Crowd(2, 1)) if unsafe(broken)]
    execution, broken = explored("mariadb", Hurried, Crowd(2, 1), faults=1, until=unsafe)[-1]
    assert unsafe(broken)
    assert [step.choice for step in execution.steps if step.reply == "0" and "GET_LOCK" in step.operation] == [
        "gives_up"
    ]
    found = explored("mariadb", Careful, Crowd(2, 1), faults=1)
    assert not [broken for _, broken in found if unsafe(broken)]


class Forgets(StockRow):
    """Never gives its named lock back."""

    def reserve(self, bid):
        """Lock and take."""
        values = {"tranche": bid.tranche_id}
        got = self._sql.execute(sa.text("SELECT GET_LOCK(:lock, 5)"), {"lock": bid.tranche_id}).scalar_one()
        self._sql.commit()
        if not got:
            return Hold("busy")
        left = self._sql.execute(REMAINING, values).scalar_one()
        self._sql.execute(WRITE, {**values, "rest": left - bid.amount_fen})
        self._sql.commit()
        return Hold("ok")


def test_a_named_lock_that_nobody_gives_back_is_a_stall(explored):
    """The time for a wait is over though nothing has failed."""
    execution, _ = explored("mariadb", Forgets, Crowd(2, 2))[-1]
    assert execution.stalled.startswith(
        "Everybody waited until the time for it was over, though nothing had failed"
    )
    assert not any(execution.stalled for execution, _ in explored("mariadb", Careful, Crowd(2, 1)))


@pytest.mark.parametrize(
    ("sql", "waits"),
    [
        ("SELECT GET_LOCK('a', 5)", True),
        ("SELECT get_lock( 'a' , 0.5 )", True),
        ("SELECT GET_LOCK(%(lock)s, %(wait)s)", True),
        ("DO GET_LOCK(%s, %s)", True),
        ("SELECT GET_LOCK('a', 0)", False),
        ("SELECT GET_LOCK('a', 0.0)", False),
        ("SELECT RELEASE_LOCK('a')", False),
    ],
)
def test_who_waits_for_a_named_lock_for_a_while(sql, waits):
    """Whoever asks without waiting has nothing to give up; the value stays where it was, times nothing."""
    assert (AWHILE.search(sql) is not None) is waits
    assert (at_once(sql) == f"{sql.rstrip(' )')} * 0)") is waits


class LeavesLock(StockRow):
    """Ends its transaction when it has sold, and forgets to when it is sold out."""

    def reserve(self, bid):
        """Lock, look, write."""
        values = {"tranche": bid.tranche_id}
        left = self._sql.execute(REMAINING.with_for_update(), values).scalar_one()
        if left < bid.amount_fen:
            return Hold("sold_out")
        self._sql.execute(WRITE, {**values, "rest": left - bid.amount_fen})
        self._sql.commit()
        return Hold("ok")


@both
def test_what_a_bid_leaves_open_stands_in_the_way(explored, store):
    """A transaction that a finished bidder left open holds up whoever comes next for good. The design that ends it
    holds up nobody, whatever number of bids each makes."""
    ended = explored(store, LeavesLock, Crowd(3, 1), until=lambda broken: "deadlock" in broken)[-1]
    assert ended[1] == {"deadlock"}
    (finding,) = findings(None, ended[0])
    assert re.fullmatch(
        r"Bidder \d \(at SELECT .* FOR UPDATE\) waits for ever: whoever could change that has finished\.",
        finding.detail,
    )
    for bids_each in (1, 2):
        found = explored(store, "row-lock", Crowd(2, 1, bids_each=bids_each))
        assert not [broken for _, broken in found if broken]


def test_reduced_and_brute_force_come_to_the_same(explored, seam):
    """Leaving out orders that do not matter leaves out no outcome; planted: unlocked reads and writes oversell."""
    for strategy in ("row-lock", "serializable", "advisory-lock-try", Unlocked):
        fewer, all_of_them = (
            explored("sql", strategy, Crowd(2, 1), reduction=reduction) for reduction in (True, False)
        )
        assert len(fewer) < len(all_of_them)
        assert outcomes(fewer) == outcomes(all_of_them)
        assert any(unsafe(broken) for _, broken in fewer) == (strategy is Unlocked)
    crowd = Crowd(2, 1, bids_each=2)
    fewer, all_of_them = (
        explored("sql", "conditional-update", crowd, reduction=reduction) for reduction in (True, False)
    )
    assert len(fewer) < len(all_of_them)
    assert outcomes(fewer) == outcomes(all_of_them)


class Unlocked(StockRow):
    """Reads, compares and writes in two transactions: the lost update."""

    def reserve(self, bid):
        """Look, then write."""
        remaining = self._sql.execute(REMAINING, {"tranche": bid.tranche_id}).scalar_one()
        self._sql.commit()
        hold = "ok" if remaining >= bid.amount_fen else "sold_out"
        if hold == "ok":
            self._sql.execute(WRITE, {"tranche": bid.tranche_id, "rest": remaining - bid.amount_fen})
            self._sql.commit()
        return Hold(hold)


# The seam itself: two actors over a table of two rows

metadata = sa.MetaData()
shares = sa.Table(
    "shares", metadata, sa.Column("name", sa.String(20), primary_key=True), sa.Column("rest", sa.Integer)
)


class Fixed:
    """Chooses who is named next, with what is to become of it."""

    def __init__(self, *moves):
        self._moves = iter(moves)

    def choose(self, options, execution):
        """Return the option that the next move names; when there is none, whoever can."""
        actor, _, choice = next(self._moves, "").partition(" ")
        wanted = [each for each in options if each.actor == actor and each.choice == (choice or "go")]
        return (wanted or options)[0]


class Table:
    """Two clients of a server, over a table with the rows a and b."""

    def __init__(self, server):
        self.server = server
        self.ports = Port(), Port()
        self.clients = [server.connect(port) for port in self.ports]
        looker = server.connect(Port())
        metadata.create_all(looker)
        looker.execute(sa.insert(shares), [{"name": "a", "rest": 1}, {"name": "b", "rest": 2}])
        looker.commit()
        self.looker = looker
        server.remember()

    def run(self, first, second, chooser, budget=0):
        """Run two bodies, each over its client, until no lock has to be learned."""
        bodies = (first, second)
        for _ in range(9):
            for client in self.clients:
                self.server.clean(client)
            self.server.reset()
            actors = [
                Actor(name, port, lambda body=body, client=client: lambda: body(client))
                for name, port, body, client in zip("xy", self.ports, bodies, self.clients, strict=True)
            ]
            execution = Execution(actors, chooser() if callable(chooser) else chooser, budget)
            try:
                execution.run()
            except Learned:
                continue
            return execution, [actor.error for actor in actors]
        raise AssertionError("it learns for ever")

    def rows(self):
        """Return what is stored now."""
        found = dict(self.looker.execute(sa.select(shares.c.name, shares.c.rest)).all())
        self.looker.commit()
        return found


@pytest.fixture
def table(seam):
    """Make a table on a server."""
    return lambda store: Table(seam(store))


def put(client, name, rest):
    """Set a row."""
    client.execute(sa.update(shares).where(shares.c.name == name).values(rest=rest))


def idle(client):
    """Do nothing."""


@both
def test_each_execution_begins_with_the_same(table, store):
    """What an execution wrote is gone before the next, also by statements that nobody understands; planted: it was
    there."""
    tables = table(store)

    def write(client):
        put(client, "a", 7)
        client.execute(sa.text("DELETE FROM shares WHERE name = 'b'"))
        client.commit()

    for _ in range(2):
        tables.run(write, idle, Fixed())
        assert tables.rows() == {"a": 7}
        tables.server.reset()
        assert tables.rows() == {"a": 1, "b": 2}


@both
def test_steps_and_replies(table, store):
    """Each statement is a step with its values and its answer; a COMMIT of nothing is none."""
    tables = table(store)

    def work(client):
        client.execute(sa.select(shares.c.rest).where(shares.c.name == "a").with_for_update())
        put(client, "a", 0)
        put(client, "c", 0)
        client.commit()
        client.commit()

    steps = tables.run(work, idle, Fixed())[0].steps
    assert [(step.operation, step.reply, step.changed) for step in steps] == [
        ("SELECT rest FROM shares WHERE name=a FOR UPDATE", "1", True),
        ("UPDATE shares SET rest=0 WHERE name=a", "1 row", True),
        ("UPDATE shares SET rest=0 WHERE name=c", "0 rows", False),
        ("COMMIT", "done", True),
    ]
    assert "sql/shares/a" in steps[-1].writes


@both
def test_who_waits_is_not_sent(table, store):
    """A statement that would wait is possible only after the holder's COMMIT, and the server is never made to wait
    twice for the same reason."""
    tables = table(store)

    def work(client):
        put(client, "a", 5)
        client.commit()

    for _ in range(2):
        chooser = Fixed("x", "y", "y", "x")
        execution, _ = tables.run(work, work, lambda: Fixed("x", "y", "y", "x"))
        assert [step.actor for step in execution.steps] == ["x", "x", "y", "y"]
    tables.server.learn = None  # whoever waited now would fail
    assert tables.run(work, work, chooser)[1] == [None, None]


def taking(*names, tries=1):
    """Return a body that sets rows in turn, and begins again so often where the server undoes it."""

    def work(client):
        for attempt in range(1, tries + 1):
            try:
                for name in names:
                    put(client, name, 5)
                client.commit()
            except sa.exc.OperationalError:
                client.rollback()
                if attempt == tries:
                    raise
            else:
                return

    return work


@both
@pytest.mark.parametrize("victim", ["x", "y"])
def test_one_of_a_circle_of_waits_is_undone(table, store, victim):
    """Of two who take the same rows in opposite orders either may be undone, with the server's own error, and the
    other goes on; who tries again comes through; in the same order nobody is undone."""
    tables = table(store)
    crossed = taking("a", "b"), taking("b", "a")
    execution, errors = tables.run(*crossed, lambda: Fixed("x", "y", victim))
    assert execution.ending == ""
    lost = errors["xy".index(victim)]
    assert is_conflict(lost)
    assert errors.count(None) == 1
    assert execution.steps[2].reply.lower().startswith("deadlock")
    assert execution.steps[2].changed  # its locks are free
    retried = taking("a", "b", tries=2), taking("b", "a", tries=2)  # who had waited comes first
    assert tables.run(*retried, lambda: Fixed("x", "y", victim))[1] == [None, None]
    in_order = tables.run(taking("a", "b"), taking("a", "b"), lambda: Fixed("x", "y", "x", "y"))
    assert in_order[1] == [None, None]


def test_mariadb_breaks_no_circle_of_named_locks(table):
    """Who waits for each other by GET_LOCK is left waiting, as the server does."""
    tables = table("mariadb")

    def work(*names):
        def body(client):
            for name in names:
                client.execute(sa.text(f"SELECT GET_LOCK('{name}', 9)"))

        return body

    execution, _ = tables.run(work("one", "two"), work("two", "one"), lambda: Fixed("x", "y", "x", "y"))
    assert execution.ending == "deadlock"


@both
@pytest.mark.parametrize(("choice", "stored"), [("lost_request", 1), ("lost_reply", 5)])
def test_a_lost_connection(table, store, choice, stored):
    """Whoever loses its connection hears of it as live code does, and may go on; a lost reply was served."""
    tables = table(store)
    heard = []

    def work(client):
        put(client, "a", 5)
        try:
            client.commit()
        except sa.exc.OperationalError as error:
            heard.append(connection_lost(error))
            client.rollback()
            put(client, "b", 9)
            client.commit()

    execution, errors = tables.run(work, idle, lambda: Fixed("x", f"x {choice}"), 1)
    assert (errors, heard) == ([None, None], [True])
    assert tables.rows() == {"a": stored, "b": 9}
    assert execution.steps[1].choice == choice


@both
def test_death_frees_what_was_locked(table, store):
    """Whoever dies in a transaction leaves no lock and no row, and its place serves the next."""
    tables = table(store)

    def work(client):
        put(client, "a", 5)
        client.commit()

    execution, _ = tables.run(work, work, lambda: Fixed("x crash_after", "y"), 1)
    assert [step.actor for step in execution.steps] == ["x", "y", "y"]
    assert tables.run(work, work, Fixed())[0].ending == ""


@both
def test_time_stands_still_until_it_is_let_go(table, store):
    """The server's clock shows what the explorer lets it show, also within a transaction; looks are noted."""
    looks = []
    tables = table(store)
    tables.server.looked_at_clock = lambda: looks.append(1)
    word = "extract(epoch FROM clock_timestamp())" if store == "sql" else "UNIX_TIMESTAMP(SYSDATE(6))"
    seen = []

    def look(client):
        for hour in (0, 1):
            tables.server.pass_time(3600.0 * hour)
            seen.append(float(client.execute(sa.text(f"SELECT {word}")).scalar_one()))
        client.commit()

    tables.run(look, idle, Fixed())
    assert seen[1] - seen[0] == 3600.0
    assert looks


@both
def test_a_lock_that_nobody_explored_holds_is_an_escape(table, store, endpoints):
    """Whoever waits for a connection from elsewhere is told so; it is never taken for an order of its own."""
    tables = table(store)
    place = tables.server.place
    table_name = f"{getattr(place, 'schema', None) or place.database}.shares"
    outside = tables.server.connect(Port())  # it is not watched: nobody is in its seat
    outside.execute(sa.text(f"UPDATE {table_name} SET rest = 3 WHERE name = 'a'"))

    def holding(client):
        put(client, "b", 0)
        client.commit()

    def waiting(client):
        put(client, "a", 0)
        client.commit()

    tables.server.reset = lambda: None  # it would wait, too
    with pytest.raises(Escape, match="waits for a lock"):
        tables.run(holding, waiting, Fixed("x", "y"))
    outside.rollback()


def test_who_is_undone_is_the_same_in_every_execution(table):
    """Of two who read at SERIALIZABLE what the other writes, always the same one is undone, however often the
    tables were filled again."""
    tables = table("sql")
    for client in tables.clients:
        client.execution_options(isolation_level="SERIALIZABLE")
    tables.server.remember()

    def crossing(read, written):
        def work(client):
            client.execute(sa.select(shares.c.rest).where(shares.c.name == read)).all()
            put(client, written, 5)
            client.commit()

        return work

    seen = set()
    for _ in range(80):
        execution, errors = tables.run(crossing("a", "b"), crossing("b", "a"), Fixed("x", "y", "x", "y", "y", "x"))
        assert errors[0] is not None
        seen.add(tuple((step.actor, step.operation, step.reply) for step in execution.steps))
    assert len(seen) == 1


def test_nothing_is_left_behind(endpoints, naming, sql):
    """What the explorer has made on a server is gone when it is closed."""
    before = _schemas(sql)
    server = PostgresServer(endpoints["sql"], naming)
    tables = Table(server)
    tables.run(lambda client: put(client, "a", 9), idle, Fixed())
    assert _schemas(sql) > before
    server.close()
    assert _schemas(sql) == before


def _schemas(sql):
    rows = sql.execute("SELECT nspname FROM pg_namespace").fetchall()
    return {name for (name,) in rows if not name.startswith("pg_")}


def test_drivers_without_sqlalchemy_are_watched(table):
    """A strategy that goes down to psycopg's connection takes steps, too; what no cursor announces touches
    everything."""
    tables = table("sql")

    def work(client):
        raw = client.connection.driver_connection
        raw.execute("UPDATE shares SET rest = 4 WHERE name = %s", ["a"])
        with raw.cursor() as cursor, cursor.copy("COPY shares FROM STDIN") as copy:
            copy.write("c\t3\n")
        raw.commit()

    execution, errors = tables.run(work, idle, Fixed())
    assert errors == [None, None]
    assert execution.steps[0].operation == "UPDATE shares SET rest=4 WHERE name=a"
    assert all("*" in step.writes for step in execution.steps[1:])
    assert tables.rows() == {"a": 4, "b": 2, "c": 3}


def test_what_a_statement_does_besides_is_kept_in_mind(table):
    """A row that comes of an expression before an UPDATE of nothing is written, and gone in the next execution."""
    tables = table("sql")
    word = "WITH one AS (INSERT INTO shares VALUES ('c', 3)) UPDATE shares SET rest = 0 WHERE name = 'nobody'"

    def work(client):
        client.execute(sa.text(word))
        client.commit()

    execution, _ = tables.run(work, idle, Fixed())
    assert execution.steps[0].reply == "0 rows"
    assert "sql/shares/*" in execution.steps[1].writes
    assert tables.rows() == {"a": 1, "b": 2, "c": 3}
    tables.server.reset()
    assert tables.rows() == {"a": 1, "b": 2}


def test_errors_of_the_server_are_answers(table):
    """A statement that fails raises the driver's error, is a step with its reason, and ends its transaction."""
    tables = table("sql")

    def work(client):
        put(client, "b", 8)
        with pytest.raises(sa.exc.IntegrityError) as caught:
            client.execute(sa.insert(shares).values(name="a", rest=1))
        assert isinstance(caught.value.orig, psycopg.errors.UniqueViolation)
        client.rollback()

    execution, errors = tables.run(work, idle, Fixed())
    assert errors == [None, None]
    assert "duplicate key" in execution.steps[1].reply
    assert execution.steps[1].changed  # the lock on b is free


def test_on_mariadb_a_transaction_outlives_its_statements(table):
    """There a statement that fails leaves the transaction open, and its locks."""
    tables = table("mariadb")

    def work(client):
        put(client, "b", 8)
        with pytest.raises(sa.exc.IntegrityError) as caught:
            client.execute(sa.insert(shares).values(name="a", rest=1))
        assert isinstance(caught.value.orig, pymysql.err.IntegrityError)
        client.commit()

    execution, errors = tables.run(work, idle, Fixed())
    assert errors == [None, None]
    assert not execution.steps[1].changed
    assert tables.rows()["b"] == 8


# Orders that no search here walks, and what would pass unseen


def waiting_for(first):
    """Return a body that takes a lock by its first statement."""

    def work(client):
        for sql in first if isinstance(first, list) else [first]:
            client.execute(sa.text(sql))
        client.commit()

    return work


@pytest.mark.parametrize(
    ("first", "doubted"),
    [
        ("SELECT rest FROM shares WHERE name = 'a' FOR UPDATE", ""),
        ("SELECT (SELECT count(*) FROM shares) FROM shares WHERE name = 'a' FOR UPDATE", "looks at more"),
        (["SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SELECT pg_advisory_xact_lock(42)"], "snapshot"),
        (["SET LOCAL lock_timeout = '9s'", "SELECT rest FROM shares WHERE name = 'a' FOR UPDATE"], "timeout"),
    ],
    ids=["sound", "subselect", "snapshot", "timeout"],
)
def test_doubts(table, first, doubted):
    """What a statement did before it waited is a doubt, settings are no steps; planted: each of three doubts."""
    tables = table("sql")
    execution, errors = tables.run(waiting_for(first), waiting_for(first), lambda: Fixed("x", "y", "x", "x"))
    assert errors == [None, None]
    assert [step.operation[:6] for step in execution.steps] == ["SELECT", "COMMIT"] * 2
    assert len(tables.server.doubts) == bool(doubted)
    assert doubted in "".join(tables.server.doubts)


class Crossed(StockRow):
    """Takes two rows in an order that differs between bidders, then sells without another look at the stock."""

    def open(self, tranche):
        """Add the two rows."""
        super().open(tranche)
        metadata.create_all(self._sql)
        self._sql.execute(sa.insert(shares), [{"name": "1", "rest": 0}, {"name": "2", "rest": 0}])
        self._sql.commit()

    def reserve(self, bid):
        """Lock both, in three tries."""
        rows = ["1", "2"] if bid.bid_id.endswith("1") else ["2", "1"]
        for _ in range(3):
            try:
                return self._taken(bid, rows)
            except sa.exc.OperationalError:
                self._sql.rollback()
        return Hold("busy")

    def _taken(self, bid, rows):
        for row in rows:
            self._sql.execute(sa.select(shares.c.rest).where(shares.c.name == row).with_for_update())
        remaining = self._sql.execute(REMAINING, {"tranche": bid.tranche_id}).scalar_one()
        if remaining >= bid.amount_fen:
            self._sql.execute(WRITE, {"tranche": bid.tranche_id, "rest": remaining - bid.amount_fen})
        self._sql.commit()
        return Hold("ok" if remaining >= bid.amount_fen else "sold_out")


class CrossedInVain(Crossed):
    """Takes a conflict for a sale."""

    def reserve(self, bid):
        """Lock both, or sell all the same."""
        hold = super().reserve(bid)
        return hold if hold.verdict == "sold_out" else Hold("ok")

    def _taken(self, bid, rows):
        try:
            return super()._taken(bid, rows)
        except sa.exc.OperationalError:
            self._sql.rollback()
            return Hold("ok")


@both
def test_a_loop_around_a_deadlock_is_explored(explored, store):
    """A design that tries again when the server undoes it holds in every order; planted: one that sells then."""
    found = explored(store, Crossed, Crowd(2, 1))
    assert not [broken for _, broken in found if broken]
    replies = {step.reply.lower()[:8] for execution, _ in found for step in execution.steps}
    assert "deadlock" in replies
    assert unsafe(explored(store, CrossedInVain, Crowd(2, 1), until=unsafe)[-1][1])


def test_a_loop_around_a_deadlock_is_reduced_soundly(explored):
    """Leaving out orders leaves out no outcome where the server undoes one of a circle."""
    for strategy in (Crossed, CrossedInVain):
        fewer, all_of_them = (
            explored("sql", strategy, Crowd(2, 1), reduction=reduction) for reduction in (True, False)
        )
        assert len(fewer) < len(all_of_them)
        assert outcomes(fewer) == outcomes(all_of_them)


@both
def test_what_was_set_is_forgotten_by_the_next_execution(table, store):
    """A SET for the whole session is undone between two executions, and what the explorer set is there again;
    what was set before data are remembered stays."""
    tables = table(store)
    if store == "sql":
        name, word = "application_name", "SET application_name = 'mine'"
        look = "SELECT current_setting('application_name'), to_regclass('shares') IS NOT NULL, now()"
        level = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE"
        levels = "SELECT current_setting('transaction_isolation')"
    else:
        name, word = "max_sort_length", "SET SESSION max_sort_length = 99"
        look = "SELECT @@max_sort_length, (SELECT count(*) FROM shares), now()"
        level, levels = "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SELECT @@tx_isolation"
    seen = []

    def work(client):
        seen.append((*client.execute(sa.text(look)).one(), client.execute(sa.text(levels)).scalar_one()))
        client.rollback()
        client.execute(sa.text(word))
        client.execute(sa.text(level))
        client.commit()

    for _ in range(2):
        tables.run(work, idle, Fixed())
    assert seen[0] == seen[1], name
    tables.clients[0].execute(sa.text(word))
    tables.clients[0].commit()
    tables.server.remember()
    tables.run(work, idle, Fixed())
    assert seen[2][0] != seen[0][0]


def test_mariadb_refuses_to_explore_dirty_reads(table):
    """READ UNCOMMITTED is an escape that says so, whichever way it is asked for; PostgreSQL has none."""
    words = (
        "SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED",
        "SET tx_isolation = 'READ-UNCOMMITTED'",
    )
    for word in words:
        with pytest.raises(Escape, match="READ UNCOMMITTED is not explored"):
            table("mariadb").run(waiting_for(word), idle, Fixed())
    tables = table("sql")
    word = "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED"
    assert tables.run(waiting_for([word, "SELECT 1"]), idle, Fixed())[1] == [None, None]
    assert tables.server.level("READ UNCOMMITTED") == "READ COMMITTED"


@pytest.mark.parametrize("word", ["CURRENT_TIMESTAMP", "localtime", "timestamp 'now'", "pg_catalog.now()"])
def test_the_real_time_is_refused(table, word):
    """A clock that does not stand still is an escape that names its mend."""
    with pytest.raises(Escape, match=r"write now\(\)"):
        table("sql").run(waiting_for(f"SELECT {word}"), idle, Fixed())


def test_a_named_lock_is_found_by_its_name_in_the_text(table):
    """Whoever waits for a lock that the text of GET_LOCK names is not sent until it is free."""
    tables = table("mariadb")

    def work(client):
        client.execute(sa.text("SELECT GET_LOCK('all sales', 9)"))
        client.execute(sa.text("SELECT RELEASE_LOCK('all sales')"))

    execution, errors = tables.run(work, work, lambda: Fixed("x", "y", "x", "y"))
    assert errors == [None, None]
    assert [step.actor for step in execution.steps] == ["x", "x", "y", "y"]


def test_tables_that_one_statement_writes_together(table):
    """Each table of an UPDATE of several is filled again; planted: a row of the second one changes."""
    tables = table("mariadb")
    tables.looker.execute(sa.text("CREATE TABLE more (name varchar(20) PRIMARY KEY)"))
    tables.looker.execute(sa.text("INSERT INTO more VALUES ('a')"))
    tables.looker.commit()
    tables.server.remember()

    def work(client):
        client.execute(sa.text("UPDATE more JOIN shares ON shares.name = more.name SET shares.rest = 9"))
        client.commit()

    tables.run(work, idle, Fixed())
    assert tables.rows()["a"] == 9
    tables.server.reset()
    assert tables.rows()["a"] == 1


@both
def test_savepoints_are_called_the_same_in_each_execution(table, store):
    """SQLAlchemy's savepoints begin anew with each execution; planted: they are counted within one."""
    tables = table(store)

    def work(client):
        for _ in range(2):
            with client.begin_nested():
                put(client, "a", 5)
        client.commit()

    first, second = ([s.operation for s in tables.run(work, idle, Fixed())[0].steps] for _ in range(2))
    assert first == second
    assert len({each for each in first if each.startswith("SAVEPOINT")}) == 2


@both
def test_rows_that_are_counted_up_depend_on_each_other(table, store):
    """An INSERT into a table whose server numbers the rows writes the whole table."""
    tables = table(store)
    sa.Table("queue", sa.MetaData(), sa.Column("bid", sa.String(9), primary_key=True)).create(tables.looker)
    number = "serial" if store == "sql" else "int NOT NULL AUTO_INCREMENT UNIQUE"
    tables.looker.execute(sa.text(f"ALTER TABLE queue ADD COLUMN number {number}"))
    tables.looker.commit()
    tables.server.remember()
    assert not tables.server.tables["queue"].single
    assert tables.server.tables["shares"].single


def test_a_function_of_a_harmless_name_touches_everything(table):
    """A function that somebody made is not taken for the server's own of its name."""
    tables = table("sql")
    assert "*" not in tables.server.statement("SELECT power(2)", None, None).touched.writes
    tables.looker.execute(sa.text("CREATE FUNCTION power(t int) RETURNS int LANGUAGE sql AS $$ SELECT t $$"))
    tables.looker.commit()
    tables.server.remember()
    assert "*" in tables.server.statement("SELECT power(2)", None, None).touched.writes
