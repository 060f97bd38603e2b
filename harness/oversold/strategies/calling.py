"""Call a strategy's code from outside a lane: it may raise anything, or never return."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any, TypeVar

Result = TypeVar("Result")


class HungCallError(TimeoutError):
    """A strategy's own code did not come back."""


def within(seconds: float, call: Callable[[], Result]) -> Result:
    """Return what `call` returns; HungCallError when a strategy's own code takes longer."""
    box: list[Any] = []

    def work() -> None:
        try:
            box.append((True, call()))
        except BaseException as error:  # noqa: BLE001 - handed on to the caller
            box.append((False, error))

    thread = Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if not box:
        raise HungCallError(f"no answer within {seconds:g} s")
    fine, value = box[0]
    if not fine:
        raise value
    result: Result = value
    return result
