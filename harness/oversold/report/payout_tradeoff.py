"""Money paid too much against money missed, by strategy: where a design stands between the two."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from oversold.report.charts_paper import (
    BLUE,
    FAINT_INK,
    GREEN,
    INK,
    MARGIN,
    SMALL_PT,
    TEXT_PT,
    VERMILLION,
    draw_grid,
    fitted,
    place_axes,
    text_height,
    text_width,
    verdict_mark,
    with_heading,
    write_legend,
)
from oversold.report.labels import Box, Label, placed
from oversold.report.payout_tables import Reckoning
from oversold.report.payout_words import both_sides, conditions, names, payout_runs
from oversold.report.phrases import listed
from oversold.report.scales import MoneyScale, labelled, tick_text

_WIDTH = 11.0
_LEFT, _BELOW, _ABOVE = 1.15, 0.75, 0.75  # inches around the axes for their texts and for the key
_UNDER = 0.45  # inches below zero and left of it, where marks and labels of zero have room
_STEP = 0.62  # inches of a power of ten upwards, at least
_LOWEST, _NAME_MAX = 2.4, 4.2
_APART = 0.27  # inches from line to line of names that stand off from marks that crowd
_SAME = 0.1  # marks that are nearer than so many inches share a label
_CORNER_TITLE = "safe and complete"
_MARK = 0.1  # inches from the middle of a mark to its edge
_LIGHT_GREEN = "#E3F3EE"


@dataclass(frozen=True)
class _Point:
    """A run on the page, in inches: what it missed and overpaid, and with `review_x` what it left to people."""

    name: str
    one: Reckoning
    x: float
    y: float
    review_x: float

    @property
    def safe(self) -> bool:
        """Whether the run proves that nothing was overpaid, missed or left to people."""
        return self.one.verdict == "pass" and not (
            self.one.overpaid_fen or self.one.missed_fen or self.one.reviews_fen
        )


def draw(summaries: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw one mark a run; UsageError if no payout run is among the summaries."""
    runs = payout_runs(summaries)
    reckonings = [Reckoning.read(run) for run in runs]
    told = list(zip(names(runs), reckonings, strict=True))
    across = MoneyScale.fit([fen for one in reckonings for fen in _missed(one) if not one.lost], linear=False)
    upwards = MoneyScale.fit([one.overpaid_fen for one in reckonings], linear=False)
    safe = sum(one.verdict == "pass" and not (one.overpaid_fen or _missed(one)[1]) for one in reckonings)
    # No mark lies between zero and the least amount, so the names of the best stand there.
    first = max(_STEP, text_height(TEXT_PT, safe + 1) + 0.35)
    steps = len(upwards.ticks()) - 1
    # Names of marks that crowd form a column, and there is room for one of all names.
    high = max(_LOWEST, _APART * len(runs) + 0.4, first + _STEP * steps)
    rise = (high - first) / steps if steps else _STEP
    high += _UNDER + 0.2
    figure, top = with_heading(_WIDTH, _ABOVE + high + _BELOW, both_sides(reckonings), _subtitle(runs, told))
    wide = _WIDTH - _LEFT - MARGIN
    axes = place_axes(figure, _LEFT, top - _ABOVE - high, wide, high)
    axes.set_xlim(-_UNDER, wide - _UNDER)
    axes.set_ylim(-_UNDER, high - _UNDER)
    step = (wide - _UNDER - 0.3) / across.steps(across.ticks()[-1])
    page = _Page(figure, axes, across, upwards, step, first, rise)
    page.draw_scales()
    points = [page.point(name, one) for name, one in told if not one.lost]
    _draw_marks(axes, points)
    corner = _write_corner(page, [point for point in points if point.safe])
    _write_labels(page, points, corner)
    _write_key(figure, top - 0.2, points)
    return figure


def _missed(one: Reckoning) -> tuple[int, int]:
    """Return what was missed, and that with what was left to people."""
    return one.missed_fen, one.missed_fen + one.reviews_fen


