"""How often bidders had to tap: taps a bid against users, one line a strategy, or bars for one load."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from oversold.errors import UsageError
from oversold.report.cells import Cell, Spread, ordered, ranked
from oversold.report.charts_lines import GREY, End, Note, line_style, write_ends
from oversold.report.charts_paper import (
    INK,
    MARGIN,
    ORANGE,
    SMALL_PT,
    TEXT_PT,
    draw_grid,
    fitted,
    new_paper,
    place_axes,
    text_height,
    text_width,
    with_heading,
)
from oversold.report.charts_words import conditions_of
from oversold.report.phrases import all_or
from oversold.report.rows import WIDTH, Column, Sheet, height
from oversold.report.scales import Scale, round_marks

_NAME_MAX = 2.8
_ONCE = 1.05  # up to so many taps a bid count as one
_NAMED = 10  # so many lines are told apart; the others are grey
_LOG_SPAN = 30  # bars turn logarithmic when the longest is so many times one tap


@dataclass(frozen=True)
class _Line:
    """One strategy's taps a bid, the mean over seeds and settings, by users."""

    label: str
    users: tuple[int, ...]
    taps: tuple[Spread, ...]

    @property
    def most(self) -> float:
        return max(spread.mean for spread in self.taps)


def draw(cells: Sequence[Cell]) -> Figure:
    """Draw lines over users, or bars for one number of users; UsageError if no run counted its taps."""
    told = [cell for cell in cells if cell.attempts.count]
    if not told:
        raise UsageError("no attempts to draw: give at least one run in which somebody bid")
    if len({cell.load.users for cell in told}) == 1:
        return _draw_bars(told)
    return _draw_lines(told)


def taps(number: float) -> str:
    """Word a number of taps a bid, with one decimal as in the tables.

    >>> taps(1.0), taps(4.62), taps(1234.56)
    ('1.0', '4.6', '1,234.6')
    """
    return f"{number:,.1f}"


def _lines(cells: Sequence[Cell]) -> list[_Line]:
    lines = []
    for name in ranked(cells):
        own = [cell for cell in cells if cell.strategy == name]
        users = tuple(sorted({cell.load.users for cell in own}))
        runs = [
            [run["load"].get("attempts_per_bid") for c in own if c.load.users == n for run in c.runs]
            for n in users
        ]
        lines.append(_Line(own[0].label, users, tuple(map(Spread.of, runs))))
    return lines


def _subtitle(cells: Sequence[Cell], lines: Sequence[_Line]) -> str:
    several = max(spread.count for line in lines for spread in line.taps)
    return conditions_of(cells, "mean and range", several)


def _draw_lines(cells: Sequence[Cell]) -> Figure:
    lines = _lines(cells)
    # Those that tapped most are told apart; those that tapped once lie on one another anyway.
    several = sorted((line for line in lines if line.most > _ONCE), key=lambda line: -line.most)
    named, grey = several[:_NAMED], [line for line in lines if line not in several[:_NAMED]]
    once = [line.label for line in grey if line.most <= _ONCE]
    others = [line.label for line in several[_NAMED:]]
    said = [f"In grey, the most first: {', '.join(others)}."] if others else []
    said += [f"One tap a bid throughout: {', '.join(once)}."] if once else []
    note = Note(" ".join(said), WIDTH)
    labels = [f"{line.label}  {taps(line.taps[-1].mean)}" for line in named]
    if grey and not others:
        labels.append(f"{len(grey)} designs  {taps(1)}" if len(grey) > 1 else f"{grey[0].label}  {taps(1)}")
    probe = new_paper(WIDTH, 1)
    labels = [fitted(probe, label, TEXT_PT, _NAME_MAX) for label in labels]
    room = max((text_width(probe, label, TEXT_PT) for label in labels), default=0.0) + 0.75
    high = max(3.6, text_height(TEXT_PT) * len(labels) + 0.4)
    figure, top = with_heading(WIDTH, high + 0.75 + note.high, _title(lines), _subtitle(cells, lines))
    left = MARGIN + 0.55
    axes = place_axes(figure, left, top - 0.1 - high, WIDTH - left - MARGIN - room, high)
    _prepare(axes, lines)
    for line in grey:
        axes.plot(line.users, [spread.mean for spread in line.taps], color=GREY, lw=1, zorder=1.8)
    ends = [_draw_line(axes, i, line, label) for i, (line, label) in enumerate(zip(named, labels, strict=False))]
    if len(labels) > len(named):
        ends.append(End(max(line.users[-1] for line in grey), 1.0, labels[-1], GREY, "o"))
    write_ends(figure, axes, ends)
    note.write(figure)
    return figure


