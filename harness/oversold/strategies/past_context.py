"""What a strategy takes from elsewhere than its context, as its text says: time, chance, threads, event loops."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

NOW = "use context.clock.now_s()"
CHANCE = "use context.random"
DRAWN_ID = 'use f"{context.random.getrandbits(128):032x}"'
ONE_BY_ONE = "do one thing after the other in the method that was called"
# Dotted name, or what it begins with -> how to mend it. The longest that fits counts.
MENDS: Mapping[str, str] = {
    "time": NOW,
    "time.sleep": "use context.clock.sleep(seconds)",
    "datetime.datetime.now": NOW,
    "datetime.datetime.utcnow": NOW,
    "datetime.datetime.today": NOW,
    "datetime.date.today": NOW,
    "random": CHANCE,
    "secrets": DRAWN_ID,
    "os.urandom": "use context.random.randbytes(n)",
    "os.getrandom": "use context.random.randbytes(n)",
    **dict.fromkeys(("uuid.uuid1", "uuid.uuid4", "uuid.uuid6", "uuid.uuid7"), DRAWN_ID),
    **dict.fromkeys(("threading", "_thread", "concurrent.futures", "multiprocessing"), ONE_BY_ONE),
    **dict.fromkeys(("asyncio", "gevent", "greenlet"), ONE_BY_ONE),
}
OURS = "oversold"


def past_its_context(strategy: type[Any]) -> list[tuple[str, str]]:
    """Return what a class takes from elsewhere than its context: pairs of a dotted name and how to mend it.

    They are in the order of its text. Its base classes count as well, and the functions and classes of its own
    modules that they use; what it only imports, or names as a type, does not. What has no text is not looked at.

    >>> past_its_context(dict)
    []
    """
    waiting = [(each.__module__, each.__qualname__.split(".")[-1]) for each in strategy.__mro__]
    seen: set[tuple[str, str]] = set()
    texts: dict[str, _Text | None] = {}
    found: dict[str, str] = {}
    while waiting:
        place = waiting.pop(0)
        if place in seen:
            continue
        seen.add(place)
        if place[0] not in texts:
            texts[place[0]] = _text(place[0])
        text = texts[place[0]]
        if text is None or place[1] not in text.definitions:
            continue
        for name in _names(text.definitions[place[1]]):
            root, _, rest = name.partition(".")
            if root in text.definitions:
                waiting.append((place[0], root))
            whole = f"{text.imported.get(root, '')}.{rest}".strip(".") if root in text.imported else ""
            if mend := _mend(whole):
                found.setdefault(whole, mend)
            elif "." in whole:
                module, _, wanted = whole.rpartition(".")
                waiting.append((module, wanted))
    return list(found.items())


class _Text:
    """A module's text: what it defines, and what its imports are called; also those inside functions."""

    def __init__(self, tree: ast.Module) -> None:
        self.definitions = {
            node.name: node
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        }
        self.imported = dict(_imports(tree))


def _text(module: str) -> _Text | None:
    """Return the text of a user's own module; None of a library's, or of one that has none."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file and _own(module, Path(file)):
        with suppress(OSError, SyntaxError, UnicodeDecodeError):
            return _parsed(file, Path(file).stat().st_mtime_ns)
    return None


@lru_cache(maxsize=64)
def _parsed(file: str, _changed_ns: int) -> _Text:
    return _Text(ast.parse(Path(file).read_text()))


def _own(name: str, file: Path) -> bool:
    root = name.partition(".")[0]
    if root == OURS:
        return name.startswith((f"{OURS}.strategies.bids", f"{OURS}.strategies.payouts"))
    return root not in sys.stdlib_module_names and "site-packages" not in file.parts


def _imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (root, root)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _names(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted names that are used, in the order of the text; types are not used."""
    if isinstance(tree, ast.Attribute | ast.Name):
        parts: list[str] = []
        node: ast.AST = tree
        while isinstance(node, ast.Attribute):
            parts.insert(0, node.attr)
            node = node.value
        if isinstance(node, ast.Name):
            yield ".".join([node.id, *parts])
            return
        yield from _names(node)
        return
    for field, value in ast.iter_fields(tree):
        if field not in ("annotation", "returns"):
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, ast.AST):
                    yield from _names(each)


def _mend(name: str) -> str | None:
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        if mend := MENDS.get(".".join(parts[:length])):
            return mend
    return None
