"""Which keys an SQL statement touches, and what it is called."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql

from oversold.explore.naming import Naming
from oversold.explore.operation import EVERYTHING, meet
from oversold.explore.seams.sql_core import Compiled, Shape
from oversold.explore.seams.sql_keys import Touched, bare, everything, touched
from oversold.explore.seams.sql_text import LONGEST, text_of

NAMING = Naming("t1-1", "tranche")
metadata = sa.MetaData()
stock = sa.Table("stock", metadata, sa.Column("id", sa.String, primary_key=True), sa.Column("rest", sa.Integer))
holds = sa.Table(
    "holds",
    metadata,
    sa.Column("sale", sa.String, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("state", sa.String),
)
mail = sa.Table("mail", metadata, sa.Column("id", sa.String, primary_key=True), sa.Column("address", sa.String))
child = sa.Table("child", metadata, sa.Column("id", sa.String, primary_key=True))
other = sa.Table("other", metadata, sa.Column("id", sa.String, primary_key=True), schema="elsewhere")
TABLES = {
    "stock": Shape({"id": "text"}),
    "holds": Shape({"sale": "text", "number": "integer"}),
    "mail": Shape({"id": "text"}, single=False),
    "child": Shape({"id": "text"}, linked=True),
    "keyless": Shape(),
}
ONE = stock.c.id == sa.bindparam("who")


def of(statement: Any, *rows: dict[str, Any], dialect: Any = postgresql) -> Touched:
    """Return what a statement of SQLAlchemy Core touches."""
    compiled = statement.compile(
        dialect=dialect.dialect(), column_keys=list(rows[0]) if rows and isinstance(statement, sa.Insert) else None
    )
    values = compiled.construct_params(rows[0] if rows else None)
    core = Compiled(compiled.statement, compiled.bind_names, values, len(rows) > 1)
    return touched(str(compiled), values, TABLES, NAMING, core)


def of_text(sql: str, parameters: Any = None) -> Touched:
    """Return what a statement touches that somebody wrote as text."""
    return touched(sql, parameters, TABLES, NAMING)


def keys(*names: str) -> frozenset[str]:
    """Return keys of data."""
    return frozenset(f"sql/{name}" for name in names)


def test_a_row_by_its_primary_key() -> None:
    """A SELECT that pins the primary key reads one row, whose id is shown by its part."""
    assert of(sa.select(stock.c.rest).where(ONE), {"who": "t1-1"}) == Touched(keys("stock/tranche"))


def test_a_row_by_some_of_its_primary_key() -> None:
    """A key of which a column is open stands for the whole table."""
    found = of(sa.select(holds).where(holds.c.sale == "t1-1"))
    assert found.reads == keys("holds/*")


@pytest.mark.parametrize(
    "where",
    [
        sa.or_(ONE, stock.c.rest == 0),
        sa.not_(ONE),
        stock.c.id > sa.bindparam("who"),
        stock.c.id.in_(["a", "b"]),
        stock.c.id == stock.c.id,
        sa.func.lower(stock.c.id) == sa.bindparam("who"),
    ],
    ids=["or", "not", "more than", "in", "itself", "function"],
)
def test_a_condition_that_pins_nothing(where: sa.ColumnElement[bool]) -> None:
    """Only equality with a parameter that must hold pins a row; all else is the whole table."""
    assert of(sa.select(stock).where(where), {"who": "a"}).reads == keys("stock/*")


def test_numbers_and_texts_are_keys_and_nothing_else_is() -> None:
    """A value whose equality is not that of its text pins nothing: 1.0 equals 1, and true does as well."""
    for value, key in ((1, "holds/a,1"), (1.0, "holds/*"), (True, "holds/*"), ("1", "holds/*")):
        number = sa.literal(value, sa.String if isinstance(value, str) else None)
        found = of(sa.select(holds).where(holds.c.sale == "a", holds.c.number == number))
        assert found.reads == keys(key), value


def test_a_locking_select_locks_and_reads() -> None:
    """FOR UPDATE, also with SKIP LOCKED, writes keys of locks, and none of data."""
    for statement in (sa.select(stock).with_for_update(), sa.select(stock).with_for_update(skip_locked=True)):
        found = of(statement.where(ONE), {"who": "a"})
        assert found == Touched(keys("stock/a"), locks=frozenset({"sql-lock/stock/a"}))


def test_an_update_reads_locks_and_writes_its_row() -> None:
    """An UPDATE of one row, with further conditions, touches that row."""
    statement = sa.update(stock).where(ONE, stock.c.rest >= 5).values(rest=stock.c.rest - 5)
    assert of(statement, {"who": "a"}) == Touched(
        keys("stock/a"), keys("stock/a"), frozenset({"sql-lock/stock/a"})
    )


def test_an_update_that_moves_a_row_touches_the_table() -> None:
    """Whoever sets a column of the primary key touches two rows, so the table."""
    assert of(sa.update(stock).where(ONE).values(id="b"), {"who": "a"}).writes == keys("stock/*")


def test_inserts() -> None:
    """An INSERT writes the row of its key: given by name, by parameter or by value; several rows are the table."""
    by_name = of(sa.insert(stock), {"id": "a", "rest": 1})
    by_parameter = of(sa.insert(stock).values(id=sa.bindparam("who"), rest=1), {"who": "a"})
    by_value = of(sa.insert(stock).values(id="a", rest=1))
    assert by_name.writes == by_parameter.writes == by_value.writes == keys("stock/a")
    assert of(sa.insert(stock), {"id": "a"}, {"id": "b"}).writes == keys("stock/*")
    assert of(sa.insert(stock).values([{"id": "a"}, {"id": "b"}])).writes == keys("stock/*")
    copied = of(sa.insert(stock).from_select(["id"], sa.select(mail.c.id)))
    assert (copied.writes, copied.reads) == (keys("stock/*"), keys("stock/*", "mail/*"))


def test_upserts() -> None:
    """A row that is there already is still the same row, unless its key is changed."""
    row = {"id": "a", "rest": 1}
    nothing = postgresql.insert(stock).values(row).on_conflict_do_nothing()
    changes = postgresql.insert(stock).values(row).on_conflict_do_update(index_elements=["id"], set_={"rest": 2})
    moves = postgresql.insert(stock).values(row).on_conflict_do_update(index_elements=["id"], set_={"id": "b"})
    assert of(nothing).writes == of(changes).writes == keys("stock/a")
    assert of(moves).writes == keys("stock/*")
    assert of(sa.insert(stock).values(row).prefix_with("IGNORE"), dialect=mysql).writes == keys("stock/a")
    there = mysql.insert(stock).values(row).on_duplicate_key_update(rest=2)
    assert of(there, dialect=mysql).writes == keys("stock/a")


def test_another_unique_constraint_is_about_all_rows() -> None:
    """Where two rows may be in each other's way by another column, a write touches the table; a look does not."""
    assert of(sa.insert(mail), {"id": "a", "address": "x"}).writes == keys("mail/*")
    assert of(sa.select(mail).where(mail.c.id == "a")).reads == keys("mail/a")


