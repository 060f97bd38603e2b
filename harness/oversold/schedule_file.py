"""Schedules as files: JSON lines, of which the last tells whether they are whole and unchanged."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from oversold.errors import UsageError
from oversold.plan import KINDS
from oversold.schedule import CHOICES, OUTCOMES, Broken, Schedule, Step

FAMILY, VERSION = "oversold/replay/", 1
SCHEMA = f"{FAMILY}{VERSION}"
MAX_BYTES = 10_000_000
DIGEST = 12  # hex digits that stand for a reply
AGAIN = "have `oversold explore` write it again"

WORDS = {str: "a text", int: "a whole number", bool: "true or false", list: "a list of texts", dict: "an object"}


def write(schedule: Schedule, path: Path) -> None:
    """Write a schedule; what was there is replaced.

    Raises:
        UsageError: the file cannot be written.
    """
    above = "".join(f"{json.dumps(row)}\n" for row in _rows(schedule))
    footer: dict[str, Any] = {
        "outcome": schedule.outcome,
        "broken": _told(schedule.broken),
        "steps": len(schedule.steps),
    }
    footer["sha256"] = _checksum(above, footer)
    try:
        path.write_text(f"{above}{json.dumps(footer)}\n", encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"the replay cannot be written to {_shown(path)}: {_why(error)}: choose another file"
        ) from error


def _rows(schedule: Schedule) -> Iterator[dict[str, Any]]:
    yield {
        "schema": SCHEMA,
        "kind": schedule.kind,
        "strategy": schedule.strategy,
        "scenario": dict(schedule.scenario),
        "seed": schedule.seed,
        "fingerprint": schedule.fingerprint,
        "versions": dict(schedule.versions),
    }
    for step in schedule.steps:
        yield {
            "step": step.number,
            "actor": step.actor,
            "choice": step.choice,
            "op": step.operation,
            "reads": list(step.reads),
            "writes": list(step.writes),
            "reply": step.reply,
            "changed": step.changed,
            "reply_digest": _digest(step.reply),
        }


def _told(broken: Broken | None) -> dict[str, Any] | None:
    return {"check": broken.check, "detail": broken.detail, "step": broken.step} if broken else None


def _checksum(above: str, footer: Mapping[str, Any]) -> str:
    """Return 64 hex digits of all lines above the last one, and of the last one without them."""
    rest = {name: value for name, value in footer.items() if name != "sha256"}
    return sha256(f"{above}{json.dumps(rest)}".encode()).hexdigest()


def _digest(reply: str) -> str:
    return sha256(reply.encode(errors="surrogatepass")).hexdigest()[:DIGEST]


def read(path: Path) -> Schedule:
    """Read a schedule.

    Raises:
        UsageError: the file is not there, not a replay, cut off or changed; the text names the line.
    """
    text = _text(path)
    where = f"the replay {_shown(path)}"
    lines = text.split("\n")
    if lines.pop() != "" or not lines:  # a file that is whole ends with the end of a line
        raise UsageError(f"{where} {'is cut off' if text else 'is empty'}: {AGAIN}")
    rows = [Row(_parsed(line, where, number), f"{where}, line {number}") for number, line in enumerate(lines, 1)]
    header, footer = rows[0], rows[-1]
    _check_schema(header, where)
    if "sha256" not in footer.values:
        raise UsageError(f"{where} is cut off after line {len(lines)}: {AGAIN}")
    above = "".join(f"{line}\n" for line in lines[:-1])
    if footer.text("sha256") != _checksum(above, footer.values) or footer.number("steps") != len(rows) - 2:
        raise UsageError(f"{where} is damaged: it does not match the checksum in its last line: {AGAIN}")
    return Schedule(
        kind=header.one_of("kind", KINDS),
        strategy=header.text("strategy"),
        scenario=header.scenario(),
        steps=tuple(row.step(number) for number, row in enumerate(rows[1:-1], 1)),
        outcome=footer.one_of("outcome", OUTCOMES),
        broken=footer.broken(),
        seed=header.number("seed"),
        fingerprint=header.text("fingerprint"),
        versions=header.texts_by_name("versions"),
    )


def _text(path: Path) -> str:
    shown = _shown(path)
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise UsageError(f"{shown} is a folder: name the replay file in it")
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"{shown} is no ordinary file: name a replay file")
        if found.st_size > MAX_BYTES:
            raise UsageError(
                f"{shown} has {found.st_size / 1e6:.0f} MB, a replay at most {MAX_BYTES // 10**6}: name another"
            )
        return path.read_bytes().decode()
    except FileNotFoundError as error:
        raise UsageError(f"there is no replay {shown}: `oversold explore` writes one") from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{shown} is no replay: byte {error.start + 1} is not UTF-8: name another file"
        ) from error
    except (OSError, ValueError) as error:
        raise UsageError(f"the replay {shown} cannot be read: {_why(error)}: name another file") from error


def _parsed(line: str, where: str, number: int) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}, line {number} is not JSON: {AGAIN}") from error
    if not isinstance(row, dict):
        raise UsageError(f"{where}, line {number} is not an object: {AGAIN}")
    return row


def _check_schema(header: Row, where: str) -> None:
    schema = header.values.get("schema")
    if schema == SCHEMA:
        return
    version = schema.removeprefix(FAMILY) if isinstance(schema, str) and schema.startswith(FAMILY) else ""
    if version.isdecimal() and int(version[:9]) > VERSION:
        raise UsageError(f"{where} was written by a newer oversold ({FAMILY}{version[:9]}): update this one")
    raise UsageError(
        f"{where} is no replay: its first line has no schema {SCHEMA}: name a file of `oversold explore`"
    )


class Row:
    """One line of the file, whose values are what they should be or a UsageError."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values, self._where = values, where

    def _of(self, name: str, kind: type) -> Any:
        if name not in self.values:
            raise UsageError(f"{self._where} has no {name}: {AGAIN}")
        value = self.values[name]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self._wrong(name, WORDS[kind])
        return value

    def _wrong(self, name: str, kind: str) -> UsageError:
        return UsageError(f"{self._where}: {name} is not {kind}: {AGAIN}")

    def text(self, name: str) -> str:
        """Return a text."""
        return str(self._of(name, str))

    def number(self, name: str) -> int:
        """Return a whole number."""
        return int(self._of(name, int))

    def one_of(self, name: str, known: tuple[Any, ...]) -> Any:
        """Return one of the known words."""
        value = self._of(name, str)
        if value not in known:
            raise self._wrong(name, f"one of {', '.join(known)}")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return texts."""
        values = self._of(name, list)
        if not all(isinstance(each, str) for each in values):
            raise self._wrong(name, WORDS[list])
        return tuple(values)

    def texts_by_name(self, name: str) -> Mapping[str, str]:
        """Return an object of texts."""
        values: Mapping[str, str] = self._of(name, dict)
        if not all(isinstance(each, str) for each in values.values()):
            raise self._wrong(name, "an object of texts")
        return values

    def scenario(self) -> Mapping[str, int | str]:
        """Return the scenario's numbers and words."""
        values: Mapping[str, int | str] = self._of("scenario", dict)
        if not all(isinstance(each, int | str) and not isinstance(each, bool) for each in values.values()):
            raise self._wrong("scenario", "an object of whole numbers and texts")
        return values

    def step(self, number: int) -> Step:
        """Return a step, which must be the one of this number."""
        if self.number("step") != number:
            raise UsageError(f"{self._where} has step {self.number('step')} where step {number} belongs: {AGAIN}")
        reply = self.text("reply")
        if self.text("reply_digest") != _digest(reply):
            raise UsageError(f"{self._where}: reply and reply_digest do not belong together: {AGAIN}")
        return Step(
            number=number,
            actor=self.text("actor"),
            choice=self.one_of("choice", CHOICES),
            operation=self.text("op"),
            reads=self.texts("reads"),
            writes=self.texts("writes"),
            reply=reply,
            changed=bool(self._of("changed", bool)),
        )

    def broken(self) -> Broken | None:
        """Return the promise that is broken, None when none is."""
        if self.values.get("broken", False) is None:
            return None
        row = Row(self._of("broken", dict), f"{self._where}, broken")
        return Broken(row.text("check"), row.text("detail"), row.number("step"))


def _shown(path: Path) -> str:
    """Return a path on one line."""
    text = str(path)
    return text if text.isprintable() else ascii(text)


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "it is no path"
