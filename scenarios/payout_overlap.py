"""The duplicate payout (重复派息): two payout jobs overlap, a channel says "failed", and people are paid twice.

What happened. A P2P-lending platform paid its investors through two third-party channels. Every payday a job
paid the interest (派息): through the first channel and, where that said "failed", through the second. One day the
job took 90 minutes instead of less than 60, and met the maturity job (到期), which pays principal back and starts
an hour later. With twice the calls in flight the first channel began to say "failed" although it had paid. More
than 70 people were paid twice, over 60,000 yuan in all, and nothing looked wrong until a customer called.

What this replays. Two channels run as processes of their own; their books are the truth. The jobs' workers are
Locust users; so are the investors, who look at their accounts meanwhile and withdraw what has come in, so that
an overpayment can become unrecoverable. Time is compressed: one minute of the incident takes about a tenth of a
second. The channels' books, not the payout strategy, say afterwards who was paid what.

Run it audited:     oversold run payout-overlap --strategy row-lock+state-machine
Or as plain Locust: locust -f scenarios/payout_overlap.py --headless -u 400 -r 400 --strategy none+blind-failover
"""

from locust import task

from oversold.load.locustfile import attach
from oversold.load.payers import PaydayUser

attach("payout-overlap", drives="payouts")


class Participant(PaydayUser):
    """Somebody with a part in the payday: most are investors."""

    @task
    def take_part(self) -> None:
        """Play the part that the plan gives."""
        role = self.wait_at_gate()
        if role == "worker":
            self.work()
        elif role == "reconciler":
            self.reconcile()
        else:
            self.visit()
        self.leave()