def test_all_tables_of_a_statement_are_found() -> None:
    """Subqueries, expressions before it, joins and aliases count, also those that only write."""
    row = {"sale": sa.bindparam("who"), "number": sa.bindparam("which")}
    put = postgresql.insert(holds).values(row).returning(holds.c.number).cte("put")
    both = sa.update(stock).where(ONE, sa.exists(sa.select(put.c.number))).values(rest=0).add_cte(put)
    found = of(both, {"who": "a", "which": 1})
    assert found.writes == keys("stock/a", "holds/a,1")
    inside = sa.select(stock).where(ONE, sa.exists(sa.select(mail.c.id).where(mail.c.id == stock.c.id)))
    assert of(inside, {"who": "a"}).reads >= keys("stock/a", "mail/*")
    joined = sa.select(stock.c.rest, holds.c.state).join(holds, holds.c.sale == stock.c.id).where(ONE)
    assert of(joined, {"who": "a"}).reads == keys("stock/a", "holds/*")
    again = stock.alias("again")
    twice = sa.select(stock.c.rest, again.c.rest).join(again, again.c.rest > stock.c.rest).where(ONE)
    assert of(twice, {"who": "a"}).reads == keys("stock/a", "stock/*")
    union = sa.union(sa.select(stock.c.id), sa.select(mail.c.id))
    assert of(union).reads == keys("stock/*", "mail/*")


