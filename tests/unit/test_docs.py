"""The documents say what the code does: tables, commands, settings, links and examples are held to it."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast, get_args

import duckdb
import numpy as np
import pytest
import typer
from pydantic import BaseModel
from tests.unit.report.comparisons import comparison

from oversold import errors, options, places, pytest_plugin
from oversold.bid_plan import BidPlan, BidSettings
from oversold.catalogue import SECTIONS
from oversold.checkers import CHECKERS
from oversold.checkers import payouts as payout_checkers
from oversold.ci.thresholds import parse as limits_of
from oversold.ci.wishes import Wishes
from oversold.cli import app
from oversold.commands.arguments import STORE_OPTIONS
from oversold.errors import UsageError
from oversold.evidence import HISTORY, NEVER, Claims, HoldEnd, Ledger, Outcome, RefusedBy, StatusLog
from oversold.explorations.options import Typed, exploration_of
from oversold.explorations.questions import kind_of
from oversold.model import PAY_REPLIES, PAYOUT_STATUSES, PayoutState, QueryReply, Terms, VoidReply
from oversold.payout_books import jobs_met
from oversold.payout_evidence import BELIEF, PAYMENT, WITHDRAWAL, JobRun, PayoutEvidence
from oversold.payout_plan import PayoutPlan, PayoutSettings
from oversold.payout_summary import summarise
from oversold.plan import SQLS, Kind, settings_from
from oversold.platform.channels import profile as channel_profile
from oversold.platform.channels.books import Books, Call
from oversold.platform.channels.client import STATUS_CODES
from oversold.platform.channels.kernel import Kernel
from oversold.platform.channels.profile import ChannelProfile, Outcomes
from oversold.platform.channels.service import create_app
from oversold.report import parquet, payout_parquet
from oversold.report.cell_tables import cell_rows
from oversold.report.cells import gather
from oversold.report.page import bids as bids_page
from oversold.report.page import payouts as payouts_page
from oversold.report.page.words import CAPTIONS
from oversold.services import hosts, mapping, orders
from oversold.services.requests import ANSWERS, Section
from oversold.serving.app import create_app as create_shop_app
from oversold.serving.messages import CODES
from oversold.serving.shop import Shop
from oversold.shell import CommandError
from oversold.stores.providers import LABELS, SERVERS, STORES
from oversold.strategies import registry
from oversold.strategies.payouts import composed
from oversold.strategies.payouts.obligation_table import obligations
from oversold.strategies.registry import StrategyCard
from oversold.sweep import grid

ROOT = Path(__file__).parents[2]
HIDDEN = {"build", "dist", "node_modules"}
DOCUMENTS = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part in HIDDEN for part in path.relative_to(ROOT).parts)
)
EACH = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
# Words with two hyphens that belong to other programs.
FOREIGN = {
    *("--rm", "--worker", "--wait", "--network", "--volumes", "--build-arg", "--exit-code-from", "--filter"),
    *("--expect-workers", "--master", "--mended"),
    *("--headless", "--csv", "--html", "--require-hashes", "--no-deps", "--no-build-isolation"),
}
CHANNEL_CALLS = ("pay", "query", "void", "statement", "terms")
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def text(name: str) -> str:
    """Read a document by its path below the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def between(document: str, marker: str) -> str:
    """Return what stands between `<!-- marker -->` and `<!-- /marker -->`."""
    _, _, rest = document.partition(f"<!-- {marker} -->\n")
    inside, closing, _ = rest.partition(f"<!-- /{marker} -->")
    assert closing, f"the markers {marker} are missing"
    return inside


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def catalogue(cards: list[StrategyCard]) -> str:
    """Return the table of strategies, claim locks or settlement policies."""
    rows = [[f"`{c.name}`", ", ".join(c.stores), c.algorithm, c.guarantee, c.hole] for c in cards]
    return table(["name", "stores", "algorithm", "guarantee", "known hole"], rows)


def settings(model: type[BaseModel], noun: str = "setting") -> str:
    """Return the table of a model's fields with their defaults and meanings."""
    rows = []
    for name, field in model.model_fields.items():
        default = str(field.default).lower() if isinstance(field.default, bool | None) else str(field.default)
        rows.append([f"`{name}`", "needed" if field.is_required() else f"`{default}`", field.description or ""])
    return table([noun, "default", "meaning"], rows)


