"""The stock of a shop in SQL: how it was, and how it was mended. The two differ in one method."""

import sqlalchemy as sa

from oversold.model import Bid, Claim, Hold, Tranche
from oversold.strategies.interface import Context

TABLES = (
    "CREATE TABLE IF NOT EXISTS shop_stock (tranche_id TEXT PRIMARY KEY, remaining BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS shop_holds (bid_id TEXT PRIMARY KEY, amount BIGINT NOT NULL)",
)
PUT = "INSERT INTO shop_stock VALUES (:tranche, :fen)"
LOOK = "SELECT remaining FROM shop_stock WHERE tranche_id = :tranche"
TAKE = "UPDATE shop_stock SET remaining = remaining - :fen WHERE tranche_id = :tranche AND remaining >= :fen"
WRITE = "UPDATE shop_stock SET remaining = :left WHERE tranche_id = :tranche"
GIVE_BACK = "UPDATE shop_stock SET remaining = remaining + :fen WHERE tranche_id = :tranche"
NOTE = "INSERT INTO shop_holds VALUES (:bid, :fen)"
FORGET = "DELETE FROM shop_holds WHERE bid_id = :bid"


class Mended:
    """UPDATE the stock where enough is left; note the hold in the same transaction.

    Guarantee: never more than the capacity is held: the condition is checked when the row is locked.

    Known hole: all bidders queue for one row.
    """

    stores = frozenset({"sql"})

    def __init__(self, context: Context) -> None:
        self.sql = context.sql

    def open(self, tranche: Tranche) -> None:
        """Put the stock into its table."""
        for statement in TABLES:
            self.change(statement)
        self.change(PUT, tranche=tranche.tranche_id, fen=tranche.capacity_fen)
        self.sql.commit()

    def reserve(self, bid: Bid) -> Hold:
        """Take the amount where enough is left."""
        if self.change(TAKE, tranche=bid.tranche_id, fen=bid.amount_fen) == 0:
            self.sql.rollback()
            return Hold("sold_out")
        return self.held(bid)

    def confirm(self, bid: Bid, hold: Hold) -> bool:
        """Forget the hold: a late release finds nothing to give back."""
        self.change(FORGET, bid=bid.bid_id)
        self.sql.commit()
        return True

    def release(self, bid: Bid, hold: Hold) -> bool:
        """Give the hold back, once."""
        if self.change(FORGET, bid=bid.bid_id) == 1:  # only the first release finds the hold
            self.change(GIVE_BACK, tranche=bid.tranche_id, fen=bid.amount_fen)
        self.sql.commit()
        return True

    def status(self, tranche_id: str) -> Claim:
        """Say what is left."""
        left = self.left(tranche_id)
        self.sql.commit()
        return Claim("open" if left > 0 else "full", left)

    def held(self, bid: Bid) -> Hold:
        """Note the hold, and commit it with what was taken."""
        self.change(NOTE, bid=bid.bid_id, fen=bid.amount_fen)
        self.sql.commit()
        return Hold("ok")

    def left(self, tranche_id: str) -> int:
        """Read the stock."""
        return int(self.sql.execute(sa.text(LOOK), {"tranche": tranche_id}).scalar_one())

    def change(self, statement: str, **values: object) -> int:
        """Change something; return how many rows it was."""
        return self.sql.execute(sa.text(statement), values).rowcount


class Broken(Mended):
    """SELECT what is left; if it is enough, UPDATE the stock to what remains.

    Guarantee: none, though every test with one customer passes.

    Known hole: two customers read the same stock, and both write what one of them leaves.
    """

    def reserve(self, bid: Bid) -> Hold:
        """Read, compare, write: three steps that others may step between."""
        left = self.left(bid.tranche_id)
        if left < bid.amount_fen:
            self.sql.rollback()
            return Hold("sold_out")
        self.change(WRITE, tranche=bid.tranche_id, left=left - bid.amount_fen)
        return self.held(bid)
