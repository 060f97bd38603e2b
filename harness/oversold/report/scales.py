"""The scales of bars and marks: linear, or a power of ten a step where a linear one would hide the least."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

_SHORTEST = 0.05  # inches of the shortest bar, so that nothing but zero vanishes
LEAST_REACH = 0.1  # a scale of rates reaches 10 % at least, so that a tiny rate never fills the page
# A linear scale still shows what is so many times smaller than its reach.
_RATE_SPAN, _MONEY_SPAN = 40, 100
_NOTHING_SEEN = (10_000, 1_000_000)  # fen: where a scale without amounts begins and ends


@dataclass(frozen=True)
class Scale:
    """Turns a value into steps along an axis that begins at zero.

    Linear when `least` is 0: a step is one of the value's units. Otherwise each step is a power of ten, and
    `least` lies one step from zero.
    """

    least: float

    def steps(self, value: float) -> float:
        """Return how many steps from zero a value lies."""
        if not self.least:
            return value
        return value / self.least if value < self.least else 1 + math.log10(value / self.least)

    def length(self, value: float, inches: float) -> float:
        """Return how many inches the bar of a value takes when a step takes `inches`; zero has no bar."""
        return max(_SHORTEST, inches * self.steps(value)) if value else 0.0

    def cuts(self, value: float, marks: Sequence[float]) -> list[float]:
        """Return the marks at which to cut the bar of a value into blocks of a power of ten each.

        So nobody reads a bar on a logarithmic scale as a length; a bar that is to scale stays whole.
        """
        return [mark for mark in marks if self.least and mark < value]


@dataclass(frozen=True)
class RateScale(Scale):
    """A scale of fractions of the capacity."""

    @classmethod
    def fit(cls, rates: Sequence[float]) -> Self:
        """Choose the linear scale if that still shows the smallest of the rates."""
        seen = [rate for rate in rates if rate > 0]
        if not seen or max(LEAST_REACH, *seen) / min(seen) <= _RATE_SPAN:
            return cls(0.0)
        return cls(10.0 ** max(-5, math.floor(math.log10(min(seen)))))

    def ticks(self, most: float, widest: float = 0.0) -> list[float]:
        """Return the rates to draw lines at, without zero, up to the first that covers `most`.

        They are as far apart as on a side that reaches to `widest`, so that both sides of zero have one grid.
        """
        if self.least:
            last = max(0, math.ceil(math.log10(most / self.least) - 1e-9))
            return [self.least * 10**i for i in range(last + 1)]
        reach = max(most, widest)
        unit = 10.0 ** math.floor(math.log10(reach))
        step = next(unit * m for m in (0.2, 0.5, 1, 2) if reach / (unit * m) <= 5)
        return [step * i for i in range(1, math.ceil(most / step - 1e-9) + 1)]


@dataclass(frozen=True)
class MoneyScale(Scale):
    """A scale of amounts in fen that reaches `most` fen at least."""

    least: int
    most: int

    @classmethod
    def fit(cls, amounts: Sequence[int], *, linear: bool = True) -> Self:
        """Choose the linear scale, where that is wanted and still shows the smallest of the amounts."""
        seen = [fen for fen in amounts if fen > 0]
        least, most = (min(seen), max(seen)) if seen else _NOTHING_SEEN
        if linear and most <= _MONEY_SPAN * least:
            return cls(0, most)
        return cls(_power_of_ten(least), most)

    def ticks(self) -> list[int]:
        """Return the amounts to draw lines at, without zero, up to the first that covers `most`."""
        if self.least:
            marks = [self.least]
            while marks[-1] < self.most:
                marks.append(10 * marks[-1])
            return marks
        unit = _power_of_ten(self.most)
        step = next(s for m in (0.2, 0.5, 1, 2) if self.most <= 5 * (s := max(1, round(unit * m))))
        return [step * i for i in range(1, math.ceil(self.most / step) + 1)]

    @property
    def explained(self) -> str:
        """How the axis is to be read."""
        return "after the first, each step is ten times the one before it" if self.least else "to scale"


def round_marks(low: float, high: float) -> list[float]:
    """Return round numbers from about `low` to about `high` for a logarithmic axis, not too many.

    >>> round_marks(1, 10), round_marks(1, 10_000)
    ([0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0], [0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0])
    """
    steps = (1,) if high / low > 1e3 else (1, 3) if high / low > 30 else (1, 2, 5)
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    return [step * 10.0**power for power in powers for step in steps]


def tick_text(fen: int) -> str:
    """Word an amount on an axis, in yuan.

    >>> tick_text(0), tick_text(1), tick_text(10_000_000)
    ('0', '0.01', '100,000')
    """
    return f"{fen // 100:,}" if fen % 100 == 0 else f"{fen / 100:,.2f}"


def labelled(texts_wide: Sequence[float], gap: float) -> int:
    """Return the n of which every n-th mark can carry its text, when marks are `gap` inches apart."""
    return max(1, math.ceil(max(texts_wide, default=0.0) / gap)) if gap > 0 else 1


def _power_of_ten(fen: int) -> int:
    """Return the largest power of ten that is not above an amount."""
    return int(10 ** (len(str(fen)) - 1))
