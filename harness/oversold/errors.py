"""The errors that a user can meet; each one knows the exit code of the command that meets it."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command; scripts depend on them."""

    PASS = 0
    BROKEN = 1  # a promise was broken
    USAGE = 2  # bad input, or the harness itself failed
    THRESHOLD = 3  # a latency or rate threshold was missed
    INCONCLUSIVE = 4  # the run proves nothing


class OversoldError(Exception):
    """Base of all expected errors: its text is one line that names the cause and the mend."""

    exit_code: Exit = Exit.USAGE


class UsageError(OversoldError):
    """The command, a setting or a file that the user gave cannot be used as it is."""


class StoreUnavailableError(OversoldError):
    """A store was asked for that is neither given by URL, nor installed, nor answering."""


class LimitError(OversoldError):
    """The plan needs more of this machine (files, connections, memory) than there is."""


class HarnessError(OversoldError):
    """Something of the harness's own failed; the text says what and where its log is."""


def near(word: str, known: list[str]) -> str:
    """Return `` (did you mean x, y?)`` for the known words closest to `word`, else an empty string."""
    from difflib import get_close_matches

    close = get_close_matches(word, known, n=3, cutoff=0.5)
    return f" (did you mean {', '.join(close)}?)" if close else ""
