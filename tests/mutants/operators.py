"""What can be wrong in a design's Python code, as edits: each place where a pattern fits is one mutant."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable, Iterator, Sequence

from tests.mutants.edits import Edit, Source

HARMLESS = {"Hold", "key", "int", "bool", "str", "len", "sum", "range", "cast", "min", "max", "float", "tuple"}
HARMLESS |= {"sleep", "uniform", "now_s", "getrandbits", "bindparam", "append", "decode", "encode", "tonumber"}
# What has an effect each time that it is sent.
ADDING = {"incrby", "incr", "decrby", "decr", "rpush", "xadd", "execute", "give_back", "paid", "settle"}
BOUNDARY = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">"}
ENDS = (ast.Return, ast.Continue, ast.Break, ast.Raise)


def edits(source: Source, node: ast.AST) -> Iterator[Edit]:
    """Yield all edits of one function or one statement of a module."""
    for each in _walked(source, node):
        for operator in OPERATORS:
            yield from operator(source, each)
    if isinstance(node, ast.FunctionDef):
        yield from unlooked(source, node)


def _walked(source: Source, node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below one, but what only MariaDB runs: the mutants are explored on PostgreSQL."""
    if isinstance(node, ast.If) and "dialect.name" in source.of(node.test):
        for each in node.body if '"postgresql"' in source.of(node.test) else node.orelse:
            yield from _walked(source, each)
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _walked(source, child)


def asks(node: ast.AST) -> bool:
    """Tell whether a piece of code calls something that may talk to a store."""
    return any(isinstance(each, ast.Call) and called(each) not in HARMLESS for each in ast.walk(node))


def called(call: ast.Call) -> str:
    """Return the last word of what is called."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


# Conditions


def condition(source: Source, node: ast.AST) -> Iterator[Edit]:
    """A check comes to nothing: what it asks is asked, and the answer not looked at; or it is not even asked."""
    if not isinstance(node, ast.If | ast.IfExp):
        return
    test = source.of(node.test)
    refuses = isinstance(node, ast.If) and isinstance(node.body[-1], ENDS)
    yield source.replaced("never", node.test, f"(({test}) and False)")
    if not refuses:  # who refuses everybody is no riddle
        yield source.replaced("always", node.test, f"(({test}) or True)")
    if asks(node.test) and not any(isinstance(each, ast.NamedExpr) for each in ast.walk(node.test)):
        yield source.replaced("unasked", node.test, str(not refuses))


def half(source: Source, node: ast.AST) -> Iterator[Edit]:
    """One of two conditions is forgotten."""
    if isinstance(node, ast.BoolOp) and not any(isinstance(each, ast.Constant) for each in node.values):
        word = " and " if isinstance(node.op, ast.And) else " or "
        for dropped in node.values:
            left = [source.of(each) for each in node.values if each is not dropped]
            yield source.replaced("half", node, f"({word.join(left)})")


def boundary(source: Source, node: ast.AST) -> Iterator[Edit]:
    """One off: what just fits does not, or the other way round."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in BOUNDARY:
        left, right = source.of(node.left), source.of(node.comparators[0])
        yield source.replaced("boundary", node, f"{left} {BOUNDARY[type(node.ops[0])]} {right}")


def zero(source: Source, node: ast.AST) -> Iterator[Edit]:
    """The wrong thing is compared: with nothing, instead of with what is wanted."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in BOUNDARY:
        right = node.comparators[0]
        if not isinstance(right, ast.Constant):
            yield source.replaced("zero", right, "0")


def element(source: Source, node: ast.AST) -> Iterator[Edit]:
    """One of several answers is forgotten."""
    if isinstance(node, ast.Set) and len(node.elts) > 1:
        for dropped in node.elts:
            left = [source.of(each) for each in node.elts if each is not dropped]
            yield source.replaced("element", node, f"{{{', '.join(left)}}}")


# Statements


def statement(source: Source, node: ast.AST) -> Iterator[Edit]:
    """A command is forgotten, or sent twice."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and asks(node):
        yield source.replaced("deleted", node, "pass")
        text = source.of(node)
        if called(node.value) not in ADDING:
            return
        yield source.replaced("twice", node, f"{text}\n{' ' * node.col_offset}{text}")


