"""From what was typed, configured or preset to a plan: who wins, and what is refused."""

from pathlib import Path

import pytest

from oversold import options
from oversold.bid_plan import BidPlan, BidSettings
from oversold.errors import UsageError
from oversold.options import Typed, choice_of, defaults_from_config, plan_of, strategies_of, whole, writable
from oversold.strategies import registry

COMMANDS = {
    "run": {"users", "lanes", "settings", "stores", "redis_url", "sql_url", "strategy", "allow_remote"},
    "list": {"json_"},
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Stand in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def preset(here, text, name="mine"):
    """Write a preset of the user's own."""
    folder = here / "fixtures/presets"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.toml").write_text(text)
    return name


def test_nothing_typed_is_the_defaults():
    """The plan's own, and half a millisecond of network."""
    plan = plan_of(Typed("bid-burst"), "redis-lua")
    assert plan == BidPlan(scenario="bid-burst", strategy="redis-lua", rtt_s=0.0005)


def test_flags_beat_the_preset_and_the_preset_the_defaults(here):
    """Option by option, setting by setting."""
    name = preset(here, 'users = 50\nlanes = 3\nrtt = "2ms"\nseed = 9\n[set]\np = 0.5\nsteps = 2\n')
    typed = Typed("bid-burst", lanes="4", rtt="1ms", preset=name, settings=["p=0.25"])
    plan = plan_of(typed, "none")
    assert (plan.users, plan.lanes, plan.seed, plan.rtt_s) == (50, 4, 9, 0.001)
    assert plan.bids == BidSettings(p=0.25, steps=2)
    assert plan.capacity_fen == BidPlan(scenario="s", strategy="s").capacity_fen


@pytest.mark.parametrize("name", ["seed", "latched-full"])
def test_the_presets_of_the_incident_are_plans(name):
    """Ten thousand bidders and ten million yuan."""
    plan = plan_of(Typed("bid-burst", preset=name), "none")
    assert (plan.users, plan.capacity_fen) == (10_000, 1_000_000_000)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"users": "many"}, "--users many: "),
        ({"users": "0"}, "--users 0: "),
        ({"users": "1.5"}, "--users 1.5: "),
        ({"capacity": "-1"}, "--capacity -1: "),
        ({"capacity": "1e9"}, "--capacity 1e9: "),
        ({"seed": "x"}, "--seed x: "),
        ({"processes": "65"}, "--processes 65: "),
        ({"lanes": ""}, "--lanes : "),
        ({"rtt": "fast"}, "'fast' is no duration"),
        ({"rtt": "20s"}, "--rtt 20.0: "),
        ({"preset": "sead"}, "did you mean seed"),
        ({"settings": ["pp=1"]}, "--set pp: no such setting"),
        ({"settings": ["p=2"]}, "p='2': "),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(typed, words):
    """It begins with the option as it is typed, and the value."""
    with pytest.raises(UsageError) as caught:
        plan_of(Typed("bid-burst", **typed), "none")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_names_suggest_the_near_ones():
    """Scenario and strategy are looked up before anything else."""
    with pytest.raises(UsageError, match=r"did you mean bid-burst"):
        plan_of(Typed("bid-bust"), "none")
    with pytest.raises(UsageError, match=r"did you mean redis-lua"):
        plan_of(Typed("bid-burst"), "redis-lau")


def test_an_unknown_key_of_a_preset_is_refused(here):
    """A misspelt option in a file is as wrong as one that is typed; `about` is for people."""
    with pytest.raises(UsageError, match="preset mine: unknown keys for bid-burst: laness, userz"):
        plan_of(Typed("bid-burst", preset=preset(here, "userz = 5\nlaness = 1")), "none")
    assert plan_of(Typed("bid-burst", preset=preset(here, "about = 'x'", "fine")), "none")


