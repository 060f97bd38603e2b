"""`oversold new`: files that work as they are, and nobody's own files overwritten."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from oversold import scaffold
from oversold.errors import UsageError
from oversold.services import mapping
from oversold.strategies import registry
from oversold.strategies.registry import card

KINDS = ("strategy", "payout", "service")


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Forget the modules that a test loads from its own folder."""
    yield
    for name in [name for name in sys.modules if name.startswith("oversold_user_")]:
        del sys.modules[name]


@pytest.mark.parametrize("kind", KINDS)
def test_two_files_are_written(tmp_path: Path, kind: str) -> None:
    """The thing and its test, named after it; nothing of the template's own name is left in them."""
    main, test = scaffold.write(kind, "flash-lock", tmp_path / "new" / "folder")
    assert sorted(path.name for path in (tmp_path / "new/folder").iterdir()) == sorted([main.name, test.name])
    assert main.stem == "flash_lock"
    assert test.name == "test_flash_lock.py"
    for path in (main, test):
        text = path.read_text(encoding="utf-8")
        assert "flash_lock" in text or "FlashLock" in text
        assert not [place for place in scaffold.PLACES[kind] if place in text]
        assert max(map(len, text.splitlines())) <= 120
    ast.parse(test.read_text(encoding="utf-8"))


def test_a_new_strategy_is_one(tmp_path: Path) -> None:
    """The registry takes it, of its own kind only, and its docstring tells what people fill in."""
    lock, _ = scaffold.write("strategy", "flash-lock", tmp_path)
    wages, _ = scaffold.write("payout", "wages", tmp_path)
    assert registry.load(f"{lock}:FlashLock", "bids").stores == {"redis"}
    assert registry.load(f"{wages}:Wages", "payouts").stores == {"sql"}
    with pytest.raises(UsageError, match="lacks"):
        registry.load(f"{lock}:FlashLock", "payouts")
    assert card(f"{lock}:FlashLock").guarantee.startswith("what it promises")


def test_a_new_service_can_be_read(tmp_path: Path) -> None:
    """Its file is whole, and so is its ledger once somebody takes the marks away."""
    path, _ = scaffold.write("service", "corner-shop", tmp_path)
    service = mapping.load(path)
    assert service.name == "corner_shop"
    assert service.open is not None
    assert service.status is not None
    assert service.ledger is None
    lines = path.read_text().splitlines()
    begins = lines.index("#[ledger]")
    path.write_text("\n".join([*lines[:begins], *(line.removeprefix("#") for line in lines[begins : begins + 3])]))
    ledger = mapping.load(path).ledger
    assert ledger is not None
    assert ledger.kind == "sql"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("there", ["flash_lock{}", "test_flash_lock.py"])
def test_nothing_is_overwritten(tmp_path: Path, kind: str, there: str) -> None:
    """Where one of the two is there, it stays as it is, and the other is not written."""
    path = tmp_path / there.format(".toml" if kind == "service" else ".py")
    path.write_text("mine")
    with pytest.raises(UsageError, match=f"{path.name} exists and is not overwritten"):
        scaffold.write(kind, "flash-lock", tmp_path)
    assert [each.read_text() for each in tmp_path.iterdir()] == ["mine"]


def test_a_link_that_leads_nowhere_is_not_followed(tmp_path: Path) -> None:
    """It is somebody's file as well."""
    (tmp_path / "flash_lock.py").symlink_to(tmp_path / "gone")
    with pytest.raises(UsageError, match="exists and is not overwritten"):
        scaffold.write("strategy", "flash-lock", tmp_path)
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "makes no module's name"),
        ("2fast", "makes no module's name"),
        ("Flash", "makes no module's name"),
        ("käse", "makes no module's name"),
        ("a b", "makes no module's name"),
        ("../evil", "makes no module's name"),
        ("lock-", "makes no module's name"),
        ("x" * 41, "makes no module's name"),
        ("class", "makes no module's name"),
        ("match", "makes no module's name"),
        ("json", "would hide the installed module json"),
        ("psutil", "would hide the installed module psutil"),
        ("bid", "has a meaning in that file already"),
        ("redis", "has a meaning in that file already"),
    ],
)
def test_a_name_that_makes_no_module_is_refused(tmp_path: Path, name: str, told: str) -> None:
    """In one line, and nothing is written."""
    with pytest.raises(UsageError, match=told) as refused:
        scaffold.write("strategy", name, tmp_path)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_an_unknown_kind_names_the_near_ones(tmp_path: Path) -> None:
    """`new strategie` is a slip of the pen."""
    with pytest.raises(UsageError, match=r"did you mean strategy.*write one of strategy, payout, service"):
        scaffold.write("strategie", "x", tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file stands where the folder would be; and where the second file fails, the first is taken back."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        scaffold.write("strategy", "flash-lock", tmp_path / "file")
    opened = Path.open

    def full(path: Path, *arguments: object, **more: object) -> object:
        if path.name == "test_flash_lock.py":
            raise OSError(28, "No space left on device")
        return opened(path, *arguments, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(UsageError, match="No space left on device"):
        scaffold.write("strategy", "flash-lock", tmp_path / "disk")
    assert not list((tmp_path / "disk").iterdir())


@pytest.mark.parametrize(
    ("kind", "run", "actors"),
    [
        ("strategy", "oversold run bid-burst --strategy ./flash_lock.py:FlashLock", "--bidders 3"),
        ("payout", "oversold run payout-overlap --strategy ./flash_lock.py:FlashLock", "--workers 2"),
    ],
)
def test_what_to_do_next_is_told(tmp_path: Path, kind: str, run: str, actors: str) -> None:
    """Three commands, to be typed where the files are; the test explores as well."""
    main, test = scaffold.write(kind, "flash-lock", tmp_path)
    explore = f"oversold explore ./flash_lock.py:FlashLock {actors}"
    assert scaffold.following(kind, [main, test]).splitlines() == ["pytest test_flash_lock.py", run, explore]
    assert "def test_every_order(explore):\n    assert explore(FlashLock, " in test.read_text()
    assert explore in test.read_text()


def test_a_service_must_be_described_first(tmp_path: Path) -> None:
    """Its file has nothing of the shop yet, so the test comes last."""
    told = scaffold.following("service", scaffold.write("service", "flash-lock", tmp_path)).splitlines()
    assert told[0].startswith("write url, [bid] and [ledger] into flash_lock.toml")
    assert told[1] == "oversold run bid-burst --strategy ./flash_lock.toml --dry-run"
    assert told[2].endswith("then pytest test_flash_lock.py")
