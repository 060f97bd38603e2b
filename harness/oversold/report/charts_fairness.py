"""Who was served: the chance of each tenth of the bidders by arrival, and how often a later one came before."""

from collections.abc import Callable, Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from oversold.errors import UsageError
from oversold.report.cells import Cell, Load, Spread, ordered
from oversold.report.charts_heatmap import tint
from oversold.report.charts_paper import BLUE, FAINT_INK, INK, SMALL_PT, TEXT_PT, fitted, with_heading, write
from oversold.report.charts_words import conditions_of, left_out
from oversold.report.rows import WIDTH, Column, Sheet, height
from oversold.report.tables import NOTHING, percent

_NAME_MAX, _NUMBER = 3.0, 0.95  # inches of the names at most, and of a column of numbers
_LOTTERY = 0.4  # so many inversions are as good as a lottery, which has a half
_BACKWARDS = 0.6  # more than lots have takes a design that favours the late


def draw(cells: Sequence[Cell], load: Load | None = None) -> Figure:
    """Draw one strip a strategy at one load; UsageError if no run says who was served."""
    own = ordered(cells, load) if cells else []
    told = [(cell, chances) for cell in own if (chances := chances_of(cell))]
    if not told:
        raise UsageError("no fairness to draw: these runs do not say who was served")
    drawn = [cell for cell, _ in told]
    subtitle = conditions_of(drawn, "each number the mean")
    subtitle += left_out("no fairness recorded", [cell.label for cell in own if cell not in drawn])
    figure, top = with_heading(WIDTH, height(len(told)) + 0.15, _title(drawn), subtitle)
    sheet = Sheet.lay(figure, top - 0.15, len(told))
    names = [fitted(figure, cell.label, TEXT_PT, _NAME_MAX) for cell in drawn]
    left = sheet.write_columns([Column("strategy", names)], title_pt=TEXT_PT) + 0.25
    right = sheet.write_verdicts([cell.verdict for cell in drawn]) - 0.3 - 2 * _NUMBER
    wide = (right - left) / max(len(chances) for _, chances in told)
    for row, (cell, chances) in enumerate(told):
        for column, chance in enumerate(chances):
            _draw_square(sheet, row, left + column * wide, wide, chance)
        _write_number(sheet, right + _NUMBER, row, _mean(cell.inversions, percent))
        _write_number(sheet, right + 2 * _NUMBER, row, _mean(cell.gini, "{:.2f}".format))
    _write_heads(sheet, left, right, wide)
    return figure


def chances_of(cell: Cell) -> list[float | None]:
    """Return the chance to be served by tenth of arrival, the mean over the runs; nothing if no run says it."""
    rows = [run["fairness"]["cohorts"] for run in cell.runs if (run.get("fairness") or {}).get("cohorts")]
    means = [Spread.of(column) for column in zip(*rows, strict=True)]
    return [mean.mean if mean.count else None for mean in means]


def _draw_square(sheet: Sheet, row: int, x: float, wide: float, chance: float | None) -> None:
    if chance is None:
        sheet.text_at(x + wide / 2, row, NOTHING, SMALL_PT, ha="center", color=FAINT_INK)
        return
    box = Rectangle((x + 0.015, row - 0.46), wide - 0.03, 0.92, fc=tint(BLUE, chance), lw=0, zorder=1)
    sheet.axes.add_patch(box)
    sheet.text_at(x + wide / 2, row, f"{100 * chance:.0f}", SMALL_PT, ha="center", color=INK)


def _write_number(sheet: Sheet, right: float, row: int, text: str) -> None:
    sheet.text_at(right, row, text, ha="right", color=INK)


def _write_heads(sheet: Sheet, left: float, right: float, wide: float) -> None:
    """Write what the strip and the numbers are above them, and below what a tenth is."""
    sheet.head(left, "first to come", color=BLUE, weight="bold")
    sheet.head(right, "last to come", color=BLUE, weight="bold", ha="right")
    sheet.head(right + _NUMBER, "inversions", ha="right")
    sheet.head(right + 2 * _NUMBER, "Gini", ha="right")
    for column in range(1, round((right - left) / wide), 2):
        x, text = left + (column + 0.5) * wide, f"{10 * column + 10} %"
        write(sheet.figure, x, sheet.foot_y - 0.2, text, SMALL_PT, ha="center", color=FAINT_INK)
    sheet.name_scale((left + right) / 2, "chance to be served in %, by tenth of the bidders in order of arrival")


def _mean(spread: Spread | None, word: Callable[[float], str]) -> str:
    return word(spread.mean) if spread else NOTHING


def _title(cells: Sequence[Cell]) -> str:
    """Name the designs that kept most and least to the order of arrival, by their inversions."""
    told = sorted((cell.inversions.mean, cell.label) for cell in cells if cell.inversions)
    if not told:
        return "Who was served, by order of arrival"
    most, unfairest = told[-1]
    if len(told) == 1:
        return f"{unfairest} served the later bidder of a pair first: {percent(most)} inversions"
    if most >= _BACKWARDS:
        strayed = f"{unfairest} served late comers first"
    else:
        strayed = f"{unfairest} drew lots" if most >= _LOTTERY else f"{unfairest} strayed most"
    # Who oversells to everybody, or is broken on purpose, is no example.
    sound = [(cell.inversions.mean, cell.label) for cell in cells if cell.inversions and cell.sound]
    if not sound:
        return f"{strayed}: {percent(most)} inversions"
    least, fairest = min(sound)
    kept = f"{fairest} kept to the order of arrival best"
    return f"{kept}: {percent(least)} inversions; {strayed}: {percent(most)}"
