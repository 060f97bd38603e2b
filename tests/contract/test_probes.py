"""SQL ledgers on real servers: what a query yields, that it can only read, and what is said when it fails."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import sqlalchemy as sa

from oversold.clock import SystemClock
from oversold.errors import UsageError
from oversold.services.mapping import LedgerProbe, Service
from oversold.services.probes import NotNowError, Row, read, settled, sql
from oversold.stores.endpoint import Endpoint, free_port

MOMENT_NS = 1_700_000_000_250_000_000
TABLE = {
    "sql": "CREATE TABLE {} (bid varchar(40), customer varchar(40) NOT NULL, total numeric(12, 2) NOT NULL, "
    "placed timestamptz, tranche bigint)",
    # The session's zone is not UTC: a TIMESTAMP is given as the zone of whoever asks has it.
    "mariadb": "CREATE TABLE {} (bid varchar(40), customer varchar(40) NOT NULL, total decimal(12, 2) NOT NULL, "
    "placed timestamp(6) NULL, tranche bigint)",
    "sqlite": "CREATE TABLE {} (bid text, customer text NOT NULL, total real, placed text, tranche integer)",
}
INSERT = {
    "sql": "INSERT INTO {} VALUES ('b1', '顾客:1', 19.99, to_timestamp(1700000000.25), 7), "
    "(NULL, 'u2', 100, NULL, 7), ('b3', 'u3', 5, NULL, 8)",
    "mariadb": "INSERT INTO {} VALUES ('b1', '顾客:1', 19.99, from_unixtime(1700000000.25), 7), "
    "(NULL, 'u2', 100, NULL, 7), ('b3', 'u3', 5, NULL, 8)",
    "sqlite": "INSERT INTO {} VALUES ('b1', '顾客:1', 19.99, '2023-11-14 22:13:20.250', 7), "
    "(NULL, 'u2', 100, NULL, 7), ('b3', 'u3', 5, NULL, 8)",
}
ORDERS = [Row("b1", "顾客:1", 1999, MOMENT_NS), Row(None, "u2", 10_000, None)]
COLUMNS = {"bid_id": "bid", "user_id": "customer", "amount_yuan": "total", "at": "placed"}
SERVERS = [
    pytest.param("sql", marks=pytest.mark.servers),
    pytest.param("mariadb", marks=pytest.mark.servers),
    "sqlite",
]
FIXED = {"run_id": "r", "tranche_id": "7", "capacity_fen": 1, "unit_fen": 1}
SLEEP = {
    "sql": "SELECT pg_sleep(20)",
    "mariadb": "SELECT sum(sleep(0.01)) AS amount_fen FROM seq_1_to_3000",
    "sqlite": "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
}


class Meanwhile(SystemClock):
    """A clock that lets something happen while it sleeps for the first time."""

    def __init__(self, happen: Callable[[], Any]) -> None:
        self._happen: Callable[[], Any] | None = happen

    def sleep(self, seconds: float) -> None:
        """Let it happen, then sleep."""
        if self._happen:
            self._happen()
            self._happen = None
        super().sleep(seconds)


class Shop:
    """Somebody's database with a table of orders; `execute` is what the shop itself does to it."""

    def __init__(self, server: str, url: str, table: str) -> None:
        self.server, self.url, self.table = server, url, table
        self._engine = sa.create_engine(sql.url_of(url))

    def execute(self, statement: str) -> Any:
        """Execute and commit; return the rows, if there are any."""
        with self._engine.begin() as connection:
            result = connection.exec_driver_sql(statement.format(self.table))
            return result.fetchall() if result.returns_rows else None

    def service(self, query: str = "", url: str = "", **ledger: Any) -> Service:
        """Return the shop's service; its ledger is the table."""
        query = query or "SELECT * FROM {} WHERE tranche = :tranche_id ORDER BY total"
        probe = LedgerProbe(sql=url or self.url, query=query.format(self.table), **{"columns": COLUMNS, **ledger})
        return Service(name="shop", url="http://127.0.0.1:1", ledger=probe)

    def close(self) -> None:
        """Take the table away."""
        self.execute("DROP TABLE {}")
        self._engine.dispose()


def read_of(service: Service) -> list[Row]:
    """Read the orders of tranche 7, whose id the table has as a number."""
    return read(service, FIXED)


@pytest.fixture(params=SERVERS)
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    """A shop with three orders, two of them of tranche 7, on one server after the other."""
    server = request.param
    if server == "sqlite":
        url = f"sqlite:///{tmp_path}/shop ä%.db"
    else:
        endpoints: Mapping[str, Endpoint] = request.getfixturevalue("endpoints")
        url = endpoints[server].url
    own = Shop(server, url, f"orders_{uuid.uuid4().hex}")
    own.execute(TABLE[server])
    own.execute(INSERT[server])
    yield own
    own.close()


