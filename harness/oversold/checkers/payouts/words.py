"""The words and the one ratio that the payout checkers share."""


def was(number: int) -> str:
    """Return the verb for a number of things: one was, two were."""
    return "was" if number == 1 else "were"


def people(number: int) -> str:
    """Return a number of people in words.

    >>> people(1), people(1200)
    ('1 person', '1,200 people')
    """
    return f"{number:,} {'person' if number == 1 else 'people'}"


def share(part: int, whole: int) -> float:
    """Return part/whole; 0.0 of nothing."""
    return part / whole if whole else 0.0