def test_a_preset_whose_settings_are_no_table_is_refused(here):
    """`set = 5` is a mistake in the file."""
    with pytest.raises(UsageError, match="mine"):
        plan_of(Typed("bid-burst", preset=preset(here, "set = 5")), "none")


def test_urls_that_were_not_given_are_left_out():
    """The choice of stores has only what the user said."""
    url = "redis://127.0.0.1:6379"
    choice = choice_of(Typed("s", urls={"redis": url, "sql": None, "memcached": ""}, allow_remote=True))
    assert (choice.mode, choice.urls, choice.allow_remote) == ("auto", {"redis": url}, True)


def test_strategies_keep_their_order():
    """As typed, with blanks and repeats gone."""
    assert strategies_of("row-lock, none,row-lock,redis-lua", "bids") == ["row-lock", "none", "redis-lua"]


def test_all_is_every_strategy():
    """Also among others, which then come where they were named."""
    assert strategies_of("all", "bids") == registry.names()
    assert strategies_of("row-lock,all", "bids")[0] == "row-lock"
    assert sorted(strategies_of("row-lock,all", "bids")) == sorted(registry.names())


@pytest.mark.parametrize("text", ["", " ", ",", " , ,"])
def test_no_strategy_is_refused(text):
    """A comparison of nothing proves nothing."""
    with pytest.raises(UsageError, match="--strategies is empty"):
        strategies_of(text, "bids")


def test_an_unknown_strategy_among_others_is_refused():
    """With the near one."""
    with pytest.raises(UsageError, match="did you mean row-lock"):
        strategies_of("none,row-lok", "bids")


def test_no_configuration_is_no_defaults():
    """Every command is there, with nothing."""
    assert defaults_from_config(COMMANDS) == {"run": {}, "list": {}}


def test_configuration_becomes_the_defaults_of_the_commands_that_know_it(here):
    """Dashes or underscores; a table of settings becomes pairs, a table of stores URLs."""
    (here / "pyproject.toml").write_text(
        "[tool.oversold]\nusers = 5\nallow-remote = true\n"
        "[tool.oversold.set]\np = 0.2\nreopen_on_release = false\n"
    )
    (here / "oversold.toml").write_text('lanes = 9\n[stores]\nredis = "redis://127.0.0.1"\n')
    assert defaults_from_config(COMMANDS) == {
        "run": {
            "users": 5,
            "allow_remote": True,
            "settings": ["p=0.2", "reopen_on_release=False"],
            "lanes": 9,
            "redis_url": "redis://127.0.0.1",
        },
        "list": {},
    }


def test_configured_settings_are_settings(here):
    """The pairs that are made of a table are read as typed ones are: booleans, numbers and words."""
    (here / "oversold.toml").write_text('[set]\nreopen_on_release = false\np = 0.2\nfull_when = "confirmed"\n')
    pairs = defaults_from_config(COMMANDS)["run"]["settings"]
    plan = plan_of(Typed("bid-burst", settings=pairs), "none")
    assert plan.bids == BidSettings(reopen_on_release=False, p=0.2, full_when="confirmed")


def test_stores_may_be_a_word(here):
    """`stores = "local"` is the option, not the table."""
    (here / "oversold.toml").write_text('stores = "local"')
    assert defaults_from_config(COMMANDS)["run"] == {"stores": "local"}


@pytest.mark.parametrize(("text", "near"), [("usesr = 5", "users"), ("[stores]\nredi = 'x'", "redis_url")])
def test_an_unknown_key_suggests_the_near_one(text, near, here):
    """No command knows it, so it would never be heard."""
    (here / "oversold.toml").write_text(text)
    with pytest.raises(UsageError, match=rf"is unknown \(did you mean .*{near}"):
        defaults_from_config(COMMANDS)