def outcomes() -> str:
    """Return the table of what a call does, what is said of it, and the HTTP status that says it."""
    codes: Mapping[str, int] = {str(reply): code for reply, code in STATUS_CODES.items()}
    rows = []
    for name, field in Outcomes.model_fields.items():
        effect, _, reply = name.partition("_")
        rows.append([f"`{name}`", effect, f"{reply} ({codes[reply]})", field.description or ""])
    return table(["key", "effect", "reply", "in words"], rows)


# Document, marker, and what stands between the markers.
TABLES: list[tuple[str, str, Callable[[], str]]] = [
    ("strategies", "catalogue", lambda: catalogue([registry.card(name) for name in registry.BID_STRATEGIES])),
    ("scenarios", "settings", lambda: settings(BidSettings)),
    ("payouts", "payout-settings", lambda: settings(PayoutSettings)),
    ("payouts", "locks", lambda: catalogue(registry.halves(composed.LOCKS))),
    ("payouts", "policies", lambda: catalogue(registry.halves(composed.POLICIES))),
    ("channels", "outcomes", outcomes),
    ("channels", "channel-profile", lambda: settings(ChannelProfile, "key")),
]


@pytest.mark.parametrize(("document", "marker", "made"), TABLES, ids=[f"{row[0]}-{row[1]}" for row in TABLES])
def test_tables_say_what_the_code_says(document: str, marker: str, made: Callable[[], str]) -> None:
    """Strategies, locks, policies, settings, outcomes and keys of a profile stand in the docs as in the code."""
    expected = made()
    assert between(text(f"docs/{document}.md"), marker) == expected, f"put this there:\n{expected}"


def without_row(document: str, names: list[str]) -> list[str]:
    """Return the names that have no row of their own in a table of a document."""
    return [name for name in names if f"\n| `{name}`" not in document]


def test_what_can_be_chosen_has_a_row() -> None:
    """Each scenario in scenarios.md, each profile in channels.md, each policy in the table of lies, each way in
    which jobs meet and each status in payouts.md."""
    payouts = text("docs/payouts.md")
    assert without_row(text("docs/scenarios.md"), list(places.scenarios())) == []
    assert without_row(text("docs/channels.md"), list(places.profiles())) == []
    lies = payouts.partition("### What they do when a channel lies")[2].partition("\n## ")[0]
    assert without_row(lies, list(composed.POLICIES)) == []
    assert without_row(payouts, ["overlap", "twice", "killed", *PAYOUT_STATUSES]) == []


def unnamed(document: str, words: Iterable[str]) -> list[str]:
    """Return the words that a document names nowhere as `word`."""
    return [word for word in words if f"`{word}`" not in document]


def test_a_missing_row_and_a_missing_name_are_found() -> None:
    """A name in a sentence is no row; a part of a longer name is no name."""
    assert without_row("So `a` is.\n| `b` | c |\n", ["a", "b"]) == ["a"]
    assert unnamed("`t_s`, t, `since_s`", ["t_s", "t", "since"]) == ["t", "since"]


def unpaired(section: str, names: Iterable[str]) -> list[str]:
    """Return the variants (`a-b` where there is an `a`) that no row of a table names together with their `a`."""
    rows = [line for line in section.splitlines() if line.startswith("|")]
    variants = [(name, of) for name in names for of in names if name.startswith(f"{of}-")]
    return [name for name, of in variants if not any(f"`{name}`" in row and f"`{of}`" in row for row in rows)]


def test_every_variant_stands_beside_what_it_varies() -> None:
    """docs/strategies.md has a row for each pair of a broken and a mended strategy; a missing one is found."""
    section = text("docs/strategies.md").partition("### Broken and mended")[2].partition("\n## ")[0]
    assert unpaired(section, registry.BID_STRATEGIES) == []
    assert unpaired("| a hole | `a-b` | `a` |\n| `a-c` | `b` |\nso `a-c` is `a`", ["a", "a-b", "a-c"]) == ["a-c"]


def test_every_server_is_documented() -> None:
    """docs/stores.md has a row and a URL option for each server, docs/strategies.md a client for each store."""
    document = text("docs/stores.md")
    assert [label for name in SERVERS if f"\n| {(label := LABELS[name])} |" not in document] == []
    urls = [f"--{name.replace('_', '-')}" for name in STORE_OPTIONS if name.endswith("_url")]
    assert len(urls) == len(SERVERS)
    assert [option for option in urls if option not in document] == []
    assert without_row(text("docs/strategies.md"), [f"context.{store}" for store in STORES]) == []


