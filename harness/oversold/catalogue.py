"""What there is: scenarios, strategies, presets, settings, stores. For `list` and `doctor`."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from typing import Any, cast

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from oversold import places
from oversold.bid_plan import BidSettings
from oversold.errors import UsageError, near
from oversold.payout_plan import PayoutSettings
from oversold.plan import Kind
from oversold.stores.providers import StoreChoice, lacking
from oversold.strategies import registry
from oversold.strategies.payouts import composed

PROVIDERS = {
    "url": "URL given",
    "local": "program here",
    "wheel": "Python wheel",
    "emulated": "emulated",
    "docker": "Docker container",
}


def everything() -> dict[str, Any]:
    """Return scenarios, strategies, presets, profiles and settings as plain JSON types."""
    return {
        "schema": "oversold/list/1",
        "scenarios": [
            {"name": name, "about": _first_line(path), "drives": _kind(name)}
            for name, path in places.scenarios().items()
        ],
        "strategies": [_available(asdict(registry.card(name))) for name in registry.names("bids")],
        "payouts": {
            "locks": [asdict(card) for card in registry.halves(composed.LOCKS)],
            "policies": [asdict(card) for card in registry.halves(composed.POLICIES)],
            "strategies": registry.names("payouts"),
        },
        "presets": [{"name": name, "about": table.get("about", "")} for name, table in places.presets().items()],
        "profiles": [{"name": name, "about": places.profile(name).about} for name in places.profiles()],
        "settings": _settings(BidSettings),
        "payout_settings": _settings(PayoutSettings),
    }


@cache
def _lacking() -> Mapping[str, str]:
    return lacking(StoreChoice())


def _available(card: dict[str, Any]) -> dict[str, Any]:
    """Add whether a strategy's servers are on this machine, and what to install if not."""
    missing = [_lacking()[store] for store in card["stores"] if store in _lacking()]
    return {**card, "available": not missing, "missing": missing}


def _kind(scenario: str) -> str | None:
    """Return what a scenario drives; None when its file cannot be read, which its description says."""
    try:
        return places.kind(scenario)
    except UsageError:
        return None


def cards_of(document: Mapping[str, Any]) -> dict[str, registry.StrategyCard]:
    """Return what the strategies of a comparison are, by name, as far as they can still be found here."""
    cards: dict[str, registry.StrategyCard] = {}
    for run in document["runs"]:
        name, kind = str(run["strategy"]), "payouts" if "obligations" in run else "bids"
        if name not in cards:
            with suppress(UsageError):  # somebody's file or package may have gone since
                cards[name] = registry.card(name, cast(Kind, kind))
    return cards


def _settings(model: type[BaseModel]) -> list[dict[str, Any]]:
    return [
        {"name": name, "default": field.default, "about": field.description}
        for name, field in model.model_fields.items()
    ]


def show(console: Console, document: Mapping[str, Any], words: Sequence[str] = ()) -> None:
    """Print the catalogue: one line a thing; with `words`, those sections or strategies alone, in full.

    Raises:
        UsageError: there is no such section or strategy.
    """
    cards = {row["name"]: row for row in _all_cards(document)}
    for word in words:
        if word not in SECTIONS and word not in cards:
            known = [*SECTIONS, *cards]
            raise UsageError(
                f"no section or strategy {word!r}{near(word, known)}: there are {', '.join(SECTIONS)}, and names"
            )
    for name, show_one in SECTIONS.items():
        if not words or name in words:
            show_one(console, document, full=bool(words))
    for word in words:
        if word not in SECTIONS:
            _show_card(console, cards[word])


def _all_cards(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*document["strategies"], *document["payouts"]["locks"], *document["payouts"]["policies"]]


def _show_card(console: Console, card: Mapping[str, Any]) -> None:
    table = Table(title=card["name"], show_header=False, **_STYLE)
    for name in ("algorithm", "guarantee", "hole"):
        table.add_row("known hole" if name == "hole" else name, Text(card[name]))
    table.add_row("stores", ", ".join(card["stores"]))
    console.print(table)


def _show_scenarios(console: Console, document: Mapping[str, Any], *, full: bool) -> None:
    console.print(_table("Scenarios", [(row["name"], row["about"]) for row in document["scenarios"]]))