def swapped(source: Source, node: ast.AST) -> Iterator[Edit]:
    """Two neighbours in the wrong order, where neither needs what the other has computed."""
    for body in _bodies(node):
        for first, second in itertools.pairwise(body):
            if not asks(first) or not asks(second):
                continue
            if isinstance(first, ENDS) or isinstance(second, ENDS):
                continue
            if _stores(first) & _loads(second) or _stores(second) & _loads(first):
                continue
            gap = source.text[source.end(first) : source.start(second)]
            new = source.of(second) + gap + source.of(first)
            yield Edit("swapped", first.lineno, source.start(first), source.end(second), new)


def hoisted(source: Source, node: ast.AST) -> Iterator[Edit]:
    """What a loop reads in each turn is read once, before it."""
    if isinstance(node, ast.For | ast.While):
        first = next((each for each in node.body if isinstance(each, ast.Assign) and asks(each)), None)
        if first is not None and not _loads(first) & _stores(node.target if isinstance(node, ast.For) else node):
            margin = " " * node.col_offset
            whole = source.of(node)
            inner = source.start(first) - source.start(node)
            rest = whole[:inner] + "pass" + whole[inner + len(source.of(first)) :]
            yield source.replaced("hoisted", node, f"{source.of(first)}\n{margin}{rest}")


def trying(source: Source, node: ast.AST) -> Iterator[Edit]:
    """What `finally` does is done first: a lock is opened before the write. Or a failure is not looked at."""
    if not isinstance(node, ast.Try):
        return
    if node.finalbody:
        margin = " " * node.col_offset
        last = "\n".join(margin + source.of(each) for each in node.finalbody).strip()
        body = source.text[source.start(node.body[0]) : source.end(node.body[-1])]
        inside = " " * node.body[0].col_offset
        whole = f"{last}\n{margin}if True:\n{inside}{body}"
        if not node.handlers and not node.orelse:
            yield source.replaced("finally-first", node, whole)
    for handler in node.handlers:
        first, last_one = handler.body[0], handler.body[-1]
        if not isinstance(first, ast.Raise):
            yield Edit("ignored", first.lineno, source.start(first), source.end(last_one), "pass")


def granted(source: Source, node: ast.AST) -> Iterator[Edit]:
    """A function answers yes whatever came of its work."""
    if isinstance(node, ast.FunctionDef) and isinstance(node.returns, ast.Name) and node.returns.id == "bool":
        for each in ast.walk(node):
            if isinstance(each, ast.Return) and each.value and not isinstance(each.value, ast.Constant):
                yield source.replaced("granted", each.value, f"(({source.of(each.value)}) or True)")


def unlooked(source: Source, node: ast.FunctionDef) -> Iterator[Edit]:
    """A hold is confirmed before anybody looks whether there is one."""
    work = [each for each in node.body if not _documents(each)]
    if node.name == "confirm" and not (
        isinstance(work[0], ast.Return) and isinstance(work[0].value, ast.Constant)
    ):
        yield Edit("unlooked", work[0].lineno, source.start(work[0]), source.end(work[-1]), "return True")


# Arguments

DROPPED = {"nx", "px", "ex", "expire", "skip_locked", "isolation_level"}
# What others decide by; the other columns are for people.
COLUMNS = {"status", "state", "version", "remaining_fen", "bid_id", "expires_ms", "key", "fence", "since"}
WRONG_COLUMN = {"version": "remaining_fen", "remaining_fen": "version"}
WRONG_FIELD = {"version": "tries", "fence": "version"}  # of obligations