def test_the_page_and_its_charts_are_documented() -> None:
    """docs/comparisons.md names each column of the page and each chart's file."""
    columns = [column.title for column in (*bids_page.COLUMNS, *payouts_page.COLUMNS)]
    assert unnamed(text("docs/comparisons.md"), [*columns, *CAPTIONS]) == []


def test_every_key_of_a_comparison_is_documented() -> None:
    """docs/output.md names each key of a cell, of a recorded comparison of bids and of its runs."""
    document = text("docs/output.md")
    (cell, *_) = cell_rows(gather(comparison(1)))
    assert unnamed(document, [*cell, *cell["oversubscription"]]) == []
    recorded = json.loads(text("fixtures/reports/bid-burst/compare.json"))
    assert unnamed(document, recorded) == []
    run = recorded["runs"][0]
    assert [key for key in run if f"`{key}" not in document] == []
    nested = [name for key in ("tranche", "rates", "load", "fairness") for name in run[key]]
    assert [name for name in nested if f".{name}" not in document] == []


def demo(document: str) -> set[str]:
    """Return the words of the comparison of the incident's scale that a document shows."""
    (line,) = re.findall(r"oversold (compare bid-burst .*--preset seed[^|\n]*)", document)
    return set(line.split())


def test_the_readme_says_what_make_demo_does() -> None:
    """The same command as in the Makefile, and how many strategies there are; a difference is noticed."""
    makefile, readme = text("Makefile"), text("README.md")
    names = re.findall(r"^DEMO := (.*)$", makefile, re.MULTILINE)[0]
    assert demo(makefile.replace("$(DEMO)", names)) == demo(readme)
    assert demo(readme.replace(",row-lock,", ",", 1)) != demo(readme)
    count = f"{len(registry.BID_STRATEGIES)} strategies"
    assert count in readme
    assert count in text("CHANGELOG.md")


def test_the_interface_of_payouts_is_documented() -> None:
    """docs/payouts.md names each method of a strategy, each column of the obligations, each reply to a call."""
    document = text("docs/payouts.md")
    rows = re.sub(r"^(\| `\w+)\(.*?\)`", r"\1`", document, flags=re.MULTILINE)  # a method is told by its name
    assert without_row(rows, [*registry.METHODS["payouts"], *CHANNEL_CALLS]) == []
    assert unnamed(document, [column.name for column in obligations.columns]) == []
    assert unnamed(document, [*PAY_REPLIES, *get_args(QueryReply), *get_args(VoidReply)]) == []
    terms = {field.name for field in fields(Terms)}
    assert unnamed(document.replace("`terms.", "`"), terms) == []


def test_the_api_of_channels_is_documented() -> None:
    """docs/channels.md names each request that a channel answers, each status code, each column of its books."""
    document = text("docs/channels.md")
    profile = places.profile("honest").channels["A"]
    paths = create_app(Kernel("A", profile, 1, Books(":memory:"))).openapi()["paths"]
    requests = [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]
    assert len(requests) >= 8
    assert [request for request in requests if f"\n| `{request}`" not in document] == []
    assert [code for code in (*STATUS_CODES.values(), 422) if f"\n| {code} |" not in document] == []
    assert unnamed(document, (field.name for field in fields(Call) if field.name != "id")) == []


def test_the_example_profile_is_one() -> None:
    """The profile in docs/channels.md is accepted as it stands."""
    (block,) = [block for kind, block in FENCE.findall(text("docs/channels.md")) if kind == "toml"]
    assert list(channel_profile.parse("ourbank", tomllib.loads(block)).channels) == ["bank", "wallet"]


def test_every_variable_is_documented() -> None:
    """docs/scenarios.md names each environment variable that the command reads."""
    document = text("docs/scenarios.md")
    assert "OVERSOLD_PROFILE" in variables()
    assert unnamed(document, sorted(variables())) == []


def test_presets_checks_and_exit_codes_are_documented() -> None:
    """Each preset has its row in scenarios.md, each checker and each exit code its row in verdicts.md."""
    scenarios, verdicts = text("docs/scenarios.md"), text("docs/verdicts.md")
    assert [name for name in places.presets() if f"\n| `{name}` |" not in scenarios] == []
    checks = [check.__name__ for check in (*CHECKERS, *payout_checkers.CHECKERS)]
    proving = ["complete", "strategy", "canary", "demand", "overlap", "clocks", "ledger", "truth", "generator"]
    assert without_row(verdicts, [*checks, *proving, "jobs", "channels", "beliefs"]) == []
    assert [int(code) for code in errors.Exit if f"\n| {int(code)} |" not in verdicts] == []


