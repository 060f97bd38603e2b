"""Which mutants there are: every place of a design's own code where an operator fits, each place once."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from oversold.strategies import registry
from oversold.strategies.payouts import composed
from tests.mutants import by_hand, designs, lua, operators
from tests.mutants.edits import Edit, Source

OWN = ("oversold.strategies.bids.", "oversold.strategies.payouts.")
NOT_THEIRS = (  # the interface, the table's columns, and what stands for a running service
    "oversold.strategies.payouts.interface",
    "oversold.strategies.payouts.obligation_table",
    "oversold.strategies.payouts.service",
)
# Where a design's life under load begins. How its stock is put in and what it says is left are other questions.
ENTRIES = ("reserve", "confirm", "release", "consume", "run_job", "reconcile", "begin", "claim", "done", "settle")
ENTRIES += ("recover", "__init__")
LEFT_OUT = {"open", "status", "state", "load", "names", "put_stock"}
# What finds an ok that paid nothing: no channel of the explorer tells that lie.
LEFT_OUT |= {"_compare", "remark", "REMARK", "paid_unremarked", "PAID_UNREMARKED"}


@dataclass(frozen=True)
class Mutant:
    """A design with one small change in one of its modules."""

    name: str  # design:operator:module.function.n
    design: str
    module: str
    edit: Edit

    @property
    def place(self) -> str:
        """The file and line of the change."""
        return f"{self.module.rpartition('.')[2]}.py:{self.edit.line}"

    @property
    def diff(self) -> str:
        """The change on one line."""
        return self.edit.diff(source(self.module).text)

    @property
    def text(self) -> str:
        """The module with the change."""
        return self.edit.applied(source(self.module).text)


@cache
def source(module: str) -> Source:
    """Return a module's text and tree."""
    found = importlib.util.find_spec(module)
    assert found is not None
    assert found.origin is not None
    return Source(Path(found.origin).read_text(encoding="utf-8"))


@cache
def mutants() -> tuple[Mutant, ...]:
    """Return the whole corpus. What several designs share is mutated in the first of them that uses it."""
    taken: set[tuple[str, str]] = set()
    made = []
    for design in designs.names():
        counts: Counter[str] = Counter()
        for module, where, edit in _all(design):
            whole = source(module).text
            text = edit.applied(whole)
            if (module, text) in taken or not _differs(whole[edit.start : edit.end], edit.new):
                continue
            taken.add((module, text))
            stem = f"{design}:{edit.operator}:{module.rpartition('.')[2]}.{where}"
            counts[stem] += 1
            made.append(Mutant(f"{stem}.{counts[stem]}", design, module, edit))
    return tuple(made)


def _differs(old: str, new: str) -> bool:
    """Tell whether two pieces of code differ in more than spaces and brackets."""
    bare = str.maketrans("", "", " \n()")
    return old.translate(bare) != new.translate(bare)


def _all(design: str) -> Iterator[tuple[str, str, Edit]]:
    used = live(design)
    for module in modules(design):
        for where in _parts(module):
            if where.rpartition(".")[2] in LEFT_OUT or not used(module, where):
                continue
            word = where.rpartition(".")[2]
            for edit in _edits(module, where):
                if word != "__init__" or edit.operator in {"without", "weaker"}:
                    yield module, word, edit
        for patch in by_hand.PATCHES:
            if (patch.design, patch.module) == (design, module.rpartition(".")[2]):
                yield module, "by-hand", patch.edit(source(module))


@cache
def _edits(module: str, where: str) -> tuple[Edit, ...]:
    text, node = source(module), _parts(module)[where]
    found = [*operators.edits(text, node), *lua.edits(text, node)]
    return tuple(sorted(found, key=lambda edit: (edit.line, edit.start)))


@cache
def _parts(module: str) -> Mapping[str, ast.stmt]:
    return parts(source(module).tree)


def parts(tree: ast.Module) -> Mapping[str, ast.stmt]:
    """Return the functions, methods (`Class.method`) and named constants of a module."""
    found: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{each.name}": each for each in node.body if isinstance(each, ast.FunctionDef)}
        elif isinstance(node, ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node
    return found


@cache
def _named(module: str, where: str) -> frozenset[str]:
    nodes = list(ast.walk(_parts(module)[where]))
    names = [each.id for each in nodes if isinstance(each, ast.Name)]
    return frozenset([*names, *(each.attr for each in nodes if isinstance(each, ast.Attribute))])


def classes(design: str) -> list[type[Any]]:
    """Return the classes of a design: its own and its halves, with their bases."""
    found = registry.load(design, designs.kind(design))
    kinds = [found]
    if issubclass(found, composed.Composed):
        kinds += [found.lock, found.policy]
    return [base for each in kinds for base in each.__mro__ if base.__module__.startswith(OWN)]


@cache
def modules(design: str) -> tuple[str, ...]:
    """Return the modules of a design in the order in which they have to be loaded."""
    ordered: dict[str, None] = {}

    def visit(name: str) -> None:
        if name in ordered:
            return
        for each in imported(name):
            visit(each)
        ordered[name] = None

    for each in classes(design):
        visit(each.__module__)
    return tuple(ordered)


@cache
def imported(module: str) -> tuple[str, ...]:
    """Return which designs' modules one imports."""
    found = []
    for node in ast.walk(source(module).tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            packages = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            found += [each for each in packages if each.startswith(OWN) and _is_module(each)]
    return tuple(each for each in dict.fromkeys(found) if each not in NOT_THEIRS)


@cache
def _is_module(name: str) -> bool:
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return False
    return found is not None and found.submodule_search_locations is None


def live(design: str) -> Any:
    """Return what tells whether a part of a module can run under load: it is named by a part that can."""
    whole = [(module, where) for module in modules(design) for where in _parts(module)]
    mro = {(each.__module__, each.__qualname__): place for place, each in enumerate(classes(design))}
    named: set[str] = set(ENTRIES)
    found: set[tuple[str, str]] = set()
    before = -1
    while before != len(found):
        before = len(found)
        for module, where in whole:
            owner, _, word = where.rpartition(".")
            if (module, where) in found or word not in named:
                continue
            if owner and not _resolves(mro, module, owner, word):
                continue
            found.add((module, where))
            named |= _named(module, where)
    return lambda module, where: (module, where) in found


def _resolves(mro: Mapping[tuple[str, str], int], module: str, owner: str, word: str) -> bool:
    """Tell whether a method is not overridden, or called by the one that overrides it."""
    if (module, owner) not in mro:
        return True  # no base: a class that is used, like the desk
    place = mro[module, owner]
    for (other, name), earlier in mro.items():
        over = _parts(other).get(f"{name}.{word}")
        if earlier >= place or over is None or not _related(other, name, module, owner):
            continue
        if f"super().{word}" not in ast.unparse(over):
            return False
    return True


def _related(module: str, name: str, base_module: str, base_name: str) -> bool:
    derived = getattr(importlib.import_module(module), name)
    return issubclass(derived, getattr(importlib.import_module(base_module), base_name))
