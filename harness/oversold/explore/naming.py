"""What keys and arguments are called in a schedule: as in the code, without what is new in every session."""

from __future__ import annotations

LONGEST = 60


class Naming:
    """Takes the session's own ids out of what is shown and compared."""

    def __init__(self, subject: str, called: str) -> None:
        self.prefix, self._subject, self._called = f"oversold:{subject}", subject, called

    def of(self, value: object) -> str:
        """Return a key or an argument for people.

        >>> Naming("t1-1", "tranche").of(b"oversold:t1-1:left")
        'left'
        """
        text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        text = text.removeprefix(f"{self.prefix}:").replace(self._subject, self._called)
        return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def told(value: object, naming: Naming) -> str:
    """Return a store's reply for people, on one line."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return f"[{', '.join(told(each, naming) for each in value[:4])}{', …' if len(value) > 4 else ''}]"
    if isinstance(value, dict):
        pairs = [f"{told(key, naming)}: {told(each, naming)}" for key, each in list(value.items())[:4]]
        return f"{{{', '.join(pairs)}}}"
    return " ".join(naming.of(value).split())