def test_what_nobody_knows_touches_everything() -> None:
    """A function, a table, a schema, a command that the explorer does not know may touch anything."""
    assert of(sa.select(sa.func.take_share(1))) == everything()
    assert of(sa.select(other)) == everything()
    assert of(sa.select(child)) == everything()
    for sql in (
        "SELECT take_share(1)",
        "SELECT * FROM stock, nobody",
        "SELECT * FROM a_view",
        "SELECT * FROM child",
        "CALL take()",
        "TRUNCATE stock",
        "LOCK TABLE stock",
        "DO $$ BEGIN END $$",
        "UPDATE stock SET rest = 0; UPDATE mail SET id = 'a'",
        "SET @got = take()",
        "SQL",
        "",
    ):
        assert of_text(sql) == everything(), sql


def test_text_is_about_whole_tables() -> None:
    """Of text that somebody wrote, the tables are known: read, written, locked."""
    assert of_text("SELECT rest FROM stock WHERE id = %s", ["a"]) == Touched(keys("stock/*"))
    locking = of_text("select rest from Stock where id = %(id)s\n for  update", {"who": "a"})
    assert locking.locks == frozenset({"sql-lock/stock/*"})
    assert not locking.writes
    for sql in (
        "UPDATE stock SET rest = 0 WHERE id = %s",
        "INSERT INTO stock (id, rest) VALUES (%s, 0)",
        "insert ignore into `stock` values ('from mail', 0)",
        'DELETE FROM "stock" -- FROM mail',
        "/* FROM mail */ UPDATE ONLY stock SET rest = rest - 1",
    ):
        assert of_text(sql, ["a"]) == Touched(keys("stock/*"), keys("stock/*"), frozenset({"sql-lock/stock/*"})), (
            sql
        )


def test_what_touches_no_data() -> None:
    """Settings and the beginning of a transaction are no steps; a savepoint is one that touches nothing."""
    for sql in ("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE", "BEGIN", "START TRANSACTION", "SHOW x"):
        assert of_text(sql).unseen, sql
    assert of_text("SAVEPOINT a") == Touched()
    assert of_text("ROLLBACK TO SAVEPOINT a") == everything()


def test_a_table_that_is_named_in_an_unknown_place_is_not_missed() -> None:
    """A known table's name anywhere in a statement is found, or the statement touches everything."""
    for sql in (
        "SELECT 1 FROM stock s JOIN holds h ON h.sale = s.id, mail m",
        "SELECT 1 FROM (mail m CROSS JOIN stock s)",
        "WITH x AS (TABLE mail) SELECT count(*) FROM x",
        "SELECT '\\'', count(*) FROM stock",
        "SELECT $a$ ' $a$, count(*) FROM stock",
        "SELECT 5--3 FROM mail\n FROM stock",
    ):
        assert meet(of_text(sql).reads, keys("mail/*", "stock/*")), sql
        assert EVERYTHING in of_text(sql).writes, sql
    assert of_text("SELECT '--', rest FROM stock").reads == keys("stock/*")
    assert of_text("SELECT '/*', rest FROM stock -- it's").reads == keys("stock/*")
    assert of_text('SELECT "it\'s", rest FROM stock').reads == keys("stock/*")
    assert bare("SELECT 'never ends") == "select 'never ends"


