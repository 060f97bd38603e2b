"""Why some mutants of the designs over Redis and memcached survive."""

from __future__ import annotations

from collections.abc import Sequence

from tests.mutants.explained import Explained

TABLE: Sequence[Explained] = (
    # The same in all that is promised
    (
        "equivalent",
        "A second time in one script it writes the same value to the same key, or deletes what is deleted.",
        (
            "redis-lua:lua-twice:redis_lua.RESERVE.2",
            "redis-lua:lua-twice:redis_lua.RELEASE.1",
            "redis-lock-fenced:lua-twice:redis_lock_fenced.*",
            "buckets:lua-twice:buckets.RESERVE.2",
            "buckets:lua-twice:buckets.CONFIRM.1",
            "buckets:lua-twice:buckets.RELEASE.1",
        ),
    ),
    (
        "equivalent",
        "Two writes to different keys in one script, neither of which needs what the other has done.",
        (
            "redis-lua:lua-swapped:redis_lua.RELEASE.2",
            "redis-lock-fenced:lua-swapped:redis_lock_fenced.WRITE.2",
            "buckets:lua-swapped:buckets.RELEASE.1",
        ),
    ),
    (
        "equivalent",
        "A holder's READ has set the newest token to its own, and WRITE lets nobody pass who has an older one "
        "than the newest: who passes would set it to what it is.",
        ("redis-lock-fenced:lua-deleted:redis_lock_fenced.WRITE.2",),
    ),
    (
        "equivalent",
        "No token is read with twice: each try takes a lock, and with it the next token, so READ never meets its "
        "own.",
        ("redis-lock-fenced:lua-boundary:redis_lock_fenced.READ.1",),
    ),
    (
        "equivalent",
        "The pipeline is empty after its first execute and watches nothing: redis-py then sends no command.",
        ("redis-watch:twice:redis_watch.reserve.2", "redis-queue:twice:redis_queue._decide.2"),
    ),
    (
        "equivalent",
        "One transaction or this process alone: the consumer is the only one who writes what it reads here, "
        "making a pipeline sends nothing, and the commands between MULTI and EXEC write different keys.",
        tuple(f"redis-queue:swapped:redis_queue._decide.{number}" for number in (1, 2, 3, 4)),
    ),
    (
        "equivalent",
        "The answer stands twice in a list that is made for one request: its bidder pops one, the other expires.",
        ("redis-queue:twice:redis_queue._decide.1",),
    ),
    (
        "equivalent",
        "`continue` is the last statement of the loop's body.",
        ("redlock:ignored:redlock.*",),
    ),
    (
        "equivalent",
        "They differ when the clock shows the very moment at which the patience, or the time to live, is over: "
        "one moment earlier or later is as good.",
        (
            "memcached-lock:boundary:memcached_lock._lock.1",
            "redis-lock:boundary:redis_lock._lock.1",
            "redlock:boundary:redlock._try_lock.2",
        ),
    ),
    (
        "equivalent",
        "The line is never reached: with this lock adding to the stock always answers ok. In redis-lock-fenced, "
        "which inherits it, it is reached.",
        ("redis-lock:deleted:redis_lock.release.1",),
    ),
    (
        "equivalent",
        "It only saves a round trip. The consumer acknowledges what it has read before it reads on, so that what "
        "it looks for once more is not there.",
        (
            "redis-stream:never:redis_stream._left_behind.*",
            "redis-stream:deleted:redis_stream._left_behind.1",
        ),
    ),
    (
        "equivalent",
        "The consumer acknowledges up to 64 entries before it reads on, and one look fetches up to 64: after a "
        "restart there is nothing left for a second one.",
        ("redis-stream:always:redis_stream._left_behind.1",),
    ),
    (
        "equivalent",
        "It only saves a round trip: what a token is worth never changes.",
        ("tokens:always:tokens._unit.1",),
    ),
    # What the explorer cannot show
    (
        "gap",
        "It needs a release that comes after the order, or a confirm after the release. Neither this platform "
        "nor that of the live runs sends one, whatever fails: it takes a service that gives holds back which it "
        "believes dead. All schedules of one bidder with three faults were walked.",
        (
            "memcached-decr-offset:unlooked:memcached_decr.confirm.1",
            "memcached-decr-offset:granted:memcached_decr.confirm.1",
            "memcached-lock:unlooked:memcached_lock.confirm.1",
            "memcached-lock:granted:memcached_lock.confirm.1",
            "redis-lua:deleted:redis_lua.confirm.1",
            "redis-lua:unlooked:redis_lua.confirm.1",
            "redis-lua:lua-half:redis_lua.RELEASE.1",
            "redis-lua:lua-swapped:redis_lua.RELEASE.1",
            "redis-lock:unlooked:redis_lock.confirm.1",
            "redis-lock:granted:redis_lock.confirm.1",
            "redis-lock:without:redis_lock.confirm.1",
            "buckets:unlooked:buckets.confirm.1",
            "buckets:granted:buckets.confirm.1",
            "buckets:lua-deleted:buckets.CONFIRM.?",
            "buckets:lua-never:buckets.CONFIRM.1",
            "buckets:lua-swapped:buckets.CONFIRM.1",
            "tokens-returned:unlooked:tokens_returned.confirm.1",
            "tokens-returned:granted:tokens_returned.confirm.1",
            "tokens-returned:without:tokens_returned.confirm.1",
        ),
    ),
    (
        "gap",
        "It needs a Redis that has lost a key which has no time to live. That is outside the model: of Redis "
        "only leases end.",
        (
            "redis-lua:lua-swapped:redis_lua.RESERVE.1",
            "redis-lua:lua-deleted:redis_lua.RESERVE.2",
            "redis-lua:lua-never:redis_lua.RESERVE.2",
            "tokens:never:tokens.reserve.1",
            "tokens:never:tokens._needed.1",
            "tokens:never:tokens._unit.2",
            "tokens-returned:never:tokens_returned.release.1",
        ),
    ),
    (
        "gap",
        "After a release the lock stays closed until its lease ends. Only a failed step leads to a release, and "
        "after a fault a lease that ends is as it should be.",
        ("memcached-lock:deleted:memcached_lock.release.2", "redis-lock:deleted:redis_lock.release.2"),
    ),
    (
        "gap",
        "Two votes of five are enough for it, and two holders meet only in rare orders: a hunt finds it "
        "(`--mode hunt`, 21 schedules).",
        ("redlock:boundary:redlock._try_lock.1",),
    ),
    (
        "gap",
        "Who waits for this lock gives up by the clock, after some 200 tries and more, and the explorer takes "
        "whoever tries more than 25 times to wait on. So nobody comes to what is wrong after that.",
        (
            "memcached-lock:never:memcached_lock.reserve.1",
            "memcached-lock:never:memcached_lock.release.1",
            "redis-lock:never:redis_lock.reserve.1",
            "redis-lock:never:redis_lock.release.1",
        ),
    ),
    (
        "gap",
        "Nobody ever gives up. No checker has a promise about how long a bidder may be kept waiting.",
        ("memcached-lock:never:memcached_lock._lock.1", "redis-lock:never:redis_lock._lock.1"),
    ),
    (
        "gap",
        "It needs somebody who outlasts a lease, and a pause alone makes the design itself oversell. So the "
        "phases leave pauses out; and that the same pause does harm at more places, or more of it, is in no "
        "verdict.",
        ("redis-lock:lua-always:redis_lock.UNLOCK.1", "redlock:half:redlock._try_lock.2"),
    ),
    (
        "gap",
        "It needs a cache that forgets the stock. Phases with this design leave out all that disappears by "
        "itself, since a lock that disappears oversells in the design itself.",
        ("memcached-lock:never:memcached_lock._change.1",),
    ),
    (
        "gap",
        "The bidder is told busy instead of error when the stock has gone. Both turn it away; no checker asks "
        "which word it was.",
        (
            "memcached-cas:never:memcached_cas.reserve.3",
            "memcached-lock-fenced:never:memcached_lock_fenced._change.3",
        ),
    ),
    (
        "gap",
        "When the cache has forgotten the stock, a release, or the second call of one, says that the stock has "
        "the hold back. That looks better than the design, which admits the leak: the answer is believed, and "
        "there is no stock left to compare.",
        (
            "memcached-cas:never:memcached_cas.release.2",
            "memcached-cas:deleted:memcached_cas.release.1",
            "memcached-decr-offset:never:memcached_decr.release.2",
            "memcached-decr-offset:deleted:memcached_decr.release.1",
            "memcached-lock:deleted:memcached_lock.release.1",
        ),
    ),
    (
        "gap",
        "It says that the stock has the hold back when it may not. That looks better than the design, which "
        "admits the leak; the stock itself is the same in both.",
        (
            "memcached-lock-fenced:granted:memcached_lock_fenced.release.1",
            "redis-lock-fenced:granted:redis_lock_fenced.release.1",
            "redis-queue:granted:redis_queue.release.1",
        ),
    ),
    (
        "gap",
        "Nothing breaks but in one order: somebody's release comes between the two copies of a bid that is sold "
        "out, so the second copy takes what nobody wants any more. It takes one fault and a longer search: "
        "neither 2,300 schedules walked nor 1,500 drawn show it, one that is led there does.",
        ("redis-queue:twice:redis_queue._ask.1", "redis-stream:twice:redis_stream._ask.1"),
    ),
    (
        "gap",
        "It needs a consumer who waits in vain. In the explorer its wait lasts until there is work: only a "
        "bidder's wait may time out.",
        (
            "redis-queue:never:redis_queue.consume.1",
            "redis-stream:always:redis_stream.consume.1",
            "redis-stream:always:redis_stream._read.1",
        ),
    ),
    (
        "gap",
        "An answer that nobody comes for is kept for ever. No checker counts the keys that are left behind.",
        ("redis-queue:swapped:redis_queue._decide.5", "redis-queue:deleted:redis_queue._decide.3"),
    ),
)
