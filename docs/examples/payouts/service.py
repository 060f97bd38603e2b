"""A small payout service: Flask, SQLite, threads that pay. It pays people twice; with --mended it does not.

It has never heard of oversold. Whoever enters a payday says at which URLs the payment channels are.

As it stands it pays through the first channel and, when that does not say that it has paid, through the next one,
as a new payment. A channel that says "failed" although it paid makes it pay twice. With --mended it asks the same
channel again under the same key, until it knows.
"""

import argparse
import itertools
import json
import sqlite3
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

from flask import Flask, abort, jsonify, request

SCHEMA = """
CREATE TABLE IF NOT EXISTS payouts (
    id TEXT PRIMARY KEY, payday TEXT, kind TEXT, account TEXT, fen INTEGER,
    state TEXT DEFAULT 'new', note TEXT DEFAULT '', tries INTEGER DEFAULT 0);
CREATE INDEX IF NOT EXISTS work ON payouts (payday, kind, state);
CREATE TABLE IF NOT EXISTS channels (payday TEXT, place INTEGER, url TEXT);
"""
# One statement, so two workers never take the same payout.
TAKE = """
UPDATE payouts SET state = 'paying' WHERE id = (
    SELECT id FROM payouts WHERE payday = ? AND kind = ? AND state = 'new' LIMIT 1)
RETURNING id, account, fen
"""
MOST_TRIES = 12
CALLS = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the channels are on this machine


class Books:
    """The service's own database; every thread has a connection of its own."""

    def __init__(self, path):
        self._path = path
        self._mine = threading.local()
        self.run("PRAGMA journal_mode = WAL")
        for statement in SCHEMA.split(";"):
            self.run(statement)

    def run(self, statement, *values):
        """Run one statement as one transaction; return its rows."""
        if not hasattr(self._mine, "connection"):
            self._mine.connection = sqlite3.connect(self._path, timeout=30, isolation_level=None)
            self._mine.connection.execute("PRAGMA synchronous = OFF")
        return self._mine.connection.execute(statement, values).fetchall()

    def settle(self, payout, state, note=""):
        """Write down what became of a payout."""
        self.run("UPDATE payouts SET state = ?, note = ? WHERE id = ?", state, note, payout)


def pay(url, payout, account, fen, key):
    """Ask a channel to pay; return what it says: ok, processing, failed, or unclear when it says nothing."""
    wish = json.dumps({"ref": payout, "user_id": account, "amount_fen": fen}).encode()
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    try:
        with CALLS.open(urllib.request.Request(f"{url}/payments", wish, headers), timeout=2) as reply:
            return json.load(reply)["status"]
    except urllib.error.HTTPError as refused:
        return "failed" if refused.code == 402 else "unclear"
    except (OSError, ValueError):
        return "unclear"


class BlindFailover:
    """Whatever the first channel says but ok: pay through the next one."""

    def __init__(self, books):
        self.books = books

    def settle(self, urls, payout, account, fen):
        """Pay one payout."""
        for url in urls:
            if pay(url, payout, account, fen, key=str(uuid.uuid4())) == "ok":
                return self.books.settle(payout, "paid")
        return self.books.settle(payout, "failed", "no channel would pay")

    def look_again(self, payday, urls):
        """There is nothing to look at: every payout is paid or failed, it believes."""