def test_the_same_table_once_more_is_all_of_it() -> None:
    """An alias, or a part that somebody wrote as text, may mean any row; planted: without it one row is named."""
    count = sa.text("(SELECT count(*) FROM stock)")
    one = postgresql.insert(stock).values(id="a", rest=1)
    assert of(one).reads == keys("stock/a")
    assert "sql/stock/*" in of(one.returning(count)).reads
    changed = one.on_conflict_do_update(index_elements=["id"], set_={"rest": count})
    assert "sql/stock/*" in of(changed).reads
    again = stock.alias("again")
    update = sa.update(stock).where(ONE, again.c.id == "b", again.c.rest == 0).values(rest=1)
    assert of(update, {"who": "a"}).reads >= keys("stock/a", "stock/*")


def test_a_function_that_somebody_made_may_do_anything() -> None:
    """A function by the name of a harmless one is not harmless when somebody made it; planted: otherwise it is."""
    sql = "SELECT power(2)"
    assert touched(sql, None, TABLES, NAMING) == Touched()
    assert touched(sql, None, TABLES, NAMING, None, frozenset({"power"})) == everything()


def test_who_looks_elsewhere_is_told_apart() -> None:
    """A statement whose look at other rows may be older than its lock is known; one by its own row is not."""
    assert not of(sa.update(stock).where(ONE, stock.c.rest >= 5).values(rest=0), {"who": "a"}).besides
    put = postgresql.insert(holds).values(sale="a", number=1).returning(holds.c.number).cte("put")
    both = sa.update(stock).where(ONE, sa.exists(sa.select(put.c.number))).values(rest=0)
    assert not of(both, {"who": "a"}).besides
    counted = sa.select(sa.func.count()).select_from(mail).scalar_subquery()
    assert of(sa.update(stock).where(ONE, counted < 1).values(rest=0), {"who": "a"}).besides
    assert not of_text("SELECT rest FROM stock WHERE id = %s FOR UPDATE", ["a"]).besides
    assert not of_text("INSERT INTO stock (id) VALUES (%s) ON CONFLICT DO NOTHING", ["a"]).besides
    assert not of_text("SELECT pg_advisory_xact_lock(%s)", [1]).besides
    for sql in (
        "SELECT (SELECT count(*) FROM mail) FROM stock WHERE id = %s FOR UPDATE",
        "UPDATE stock SET rest = 0 WHERE (SELECT count(*) FROM stock) < 1",
        "SELECT id FROM stock ORDER BY id LIMIT 1 FOR UPDATE",
        "SELECT pg_advisory_xact_lock(%s), rest FROM stock",
        "SELECT take()",
    ):
        assert of_text(sql, ["a"]).besides, sql


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE stock JOIN holds ON holds.sale = stock.id SET holds.state = 'a'",
        "DELETE holds FROM holds JOIN stock ON stock.id = holds.sale",
        "UPDATE stock, holds SET holds.state = 'a'",
        "INSERT holds SELECT * FROM stock",
        "DELETE QUICK FROM holds",
        "INSERT LOW_PRIORITY INTO holds VALUES (1)",
        "INSERT view_of_holds VALUES (1)",
    ],
)
def test_all_that_a_statement_may_write_is_written(sql: str) -> None:
    """What MariaDB writes by one statement in text is written, whichever of its tables it is; planted: a look is
    no write."""
    assert meet(of_text(sql).writes, keys("holds/*"))
    assert not of_text("SELECT * FROM holds JOIN stock ON stock.id = holds.sale FOR UPDATE").writes
    assert of_text("INSERT INTO stock SELECT sale FROM holds").writes == keys("stock/*")


def test_an_update_of_a_join_writes_all_of_its_tables() -> None:
    """SQLAlchemy's UPDATE of a join writes both tables."""
    joined = sa.update(stock.join(holds, holds.c.sale == stock.c.id)).values({holds.c.state: "a"})
    assert of(joined, dialect=mysql).writes == keys("stock/*", "holds/*")


