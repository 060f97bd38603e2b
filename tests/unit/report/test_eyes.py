"""The tests' own eyes: what they are to find is planted and found."""

from matplotlib.figure import Figure
from rich.table import Table
from tests.unit.report.eyes import clashes, marks_under_text, not_plain, too_wide, words

from oversold.report.charts_paper import new_paper, place_axes, write


def two_texts() -> Figure:
    """Return a paper with two texts apart."""
    figure = new_paper(4, 2)
    write(figure, 0.5, 1.0, "one")
    write(figure, 2.5, 1.0, "other")
    return figure


def test_clashes_are_found() -> None:
    """Texts over one another and over the edge are found, texts apart are not."""
    figure = two_texts()
    assert clashes(figure) == []
    write(figure, 0.6, 1.02, "over it")
    write(figure, 3.8, 0.5, "leaves")
    assert len(clashes(figure)) == 2


def test_marks_under_text_are_found() -> None:
    """A text over the middle of a mark is found, one beside it is not."""
    axes = place_axes(figure := new_paper(4, 2), 0, 0, 4, 2)
    axes.plot([0.0, 1.0], [0.0, 1.0], "o")
    axes.text(0.2, 0.4, "beside")
    assert marks_under_text(figure) == []
    axes.text(-0.1, -0.03, "planted")
    assert marks_under_text(figure) == ["planted"]


def test_only_what_is_drawn_is_read() -> None:
    """Every line of a text is read on its own; hidden texts and ticks beyond the limits are not read."""
    axes = place_axes(figure := two_texts(), 0.5, 1.2, 3, 0.6)
    axes.set_xticks([0.0, 1.0, 9.0], ["zero", "end", "beyond"])
    axes.set_xlim(0, 1)
    axes.text(0.5, 0.5, "upper\nlower")
    axes.text(0.5, 0.5, "hidden").set_visible(False)
    assert {"one", "other", "zero", "end", "upper", "lower"} <= set(words(figure))
    assert not {"beyond", "hidden", "upper\nlower"} & set(words(figure))


def table_of(cell: str) -> Table:
    """Return a table without borders of one cell that does not wrap."""
    table = Table(box=None, show_header=False)
    table.add_column(no_wrap=True, style="red")
    table.add_row(cell)
    return table


def test_what_does_not_fit_is_found() -> None:
    """A cell that was cut is found, one that fits is not."""
    assert too_wide(table_of("x" * 30), 40) == []
    assert len(too_wide(table_of("x" * 30), 20)) == 1


def test_what_is_not_plain_is_found() -> None:
    """Colours on a terminal and letters beyond ASCII are found; the same cell in a pipe is plain."""
    assert not_plain(table_of("x")) == []
    assert len(not_plain(table_of("x"), force_terminal=True, color_system="standard")) == 1
    assert len(not_plain(table_of("标"))) == 1