def test_services_are_documented() -> None:
    """docs/services.md names each section of a service file, each key of its ledger and each word that means
    production, and has a row for each verdict of a reply, each request and each answer of `oversold serve`."""
    document = text("docs/services.md")
    fields_of = mapping.Service.model_fields.items()
    kinds = {name: (field.annotation, *get_args(field.annotation)) for name, field in fields_of}
    sections = {
        name for name, kind in kinds.items() if any(isinstance(k, type) and issubclass(k, Section) for k in kind)
    }
    assert {"bid", "ledger"} < sections
    ours = sections - {"obligations", "job", "reconcile", "state"}  # of payouts: docs/payouts.md
    assert unnamed(document, [f"[{name}]" for name in (*ours, "headers")]) == []
    assert unnamed(text("docs/payouts.md"), [f"[{name}]" for name in sections - ours]) == []
    assert without_row(document, list(ANSWERS)) == []
    plan = BidPlan(scenario="bid-burst", strategy="none")
    paths = create_shop_app(cast("Shop", SimpleNamespace(plan=plan))).openapi()["paths"]
    requests = [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]
    assert len(requests) >= 6
    assert without_row(document, requests) == []
    assert [word for word, code in CODES.items() if f"\n| {code} | `{word}` |" not in document] == []
    assert (
        unnamed(document, ["sql", "query", "http", "rows", "csv", "settle_s", "wait_s", *hosts.PRODUCTION]) == []
    )


def test_what_a_run_over_http_adds_is_documented() -> None:
    """docs/output.md names each key that a service, thresholds and a baseline add to summary.json."""
    document = text("docs/output.md")
    served = mapping.served("http://127.0.0.1", "none").public()
    found = orders.resolved(np.zeros(0, HISTORY), orders.claimed(np.zeros(0, HISTORY)))
    keys = {*served, "served_by", "tranche_id", *found}
    assert [key for key in keys if f".{key}`" not in document] == []
    recorded = json.loads(text("fixtures/reports/bid-burst/compare.json"))
    limits = limits_of(["p99_ms=1"], "max", "bids")
    judged = Wishes(limits, baseline=recorded, baseline_folder=Path("baseline")).judged(recorded)
    rows = [*judged["thresholds"][0], *judged["baseline"], *judged["baseline"]["rows"][0]]
    assert unnamed(document, ["thresholds", "baseline", *rows]) == []


def commands(document: str) -> Iterator[list[str]]:
    """Yield the words of every `oversold ...` that a document shows in a code block, a table or a sentence."""
    lines = []
    for kind, block in FENCE.findall(document):
        if kind in {"", "sh"}:
            lines += block.replace("\\\n", " ").splitlines()
    lines += re.findall(r"`([^`\n]+)`", FENCE.sub("", document))
    for line in lines:
        match = re.match(r"\s*(?:\$ )?(?:\S*/bin/)?oversold (\w.*)", line)
        if match:
            yield shlex.split(re.split(r"[|;&<>]", match[1])[0], comments=True)


def complaint(words: list[str]) -> str | None:
    """Return what is wrong with a documented command: None if the command line and its values are accepted."""
    group: Any = typer.main.get_command(app)
    try:
        command = group.commands[words[0]]
        typed = [word for word in words[1:] if word != "--help"]
        if typed:
            given = command.make_context(words[0], typed).params
            if words[0] == "explore":
                searched(given)
                return None
            kind = places.kind(given["scenario"]) if given.get("scenario") else "bids"
            options.strategies_of(
                ",".join(w for w in _strategies(given) if ".py:" not in w and not w.endswith(".toml")) or "all",
                kind,
            )
            pairs = list(given.get("settings") or [])
            for settings in grid(pairs) if words[0] == "compare" else [pairs]:
                settings_from(options.SETTINGS[kind], {}, settings)
            if wrong := next(_choices(given), None):
                return f"there is no {wrong}"
            places.preset(given.get("preset"))
            if given.get("profile") and not given["profile"].endswith(".toml"):  # a file of the reader's own
                places.profile(given["profile"])
    except KeyError:
        return f"there is no command {words[0]}"
    except CommandError as error:
        return str(error.format_message())
    except UsageError as error:
        return str(error)
    return None


def searched(given: dict[str, Any]) -> None:
    """Refuse, with a UsageError, an `explore` that the command would refuse."""
    strategy = given["strategy"]
    if ".py:" in strategy:  # the reader's own
        return
    words = {field.name: given[field.name] for field in fields(Typed) if field.name in given}
    exploration = exploration_of(Typed(**words, checks=tuple(given.get("check") or ())), kind_of(strategy))
    registry.load(strategy, exploration.kind)


