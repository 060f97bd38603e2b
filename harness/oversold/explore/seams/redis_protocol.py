"""What the seam knows of Redis' protocol: commands in a write, those that block, lease or change nothing."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

LONGEST_LEASE_MS = 3_600_000  # a key that lives longer is no lease: what it holds is to stay
# Which say nothing of the data: they pass unseen.
UNSEEN = {"HELLO", "AUTH", "CLIENT", "SELECT", "PING", "SCRIPT", "COMMAND", "ECHO", "UNWATCH", "DISCARD", "QUIT"}
BRACKETS = {"MULTI", "EXEC"}
# A reply of nil or 0 says that these have changed nothing.
IDLE = {
    "DEL", "UNLINK", "HDEL", "SADD", "SREM", "SETNX", "MSETNX", "HSETNX", "EXPIRE", "PEXPIRE", "PERSIST", "LREM",
    "LPOP", "RPOP", "BLPOP", "BRPOP", "SPOP", "ZREM", "XACK", "XDEL", "SET", "GETDEL", "XREADGROUP", "XAUTOCLAIM",
}  # fmt: skip
LONGEST_NAME = 24  # characters of what a script is called
SCRIPTS = {"EVAL", "EVALSHA", "FCALL", "EVAL_RO", "EVALSHA_RO", "FCALL_RO"}
# After these a key may live for a time only, or for ever again.
LEASING = SCRIPTS | {
    "SET", "SETEX", "PSETEX", "GETEX", "EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT", "PERSIST", "DEL",
}  # fmt: skip

Command = tuple[str, list[bytes]]  # its name in capitals, its arguments


# A call of a command with one key, the one that stands first. Whatever looks otherwise may touch any key.
CALL = re.compile(r"""redis\.p?call\(\s*(['"])(\w+)\1\s*,\s*KEYS\[\s*\d+\s*\]""")
CALLS = re.compile(r"\bredis\s*\.\s*p?call\b|\bredis\s*\[|\bserver\s*\.|\bloadstring\b|=\s*redis\b")
SEVERAL = {
    "DEL", "UNLINK", "EXISTS", "TOUCH", "MGET", "MSET", "MSETNX", "RENAME", "RENAMENX", "COPY", "SMOVE", "LMOVE",
    "RPOPLPUSH", "SUNION", "SINTER", "SDIFF", "SUNIONSTORE", "SINTERSTORE", "SDIFFSTORE", "ZUNIONSTORE",
    "ZINTERSTORE", "PFMERGE", "PFCOUNT", "BITOP", "SORT", "GEORADIUS", "BLPOP", "BRPOP", "XREAD", "XREADGROUP",
    "LMPOP", "ZMPOP",
}  # fmt: skip
ONE_KEY = {"DEL", "UNLINK", "EXISTS", "TOUCH", "MGET"}  # among them, with one key only


def keys_declared(script: str) -> bool:
    """Tell whether a Lua script names all keys that it touches as KEYS[1], KEYS[2] and so on, as Redis wants it.

    >>> keys_declared("return redis.call('GET', KEYS[1])"), keys_declared("return redis.call('GET', ARGV[1])")
    (True, False)
    """
    calls = list(CALL.finditer(script))
    if not script or len(calls) != len(CALLS.findall(script)):
        return False
    return all(
        call[2].upper() not in SEVERAL
        or (call[2].upper() in ONE_KEY and script[call.end() :].lstrip().startswith(")"))
        for call in calls
    )


def by_pattern(name: str, arguments: list[bytes]) -> bool:
    """Tell whether a command reads keys that it makes of a pattern, of which COMMAND GETKEYS knows nothing.

    >>> by_pattern("SORT", [b"bids", b"by", b"rank:*"]), by_pattern("SORT", [b"bids", b"DESC"])
    (True, False)
    """
    return name in {"SORT", "SORT_RO"} and not {b"BY", b"GET"}.isdisjoint(each.upper() for each in arguments)


def reads_clock(script: str) -> bool:
    """Tell whether a Lua script asks the server for the time."""
    return re.search(r"""p?call\(\s*['"]time['"]""", script, re.IGNORECASE) is not None


def comment(script: str) -> str:
    """Return what a Lua script says of itself in its first line, in few words; empty where it begins otherwise, or
    tells of its keys and arguments only.

    >>> comment("-- take what fits\\nreturn 1"), comment("-- KEYS: stock\\nreturn 1"), comment("return 1")
    ('take what fits', '', '')
    """
    first = script.lstrip().partition("\n")[0]
    if not first.startswith("--") or first.startswith(("--[[", "--[=")):
        return ""
    said = first.lstrip("- ")
    return "" if said.startswith(("KEYS", "ARGV")) else textwrap.shorten(said, LONGEST_NAME, placeholder="")


def constant(script: str | bytes, names: Mapping[str, Any]) -> str:
    """Return which of some global names stands for a script; empty where none does.

    >>> constant("return 1", {"TAKE": "return 1", "left": 1}), constant("return 2", {})
    ('TAKE', '')
    """
    return next((name for name, value in names.items() if type(value) is type(script) and value == script), "")


def parsed(packed: Any) -> list[Command]:
    """Return the commands in what is about to be written: RESP arrays of bulk strings, and nothing else.

    >>> parsed([b"*2\\r\\n$3\\r\\nGET\\r\\n$4\\r\\nleft\\r\\n"])
    [('GET', [b'left'])]
    """
    data = packed if isinstance(packed, bytes) else b"".join(bytes(each) for each in packed)
    commands, place = [], 0
    while place < len(data):
        count, place = _number(data, place)
        words = []
        for _ in range(count):
            size, place = _number(data, place)
            words.append(data[place : place + size])
            place += size + 2
        name = words[0].decode().upper()
        commands.append((name, words[1:]))
    return commands


def as_bytes(value: bytes | str) -> bytes:
    """Return a reply as bytes, whether or not the client has decoded it."""
    return value if isinstance(value, bytes) else value.encode()


def _number(data: bytes, place: int) -> tuple[int, int]:
    end = data.index(b"\r\n", place)
    return int(data[place + 1 : end]), end + 2


def ready(admin: Any, commands: list[Command]) -> Callable[[], bool] | None:
    """Return a look whether a blocking command would be answered now; None for those that do not block."""
    name, arguments = commands[0]
    if name in {"BLPOP", "BRPOP"}:
        return lambda: bool(admin.exists(*arguments[:-1]))
    upper = [each.upper() for each in arguments]
    if name == "XREADGROUP" and b"BLOCK" in upper:
        place = upper.index(b"STREAMS") + 1
        half = (len(arguments) - place) // 2
        streams, after = arguments[place : place + half], arguments[place + half :]
        group = arguments[1]
        return lambda: any(
            each != b">" or _undelivered(admin, stream, group) for stream, each in zip(streams, after, strict=True)
        )
    return None


def _undelivered(admin: Any, stream: bytes, group: bytes) -> bool:
    last = admin.xinfo_stream(stream)["last-generated-id"]
    return any(row["name"] == group and row["last-delivered-id"] != last for row in admin.xinfo_groups(stream))
