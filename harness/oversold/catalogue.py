"""What there is: scenarios, strategies, presets, settings, stores. For `list` and `doctor`."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from oversold import places
from oversold.bid_plan import BidSettings
from oversold.errors import UsageError, near
from oversold.payout_plan import PayoutSettings
from oversold.strategies import registry
from oversold.strategies.payouts import composed

PROVIDERS = {"url": "URL given", "local": "program here", "wheel": "Python wheel", "emulated": "emulated"}


def everything() -> dict[str, Any]:
    """Return scenarios, strategies, presets, profiles and settings as plain JSON types."""
    return {
        "schema": "oversold/list/1",
        "scenarios": [
            {"name": name, "about": _first_line(path), "drives": _kind(name)}
            for name, path in places.scenarios().items()
        ],
        "strategies": [asdict(registry.card(name)) for name in registry.names("bids")],
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


def _kind(scenario: str) -> str | None:
    """Return what a scenario drives; None when its file cannot be read, which its description says."""
    try:
        return places.kind(scenario)
    except UsageError:
        return None


def _settings(model: type[BaseModel]) -> list[dict[str, Any]]:
    return [
        {"name": name, "default": field.default, "about": field.description}
        for name, field in model.model_fields.items()
    ]


def show(console: Console, document: Mapping[str, Any], sections: Sequence[str] = ()) -> None:
    """Print the catalogue as tables; with `sections`, only those of `SECTIONS`.

    Raises:
        UsageError: there is no such section.
    """
    for name in sections:
        if name not in SECTIONS:
            raise UsageError(f"no section {name!r}{near(name, list(SECTIONS))}: there are {', '.join(SECTIONS)}")
    for name, show_one in SECTIONS.items():
        if not sections or name in sections:
            show_one(console, document)


def _show_scenarios(console: Console, document: Mapping[str, Any]) -> None:
    console.print(_table("Scenarios", [(row["name"], row["about"]) for row in document["scenarios"]]))


def _show_bids(console: Console, document: Mapping[str, Any]) -> None:
    console.print(_cards("Strategies for bids", "strategy", document["strategies"]))


def _show_payouts(console: Console, document: Mapping[str, Any]) -> None:
    payouts = document["payouts"]
    console.print("[bold]Strategies for payouts[/bold] are a lock and a policy, e.g. row-lock+state-machine:")
    console.print(_cards("Claim locks", "lock", payouts["locks"]))
    console.print(_cards("Settlement policies", "policy", payouts["policies"]))


def _show_presets(console: Console, document: Mapping[str, Any]) -> None:
    console.print(_table("Presets (--preset)", [(row["name"], row["about"]) for row in document["presets"]]))


def _show_profiles(console: Console, document: Mapping[str, Any]) -> None:
    rows = [(row["name"], row["about"]) for row in document["profiles"]]
    console.print(_table("Payment channels (--profile)", rows))


def _show_settings(console: Console, document: Mapping[str, Any]) -> None:
    for title, key in (("Settings for bids", "settings"), ("Settings for payouts", "payout_settings")):
        settings = Table("setting", "default", "meaning", title=f"{title} (--set key=value)", **_STYLE)
        for row in document[key]:
            settings.add_row(row["name"], _plain(row["default"]), row["about"])
        console.print(settings)


SECTIONS: Mapping[str, Callable[[Console, Mapping[str, Any]], None]] = {
    "scenarios": _show_scenarios,
    "bids": _show_bids,
    "payouts": _show_payouts,
    "presets": _show_presets,
    "profiles": _show_profiles,
    "settings": _show_settings,
}


def _cards(title: str, noun: str, rows: list[Mapping[str, Any]]) -> Table:
    table = Table(noun, "stores", "algorithm", "known hole", title=title, **_STYLE)
    for row in rows:
        table.add_row(row["name"], ", ".join(row["stores"]), row["algorithm"], row["hole"])
    return table


def show_stores(console: Console, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Print what each store would be."""
    table = Table("store", "would be", "version", "note", title="Stores", **_STYLE)
    for row in rows.values():
        name = f"{row['label']} (emulated)" if row["provider"] == "emulated" else row["label"]
        note = row.get("problem", "")
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