def _show_bids(console: Console, document: Mapping[str, Any], *, full: bool) -> None:
    console.print(_cards(console, "Strategies for bids", "strategy", document["strategies"], full=full))
    if not full:
        console.print("`oversold list bids` and `oversold list NAME` tell the known holes.", markup=False)
    for problem in dict.fromkeys(text for row in document["strategies"] for text in row["missing"]):
        names = ", ".join(row["name"] for row in document["strategies"] if problem in row["missing"])
        console.print(f"not available: {names}: {problem}", soft_wrap=True, markup=False)
    if "mariadb" in _lacking():
        console.print(f"not available: --sql mariadb: {_lacking()['mariadb']}", soft_wrap=True, markup=False)


def _show_payouts(console: Console, document: Mapping[str, Any], *, full: bool) -> None:
    payouts = document["payouts"]
    console.print("[bold]Strategies for payouts[/bold] are a lock and a policy, e.g. row-lock+state-machine:")
    console.print(_cards(console, "Claim locks", "lock", payouts["locks"], full=full))
    console.print(_cards(console, "Settlement policies", "policy", payouts["policies"], full=full))


def _show_presets(console: Console, document: Mapping[str, Any], *, full: bool) -> None:
    console.print(_table("Presets (--preset)", [(row["name"], row["about"]) for row in document["presets"]]))


def _show_profiles(console: Console, document: Mapping[str, Any], *, full: bool) -> None:
    rows = [(row["name"], row["about"]) for row in document["profiles"]]
    console.print(_table("Payment channels (--profile)", rows))


def _show_settings(console: Console, document: Mapping[str, Any], *, full: bool) -> None:
    for title, key in (("Settings for bids", "settings"), ("Settings for payouts", "payout_settings")):
        settings = Table("setting", "default", "meaning", title=f"{title} (--set key=value)", **_STYLE)
        for row in document[key]:
            settings.add_row(row["name"], _plain(row["default"]), row["about"])
        console.print(settings)


SECTIONS: Mapping[str, Callable[..., None]] = {
    "scenarios": _show_scenarios,
    "bids": _show_bids,
    "payouts": _show_payouts,
    "presets": _show_presets,
    "profiles": _show_profiles,
    "settings": _show_settings,
}


def _cards(console: Console, title: str, noun: str, rows: list[Mapping[str, Any]], *, full: bool) -> Table:
    """Lay out strategies: what they do and where they fail, or one line each with what they do."""
    if full:
        table = Table(noun, "stores", "algorithm", "known hole", title=title, **_STYLE)
        for row in rows:
            table.add_row(row["name"], ", ".join(row["stores"]), Text(row["algorithm"]), Text(row["hole"]))
        return table
    # Into a pipe the lines go whole; on a terminal they are cut to its width.
    table = Table(title=title, expand=console.is_terminal, **_STYLE)
    table.add_column(noun, no_wrap=True)
    table.add_column("stores", no_wrap=True)
    table.add_column("algorithm", no_wrap=True, overflow="ellipsis", ratio=1 if console.is_terminal else None)
    for row in rows:
        table.add_row(row["name"], ", ".join(row["stores"]), Text(row["algorithm"]))
    return table


def show_stores(console: Console, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Print what each store would be."""
    table = Table("store", "would be", "version", "note", title="Stores", **_STYLE)
    for row in rows.values():
        name = f"{row['label']} (emulated)" if row["provider"] == "emulated" else row["label"]
        note = row.get("problem") or row.get("note", "")
        if row["provider"] in {"emulated", "wheel"}:
            note = f"for a server of your own: {row['hint']}"
        table.add_row(name, PROVIDERS.get(row["provider"], "missing"), row.get("version", ""), note)
    console.print(table)


_STYLE: dict[str, Any] = {"box": None, "title_justify": "left", "pad_edge": False, "title_style": "bold"}


def _table(title: str, rows: list[tuple[str, str]]) -> Table:
    table = Table("name", "about", title=title, **_STYLE)
    for row in rows:
        table.add_row(*row)
    return table


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool | None) else str(value)


def _first_line(path: Any) -> str:
    """Return the first line of a scenario's docstring, without importing (and so patching) anything."""
    try:
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        return f"cannot be read: {error}"
    return text.splitlines()[0] if text else ""
