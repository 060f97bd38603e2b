"""Text with gaps: how it is split, filled, and what is said of gaps that nothing fills."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oversold.errors import UsageError
from oversold.services.placeholders import Gap, Variable, check, expand, fill, parse, variable, yuan_text


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", ()),
        ("plain $5", ("plain $5",)),
        ("{n}", (Gap("n"),)),
        ("a{n:text}b", ("a", Gap("n", as_text=True), "b")),
        ("{{n}}", ("{n}",)),
        ("{{{n}}}", ("{", Gap("n"), "}")),
        ("${N}-{n}", (Variable("N"), "-", Gap("n"))),
        ("$${{N}}", ("$${N}",)),
    ],
)
def test_a_text_is_split_into_its_pieces(text, pieces):
    """Doubled braces are letters, a dollar alone is one too."""
    assert parse(text) == pieces


@pytest.mark.parametrize("text", ["{", "}", "a}b", "{}", "{a b}", "{n:int}", "{n:}", "{1}", "${a-b}", "{a{n}"])
def test_what_is_no_gap_is_refused(text):
    """A brace that was meant as one must be doubled, so no typo is sent as it is."""
    with pytest.raises(ValueError, match=r"brace|placeholder"):
        parse(text)


@given(st.text(), st.text())
def test_any_text_with_its_braces_doubled_is_itself(before, after):
    """Whatever the letters are; only `${` begins something else."""
    text = f"{before}{after}".replace("$", "")
    assert fill(text.replace("{", "{{").replace("}", "}}"), {}) == text


def test_unknown_gaps_are_told_with_their_neighbours():
    """And variables where they have no place."""
    check("{user_id} ${X}", ("user_id",), variables=True)
    with pytest.raises(
        ValueError, match=r"\{usr_id\} is not known here \(did you mean user_id\?\): there are \{user_id\}"
    ):
        check("{usr_id}", ("user_id",))
    with pytest.raises(ValueError, match="environment variables work in headers"):
        check("${X}", ("user_id",))


def test_gaps_are_filled_and_yuan_are_made_of_fen(monkeypatch):
    """Exactly, without floats."""
    monkeypatch.setenv("SHOP", "s3")
    assert fill("{run_id}/{n}/${SHOP}", {"run_id": "r", "n": 0}) == "r/0/s3"
    assert fill("{amount_yuan}", {"amount_fen": 123456789012345678901}) == "1234567890123456789.01"
    with pytest.raises(KeyError):
        fill("{n}", {})


@pytest.mark.parametrize(
    ("fen", "text"), [(0, "0.00"), (5, "0.05"), (-5, "-0.05"), (-150, "-1.50"), (100, "1.00")]
)
def test_yuan_have_two_digits(fen, text):
    """Negative sums too."""
    assert yuan_text(fen) == text


def test_only_variables_are_expanded_in_a_database_url(monkeypatch):
    """A password may have braces."""
    monkeypatch.setenv("PW", "a{b}%")
    assert expand("postgresql://u:${PW}@h/{x}") == "postgresql://u:a{b}%@h/{x}"


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "it is not set"), ("", "it is not set"), ("geheim\n", "line break"), ("a\x00", None)],
)
def test_a_variable_that_cannot_be_used_is_named_and_not_shown(monkeypatch, value, words):
    """A token read from a file often has a line break at its end, which would end the header."""
    if value is None:
        monkeypatch.delenv("SHOP_TOKEN", raising=False)
    elif "\0" in value:
        monkeypatch.setattr("os.environ", {"SHOP_TOKEN": value})
    else:
        monkeypatch.setenv("SHOP_TOKEN", value)
    with pytest.raises(UsageError, match=rf"SHOP_TOKEN.*{words or 'control character'}") as caught:
        variable("SHOP_TOKEN")
    assert "geheim" not in str(caught.value)