def _subtitle(runs: Sequence[Mapping[str, Any]], told: Sequence[tuple[str, Reckoning]]) -> str:
    lost = [name for name, one in told if one.lost]
    said = conditions(runs)
    return f"{said}  ·  not drawn, its books are lost: {', '.join(lost)}" if lost else said


@dataclass(frozen=True)
class _Page:
    """Axes in inches from zero: a power of ten takes `step` across and `rise` upwards, the first one `first`."""

    figure: Figure
    axes: Axes
    across: MoneyScale
    upwards: MoneyScale
    step: float
    first: float
    rise: float

    def x(self, fen: int) -> float:
        return self.step * self.across.steps(fen)

    def y(self, fen: int) -> float:
        steps = self.upwards.steps(fen)
        return self.first * min(1.0, steps) + self.rise * max(0.0, steps - 1)

    def point(self, name: str, one: Reckoning) -> _Point:
        missed, with_reviews = _missed(one)
        return _Point(name, one, self.x(missed), self.y(one.overpaid_fen), self.x(with_reviews))

    def draw_scales(self) -> None:
        """Draw the zero lines, the grid, and what both axes say."""
        axes = self.axes
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        axes.axhline(0, color=INK, lw=1.2, zorder=1.5)
        axes.axvline(0, color=INK, lw=1.2, zorder=1.5)
        marks = self.across.ticks()
        every = labelled([text_width(self.figure, tick_text(m), SMALL_PT) + 0.15 for m in marks], self.step)
        texts = ["0", *(tick_text(m) if i % every == 0 else "" for i, m in enumerate(marks))]
        axes.set_xticks([0.0, *(self.x(m) for m in marks)], texts)
        marks = self.upwards.ticks()
        axes.set_yticks([0.0, *(self.y(m) for m in marks)], ["0", *map(tick_text, marks)])
        axes.tick_params(length=0)
        draw_grid(axes)
        axes.set_xlabel(f"both scales: {self.across.explained}", fontsize=SMALL_PT)
        (_, right), (low, high) = axes.get_xlim(), axes.get_ylim()
        style: dict[str, Any] = {"fontsize": SMALL_PT, "weight": "bold"}
        axes.text(0, high + 0.08, "▲ overpaid, yuan", color=VERMILLION, **style)
        axes.text(right, low + 0.06, "missed at the horizon, yuan ▶", color=BLUE, ha="right", **style)


def _draw_marks(axes: Axes, points: Sequence[_Point]) -> None:
    """Draw a mark a run; what it left to people is a hollow mark to the right, at the end of a dotted line."""
    for point in points:
        marker, color = verdict_mark(point.one.verdict)
        # Where marks of several verdicts coincide the larger ones show behind the smaller.
        size, order = {"pass": (7.5, 2.9), "fail": (9.5, 2.8)}.get(point.one.verdict, (10.5, 2.7))
        if point.one.reviews_fen:  # hollow and round, whatever the verdict
            axes.plot([point.x, point.review_x], [point.y] * 2, color=color, lw=2, ls=(0, (1, 1)), zorder=2.4)
            axes.plot([point.review_x], [point.y], "o", mfc="white", mec=color, mew=1.4, markersize=7, zorder=2.6)
        axes.plot([point.x], [point.y], marker, color=color, markersize=size, mec="white", mew=0.6, zorder=order)