@pytest.mark.parametrize("text", ["set = 'p=0.2'", "set = ['p=0.2']", "set = 5"])
def test_settings_that_are_no_table_are_refused(text, here):
    """A mistake in the user's file is told as one."""
    (here / "oversold.toml").write_text(text)
    with pytest.raises(UsageError, match="set"):
        defaults_from_config(COMMANDS)


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("10", 10), (" 7 ", 7)])
def test_whole_numbers_are_read(text, number):
    """From the lowest to the highest that is allowed."""
    assert whole("--repeat", text, 1, 10) == number


@pytest.mark.parametrize("text", ["0", "11", "-1", "1.5", "", "ten", "1e1"])
def test_other_numbers_are_refused(text):
    """With the option and what was typed."""
    with pytest.raises(UsageError, match=f"--repeat {text}: "):
        whole("--repeat", text, 1, 10)


def test_a_folder_that_can_be_written_is_left_as_it_was(here):
    """Nothing is made ahead of the run, neither the folder nor a trace of the probe."""
    writable(here / "a/b/c")
    writable(here)
    writable(Path("reports"))
    assert list(here.iterdir()) == []


def test_a_file_is_no_folder(here):
    """Neither is anything below it."""
    (here / "file").touch()
    for out in (here / "file", here / "file/below"):
        with pytest.raises(UsageError, match="is not a folder"):
            writable(out)


def test_a_folder_that_cannot_be_written_is_refused(here, monkeypatch):
    """Before anything is started, with the reason."""

    def refused(path, *_arguments, **_options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(options.Path, "touch", refused)
    with pytest.raises(UsageError, match=r"cannot be written \(Permission denied\): choose another folder"):
        writable(here / "out")


SHOP = 'url = "http://127.0.0.1:5001"\n[bounds]\nusers = 100\n'


@pytest.mark.parametrize("key", ["allow_hosts", "allow-host"])
def test_no_file_lets_load_out(key, tmp_path, monkeypatch):
    """Whoever sends load to another machine types that: a file in a folder must not do it silently."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "oversold.toml").write_text(f'{key} = ["shop.example.com"]\n')
    with pytest.raises(UsageError, match="on the command line only"):
        defaults_from_config({"run": {"allow_hosts"}})


def test_a_service_is_driven_over_http_within_its_bounds(tmp_path):
    """A TOML file makes an HTTP plan; more users than it allows, or another machine, is refused beforehand."""
    path = tmp_path / "shop.toml"
    path.write_text(SHOP)
    plan = plan_of(Typed("bid-burst", users="100"), str(path))
    assert (plan.http, plan.is_service, plan.canary.http, plan.canary.strategy) == (True, True, True, "none")
    with pytest.raises(UsageError, match="allows 100 at most"):
        plan_of(Typed("bid-burst", users="101"), str(path))
    path.write_text(SHOP.replace("127.0.0.1", "shop.example.com"))
    with pytest.raises(UsageError, match=r"--allow-host shop\.example\.com"):
        plan_of(Typed("bid-burst", users="100"), str(path))


def test_a_sweep_that_is_gone_on_with_is_checked_again(tmp_path, monkeypatch):
    """Its service file may have changed since: planted, it names another machine now, or allows fewer users."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "shop.toml"
    path.write_text(SHOP)
    options.sweep_of(Typed("bid-burst", users=None), "shop.toml", "100", "1").save(tmp_path)
    assert len(options.resumed(tmp_path, None).cells) == 2
    for worse in (SHOP.replace("127.0.0.1", "shop.example.com"), SHOP.replace("100", "99")):
        path.write_text(worse)
        with pytest.raises(UsageError, match=r"--allow-host|at most"):
            options.resumed(tmp_path, None)


def test_beside_a_service_all_go_over_http(tmp_path):
    """The designs of one comparison meet the load on the same path, and have one canary."""
    path = tmp_path / "shop.toml"
    path.write_text(SHOP)
    found = options.sweep_of(Typed("bid-burst"), f"{path},redis-lua", "100", "1")
    assert [cell.plan.http for cell in found.cells] == [True, True, True]
    assert len({cell.load for cell in found.cells}) == 1