def test_advisory_locks() -> None:
    """An advisory lock is a key of its own, by its name; those that outlive the transaction are told apart."""
    of_transaction = of_text("SELECT pg_advisory_xact_lock(CAST(%(lock)s AS bigint)) IS NOT NULL", {"lock": "7"})
    assert of_transaction == Touched(locks=frozenset({"sql-lock/advisory/7"}))
    of_session = of_text("SELECT GET_LOCK(%s, 60)", ["7"])
    assert of_session == Touched(locks=frozenset({"sql-lock/advisory/7"}), held=True)
    for sql, values in (("SELECT pg_advisory_lock(7)", None), ("SELECT GET_LOCK('a', %s)", [1])):
        assert of_text(sql, values).locks == frozenset({"sql-lock/advisory/*"}), sql


def test_who_looks_at_the_clock_is_known() -> None:
    """A statement that compares with the server's time is told apart, wherever the words are functions."""
    assert of(sa.select(stock).where(sa.func.now() > sa.func.clock_timestamp())).clock
    assert of_text("SELECT rest FROM stock WHERE UTC_TIMESTAMP(6) > '2024-01-01'").clock
    assert not of_text("SELECT rest FROM stock WHERE id = 'now'").clock


def test_touching_the_same_is_never_missed() -> None:
    """Planted: a write of one row and a look at the whole table depend on each other; of two rows they do not."""
    write = of(sa.update(stock).where(ONE).values(rest=0), {"who": "a"}).writes
    assert meet(write, of(sa.select(stock)).reads)
    assert meet(write, of_text("SELECT count(*) FROM stock").reads)
    assert meet(write, frozenset({EVERYTHING}))
    assert not meet(write, of(sa.select(stock).where(ONE), {"who": "b"}).reads)


@pytest.mark.parametrize(
    ("sql", "values", "text"),
    [
        (
            "SELECT stock.rest \nFROM stock \nWHERE stock.id = %(id)s::VARCHAR FOR UPDATE",
            {"id": "t1-1"},
            "SELECT rest FROM stock FOR UPDATE",
        ),
        (
            "UPDATE stock SET rest=(stock.rest - %(x)s::BIGINT) WHERE stock.id = %(id)s AND stock.rest >= %(x)s",
            {"id": "t1-1", "x": 100},
            "UPDATE stock SET rest=rest-100 WHERE rest>=100",
        ),
        (
            "INSERT INTO holds (sale, number) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            ["t1-1", 3],
            "INSERT holds (3)",
        ),
        ("INSERT IGNORE INTO holds (sale, number) VALUES (%s, %s)", ["t1-1", 3], "INSERT holds (3)"),
        (
            "WITH put AS (INSERT INTO holds (sale) VALUES (%s) RETURNING 1) UPDATE stock SET rest=1 WHERE id = %s",
            ["a", "b"],
            "INSERT holds · UPDATE stock",
        ),
        ("SELECT a.b, a.c, a.d, a.e FROM a WHERE a.f = %s ORDER BY a.b", [""], "SELECT * FROM a WHERE f=''"),
        ("SELECT pg_advisory_xact_lock(CAST(%s AS bigint)) IS NOT NULL", [7], "SELECT pg_advisory_xact_lock(7)"),
        ("SELECT count(*) AS count_1 \nFROM stock", {}, "SELECT count(*) FROM stock"),
    ],
)
def test_what_a_statement_is_called(sql: str, values: Any, text: str) -> None:
    """A statement is shown with its values, and without prefixes, casts and the one tranche."""
    assert text_of(sql, values, NAMING) == text


def test_a_long_statement_is_cut_and_shows_how_it_locks() -> None:
    """What does not fit is cut, but for how it locks."""
    text = text_of(f"SELECT a FROM b WHERE c = '{'d' * 100}' FOR UPDATE SKIP LOCKED", None, NAMING)
    assert len(text) == LONGEST
    assert text.endswith("… FOR UPDATE SKIP LOCKED")