def _choices(given: dict[str, Any]) -> Iterator[str]:
    """Yield the SQL servers, sections and names of a command that do not exist."""
    known = {*SECTIONS, *registry.names("bids"), *composed.LOCKS, *composed.POLICIES}
    yield from (word for word in (given.get("sql") or SQLS[0]).split(",") if word not in SQLS)
    yield from (word for word in given.get("sections") or [] if word not in known)


def _strategies(given: dict[str, Any]) -> list[str]:
    names = str(given.get("strategies") or given.get("strategy") or "all").split(",")
    return [name for name in names if name != "my-lock"]  # the newcomer's own, in CONTRIBUTING.md


@EACH
def test_documented_commands_are_accepted(path: Path) -> None:
    """Every `oversold ...` that is shown parses, and names strategies, settings and presets that exist."""
    found = {shlex.join(words): complaint(words) for words in commands(path.read_text(encoding="utf-8"))}
    assert {command: said for command, said in found.items() if said} == {}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("```sh\n.venv/bin/oversold frobnicate\n```", "no command"),
        ("so `oversold run bid-burst --strategy none --usres 5` is", "--usres"),
        ("```sh\noversold compare bid-burst --strategies none,redis-lau  # all\n```", "redis-lau"),
        ("```\noversold run bid-burst \\\n  --strategy none --set ful_when=reserved\n```", "ful_when"),
        ("| q | `oversold run bid-burst --strategy none --preset sed` |", "sed"),
        ("```sh\noversold run bid-bust --strategy none | tee log\n```", "bid-bust"),
        ("so `oversold run payout-overlap --strategy row-lock` is", "row-lock"),
        (
            "so `oversold run payout-overlap --strategy none+blind-failover --set full_when=reserved` is",
            "full_when",
        ),
        ("so `oversold run payout-overlap --strategy none+blind-failover --profile sead` is", "sead"),
        ("so `oversold channels --profile hostil` is", "hostil"),
        ("so `oversold compare bid-burst --set p=0.1,often` is", "often"),
        ("so `oversold run bid-burst --strategy none --set p=0.1,0.2` is", "0.1,0.2"),
        ("so `oversold compare bid-burst --sql postgres,mysql` is", "mysql"),
        ("so `oversold list redis-lau` is", "redis-lau"),
        ("```sh\noversold explore redis-lau --bidders 3\n```", "redis-lau"),
        ("so `oversold explore none --check oversubscripton` is", "oversubscripton"),
        ("so `oversold explore row-lock+unique-outbox --capacity-bids 3` is", "--capacity-bids"),
    ],
)
def test_a_wrong_command_is_found(document: str, says: str) -> None:
    """In a block, over two lines, in a table or in a sentence."""
    (words,) = commands(document)
    assert says in (complaint(words) or "")


def known_options() -> set[str]:
    """Return every option of the command, of the plain locustfile, and of other programs that we name."""
    group: Any = typer.main.get_command(app)
    own = {
        word
        for command in (group, *group.commands.values())
        for parameter in command.params
        for word in [*parameter.opts, *parameter.secondary_opts]
    }
    plugged = {f"--oversold-{name}" for name in (*pytest_plugin.NUMBERS, *pytest_plugin.WORDS, "no-canary")}
    locustfile = text("harness/oversold/load/locustfile.py")
    tables = {f"--{name}" for name in re.findall(r'^ +\("(\w+)", "', locustfile, re.MULTILINE)}
    return own | tables | set(re.findall(r'add\("(--[\w-]+)"', locustfile)) | FOREIGN | {"--help"} | plugged


def variables() -> set[str]:
    """Return the environment variables that the command reads."""
    group: Any = typer.main.get_command(app)
    return {p.envvar for command in group.commands.values() for p in command.params if p.envvar}


def strangers(document: str) -> set[str]:
    """Return the options and environment variables of a document that nothing reads; drawings do not count."""
    words = re.sub(r"^```text\n.*?^```$", "", document, flags=re.MULTILINE | re.DOTALL)
    wrong_options = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", words)) - known_options()
    return wrong_options | set(re.findall(r"OVERSOLD_[A-Z_]*[A-Z]", words)) - variables()


@EACH
def test_documented_options_exist(path: Path) -> None:
    """No document names an option or an environment variable that does not exist."""
    assert strangers(path.read_text(encoding="utf-8")) == set()