class SameKey:
    """Ask the same channel again, under the payout's id as key: what it has paid it does not pay again."""

    def __init__(self, books):
        self.books = books

    def settle(self, urls, payout, account, fen):
        """Pay one payout; four times at most, and then it is looked at again."""
        for pause_s in (0.05, 0.2, 0.5, 0):
            self.books.run("UPDATE payouts SET tries = tries + 1 WHERE id = ?", payout)
            said = pay(urls[0], payout, account, fen, key=payout)
            if said == "ok":
                return self.books.settle(payout, "paid")
            time.sleep(pause_s)
        return self.books.settle(payout, "unsure", f"the channel said {said}")

    def look_again(self, payday, urls):
        """Try what is unsure once more, until a person has to."""
        rows = self.books.run(
            "SELECT id, account, fen, tries FROM payouts WHERE payday = ? AND state = 'unsure'", payday
        )
        for payout, account, fen, tries in rows:
            said = pay(urls[0], payout, account, fen, key=payout)
            self.books.run("UPDATE payouts SET tries = tries + 1 WHERE id = ?", payout)
            if said == "ok":
                self.books.settle(payout, "paid")
            elif tries >= MOST_TRIES:
                self.books.settle(payout, "look", f"the channel said {said} {tries} times")


class Batch:
    """One start of a job: threads that take payouts until none is left, or somebody stops them."""

    def __init__(self, books, way, payday, kind, threads):
        self.books, self.way, self.payday, self.kind = books, way, payday, kind
        self.stopped = threading.Event()
        self.urls = urls_of(books, payday)
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def work(self):
        """Take and settle payouts."""
        while not self.stopped.is_set() and (taken := self.books.run(TAKE, self.payday, self.kind)):
            self.way.settle(self.urls, *taken[0])

    def state(self):
        """Say whether anybody still works."""
        return "busy" if any(thread.is_alive() for thread in self.threads) else "over"


def urls_of(books, payday):
    """Return where the channels of a payday are, the first choice first."""
    return [url for (url,) in books.run("SELECT url FROM channels WHERE payday = ? ORDER BY place", payday)]


def create_app(books, way):
    """Return the service."""
    app = Flask(__name__)
    batches, numbers = {}, itertools.count(1)

    @app.post("/paydays/<payday>")
    def enter(payday):
        asked = request.get_json()
        for place, url in enumerate(asked["pay_through"]):
            books.run("INSERT INTO channels VALUES (?, ?, ?)", payday, place, url)
        books.run("BEGIN")
        for each in asked["payouts"]:
            books.run(
                "INSERT INTO payouts (id, payday, kind, account, fen) VALUES (?, ?, ?, ?, ?)",
                each["id"], payday, each["kind"], each["to"], each["fen"],
            )  # fmt: skip
        books.run("COMMIT")
        return jsonify(entered=len(asked["payouts"])), 201

    @app.get("/paydays/<payday>")
    def tell(payday):
        rows = books.run("SELECT id, state, note FROM payouts WHERE payday = ?", payday)
        return jsonify(payouts=[{"id": name, "state": state, "note": note} for name, state, note in rows])

    @app.post("/paydays/<payday>/look-again")
    def look_again(payday):
        way.look_again(payday, urls_of(books, payday))
        query = "SELECT count(*) FROM payouts WHERE payday = ? AND state IN ('new', 'paying', 'unsure')"
        return jsonify(left=books.run(query, payday)[0][0])

    @app.post("/paydays/<payday>/batches")
    def start(payday):
        asked, number = request.get_json(), next(numbers)
        batches[number] = Batch(books, way, payday, asked["kind"], asked["threads"])
        return jsonify(batch=number), 202

    @app.get("/batches/<int:number>")
    def look(number):
        return jsonify(state=batches[number].state()) if number in batches else abort(404)

    @app.delete("/batches/<int:number>")
    def stop(number):
        if number not in batches:
            abort(404)
        batches[number].stopped.set()
        return "", 204

    return app


def main():
    """Serve until Ctrl-C."""
    words = argparse.ArgumentParser(description="A small payout service.")
    words.add_argument(
        "--mended", action="store_true", help="ask again under the same key instead of failing over"
    )
    words.add_argument("--port", type=int, default=8700)
    chosen = words.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        books = Books(Path(folder) / "payouts.sqlite")
        way = SameKey(books) if chosen.mended else BlindFailover(books)
        create_app(books, way).run(port=chosen.port, threaded=True)


if __name__ == "__main__":
    main()
