"""Small multiples: that panels fill the page without lying on one another, and share the axes' texts."""

from itertools import pairwise

import pytest

from oversold.report.charts_paper import MARGIN, new_paper, place_axes
from oversold.report.panels import MAX_PANELS, WIDTH, Panels


@pytest.mark.parametrize("most_columns", [3, 4])
@pytest.mark.parametrize("count", range(1, MAX_PANELS + 1))
def test_panels_lie_side_by_side_within_the_page(count: int, most_columns: int) -> None:
    """Each panel has a place of its own, panels of a row keep apart, and the last ends at the margin."""
    panels = Panels.of(count, most_columns)
    places = [panels.place(i) for i in range(count)]
    assert len(set(places)) == count
    assert max(row for row, _ in places) + 1 == panels.rows
    for (row, x), (next_row, next_x) in pairwise(places):
        assert next_row == row + 1 or next_x > x + panels.wide
    if count >= panels.columns:
        assert max(x for _, x in places) + panels.wide == pytest.approx(WIDTH - MARGIN)


def test_only_outer_panels_carry_the_texts_of_the_axes() -> None:
    """Of five panels in three columns two are the first of a row, and three are the lowest of their column."""
    panels, paper = Panels.of(5), new_paper(WIDTH, 4)
    axes = [place_axes(paper, 1, 1, 1, 1) for _ in range(5)]
    for i, each in enumerate(axes):
        panels.label(each, i, "time", "money")
    assert [each.get_ylabel() for each in axes] == ["money", "", "", "money", ""]
    assert [each.get_xlabel() for each in axes] == ["", "", "time", "time", "time"]
