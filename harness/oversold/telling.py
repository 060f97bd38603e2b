"""How long work tells people where it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Telling:
    """How a run tells people where it is. The defaults say nothing."""

    phase: Callable[[str], None] = lambda text: None
    count: Callable[[str, int, int], None] = lambda text, finished, total: None
    within: Callable[[str], None] = lambda text: None  # what stands before both from now on
    line: Callable[[str], None] = lambda text: None  # for good: one line of its own
