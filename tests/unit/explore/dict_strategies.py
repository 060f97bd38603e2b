"""Strategies over the dict store, sound and broken, as plain functions; and small programs drawn at random."""

from __future__ import annotations

from random import Random

ATTEMPTS = 3


def lost_update(desk):
    """Read, then write what is left: a sale in between is forgotten."""
    left = desk.store.get("left")
    if left < 1:
        return False
    desk.store.set("left", left - 1)
    return True


def atomic(desk):
    """Count down in one step."""
    return desk.store.take("left")


def cas(desk):
    """Read, then write if nobody has; again if somebody has."""
    for _ in range(ATTEMPTS):
        left = desk.store.get("left")
        if left < 1:
            return False
        if desk.store.cas("left", left, left - 1):
            return True
    return False


def spin_lock(desk):
    """Ask for a lock again and again, sleeping in between."""
    while not desk.store.new("lock", desk.number):
        desk.sleep(0.01)
    bought = lost_update(desk)
    desk.store.delete("lock")
    return bought


def lease_lock(desk):
    """As before, but the lock goes away by itself, whoever still counts on it."""
    while not desk.store.new("lock", desk.number, lease=True):
        desk.sleep(0.01)
    bought = lost_update(desk)
    desk.store.delete("lock")
    return bought


def kept_lock(desk):
    """As before, but nobody gives the lock back."""
    while not desk.store.new("lock", desk.number, lease=True):
        desk.sleep(0.01)
    return lost_update(desk)


def hasty_lock(desk):
    """Ask for a lock three times, then go on without it."""
    mine = _asked(desk, "lock")
    bought = lost_update(desk)
    if mine:
        desk.store.delete("lock")
    return bought


def timed_lock(desk):
    """Wait for a lock for some time, then go on without it."""
    mine = desk.store.lock("row", times_out=True)
    bought = lost_update(desk)
    if mine:
        desk.store.unlock("row")
    return bought


def _asked(desk, key):
    for _ in range(ATTEMPTS):
        if desk.store.new(key, desk.number):
            return True
        desk.sleep(0.01)
    return False


def gated_lock(desk):
    """Wait for a lock as a row lock is waited for."""
    desk.store.lock("row")
    bought = lost_update(desk)
    desk.store.unlock("row")
    return bought


def crossed_locks(desk):
    """Take two locks, every other bidder in the other order."""
    first, second = ("a", "b") if desk.number % 2 else ("b", "a")
    desk.store.lock(first)
    desk.store.lock(second)
    bought = desk.store.take("left")
    desk.store.unlock(second)
    desk.store.unlock(first)
    return bought


def for_ever(desk):
    """Never stop."""
    while True:
        desk.store.add("turns", 1)


def unsure(desk):
    """Count down; who hears nothing puts it back, whether or not it was taken."""
    try:
        return desk.store.take("left")
    except TimeoutError:
        desk.store.add("left", 1)
        return False


def scripted(*programs):
    """Return a strategy in which every bidder does what its line says: `get x, add y, sleep`.

    `wait x` asks for x again and again until it is there, `wait x y` for one of both; `if x` adds to y if x is
    there and writes z if not; `spin x` adds to x under a lock that is asked for again and again, `hasty x` under
    one that is asked for three times, and `timed x` under one for which it waits for some time.
    """

    def strategy(desk):
        for line in programs[desk.number - 1].split(", "):
            word, _, rest = line.partition(" ")
            WORDS[word](desk, *rest.split())
        return False

    return strategy


def _wait(desk, *keys):
    for _ in range(6):
        if any(desk.store.get(key) for key in keys):
            return
        desk.sleep(1)
        desk.sleep(1)


def _if(desk, key):
    if desk.store.get(key):
        desk.store.add("y", 1)
    else:
        desk.store.set("z", desk.number)


def _spin(desk, key):
    while not desk.store.new("spun", 1, lease=desk.number == 1):
        desk.sleep(1)
    desk.store.add(key, 1)
    desk.store.delete("spun")


def _hasty(desk, key):
    mine = _asked(desk, "spun")
    desk.store.set(key, desk.store.get(key))
    if mine:
        desk.store.delete("spun")


def _timed(desk, key):
    mine = desk.store.lock("row", times_out=True)
    desk.store.set(key, desk.store.get(key))
    if mine:
        desk.store.unlock("row")


WORDS = {
    "get": lambda desk, key: desk.store.get(key),
    "set": lambda desk, key: desk.store.set(key, desk.number),
    "add": lambda desk, key: desk.store.add(key, 1),
    "new": lambda desk, key: desk.store.new(key, 1, lease=True),
    "delete": lambda desk, key: desk.store.delete(key),
    "lock": lambda desk, key: desk.store.lock(key),
    "unlock": lambda desk, key: desk.store.unlock(key),
    "wait": _wait,
    "if": _if,
    "spin": _spin,
    "hasty": _hasty,
    "timed": _timed,
}
VOCABULARIES = (
    ("get", "set", "add"),
    ("lock", "unlock", "get", "add"),
    ("get", "if", "set"),
    ("wait", "set", "add", "get"),
    ("new", "delete", "get", "lock", "unlock"),
    ("spin", "get"),
)
IMPATIENT = (
    ("hasty", "get", "add"),
    ("timed", "set"),
    ("timed", "hasty", "get"),
    ("hasty", "spin"),
)


def programs(seed, bidders, longest, vocabularies=VOCABULARIES):
    """Return small programs for `scripted`, drawn by a seed."""
    random = Random(seed)
    words, keys = random.choice(vocabularies), "xyz"[: random.choice((1, 2, 3))]
    return [_program(random, words, keys, random.randint(1, longest)) for _ in range(bidders)]


def _program(random, words, keys, length):
    lines, held = [], set()
    for _ in range(length):
        word, key = random.choice(words), random.choice(keys)
        if (word == "lock" and key in held) or (word == "unlock" and key not in held):
            word = "get"
        held = held | {key} if word == "lock" else held - {key} if word == "unlock" else held
        lines.append(f"wait {' '.join(sorted({key, 'y'}))}" if word == "wait" else f"{word} {key}")
    return ", ".join(lines)
