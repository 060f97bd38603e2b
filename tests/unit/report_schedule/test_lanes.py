"""The lanes of a schedule in a terminal: who did what, readable at 80 columns and without colour."""

import io

import pytest
from rich.console import Console
from tests.unit.report_schedule import schedules

from oversold.report.schedule.lanes import answered, drawn, told
from oversold.report.schedule.marks import marked
from oversold.report.tables import printable
from oversold.schedule import Schedule


def shown(made: Schedule, width: int = 80, *, colour: bool = False) -> str:
    """Return what a terminal of that width shows."""
    out = io.StringIO()
    kind = "standard" if colour else None
    Console(file=out, width=width, force_terminal=colour, color_system=kind).print(drawn(made, width))  # type: ignore[arg-type]
    return out.getvalue()


def lane(made: Schedule, name: str, width: int = 80) -> list[str]:
    """Return the cells of one actor's lane that are not empty."""
    return cells_of(shown(made, width), name)


def cells_of(text: str, name: str) -> list[str]:
    """Return the cells of one column that are not empty."""
    lines = [line.split("|") for line in text.splitlines()]
    place = [cell.strip() for cell in lines[0]].index(name)
    return [cells[place].strip() for cells in lines[2:] if len(cells) > place and cells[place].strip()]


def test_each_actor_has_a_lane_with_its_commands_and_replies() -> None:
    """A lane holds its actor's steps and nobody else's, with what is wrong with them in words."""
    made = schedules.lost_update()
    assert lane(made, "bidder 1") == ["GET left -> 100", "SET left 0 -> OK", "order of bidder 1 -> 1 of 1 sold"]
    assert lane(made, "bidder 2") == [
        "GET left -> 100",
        "~ stale: changed at 3",
        "SET left 0 -> OK",
        "~ acts on stale 2",
        "order of bidder 2 -> 2 of 1 sold",
        "X oversells",
    ]
    assert "\n X 6 |" in shown(made)


def test_what_nobody_does_has_the_last_lane() -> None:
    """Time and cache stand to the right of all actors."""
    head = shown(schedules.lease_ends()).splitlines()[0]
    assert [cell.strip() for cell in head.split("|")] == ["step", "bidder 1", "bidder 2", "time"]


def cut(text: str, made: Schedule) -> list[str]:
    """Return the commands and replies that are not whole in their actor's lane, or in the list."""
    head = [cell.strip() for cell in text.splitlines()[0].split("|")]
    whole = {name: "".join("".join(cells_of(text, name)).split()) for name in head}
    found = []
    for step in made.steps:
        cells = whole[step.actor if step.actor in head else "what"]
        said = f"{step.operation}->{' '.join(answered(step).split())}" if answered(step) else step.operation
        if "".join(printable(said).split()) not in cells:
            found.append(said)
    return found


def test_a_cut_command_is_noticed() -> None:
    """The check below does not let pass what it is there for."""
    made = schedules.lost_update()
    assert cut(shown(made).replace("SET left 0", "SET lef..."), made) == ["SET left 0->OK"] * 2


@pytest.mark.parametrize("made", [make() for make in schedules.ALL], ids=[make.__name__ for make in schedules.ALL])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_nothing_is_wider_than_the_terminal_and_nothing_is_cut(made: Schedule, width: int) -> None:
    """Every command and reply is whole in its actor's lane, or in the list, and plain ASCII where it can be."""
    text = shown(made, width)
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    assert cut(text, made) == []
    if made.strategy.isascii():
        assert text.isascii()


def test_many_actors_become_a_list() -> None:
    """Six lanes do not fit 80 columns: each row names who acts."""
    text = shown(schedules.crowd())
    assert "   1 | bidder 1 | GET left -> 100" in text
    assert "X 18 | bidder 6 | order of bidder 6 -> 6 of 1 sold" in text
    assert "| bidder 6" in shown(schedules.crowd(), 200).splitlines()[0]


def test_a_row_by_itself_has_the_signs_of_the_lanes() -> None:
    """Number, actor, command and reply on a line, `~` and `X` as in the table; a circle in words."""
    rows = [told(row).plain for row in marked(schedules.lost_update())]
    assert rows[0] == "   1 | bidder 1: GET left -> 100"
    assert rows[1] == "   2 | bidder 2: GET left -> 100\n     | ~ stale: changed at 3"
    assert rows[-1] == " X 6 | bidder 2: order of bidder 2 -> 2 of 1 sold\n     | X oversells"
    assert " ... | 2 to 5 again, 13 times, up to step 57" in [
        told(row).plain for row in marked(schedules.circles())
    ]


def test_repetitions_are_folded() -> None:
    """Fourteen equal polls are one row, and a circle is shown once with a count."""
    assert lane(schedules.polling(), "bidder 2") == ["SET lock 2 NX -> nil (x14)", "SET lock 2 NX -> OK"]
    assert "2 to 5 again, 13 times, up to step 57" in " ".join(shown(schedules.circles(), 120).split())


def test_a_step_that_something_is_said_of_is_not_folded() -> None:
    """The poll at which a fault happens keeps its row."""
    made = schedules.polling()
    steps = list(made.steps)
    steps[7] = schedules.step(8, "bidder 2", "SET lock 2 NX", writes="redis/lock", choice="lost_request")
    cells = lane(schedules.schedule(steps), "bidder 2")
    assert [cell for cell in cells if "x" in cell.partition("(")[2]] == [
        "SET lock 2 NX -> nil (x6)",
        "SET lock 2 NX -> nil (x7)",
    ]
    assert "! done, request lost" not in cells
    assert "! request lost" in cells


def test_a_lost_reply_is_not_shown_as_read() -> None:
    """What the store answered nobody heard, so no arrow stands there."""
    assert lane(schedules.tapped_again(), "bidder 1")[:3] == [
        "DECRBY left 100",
        "! done, reply lost",
        "DECRBY left 100 -> -100",
    ]


def test_what_shows_only_after_the_last_step_is_said_below() -> None:
    """A leak is no step: it stands under the table."""
    assert shown(schedules.tapped_again()).splitlines()[-1].startswith("X after the last step: 1.00 yuan")
    assert "after the last step" not in shown(schedules.lost_update())


def test_the_violating_step_is_red_and_control_characters_do_nothing() -> None:
    """Colour says what the signs say, and no escape of a command reaches the terminal."""
    assert "\x1b[1;31m" in shown(schedules.lost_update(), colour=True)
    assert "\x1b[1;31m" not in shown(schedules.polling(), colour=True)
    assert "\x00" not in shown(schedules.hostile())
