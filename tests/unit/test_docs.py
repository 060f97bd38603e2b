"""The documents say what the code does: tables, commands, settings, links and examples are held to it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
import typer

from oversold import errors, options, places
from oversold.checkers import CHECKERS
from oversold.cli import CommandError, app
from oversold.errors import UsageError
from oversold.evidence import HISTORY, Claims, Ledger, StatusLog
from oversold.plan import BidSettings, settings_from
from oversold.report import parquet
from oversold.strategies import registry

ROOT = Path(__file__).parents[2]
HIDDEN = {"build", "dist", "node_modules"}
DOCUMENTS = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part in HIDDEN for part in path.relative_to(ROOT).parts)
)
EACH = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
# Words with two hyphens that belong to other programs.
FOREIGN = {"--headless", "--csv", "--html", "--require-hashes", "--no-deps", "--no-build-isolation"}
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


def catalogue() -> str:
    """Return the table of the built-in strategies, as docs/strategies.md shows it."""
    cards = [registry.card(name) for name in registry.BID_STRATEGIES]
    rows = [[f"`{c.name}`", ", ".join(c.stores), c.algorithm, c.guarantee, c.hole] for c in cards]
    return table(["name", "stores", "algorithm", "guarantee", "known hole"], rows)


def settings() -> str:
    """Return the table of the pipeline's settings, as docs/scenarios.md shows it."""
    rows = []
    for name, field in BidSettings.model_fields.items():
        default = str(field.default).lower() if isinstance(field.default, bool | None) else str(field.default)
        rows.append([f"`{name}`", f"`{default}`", field.description or ""])
    return table(["setting", "default", "meaning"], rows)


def test_the_catalogue_is_that_of_the_registry() -> None:
    """docs/strategies.md shows name, stores, algorithm, guarantee and hole of every built-in strategy."""
    expected = catalogue()
    assert between(text("docs/strategies.md"), "catalogue") == expected, f"put this there:\n{expected}"


def test_every_setting_is_documented() -> None:
    """docs/scenarios.md has each setting of the bid pipeline with its default and meaning."""
    expected = settings()
    assert between(text("docs/scenarios.md"), "settings") == expected, f"put this there:\n{expected}"


def test_presets_checks_and_exit_codes_are_documented() -> None:
    """Each preset has its row in scenarios.md, each checker and each exit code its row in verdicts.md."""
    scenarios, verdicts = text("docs/scenarios.md"), text("docs/verdicts.md")
    assert [name for name in places.presets() if f"\n| `{name}` |" not in scenarios] == []
    assert [check.__name__ for check in CHECKERS if f"\n| `{check.__name__}`" not in verdicts] == []
    assert [int(code) for code in errors.Exit if f"\n| {int(code)} |" not in verdicts] == []


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
            options.strategies_of(",".join(w for w in _strategies(given) if ".py:" not in w) or "all")
            settings_from({}, given.get("settings") or [])
            places.preset(given.get("preset"))
            if "scenario" in given:
                places.scenario(given["scenario"])
    except KeyError:
        return f"there is no command {words[0]}"
    except CommandError as error:
        return str(error.format_message())
    except UsageError as error:
        return str(error)
    return None


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
    locustfile = text("harness/oversold/load/locustfile.py")
    return own | set(re.findall(r'add\("(--[\w-]+)"', locustfile)) | FOREIGN | {"--help"}


def strangers(document: str) -> set[str]:
    """Return the options and environment variables of a document that nothing reads; drawings do not count."""
    words = re.sub(r"^```text\n.*?^```$", "", document, flags=re.MULTILINE | re.DOTALL)
    group: Any = typer.main.get_command(app)
    variables = {p.envvar for command in group.commands.values() for p in command.params if p.envvar}
    wrong_options = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", words)) - known_options()
    return wrong_options | set(re.findall(r"OVERSOLD_[A-Z_]*[A-Z]", words)) - variables


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
    ("document", "classes"),
    [("README.md", ["MyStrategy", "Mended"]), ("docs/strategies.md", ["ScriptedStock"])],
)
def test_example_strategies_are_strategies(document: str, classes: list[str], tmp_path: Path) -> None:
    """The example strategies, saved as the document says, are accepted by the registry."""
    blocks = [block for kind, block in FENCE.findall(text(document)) if kind == "python"]
    shop = tmp_path / "shop.py"
    shop.write_text("\n".join(block for block in blocks if "class " in block or "import" in block))
    for name in classes:
        assert registry.load(f"{shop}:{name}").stores == {"redis"}


def test_the_readme_says_how_long_the_example_is() -> None:
    """Its own strategy takes fewer than 25 lines, blank ones not counted, and the README fewer than 150."""
    own = next(block for kind, block in FENCE.findall(text("README.md")) if kind == "python")
    assert sum(bool(line.strip()) for line in own.splitlines()) < 25
    assert len(text("README.md").splitlines()) < 150


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


def test_the_queries_run_and_answer(recorded: Callable[[str], None]) -> None:
    """Each SQL block of docs/output.md runs on recorded files and gives at least one row."""
    recorded("none")
    recorded("memcached-cas")
    queries = [block for kind, block in FENCE.findall(text("docs/output.md")) if kind == "sql"]
    answers = [duckdb.execute(query).fetchall() for query in queries]
    assert len(answers) >= 5
    assert all(answers)
    crossed = next(rows for query, rows in zip(queries, answers, strict=True) if "sold_fen > 1000000000" in query)
    assert crossed == [(2.0, 14_000_000.0)]


def test_every_column_is_documented(recorded: Callable[[str], None]) -> None:
    """docs/output.md names each column of each Parquet file."""
    recorded("none")
    document = text("docs/output.md")
    for name in parquet.COLUMNS:
        columns = duckdb.execute(f"SELECT * FROM 'reports/bid-burst/latest/none/{name}.parquet'").description
        assert [column for column, *_ in columns or [] if f"`{column}`" not in document] == []
