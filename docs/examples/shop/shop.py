"""A small shop over HTTP: it sells shares of an offer, and knows nothing of load tests.

It reads the stock, takes the payment, and writes the stock. With --mended it takes the stock in one statement:

    python shop.py --port 5001 --database shop.sqlite
    python shop.py --port 5001 --database shop.sqlite --mended
"""

import argparse
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from typing import Any

from flask import Flask, jsonify, request
from werkzeug.serving import WSGIRequestHandler

PAYMENT_S = 0.02
TABLES = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS offers (id INTEGER PRIMARY KEY, title TEXT, left_fen INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS purchases (
    id INTEGER PRIMARY KEY, offer INTEGER NOT NULL, customer TEXT NOT NULL, amount TEXT NOT NULL,
    bought_at REAL NOT NULL);
"""
Buy = Callable[[sqlite3.Connection, int, int], bool]


def pay() -> None:
    """Stand for the call to a payment provider."""
    time.sleep(PAYMENT_S)


def check_then_act(database: sqlite3.Connection, offer: int, fen: int) -> bool:
    """Read what is left, take the payment, write what is left: who reads in between sees the old number."""
    (left,) = database.execute("SELECT left_fen FROM offers WHERE id = ?", (offer,)).fetchone()
    if left < fen:
        return False
    pay()
    database.execute("UPDATE offers SET left_fen = ? WHERE id = ?", (left - fen, offer))
    return True


def take_then_pay(database: sqlite3.Connection, offer: int, fen: int) -> bool:
    """Take the stock where there is enough of it, in one statement; then the payment."""
    taken = database.execute(
        "UPDATE offers SET left_fen = left_fen - ? WHERE id = ? AND left_fen >= ?", (fen, offer, fen)
    )
    if taken.rowcount != 1:
        return False
    pay()
    return True


def create_app(path: str, buy: Buy) -> Flask:
    """Return the shop over one SQLite file."""
    app = Flask(__name__)

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(path, timeout=30, isolation_level=None)  # each statement commits by itself

    with closing(connect()) as database:
        database.executescript(TABLES)

    @app.post("/api/offers")
    def put_up() -> Any:
        wanted = request.get_json()
        with closing(connect()) as database:
            made = database.execute(
                "INSERT INTO offers (title, left_fen) VALUES (?, ?)",
                (wanted["title"], int(Decimal(wanted["size"]) * 100)),
            )
        return jsonify(offer={"id": made.lastrowid}), 201

    @app.get("/api/offers/<int:offer>")
    def look(offer: int) -> Any:
        with closing(connect()) as database:
            (left,) = database.execute("SELECT left_fen FROM offers WHERE id = ?", (offer,)).fetchone()
        return jsonify(left_fen=left, state="gone" if left <= 0 else "on sale")

    @app.post("/api/offers/<int:offer>/purchases")
    def purchase(offer: int) -> Any:
        wanted = request.get_json()
        amount = Decimal(wanted["amount"])
        with closing(connect()) as database:
            if not buy(database, offer, int(amount * 100)):
                return jsonify(result="sold out"), 200
            database.execute(
                "INSERT INTO purchases (offer, customer, amount, bought_at) VALUES (?, ?, ?, ?)",
                (offer, wanted["customer"], str(amount), time.time()),
            )
        return jsonify(result="bought"), 200

    return app


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=5001)
    parser.add_argument(
        "--database", default=os.environ.get("SHOP_DATABASE", "shop.sqlite"), help="an SQLite file"
    )
    parser.add_argument("--mended", action="store_true", help="without the bug")
    given = parser.parse_args()
    WSGIRequestHandler.protocol_version = "HTTP/1.1"  # keeps connections open
    app = create_app(given.database, take_then_pay if given.mended else check_then_act)
    app.run("127.0.0.1", given.port, threaded=True)


if __name__ == "__main__":
    main()