def without(source: Source, node: ast.AST) -> Iterator[Edit]:
    """An option is not given, or a column that others look at is not written."""
    if not isinstance(node, ast.Call):
        return
    writes = called(node) == "values"
    for dropped in node.keywords:
        dropped_here = dropped.arg in (COLUMNS if writes else DROPPED)
        if dropped.arg and dropped_here and source.of(dropped.value) != "EXPIRE_S":
            left = [source.of(each) for each in [*node.args, *node.keywords] if each is not dropped]
            if writes and not left:
                continue
            whole = f"{source.of(node.func)}({', '.join(left)})"
            if called(node) == "execution_options" and not left:
                assert isinstance(node.func, ast.Attribute)
                whole = source.of(node.func.value)
            yield source.replaced("without", node, whole)
            if dropped.arg == "isolation_level" and source.of(dropped.value) == '"SERIALIZABLE"':
                yield source.replaced("weaker", dropped.value, '"REPEATABLE READ"')


def clause(source: Source, node: ast.AST) -> Iterator[Edit]:
    """A statement lacks a condition, its lock or its limit."""
    if not isinstance(node, ast.Call) or called(node) not in {"where", "and_", "with_for_update", "limit"}:
        return
    if called(node) in {"with_for_update", "limit"}:
        assert isinstance(node.func, ast.Attribute)
        yield source.replaced("clause", node, source.of(node.func.value))
        return
    for dropped in node.args:
        text = source.of(dropped)
        # Whose row it is, is not forgotten: that would be other sales' rows.
        if any(word in text for word in ("tranche", "TRANCHE", "payday", "MINE", "OF_BID", "*DUE")):
            continue
        left = [source.of(each) for each in [*node.args, *node.keywords] if each is not dropped]
        if left:
            yield source.replaced("clause", node, f"{source.of(node.func)}({', '.join(left)})")
        elif isinstance(node.func, ast.Attribute):
            yield source.replaced("clause", node, source.of(node.func.value))


def column(source: Source, node: ast.AST) -> Iterator[Edit]:
    """A condition compares the wrong column."""
    if isinstance(node, ast.Compare) and isinstance(node.left, ast.Attribute):
        owner = source.of(node.left.value)
        wrong = WRONG_COLUMN if owner.endswith(".c") else WRONG_FIELD if owner == "columns" else {}
        if node.left.attr in wrong:
            yield source.replaced("column", node.left, f"{owner}.{wrong[node.left.attr]}")


def sign(source: Source, node: ast.AST) -> Iterator[Edit]:
    """Taken where it should be added, and the other way round."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub) and _counts(source.of(node)):
        other = "-" if isinstance(node.op, ast.Add) else "+"
        yield source.replaced("sign", node, f"{source.of(node.left)} {other} {source.of(node.right)}")
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and _counts(source.of(node)):
        yield source.replaced("sign", node, source.of(node.operand))


def one_key(source: Source, node: ast.AST) -> Iterator[Edit]:
    """One key for all."""
    if not isinstance(node, ast.Call) or called(node) != "key" or len(node.args) < 3:
        return
    left = [source.of(each) for each in node.args[:-1]]
    yield source.replaced("one-key", node, f"key({', '.join(left)})")


def payment_key(source: Source, node: ast.AST) -> Iterator[Edit]:
    """A payment is sent without its idempotency key, or with a fresh one each time."""
    if isinstance(node, ast.Call) and called(node) == "pay" and len(node.args) == 4:
        yield source.replaced("payment-key", node.args[3], "None")
        if "fresh_key" not in source.of(node.args[3]):
            yield source.replaced("payment-key", node.args[3], "self._desk.fresh_key()")


OPERATORS: Sequence[Callable[[Source, ast.AST], Iterator[Edit]]] = (
    condition,
    half,
    boundary,
    zero,
    element,
    statement,
    swapped,
    hoisted,
    trying,
    granted,
    without,
    clause,
    column,
    sign,
    one_key,
    payment_key,
)


def _bodies(node: ast.AST) -> Iterator[list[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        body = getattr(node, name, None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.stmt)
            and not isinstance(node, ast.ClassDef)
        ):
            yield body


def _documents(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _names(node: ast.AST, context: type[ast.expr_context]) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, context)}


def _stores(node: ast.AST) -> set[str]:
    return _names(node, ast.Store)


def _loads(node: ast.AST) -> set[str]:
    return _names(node, ast.Load)


def _counts(text: str) -> bool:
    return any(word in text for word in ("fen", "amount", "left", "version"))
