"""The mutants: operators change what they say, the explanations are about mutants that there are."""

import ast
from dataclasses import replace

import pytest
from tests.mutants import by_hand, corpus, designs, explanations, lua, making, operators, page, run
from tests.mutants.edits import Edit, Source
from tests.mutants.hunting import Hunted, expected
from tests.mutants.originals import Seen

DESIGN = '''
SCRIPT = """
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
if held and held < tonumber(ARGV[1]) then
    redis.call('DECRBY', KEYS[1], ARGV[2])
    redis.call('HSET', KEYS[2], ARGV[1], 1)
end
"""


def reserve(self, bid):
    """Take."""
    left = self._redis.get(key(bid.tranche_id, "left", bid.bid_id))
    if left < bid.amount_fen:
        return "sold_out"
    self._redis.decrby(stock, bid.amount_fen)
    self._redis.set(marker, 1, nx=True, px=5)
    return "ok" if stored else "busy"


def release(self, bid) -> bool:
    if self._redis.set(marker, 1):
        self._redis.incrby(stock, 1)
    try:
        self._change(1)
    finally:
        self._unlock(1)
    return self.found and self.ours


def settle(self, row):
    for turn in range(3):
        row = self._desk.read()
        reply = self._channel.pay(row.ref, row.user, row.fen, row.ref)
        if reply in {"ok", "paid"}:
            self._desk.paid(row)


def confirm(self, bid, hold):
    """Look."""
    found = self._sql.execute(READ)
    return found == 1


TAKE = (
    sa.update(stock)
    .where(OF_TRANCHE, stock.c.version == sa.bindparam("seen"))
    .values(remaining_fen=stock.c.remaining_fen - sa.bindparam("amount"), version=stock.c.version + 1)
)
LOCK = READ.with_for_update(skip_locked=True)
'''


@pytest.fixture(scope="module")
def changed():
    """Return what an operator makes of the design above: the lines that it changes, as they are then."""
    source = Source(DESIGN)
    nodes = corpus.parts(source.tree).values()
    edits = [edit for node in nodes for edit in (*operators.edits(source, node), *lua.edits(source, node))]

    def of(operator):
        return [_new(edit) for edit in edits if edit.operator == operator]

    return of


def _new(edit: Edit) -> str:
    return edit.diff(DESIGN).partition(" -> ")[2]


@pytest.mark.parametrize(
    ("operator", "made"),
    [
        ("never", "if ((left < bid.amount_fen) and False):"),
        ("never", "if ((self._redis.set(marker, 1)) and False):"),
        ("always", "if ((self._redis.set(marker, 1)) or True):"),
        ("always", 'return "ok" if ((stored) or True) else "busy"'),
        ("unasked", "if True:"),
        ("half", "return (self.ours)"),
        ("boundary", "if left <= bid.amount_fen:"),
        ("zero", "if left < 0:"),
        ("element", 'if reply in {"paid"}:'),
        ("deleted", "pass"),
        ("twice", "self._redis.incrby(stock, 1) self._redis.incrby(stock, 1)"),
        ("swapped", "self._redis.set(marker, 1, nx=True, px=5) self._redis.decrby(stock, bid.amount_fen)"),
        ("hoisted", "row = self._desk.read() for turn in range(3): pass"),
        ("finally-first", "self._unlock(1) if True: self._change(1)"),
        ("granted", "return ((self.found and self.ours) or True)"),
        ("unlooked", "return True"),
        ("without", "self._redis.set(marker, 1, px=5)"),
        ("without", "self._redis.set(marker, 1, nx=True)"),
        ("without", "LOCK = READ.with_for_update()"),
        ("clause", "LOCK = READ"),
        ("clause", "sa.update(stock) .where(OF_TRANCHE)"),
        ("column", '.where(OF_TRANCHE, stock.c.remaining_fen == sa.bindparam("seen"))'),
        ("one-key", 'left = self._redis.get(key(bid.tranche_id, "left"))'),
        ("payment-key", "reply = self._channel.pay(row.ref, row.user, row.fen, None)"),
        ("payment-key", "reply = self._channel.pay(row.ref, row.user, row.fen, self._desk.fresh_key())"),
        ("lua-never", "if ((redis.call('EXISTS', KEYS[1]) == 0) and false) then return -1 end"),
        ("lua-always", "if ((held and held < tonumber(ARGV[1])) or true) then"),
        ("lua-boundary", "if held and held <= tonumber(ARGV[1]) then"),
        ("lua-half", "if held < tonumber(ARGV[1]) then"),
        ("lua-deleted", ""),
        ("lua-swapped", "redis.call('HSET', KEYS[2], ARGV[1], 1) redis.call('DECRBY', KEYS[1], ARGV[2])"),
    ],
)
def test_an_operator_changes_what_it_says(changed, operator, made):
    """Each pattern gives the change that its name stands for."""
    assert any(each.startswith(made) and (made or not each) for each in changed(operator))