def test_a_query_yields_the_orders(shop: Shop) -> None:
    """With yuan exact, times in UTC, ids in any script, and the tranche bound though its column is a number."""
    assert read_of(shop.service()) == ORDERS


def test_a_query_may_hold_what_drivers_take_for_their_own(shop: Shop) -> None:
    """Per cent signs, casts and colons within text."""
    cast = "CAST(customer AS char(4))" if shop.server == "mariadb" else "CAST(customer AS text)"
    query = f"SELECT *, {cast} AS c FROM {{}} WHERE customer LIKE '%\\:1' AND '12:30' <> '5%'"
    assert read_of(shop.service(query)) == ORDERS[:1]


def test_the_environment_may_hold_the_url(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """With whichever driver it names, since it is the shop's own variable."""
    scheme, rest = shop.url.split("://", 1)
    driver = {"sql": "+asyncpg", "mariadb": "+aiomysql", "sqlite": "+aiosqlite"}[shop.server]
    monkeypatch.setenv("SHOP_DB", f"{scheme}{driver}://{rest}")
    assert read_of(shop.service(url="${SHOP_DB}")) == ORDERS


def test_the_truth_cannot_be_changed_by_reading_it(shop: Shop) -> None:
    """Whatever the query tries, the server refuses it."""
    tricks = {
        "sql": "WITH gone AS (DELETE FROM {} RETURNING *) SELECT * FROM gone",
        "mariadb": "SELECT nextval({}_s)",
        "sqlite": "WITH n AS (SELECT 1) INSERT INTO {} SELECT 'x', 'y', 1, NULL, 7 FROM n",
    }
    if shop.server == "mariadb":
        shop.execute("CREATE SEQUENCE {}_s")
    try:
        with pytest.raises(UsageError, match=r"(?i)read.?only") as caught:
            read_of(shop.service(tricks[shop.server]))
        assert "\n" not in str(caught.value)
    finally:
        if shop.server == "mariadb":
            shop.execute("DROP SEQUENCE {}_s")
    assert len(shop.execute("SELECT * FROM {}")) == 3


def test_a_query_that_takes_for_ever_is_stopped(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its server, after a time; it may be faster the next time."""
    monkeypatch.setattr(sql, "QUERY_S", 0.05 if shop.server == "sqlite" else 0.1)
    with pytest.raises(NotNowError, match="cannot be read"):
        read_of(shop.service(SLEEP[shop.server].replace("{}", "")))


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELECT nonsense FROM {}", "nonsense"),
        ("SELECT * FROM {} WHERE tranche = :tranche", "binds :tranche, which nothing fills"),
        ("SELECT customer FROM {}", "has no column 'bid'"),
        ("SELECT *, bid FROM {}", "2 columns called 'bid'"),
        ("SELECT bid, customer, 'x' AS total, placed FROM {}", "row 1: amount_yuan is 'x'"),
    ],
)
def test_a_query_that_will_not_do_is_told_in_one_line(shop: Shop, query: str, said: str) -> None:
    """What the server complains of, or which column is missing; it is no matter of waiting."""
    with pytest.raises(UsageError, match=said) as caught:
        read_of(shop.service(query))
    assert not isinstance(caught.value, NotNowError)
    assert "\n" not in str(caught.value)


def test_an_order_that_comes_late_is_waited_for(shop: Shop) -> None:
    """Each reading sees what was committed meanwhile."""
    clock = Meanwhile(lambda: shop.execute("INSERT INTO {} VALUES ('b4', 'u4', 1, NULL, 7)"))
    reading = settled(shop.service(settle_s=0.1, wait_s=60), FIXED, clock)
    assert (len(reading.rows), reading.settled) == (3, True)


@pytest.mark.servers
@pytest.mark.parametrize(
    ("server", "elsewhere"),
    [("sql", "options=-c%20timezone%3DAsia/Shanghai"), ("mariadb", "init_command=SET%20time_zone%3D'%2B08:00'")],
)
def test_times_without_a_zone_are_utc_wherever_the_server_is(
    endpoints: Mapping[str, Endpoint], server: str, elsewhere: str
) -> None:
    """A moment that the server turns into local time is turned into UTC for us."""
    moment = {"sql": "to_timestamp(1700000000.25)::timestamp", "mariadb": "from_unixtime(1700000000.25)"}[server]
    probe = LedgerProbe(
        sql=f"{endpoints[server].url}?{elsewhere}", query=f"SELECT 1 AS bid_id, 2 AS amount_fen, {moment} AS at"
    )
    assert read_of(Service(name="shop", url="http://127.0.0.1:1", ledger=probe)) == [Row("1", None, 2, MOMENT_NS)]


@pytest.mark.servers
@pytest.mark.parametrize("server", ["sql", "mariadb"])
def test_no_password_is_ever_shown(endpoints: Mapping[str, Endpoint], server: str) -> None:
    """Neither a wrong one, nor one for a server that is not there, nor one that garbles its URL."""
    there = urlsplit(endpoints[server].url)
    scheme, user, place = there.scheme, there.username, f"127.0.0.1:{there.port}{there.path}"
    for rest, said in (
        (f"{user}:hunter%212@{place}", "."),
        (f"{user}:hunter%212@127.0.0.1:{free_port()}/x", "cannot be read"),
        (f"{user}:hunter!2@hunter!2@{place}", "%40"),
        (f"{user}:hunter!2@127.0.0.1:hunter!2/x", "must look like"),
        (f"{user}:hunter!2@{place}?hunter=hunter!2", "options behind|cannot be read|failed"),
        (f"{user}:hunter!2@/x?host=db.example.com", "names a server behind"),
        (f"{user}:hunter!2@/x?read_default_file=hunter!2", "names a server behind"),
    ):
        shop = LedgerProbe(sql=f"{scheme}://{rest}", query="SELECT 1")
        with pytest.raises(UsageError, match=said) as caught:
            read_of(Service(name="shop", url="http://127.0.0.1:1", ledger=shop))
        assert "hunter!2" not in str(caught.value)
        assert quote("hunter!2") not in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.servers
def test_a_password_that_a_server_repeats_is_not_shown(endpoints: Mapping[str, Endpoint]) -> None:
    """Somebody may have put it into the query as well."""
    url = endpoints["sql"].url
    password = str(urlsplit(url).password)
    probe = LedgerProbe(sql=url, query=f'SELECT "{password}"')
    with pytest.raises(UsageError, match=r'column "\*\*\*" does not exist') as caught:
        read_of(Service(name="shop", url="http://127.0.0.1:1", ledger=probe))
    assert password not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "must look like"),
        ("oracle://me:hunter2@127.0.0.1/x", "database called 'oracle'"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite:///file:x?mode=memory&uri=true", "SQLite URI"),
        ("sqlite:////nowhere/shop.db", "there is no SQLite file"),
        ("sqlite:////", "there is no SQLite file"),
        ("${NO_SUCH_VARIABLE}", "NO_SUCH_VARIABLE"),
    ],
)
def test_a_url_that_will_not_do_is_told_in_one_line(url: str, said: str) -> None:
    """Before anything is connected; no file is made where there was none."""
    probe = LedgerProbe(sql=url, query="SELECT 1")
    with pytest.raises(UsageError, match=said) as caught:
        read_of(Service(name="shop", url="http://127.0.0.1:1", ledger=probe))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["PGHOSTADDR", "PGSERVICE"])
def test_the_environment_chooses_no_other_server(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """PostgreSQL's library would go there, past the host that was checked: it is not even asked."""
    monkeypatch.setenv(name, "elsewhere")
    monkeypatch.setattr(sql, "_connected", lambda url: pytest.fail("connected"))
    probe = LedgerProbe(sql="postgresql://u:geheim@127.0.0.1/d", query="SELECT 1")
    with pytest.raises(UsageError, match=f"{name} leads past") as caught:
        read(Service(name="shop", url="http://127.0.0.1:1", ledger=probe), FIXED)
    assert "geheim" not in str(caught.value)


def test_a_file_that_is_no_database_says_so(tmp_path: Path) -> None:
    """Waiting would not make it one."""
    path = tmp_path / "shop.db"
    path.write_text("bid_id,amount_fen\n" * 100)
    probe = LedgerProbe(sql=f"sqlite:///{path}", query="SELECT * FROM orders")
    service = Service(name="shop", url="http://127.0.0.1:1", ledger=probe)
    with pytest.raises(UsageError, match="not a database"):
        read_of(service)


def test_a_locked_file_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shop that writes for long has not lost its ledger."""
    monkeypatch.setattr(sql, "CONNECT_S", 0)
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("CREATE TABLE orders (bid_id text, amount_fen integer)")
        writer.execute("BEGIN EXCLUSIVE")
        probe = LedgerProbe(sql=f"sqlite:///{path}", query="SELECT * FROM orders")
        service = Service(name="shop", url="http://127.0.0.1:1", ledger=probe)
        with pytest.raises(NotNowError, match="locked"):
            read_of(service)
        writer.execute("COMMIT")
        assert read_of(service) == []


def test_a_shop_in_wal_mode_can_be_read_while_it_writes(tmp_path: Path) -> None:
    """What is committed is seen, what is not is not."""
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE orders (bid_id text, amount_fen integer)")
        writer.execute("INSERT INTO orders VALUES ('b1', 5)")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO orders VALUES ('b2', 6)")
        probe = LedgerProbe(sql=f"sqlite:///{path}", query="SELECT * FROM orders")
        assert read_of(Service(name="shop", url="http://127.0.0.1:1", ledger=probe)) == [Row("b1", None, 5, None)]
