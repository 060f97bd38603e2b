"""The scales of bars and marks: that they cover what they are of, and hide nothing but zero."""

import pytest

from oversold.report.scales import MoneyScale, RateScale, labelled


@pytest.mark.parametrize(
    ("amounts", "ticks"),
    [
        ([100_00, 1_000_00], [200_00, 400_00, 600_00, 800_00, 1_000_00]),
        ([1], [1]),
        ([3, 5_000_000], [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000]),
        ([0], [10_000 * k for k in (20, 40, 60, 80, 100)]),
    ],
)
def test_the_scale_covers_its_amounts(amounts: list[int], ticks: list[int]) -> None:
    """Marks reach the greatest amount; the scale is only logarithmic where the least would vanish."""
    scale = MoneyScale.fit(amounts)
    assert scale.ticks() == ticks
    assert scale.ticks()[-1] >= max(amounts)


@pytest.mark.parametrize(
    ("rates", "ticks"),
    [
        ([0.1, 0.2], [0.05, 0.1, 0.15, 0.2]),
        ([0.00002, 0.2], [0.00001, 0.0001, 0.001, 0.01, 0.1, 1.0]),
        ([1e-9, 0.05], [0.00001, 0.0001, 0.001, 0.01, 0.1]),
        ([0.0, 8.8], [2.0, 4.0, 6.0, 8.0, 10.0]),
    ],
)
def test_the_scale_covers_its_rates(rates: list[float], ticks: list[float]) -> None:
    """Marks reach the greatest rate; below a hundred-thousandth of the capacity there is no power of ten more."""
    scale = RateScale.fit(rates)
    assert scale.ticks(max(rates)) == pytest.approx(ticks)
    assert scale.ticks(max(rates))[-1] >= max(rates)


def test_the_shorter_side_has_the_steps_of_the_longer_one() -> None:
    """A side that reaches to 6 % beside one to 26 % has one line at 10 %; alone it has finer ones."""
    scale = RateScale.fit([0.06, 0.26])
    assert scale.ticks(0.06, 0.26) == pytest.approx([0.1])
    assert scale.ticks(0.06) == pytest.approx([0.02, 0.04, 0.06])


def test_no_bar_vanishes_but_that_of_zero() -> None:
    """The least fen beside millions keeps a length; the planted zero has none; a power of ten is a step."""
    scale = MoneyScale.fit([1, 10**9])
    assert scale.length(1, 1e-6) == pytest.approx(0.05)
    assert scale.length(0, 1e-6) == 0
    assert scale.length(1000, 0.5) - scale.length(100, 0.5) == pytest.approx(0.5)


def test_only_bars_that_are_not_to_scale_are_cut() -> None:
    """A bar on a logarithmic scale is cut at each mark below its end; one that is to scale stays whole."""
    tenfold, linear = RateScale.fit([0.0001, 0.2]), RateScale.fit([0.1, 0.2])
    assert tenfold.cuts(0.02, [0.0001, 0.001, 0.01, 0.1]) == [0.0001, 0.001, 0.01]
    assert linear.cuts(0.2, [0.05, 0.1, 0.15, 0.2]) == []


def test_marks_carry_as_many_texts_as_have_room() -> None:
    """Texts narrower than the gap stand at every mark, wider ones at every second or third."""
    assert labelled([0.2, 0.5], 0.5) == 1
    assert labelled([0.2, 0.51], 0.5) == 2
    assert labelled([1.3], 0.5) == 3
