"""A sweep in numbers, as the terminal shows it and compare.json keeps it."""

import io
import json

from rich.console import Console
from tests.unit.report.comparisons import run

from oversold.report.cell_tables import cell_rows, cells_table, reasons
from oversold.report.cells import gather


def printed(runs, canary=None):
    """Return the table as a pipe gets it."""
    out = io.StringIO()
    Console(file=out, width=100).print(cells_table(gather(runs), canary))
    return out.getvalue()


def lines_of(text, word):
    """Return the lines that begin with a word."""
    return [line for line in text.splitlines() if line.startswith(word)]


def test_each_load_has_its_heading_and_its_best_design_first():
    """The smallest load stands first; a design that broke its promise stands below those that kept it."""
    runs = [
        run(name, users=users, over=over)
        for users in (2000, 1000)
        for name, over in (("leaky", 0.2), ("sound", 0.0))
    ]
    said = printed(runs)
    places = [said.index(word) for word in ("1,000 users", "2,000 users")]
    assert places == sorted(places)
    first = said[places[0] : places[1]]
    assert first.index("sound") < first.index("leaky")


def test_the_worst_seed_and_the_range_are_told():
    """One bad seed of three shows as the worst, with the range below; planted: the mean would hide it."""
    said = printed([run("a", seed=seed, over=over) for seed, over in ((1, 0.0), (2, 0.0), (3, 0.3))])
    (row,) = lines_of(said, "a ")
    assert "30.0 %" in row
    assert "10.0 %" not in row
    assert "0..30.0 %" in said
    assert "worst of the seeds" in said


def test_a_range_tells_its_unit_once():
    """Two times of the same unit share it; those of different units have their own."""
    said = printed([run("a", seed=seed, p99=p99) for seed, p99 in ((1, 13_300), (2, 14_100))])
    assert "13.3..14.1 s" in said
    assert "999 ms..1.2 s" in printed([run("a", seed=seed, p99=p99) for seed, p99 in ((1, 999), (2, 1200))])


def test_one_seed_has_no_range():
    """There is nothing between its least and its most."""
    assert ".." not in printed([run("a"), run("b", goodput=10)])


def test_the_reasons_name_the_worst_place():
    """One line a design: at how many loads it broke, and where it was worst."""
    runs = [run("a", users=users, seed=seed, over=users / 1e4) for users in (1000, 2000) for seed in (1, 2)]
    (line,) = reasons(gather([*runs, run("b", users=1000), run("b", users=2000)]))
    assert line.startswith("a: fail at 2 of 2 loads; worst at 2,000 users, seed 1: ")
    assert reasons(gather([run("b")])) == []


def test_the_rows_of_compare_json_are_plain():
    """They survive JSON, without a NaN, and say worst, low, mean and high."""
    rows = cell_rows(gather([run("a", seed=seed, under=seed / 10) for seed in (1, 2, 3)]))
    text = json.dumps(rows, allow_nan=False)
    (row,) = json.loads(text)
    assert row["seeds"] == [1, 2, 3]
    under = row["undersubscription"]
    assert [round(under[name], 3) for name in ("worst", "low", "mean", "high")] == [0.3, 0.1, 0.2, 0.3]
    assert row["goodput_per_s"]["worst"] == row["goodput_per_s"]["low"]
