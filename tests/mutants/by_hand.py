"""Mutants that no pattern makes: a few lines of a module replaced by others."""

from __future__ import annotations

from dataclasses import dataclass

from tests.mutants.edits import Edit, Source


@dataclass(frozen=True)
class Patch:
    """In a module of a design, `old` becomes `new`; `operator` says what is wrong then."""

    design: str
    module: str
    operator: str
    old: str
    new: str

    def edit(self, source: Source) -> Edit:
        """Return it as an edit of the module's text, in which `old` stands once.

        Raises:
            ValueError: it does not.
        """
        if source.text.count(self.old) != 1:
            raise ValueError(f"{self.module}: {self.old!r} must stand there once")
        start = source.text.index(self.old)
        return Edit(self.operator, source.text.count("\n", 0, start) + 1, start, start + len(self.old), self.new)


ADVISORY = "pg_advisory_xact_lock(CAST(:lock AS bigint)) IS NOT NULL"
LOCKED = "self._locked(bid.tranche_id, self._lock)"
WATCHED = """\
        with self._redis.pipeline() as transaction:
            for _ in range(TRIES):
                transaction.watch(stock)
                # Between WATCH and MULTI a pipeline sends each command at once and returns the reply.
                left = int(cast("bytes | None", transaction.get(stock)) or 0)
"""
READ_BEFORE = """\
        left = int(self._redis.get(stock) or 0)
        with self._redis.pipeline() as transaction:
            for _ in range(TRIES):
                transaction.watch(stock)
"""
READ = '        remaining, seen = self._sql.execute(READ, {"tranche": bid.tranche_id}).one()\n'
READ_ONCE = """\
        self._read = getattr(self, "_read", None) or self._sql.execute(READ, {"tranche": bid.tranche_id}).one()
        remaining, seen = self._read
"""
GETS = "        value, version = self._cache.gets(stock)\n"
GETS_ONCE = """\
        self._got = getattr(self, "_got", None) or self._cache.gets(stock)
        value, version = self._got
"""
GOT_APART = """\
        value = self._cache.get(stock)
        _, version = self._cache.gets(stock)
"""
SEEN_LATER = """\
        remaining = self._sql.execute(READ, {"tranche": bid.tranche_id}).one()[0]
        seen = self._sql.execute(READ, {"tranche": bid.tranche_id}).one()[1]
"""

PATCHES = (
    Patch("advisory-lock", "advisory_lock", "not-taken", ADVISORY, "CAST(:lock AS bigint) IS NOT NULL"),
    Patch("advisory-lock", "advisory_lock", "shared", ADVISORY, ADVISORY.replace("xact_lock", "xact_lock_shared")),
    Patch(
        "advisory-lock",
        "advisory_lock",
        "of-each-bid",
        f"{LOCKED} as got:\n            if not",
        f"{LOCKED.replace('tranche', 'bid')} as got:\n            if not",
    ),
    Patch(
        "advisory-lock-try",
        "advisory_lock_try",
        "not-taken",
        "pg_try_advisory_xact_lock(CAST(:lock AS bigint))",
        "CAST(:lock AS bigint) IS NOT NULL",
    ),
    Patch("row-lock", "row_lock", "shared", "REMAINING.with_for_update()", "REMAINING.with_for_update(read=True)"),
    Patch("redis-watch", "redis_watch", "read-once", WATCHED, READ_BEFORE),
    Patch("memcached-cas", "memcached_cas", "read-apart", GETS, GOT_APART),
    Patch("memcached-cas-retry", "memcached_cas", "read-once", GETS, GETS_ONCE),
    Patch("version", "version", "read-once", READ, READ_ONCE),
    Patch("version", "version", "read-apart", READ, SEEN_LATER),
)
