"""What stands for the text of a strategy's code: a replay of another text may well go another way."""

from __future__ import annotations

import inspect
import sys
from contextlib import suppress
from hashlib import sha256
from typing import Any

from oversold.strategies.payouts.composed import Composed

LENGTH = 16


def of(strategy: type[Any]) -> str:
    """Return 16 hex digits of a class's name and of the text of its modules: its own, its bases', its halves'."""
    kinds = [strategy]
    if issubclass(strategy, Composed):
        kinds += [strategy.lock, strategy.policy]
    modules = {each.__module__ for kind in kinds for each in kind.__mro__}
    texts = []
    for name in modules - {"builtins", "typing", "abc"}:
        with suppress(OSError, TypeError, KeyError):  # made at a prompt, or compiled: there is no text
            texts.append(inspect.getsource(sys.modules[name]))
    # By text and not by name: a file has one name when it is imported and another when it is loaded by its path.
    return sha256("".join([strategy.__qualname__, *sorted(texts)]).encode()).hexdigest()[:LENGTH]