def _write_corner(page: _Page, safe: Sequence[_Point]) -> list[Box]:
    """Mark the good corner, list who stands there, and return the boxes that this takes."""
    title_wide = text_width(page.figure, _CORNER_TITLE, TEXT_PT, "bold")
    said = [fitted(page.figure, point.name, TEXT_PT, _NAME_MAX) for point in safe]
    wide = max([title_wide, *(text_width(page.figure, name, TEXT_PT) for name in said)])
    high = text_height(TEXT_PT, len(said) + 1)
    box = Box(0.16, 0.12, 0.16 + wide, 0.12 + high)
    ground = Box(-0.14, -0.14, min(box.x1 + 0.1, page.axes.get_xlim()[1]), box.y1 + 0.06)
    xs, ys = [ground.x0, ground.x1, ground.x1, ground.x0], [ground.y0, ground.y0, ground.y1, ground.y1]
    page.axes.fill(xs, ys, color=_LIGHT_GREEN, lw=0, zorder=0.5)
    y = box.y1
    for i, line in enumerate([_CORNER_TITLE, *said]):
        style: dict[str, Any] = {"color": GREEN, "weight": "bold"} if i == 0 else {"color": INK}
        page.axes.text(box.x0, y, line, fontsize=TEXT_PT, va="top", zorder=4, **style)
        y -= text_height(TEXT_PT)
    return [box, ground]


def _write_labels(page: _Page, points: Sequence[_Point], corner: Sequence[Box]) -> None:
    """Write the names beside their marks, each joined to its mark where it had to stand off."""
    named = [point for point in points if not point.safe]
    groups: list[list[_Point]] = []
    for point in named:
        near = (g for g in groups if max(abs(g[0].review_x - point.review_x), abs(g[0].y - point.y)) < _SAME)
        if (group := next(near, None)) is None:
            groups.append([point])
        else:
            group.append(point)
    labels = []
    for group in groups:
        lines = tuple(fitted(page.figure, _said(point), TEXT_PT, _NAME_MAX) for point in group)
        wide = max(text_width(page.figure, line, TEXT_PT) for line in lines)
        labels.append(Label(group[0].review_x, group[0].y, wide, text_height(TEXT_PT, len(lines)), lines))
    marks = [Box.around(x, point.y, _MARK) for point in points for x in (point.x, point.review_x)]
    (left, right), (low, high) = page.axes.get_xlim(), page.axes.get_ylim()
    # The line from a mark to its hollow twin is an obstacle too.
    trails = [Box(point.x, point.y - 0.02, point.review_x, point.y + 0.02) for point in named]
    axis_names = [Box(right - 2.2, low, right, low + 0.24), Box(0, high, 1.5, high + 0.24)]
    zeros = [Box(left, -0.01, right, 0.01), Box(-0.01, low, 0.01, high)]
    taken = [*corner, *marks, *trails, *zeros, *axis_names]
    for label, box in placed(labels, taken, Box(left + 0.05, low, right, high)):
        end = box.nearest(label.x, label.y)
        if max(abs(end[0] - label.x), abs(end[1] - label.y)) > 2 * _MARK:
            page.axes.plot([label.x, end[0]], [label.y, end[1]], color=FAINT_INK, lw=0.7, zorder=2.2)
        paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
        page.axes.text(
            box.x0,
            box.y1,
            "\n".join(label.lines),
            fontsize=TEXT_PT,
            va="top",
            linespacing=1.3,
            zorder=4,
            bbox=paper,
        )


def _said(point: _Point) -> str:
    """Name a run; one that failed without being overpaid or short says what failed."""
    one = point.one
    people = f", {one.reviews:,} to people" if one.reviews else ""
    if one.overpaid_fen or one.missed_fen or one.verdict == "pass":
        return point.name + people
    return f"{point.name}{people} ({f'fails {listed(one.failed)}' if one.failed else one.verdict})"


def _write_key(figure: Figure, y: float, points: Sequence[_Point]) -> None:
    """Write what the marks mean."""
    keys = []
    for verdict in dict.fromkeys(point.one.verdict for point in points):
        marker, color = verdict_mark(verdict)
        keys.append(Line2D([], [], marker=marker, color=color, ls="none", markersize=7, label=verdict))
    if any(point.one.reviews_fen for point in points):
        keys.append(
            Line2D(
                [],
                [],
                marker="o",
                mfc="white",
                color=FAINT_INK,
                ls=(0, (1, 1)),
                lw=2,
                markersize=7,
                label="to here with what is left to people (REVIEW)",
            )
        )
    write_legend(figure, y, keys, handle=2.0, apart=1.6)
