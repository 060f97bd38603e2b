"""Makes a mutant's class: its design's modules are loaded a second time under other names, one of them changed."""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from types import ModuleType
from typing import Any

from oversold.strategies import registry
from tests.mutants import corpus, designs
from tests.mutants.corpus import Mutant

PREFIX = "oversold_mutant"
_numbers = count(1)


@contextmanager
def made(mutant: Mutant) -> Iterator[type[Any]]:
    """Give the class of a mutant; its modules are forgotten afterwards."""
    with loaded(mutant.design, {mutant.module: mutant.text}) as strategy:
        yield strategy


@contextmanager
def loaded(design: str, texts: Mapping[str, str]) -> Iterator[type[Any]]:
    """Give the class of a design, some of whose modules have another text."""
    word = f"{PREFIX}{next(_numbers)}"
    names = {module: f"{word}_{module.replace('.', '_')}" for module in corpus.modules(design)}
    try:
        for module, name in names.items():
            _run(name, texts.get(module, corpus.source(module).text), names)
            for constant, value in designs.SMALL.get(module.rpartition(".")[2], {}).items():
                setattr(sys.modules[name], constant, value)
        yield _class(design, names)
    finally:
        for name in names.values():
            sys.modules.pop(name, None)
            linecache.cache.pop(_file(name), None)


def _file(name: str) -> str:
    return f"<{name}>"


def _run(name: str, text: str, names: Mapping[str, str]) -> None:
    module = ModuleType(name)
    module.__file__ = _file(name)
    sys.modules[name] = module
    linecache.cache[_file(name)] = (len(text), None, text.splitlines(keepends=True), _file(name))
    tree = _Renamed(names).visit(ast.parse(text))
    exec(compile(ast.fix_missing_locations(tree), _file(name), "exec"), module.__dict__)


class _Renamed(ast.NodeTransformer):
    """Lets the copies import one another."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | list[ast.stmt]:
        if node.module in self._names:
            node.module = self._names[node.module]
            return node
        changed: list[ast.stmt] = []
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            if whole in self._names:
                changed.append(ast.Import([ast.alias(self._names[whole], alias.asname or alias.name)]))
            else:
                changed.append(ast.ImportFrom(node.module, [alias], node.level))
        return changed


def _class(design: str, names: Mapping[str, str]) -> type[Any]:
    original = registry.load(design, designs.kind(design))
    if designs.kind(design) == "bids":
        return _copy(original, names)
    base = original.__mro__[1]
    body = {
        "__doc__": original.__doc__,
        "stores": original.stores,
        "lock": _copy(original.lock, names),
        "policy": _copy(original.policy, names),
    }
    return type(original.__name__, (_copy(base, names),), body)


def _copy(original: type[Any], names: Mapping[str, str]) -> type[Any]:
    found: type[Any] = getattr(sys.modules[names[original.__module__]], original.__name__)
    return found