def _draw_line(axes: Axes, i: int, line: _Line, label: str) -> End:
    color, dash, marker = line_style(i)
    means = [spread.mean for spread in line.taps]
    axes.vlines(line.users, [s.low for s in line.taps], [s.high for s in line.taps], color=color, lw=1, alpha=0.6)
    axes.plot(line.users, means, color=color, ls=dash, marker=marker, markersize=5, mec="white", mew=0.5, lw=1.6)
    return End(line.users[-1], means[-1], label, color, marker)


def _prepare(axes: Axes, lines: Sequence[_Line]) -> None:
    users = sorted({n for line in lines for n in line.users})
    most = max(spread.high for line in lines for spread in line.taps)
    axes.set_xscale("log")
    axes.set_xlim(users[0] / 1.08, users[-1] * 1.08)
    axes.xaxis.set_major_locator(FixedLocator(_apart(users)))
    axes.set_yscale("log")
    axes.set_ylim(0.93, max(2.0, most * 1.1))
    axes.yaxis.set_major_locator(FixedLocator(round_marks(1, max(2.0, most))))
    for axis, word in ((axes.xaxis, "{:,.0f}".format), (axes.yaxis, "{:,.6g}".format)):
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _, word=word: word(value)))
    draw_grid(axes)
    axes.set_xlabel("users", fontsize=SMALL_PT)
    axes.set_ylabel("taps a bid", fontsize=SMALL_PT)


def _apart(users: Sequence[int]) -> list[int]:
    """Return those numbers of users that are far enough apart to be written below a logarithmic axis."""
    least = (math.log(users[-1]) - math.log(users[0])) / 12
    kept: list[int] = []
    for number in reversed(users):
        if not kept or math.log(kept[-1]) - math.log(number) >= least:
            kept.append(number)
    return kept


def _draw_bars(cells: Sequence[Cell]) -> Figure:
    """Draw one bar a strategy, the mean over seeds and settings, with a whisker for the range."""
    lines = _lines(cells)
    verdicts = {cell.label: cell.verdict for load in {c.load for c in cells} for cell in ordered(cells, load)}
    figure, top = with_heading(WIDTH, height(len(lines)), _title(lines), _subtitle(cells, lines))
    sheet = Sheet.lay(figure, top, len(lines))
    names = [fitted(figure, line.label, TEXT_PT, _NAME_MAX) for line in lines]
    left = sheet.write_columns([Column("strategy", names)], title_pt=TEXT_PT) + 0.25
    right = sheet.write_verdicts([verdicts[line.label] for line in lines]) - 0.7
    most = max(line.taps[0].high for line in lines)
    scale = Scale(1.0 if most > _LOG_SPAN else 0.0)
    marks = [
        float(mark) for mark in ((1, 10, 100, 1000, 10_000) if scale.least else range(1, math.ceil(most) + 1))
    ]
    marks = [mark for mark in marks if mark < most * 10] if scale.least else marks[:: math.ceil(len(marks) / 8)]
    inch = (right - left) / scale.steps(most)
    for mark in marks:
        if mark <= most:
            sheet.draw_mark(left + inch * scale.steps(mark), f"{mark:,.0f}")
    sheet.draw_origin(left)
    scaled = "each block is ten times the one before it" if scale.least else "to scale"
    sheet.name_scale((left + right) / 2, f"taps a bid ({scaled})")
    for row, line in enumerate(lines):
        spread = line.taps[0]
        cuts = [left + inch * scale.steps(mark) for mark in scale.cuts(spread.mean, marks)]
        sheet.draw_bar(row, left, left + scale.length(spread.mean, inch), cuts, color=ORANGE)
        if spread.count > 1:
            ends = [left + inch * scale.steps(number) for number in (spread.low, spread.high)]
            sheet.axes.plot(ends, [row, row], color=INK, lw=1.2, zorder=3)
        end = left + inch * scale.steps(spread.high)
        sheet.write_label(row, end, taps(spread.mean), faint=spread.mean <= _ONCE)
    return figure


def _title(lines: Sequence[_Line]) -> str:
    """Say whose bidders tapped most, and how many needed one tap only."""
    worst = max(lines, key=lambda line: line.most)
    once = sum(line.most <= _ONCE for line in lines)
    where = f" with {worst.users[[s.mean for s in worst.taps].index(worst.most)]:,} users"
    if len(lines) == 1:
        return f"{worst.label}: {'up to ' if len(worst.users) > 1 else ''}{taps(worst.most)} taps a bid{where}"
    if worst.most <= _ONCE:
        return f"{all_or(once, len(lines))} designs needed one tap a bid"
    said = f"{worst.label} made its bidders tap {taps(worst.most)} times{where}"
    return f"{said}; {once} of {len(lines)} designs needed one tap a bid" if once else said
