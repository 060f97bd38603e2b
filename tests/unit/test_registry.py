"""The registry: what is a strategy, where it may come from, and what people are told of it."""

import sys

import pytest

from oversold.bid_plan import CANARY
from oversold.errors import UsageError
from oversold.strategies import registry
from oversold.strategies.bids.redis_lua import RedisLua
from oversold.strategies.registry import BID_STRATEGIES, METHODS, StrategyCard, card, load, names

GOOD = '''
class Mine:
    """Ask nobody.

    Guarantee: there is none,
    over two lines.

    Known hole: everything.
    """

    stores = frozenset({"redis"})

    def __init__(self, context): ...
    def open(self, tranche): ...
    def reserve(self, bid): ...
    def confirm(self, bid, hold): ...
    def release(self, bid, hold): ...
    def status(self, tranche_id): ...
'''


@pytest.fixture
def file(tmp_path):
    """Write a strategy file; file(source) returns its path."""

    def written(source, name="mine.py"):
        path = tmp_path / name
        path.write_text(source)
        return path

    yield written
    for name in [name for name in sys.modules if name.startswith("oversold_user_")]:
        del sys.modules[name]


@pytest.mark.parametrize("name", BID_STRATEGIES)
def test_every_built_in_can_be_loaded(name):
    """Its module and its class exist, and it is a strategy by the same check as anybody's."""
    kind = load(name)
    assert kind.stores <= {"redis", "memcached", "sql", "rabbitmq", "redlock"}
    assert kind.stores


@pytest.mark.parametrize("name", BID_STRATEGIES)
def test_every_built_in_says_what_it_does_and_where_its_hole_is(name):
    """Docs, help and `oversold list` are made of these sentences."""
    about = card(name)
    for text in (about.algorithm, about.guarantee, about.hole):
        assert text.endswith(".")
        assert "\n" not in text
        assert len(text) > 10
    assert about.name == name
    assert about.stores == tuple(sorted(load(name).stores))


def test_no_two_built_ins_tell_the_same():
    """Neither the algorithm nor the hole is a copy."""
    cards = [card(name) for name in BID_STRATEGIES]
    assert len({each.algorithm for each in cards}) == len({each.hole for each in cards}) == len(cards)


def test_the_canary_is_a_built_in():
    """Without it no run can pass."""
    assert CANARY in BID_STRATEGIES


def test_a_class_in_a_file_is_a_strategy(file):
    """By path and class name; its card is taken from its docstring."""
    name = f"{file(GOOD)}:Mine"
    assert load(name).__name__ == "Mine"
    assert card(name) == StrategyCard(
        name, ("redis",), "Ask nobody.", "there is none, over two lines.", "everything."
    )


def test_a_class_without_a_docstring_has_an_empty_card(file):
    """Nothing is made up; no heading of a base class is taken for it."""
    bare = GOOD.replace('"""', "'''").split("'''")
    about = card(f"{file(bare[0] + bare[2])}:Mine")
    assert (about.algorithm, about.guarantee, about.hole) == ("", "", "")


def test_files_of_the_same_name_do_not_mix(file, tmp_path):
    """Two people's `lock.py` are two strategies."""
    (tmp_path / "other").mkdir()
    one = load(f"{file(GOOD)}:Mine")
    other = load(f"{file(GOOD, 'other/mine.py')}:Mine")
    assert one is not other


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (None, "does not exist"),
        ("", "has no class Mine"),
        ("Mine = 5", "is not a class"),
        ("class Mine: ...", "lacks open, reserve, confirm, release, status"),
        (GOOD.replace("def release", "def free"), "lacks release"),
        (GOOD.replace("def status(self, tranche_id): ...", "status = 5"), "lacks status"),
        (
            GOOD.replace('frozenset({"redis"})', 'frozenset({"mongodb"})'),
            "a frozenset out of redis, memcached, sql",
        ),
        (GOOD.replace('frozenset({"redis"})', '"redis"'), "must have `stores`"),
        (GOOD.replace('stores = frozenset({"redis"})', ""), "must have `stores`"),
        ("raise RuntimeError('no licence\\nreally')", "cannot be loaded: RuntimeError: no licence"),
        ("import there_is_no_such_module", "cannot be loaded: ModuleNotFoundError"),
        ("def (", "cannot be loaded: SyntaxError"),
    ],
)
def test_what_is_no_strategy_is_refused_in_one_line(source, words, file, tmp_path):
    """Before anything is started; the line says what is missing, and where."""
    path = tmp_path / "mine.py" if source is None else file(source)
    with pytest.raises(UsageError) as caught:
        load(f"{path}:Mine")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "mine.py" in str(caught.value)


def test_a_file_that_exits_is_refused(file):
    """A script without a main guard must not end the command, least of all with the code of a pass."""
    with pytest.raises(UsageError, match="cannot be loaded"):
        load(f"{file('import sys; sys.exit(0)')}:Mine")


def test_an_unknown_name_suggests_the_near_one():
    """And says where all the names are."""
    with pytest.raises(UsageError, match=r"unknown strategy 'redis-lau' \(did you mean redis-lua.*oversold list"):
        load("redis-lau")


class Entry:
    """What an installed package offers under the entry-point group."""

    def __init__(self, name, target):
        self.name, self.target = name, target

    def load(self):
        """Import it, as importlib.metadata would."""
        if isinstance(self.target, Exception):
            raise self.target
        return self.target


@pytest.fixture
def installed(monkeypatch):
    """Pretend that somebody's package is installed; installed(name, target)."""

    def pretend(name, target):
        def entries(group):
            assert group == "oversold.strategies"
            return [Entry(name, target)]

        monkeypatch.setattr(registry, "entry_points", entries)

    return pretend


def test_an_installed_strategy_is_named_and_loaded(installed):
    """After the built-ins."""
    installed("theirs", RedisLua)
    assert names() == [*BID_STRATEGIES, "theirs"]
    assert load("theirs") is RedisLua
    assert card("theirs").name == "theirs"


def test_a_built_in_cannot_be_replaced_from_outside(installed):
    """Else a comparison with the canary would be worth nothing."""
    installed("none", RedisLua)
    assert names() == [*BID_STRATEGIES]
    assert load("none") is not RedisLua


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (
            ImportError("no module named redis_cluster"),
            "cannot be loaded: ImportError: no module named redis_cluster",
        ),
        (object, "lacks open"),
        (5, "is not a class"),
    ],
)
def test_a_broken_installed_strategy_is_refused(target, words, installed):
    """With its name, for the user may not know where it comes from."""
    installed("theirs", target)
    with pytest.raises(UsageError, match=words) as caught:
        load("theirs")
    assert "theirs" in str(caught.value)


def test_the_methods_that_are_checked_are_the_interface():
    """No more, no less than what the protocol asks for."""
    assert set(METHODS["bids"]) == {"open", "reserve", "confirm", "release", "status"}
    assert set(METHODS["payouts"]) == {"open", "run_job", "reconcile", "state"}