def test_an_operator_leaves_alone_what_does_not_fit(changed):
    """What refuses everybody, whose row it is, and what only MariaDB runs is not changed."""
    assert "if ((left < bid.amount_fen) or True):" not in changed("always")
    assert not any("OF_TRANCHE" not in each for each in changed("clause") if "where" in each)
    source = Source('def f(self):\n    if sql.dialect.name == "mariadb":\n        sql.execute(A)\n')
    assert list(operators.edits(source, source.tree.body[0])) == []


def test_every_mutant_is_another_program_with_a_name_of_its_own():
    """No two mutants are the same text, each can be parsed, and none is the design itself."""
    found = corpus.mutants()
    assert len({mutant.name for mutant in found}) == len(found) > 500
    texts = {(mutant.module, mutant.text) for mutant in found}
    assert len(texts) == len(found)
    for mutant in found[::50]:
        assert ast.dump(ast.parse(mutant.text)) != ast.dump(corpus.source(mutant.module).tree)


def test_every_sound_design_has_mutants():
    """No design that can be explored is left out, but those whose code is all that of another one."""
    mutated = {mutant.design for mutant in corpus.mutants()}
    assert mutated == set(designs.names()) - {"version-retry", "serializable-retry", "buckets-steal"}


def test_every_explanation_is_about_a_mutant(monkeypatch):
    """No explanation is left behind when a design or an operator changes."""
    assert explanations.strays(mutant.name for mutant in corpus.mutants()) == []
    monkeypatch.setattr(explanations, "TABLE", [("gap", "planted", ["no-such-design:*"])])
    assert explanations.strays(["row-lock:never:row_lock.reserve.1"]) == ["no-such-design:*"]


def test_every_explanation_says_of_which_kind_it_is():
    """A survivor is equivalent to its design, or a gap of the explorer."""
    assert {kind for kind, _, _ in explanations.TABLE} <= {"equivalent", "gap"}


def test_a_patch_that_fits_nowhere_is_refused():
    """When a design's text has changed, its patch by hand has to change too."""
    patch = by_hand.Patch("none", "none", "wrong", "not there", "x")
    with pytest.raises(ValueError, match="must stand there once"):
        patch.edit(Source("x = 1\n"))


def test_a_mutant_is_loaded_beside_its_design():
    """The change is in the copy's base class as well, and the design itself stays as it is."""
    mutant = next(
        each for each in corpus.mutants() if each.name.startswith("redis-watch:never:redis_stock.release")
    )
    with making.made(mutant) as strategy:
        base = strategy.__mro__[1]
        assert base.__name__ == "RedisStock"
        assert "and False" in making.linecache.getline(base.release.__code__.co_filename, mutant.edit.line)
    with making.loaded("lease-fenced+state-machine", {}) as strategy:
        assert strategy.lock.__mro__[1].__module__.startswith(making.PREFIX)
        assert strategy.__mro__[1].__module__.startswith(making.PREFIX)


def test_the_result_is_wrong_when_a_survivor_has_no_explanation():
    """So it is when a mutant is found although its survival was explained."""
    mutant = corpus.mutants()[0]
    why = {mutant.name: ("equivalent", "the same")}
    assert expected(Hunted(mutant, "survived"), why)
    assert not expected(Hunted(mutant, "survived"), {})
    assert expected(Hunted(mutant, "safety"), {})
    assert not expected(Hunted(mutant, "safety"), why)


def test_the_table_counts_by_kind():
    """Equivalent mutants do not count against the share that was found."""
    first, second, third = corpus.mutants()[:3]
    found = [Hunted(first, "safety"), Hunted(second, "survived"), Hunted(third, "survived")]
    lines = list(page.table(found, {second.name: ("equivalent", "the same"), third.name: ("gap", "unseen")}))
    assert "| memcached-cas | 3 | 1 | 0 | 1 | 1 | 0 |" in lines
    assert lines[-1].startswith("Found: 1 of 2 mutants that differ from their design (50.0%); 1 do not differ")
    whole = "\n".join(page.lines(found, {second.name: ("equivalent", "the same"), third.name: ("gap", "unseen")}))
    gaps, same = whole.partition("## Gaps")[2].split("## Equivalent")
    assert ("- unseen" in gaps, "- the same" in same) == (True, True)


def test_what_was_found_is_known_in_the_next_run(tmp_path):
    """A run that was stopped goes on where it was; a mutant that is another one by now is explored again."""
    first, second = corpus.mutants()[:2]
    notes = tmp_path / run.NOTES
    assert run.noted(notes) == {}
    seen = Seen("VIOLATION", "oversubscription", "1 of 1", frozenset({("leak", "lost_reply")}), 7, 0.5)
    hunted = Hunted(first, "safety", "oversubscription", 1, [seen])
    run.note(notes, hunted)
    run.note(notes, Hunted(replace(second, edit=replace(second.edit, new="other")), "survived"))
    assert run.noted(notes) == {first.name: hunted}