def test_an_unknown_option_is_found() -> None:
    """In a sentence or a block, and variables too; what exists, and arrows in a drawing, are left alone."""
    drawing = "```text\n--tap-->\n```\n"
    document = f"{drawing}`--users`, `--user`\n```sh\nx --no-canry --csv\n```\nOVERSOLD_USER OVERSOLD_OUT"
    assert strangers(document) == {"--user", "--no-canry", "OVERSOLD_USER"}


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def broken_links(path: Path) -> Iterator[str]:
    """Yield relative links of a document that lead nowhere, anchors included."""
    for target in LINK.findall(FENCE.sub("", path.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        place = (path.parent / name) if name else path
        if not place.exists():
            yield target
        elif anchor and place.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", FENCE.sub("", place.read_text(encoding="utf-8")), re.MULTILINE)
            if anchor not in map(slug, headings):
                yield target


@EACH
def test_relative_links_lead_somewhere(path: Path) -> None:
    """Files, pictures and headings that a document links to are there."""
    assert list(broken_links(path)) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    """A missing file, a missing heading; not an address, and not what stands in a code block."""
    (tmp_path / "other.md").write_text("# Known heading (知)\n```\n# no heading\n```\n")
    document = tmp_path / "a.md"
    document.write_text(
        "[a](other.md#known-heading-知) [b](missing.md) ![c](missing.png) [d](other.md#no-heading) "
        "[e](https://example.org/x)\n```\n[f](nowhere.md)\n```\n"
    )
    assert list(broken_links(document)) == ["missing.md", "missing.png", "other.md#no-heading"]


@EACH
def test_python_examples_compile(path: Path) -> None:
    """Every Python block is valid Python."""
    for kind, block in FENCE.findall(path.read_text(encoding="utf-8")):
        if kind == "python":
            indent = len(block) - len(block.lstrip(" "))
            compile(re.sub(f"^ {{{indent}}}", "", block, flags=re.MULTILINE), str(path), "exec")


@pytest.mark.parametrize(
    ("document", "kind", "store", "classes"),
    [
        ("docs/strategies.md", "bids", "redis", ["ScriptedStock", "MyStrategy", "Mended"]),
        ("docs/payouts.md", "payouts", "sql", ["Payroll", "Hasty"]),
    ],
)
def test_example_strategies_are_strategies(
    document: str, kind: Kind, store: str, classes: list[str], tmp_path: Path
) -> None:
    """The example strategies, saved as the document says, are accepted by the registry."""
    blocks = [block for language, block in FENCE.findall(text(document)) if language == "python"]
    shop = tmp_path / "shop.py"
    shop.write_text("\n".join(block for block in blocks if "class " in block or "import" in block))
    for name in classes:
        assert registry.load(f"{shop}:{name}", kind).stores == {store}
    other: Kind = "payouts" if kind == "bids" else "bids"
    with pytest.raises(UsageError, match=f"lacks .* for {other}"):
        registry.load(f"{shop}:{classes[0]}", other)


def test_the_readme_is_short() -> None:
    """It has fewer than 150 lines, and what it shows of the shop is what the shop's own page shows."""
    readme = text("README.md")
    assert len(readme.splitlines()) < 150
    (said,) = re.findall(r"^  FAIL     oversubscription  .*$", readme, re.MULTILINE)
    assert said in text("docs/examples/shop/README.md")


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Stand in a folder with a comparison of `none` and `memcached-cas` as its latest; record(name) adds one."""
    monkeypatch.chdir(tmp_path)

    def record(name: str) -> None:
        folder = Path("reports/bid-burst/latest") / name
        folder.mkdir(parents=True)
        rows = np.zeros(3, HISTORY)
        rows["bid"], rows["attempt"] = [0, 1, 1], [1, 1, 2]
        rows["outcome"], rows["refused_by"], rows["final"] = [1, 3, 3], [0, 2, 2], [1, 0, 1]
        rows["amount_fen"] = 700_000_000
        orders = Ledger(np.array([0, 2]), np.array([700_000_000] * 2), np.array([10**9, 2 * 10**9]))
        parquet.write(
            folder,
            rows,
            orders,
            StatusLog(np.zeros(0, np.int64), np.zeros(0, bool)),
            Claims(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, bool)),
        )
        (folder / "summary.json").write_text(
            '{"strategy": "x", "verdict": "pass", "rates": {"oversubscription": 0.4, "undersubscription": 0.0},'
            ' "latency_ms": {"response": {"p99": 1.5}}}'
        )

    return record


def payday() -> PayoutEvidence:
    """Return a payday on which both channels paid the first of two obligations, after a second of doubt."""
    ok, failed = PAY_REPLIES.index("ok"), PAY_REPLIES.index("failed")
    s = 10**9
    rows = [
        (0, 0, 0, 3, 500, failed, 0, 1 * s, 2 * s, 1 * s),
        (1, 0, 0, 3, 500, ok, 0, 3 * s, 4 * s, 3 * s),
        (0, 1, 1, 0, 700, failed, 0, 2 * s, 3 * s, NEVER),
    ]
    return PayoutEvidence(
        due_fen=np.array([500, 700]),
        user=np.array([7, 8]),
        t_due=np.array([0, s]),
        channels=("A", "B"),
        runs=(JobRun("interest#1", 0, 0, 5 * s), JobRun("maturity#1", s, s, NEVER)),
        payments=np.array(rows, PAYMENT),
        withdrawals=np.zeros(0, WITHDRAWAL),
        states=(PayoutState("PAID"), PayoutState("REVIEW", "failed")),
        beliefs=np.zeros(1, BELIEF),
        unknown_since=np.array([s, s]),
        unknown_until=np.array([2 * s, NEVER]),
        t_end=6 * s,
    )


@pytest.fixture
def paid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """Stand in a folder with a comparison of payouts as its latest; paid(name) adds a run, returns its summary."""
    monkeypatch.chdir(tmp_path)

    def record(name: str) -> dict[str, Any]:
        folder = Path("reports/payout-overlap/latest") / name
        folder.mkdir(parents=True)
        evidence, plan = payday(), PayoutPlan(scenario="payout-overlap", strategy=name)
        payout_parquet.write(folder, evidence)
        findings = [*payout_checkers.audit(evidence), jobs_met(plan, evidence)]
        summary = summarise(evidence, findings, plan, places.profile("seed"))
        written = {"strategy": name, "verdict": "fail", **summary}
        (folder / "summary.json").write_text(json.dumps(written))
        return summary

    return record


def queries(document: str) -> list[str]:
    """Return the SQL blocks of a document."""
    return [block for kind, block in FENCE.findall(document) if kind == "sql"]


def only(answers: Mapping[str, Any], words: str) -> Any:
    """Return the answer to the one query with these words."""
    (rows,) = (rows for query, rows in answers.items() if words in query)
    return rows


# Of one run: bid, attempt, outcome, hold, refused_by, final, and seconds: meant to tap, asked, answered.
BURST = [
    (0, 1, Outcome.OK, HoldEnd.CONFIRMED, RefusedBy.NOBODY, 1, 0.0, 0.11, 0.2),
    (1, 1, Outcome.BUSY, HoldEnd.NONE, RefusedBy.STRATEGY, 0, 0.0, 0.12, 0.12),
    (1, 2, Outcome.SOLD_OUT, HoldEnd.NONE, RefusedBy.STRATEGY, 1, 0.0, 0.55, 0.55),
    (2, 1, Outcome.OK, HoldEnd.CONFIRMED, RefusedBy.NOBODY, 1, 1.0, 1.11, 1.25),
    (3, 1, Outcome.OK, HoldEnd.CONFIRMED, RefusedBy.NOBODY, 1, 1.0, 1.15, 1.3),
    (4, 1, Outcome.OK, HoldEnd.CONFIRMED, RefusedBy.NOBODY, 1, 1.0, 1.17, 1.4),
]


@pytest.fixture
def one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in the folder of a run of 3 yuan a bid on 7 yuan: bid 3 has no order, 4 is one too many."""
    ns = 10**9
    rows = np.zeros(len(BURST), HISTORY)
    for row, (bid, attempt, outcome, hold, refused_by, final, meant, asked, told) in zip(rows, BURST, strict=True):
        row["bid"], row["attempt"], row["final"], row["amount_fen"] = bid, attempt, final, 300
        row["outcome"], row["hold"], row["refused_by"] = outcome, hold, refused_by
        row["t_intended"], row["t_admitted"], row["t_sent"] = meant * ns, asked * ns, asked * ns
        row["t_reserved"], row["t_done"] = asked * ns, told * ns
    orders = Ledger(
        np.array([0, 2, 4]), np.array([300] * 3), np.array([2 * ns // 10, 12 * ns // 10, 14 * ns // 10])
    )
    claims = Claims(np.array([-ns, 3 * ns // 10]), np.array([700, 100]), np.zeros(2, bool))
    for strategy in ("memcached-cas", "redis-lua"):
        folder = tmp_path / strategy
        folder.mkdir()
        parquet.write(folder, rows, orders, StatusLog(np.zeros(0, np.int64), np.zeros(0, bool)), claims)
        (folder / "summary.json").write_text('{"tranche": {"capacity_fen": 700}}')
    monkeypatch.chdir(tmp_path / "memcached-cas")


def test_the_queries_to_one_run_answer(one_run: None) -> None:
    """Each SQL block of that part of docs/histories.md runs, and answers its question rightly."""
    document = text("docs/histories.md").partition("## Questions to one run")[2]
    asked = queries(document.partition("## Questions to a comparison")[0])
    answers = {query: duckdb.execute(query).fetchall() for query in asked}
    assert len(asked) == 10
    assert only(answers, "first_s, round(max") == [("sold_out", "strategy", 1, 3.0, 0.55, 0.55)]
    assert only(answers, "FILTER (served)") == [(1, 4, 4), (2, 1, 0)]
    assert only(answers, "for_the_first_lane_s")[:2] == [(1, 2, "sold_out", 0.55, 0.12), (4, 1, "ok", 0.4, 0.17)]
    assert only(answers, "NOT IN (") == [(3, 0, 0, 1.3, 3.0)]
    assert only(answers, "sold_fen > (") == [(1.4, 9.0)]
    assert only(answers, "on_hold_yuan") == [
        (0.1, 3.0),
        (0.2, 0.0),
        (1.1, 9.0),
        (1.2, 6.0),
        (1.3, 3.0),
        (1.4, 0.0),
    ]
    assert only(answers, "passed_over") == [(3.0, 1, 0.0, 1.0)]
    assert only(answers, "AS chance") == [(0.0, 2, 0.5), (1.0, 3, 1.0)]
    assert only(answers, "claimed_yuan") == [(-1.0, 7.0, 7.0), (0.3, 1.0, 4.0)]
    assert only(answers, "told_there") == [("ok", "ok", 4, 12.0, 0.0), ("sold_out", "sold_out", 1, 3.0, 0.0)]


def test_the_queries_run_and_answer(
    recorded: Callable[[str], None], paid: Callable[[str], dict[str, Any]]
) -> None:
    """Each other SQL block of docs/histories.md and docs/output.md runs and gives at least one row."""
    for name in ("none", "memcached-cas"):
        recorded(name)
    for name in ("none+blind-failover", "row-lock+state-machine"):
        paid(name)
    bids = text("docs/histories.md").partition("## Questions to a comparison")[2]
    answers = {query: duckdb.execute(query).fetchall() for query in queries(bids + text("docs/output.md"))}
    assert len(answers) >= 8
    assert all(answers.values())
    payments = ["interest#1 by A, told failed", "interest#1 by B, told ok"]
    assert only(answers, "HAVING count(*) > 1") == [(0, 7, 5.0, 10.0, payments)]
    assert only(answers, "paid_again")[0] == ("none+blind-failover", "A", "failed", 1, 1, 2.0)
    assert only(answers, "still_open")[0] == ("none+blind-failover", 2, 1.0, 1.0, 1)


def test_every_column_is_documented(
    recorded: Callable[[str], None], paid: Callable[[str], dict[str, Any]]
) -> None:
    """docs/histories.md names each column of each Parquet file of bids, docs/output.md of payouts."""
    recorded("none")
    paid("none")
    pages = {"bid-burst": text("docs/histories.md"), "payout-overlap": text("docs/output.md")}
    files = sorted(Path("reports").glob("*/latest/none/*.parquet"))
    assert {path.stem for path in files} == {*parquet.COLUMNS, *payout_parquet.COLUMNS}
    for path in files:
        document = pages[path.parts[1]]
        assert f"**{path.stem}**" in document
        columns = duckdb.execute(f"SELECT * FROM '{path}'").description
        assert unnamed(document, (column for column, *_ in columns or [])) == []


def test_every_key_of_a_payday_is_documented(paid: Callable[[str], dict[str, Any]]) -> None:
    """docs/output.md names each key that payouts add to summary.json, and one level down where names are fixed."""
    document = text("docs/output.md").partition("Payouts besides:")[2].partition("compare.json")[0]
    summary = paid("row-lock+state-machine")
    common = {"limits", "t_end_s"}
    assert [key for key in summary.keys() - common if f"`{key}" not in document] == []
    for key in ("obligations", "rates", "unknown", "lies", "load"):
        assert [name for name in summary[key] if f".{name}`" not in document] == [], key
    assert unnamed(document, summary["outcomes"]) == []
