"""The HTTP target: what a lane sends for a tap, and how what it is told is written down."""

import json
import time

import pytest
from tests.scripted_service import ScriptedService, answer

from oversold.assignment import Assignment
from oversold.bid_plan import BidPlan
from oversold.errors import StoreUnavailableError, UsageError
from oversold.evidence import NEVER, HoldEnd, Outcome, RefusedBy
from oversold.model import Bid
from oversold.platform.pipeline import Tap
from oversold.services.mapping import Service
from oversold.stores.endpoint import free_port
from oversold.targets.service import ServiceTarget

RUN = "run1"
PENDING = answer(202, b'{"status": "pending"}')
QUICK = {"every_ms": 1, "for_s": 0.05}


def assigned(url, folder, processes=2, **fields):
    """Return a run against a service, as its workers get it: through JSON."""
    service = Service.model_validate({"name": "shop", "url": url, "timeout_s": 5, **fields})
    plan = BidPlan(
        scenario="s", strategy="shop.toml", processes=processes, users=10, capacity_fen=100_000, rtt_s=5
    )
    where = {"service": service.model_dump(mode="json", by_alias=True), "tranche_id": "T 7"}
    return Assignment.from_json(Assignment(plan, RUN, {}, folder, service=where).to_json())


@pytest.fixture
def lane(tmp_path):
    """Return a function that opens a lane to a service with the given fields; all are closed."""
    opened = []

    def lane(url, worker=0, **fields):
        target = ServiceTarget(assigned(url, tmp_path, **fields), worker)
        opened.append(target.lane(0))
        opened[-1].target = target
        return opened[-1]

    yield lane
    for one in opened:
        one.close()
        one.target.close()


def tapped(lane, index=7, attempt=2):
    """Send a tap through a lane and return it."""
    tap = Tap(index, Bid(f"{RUN}-{index:06d}", RUN, f"user-{index}", 12_300), attempt, 1000, 0, 9.0, 9.0)
    lane.pipeline.run(tap)
    return tap


def told(tap):
    """Return what the history will say of the tap, and when the service is taken to have known: at the end
    (`answered`), at the beginning (`sent`), or never."""
    known = "never" if tap.t_reserved == NEVER else "sent" if tap.t_reserved == tap.t_sent else "answered"
    return tap.outcome, tap.hold, tap.refused_by, tap.failed_step, known


OK = (Outcome.OK, HoldEnd.CONFIRMED, RefusedBy.NOBODY, 0, "answered")
SOLD_OUT = (Outcome.SOLD_OUT, HoldEnd.NONE, RefusedBy.STRATEGY, 0, "answered")
BUSY = (Outcome.BUSY, HoldEnd.NONE, RefusedBy.STRATEGY, 0, "answered")
DECLINED = (Outcome.ERROR, HoldEnd.RELEASED, RefusedBy.STEP, 1, "sent")
ERROR = (Outcome.ERROR, HoldEnd.RELEASED, RefusedBy.STRATEGY, 0, "sent")
UNKNOWN = (Outcome.UNKNOWN, HoldEnd.RELEASED, RefusedBy.NOBODY, 0, "sent")


def test_request_as_sent(lane):
    """A tap is one request: the run's and the tap's own values stand where the file wants them."""
    bid = {
        "path": "/shop/{tranche_id}/{n}/{attempt}",
        "headers": {"X-Run": "{run_id}"},
        "json": {"who": "{user_id}", "bid": "{bid_id}", "fen": "{amount_fen}", "yuan": "{amount_yuan:text}"},
    }
    with ScriptedService(answer(201)) as server:
        tapped(lane(server.url, bid=bid, user_id="100%-{run_id}/{n}-{n}"))
        [request] = server.requests
    head, _, body = request.decode().partition("\r\n\r\n")
    assert head.startswith("POST /shop/T%207/7/2 HTTP/1.1\r\n")
    assert "\r\nX-Run: run1\r\n" in head
    assert json.loads(body) == {"who": "100%-run1/7-7", "bid": "run1-000007", "fen": 12_300, "yuan": "123.00"}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        *[(200, OK), (201, OK), (409, SOLD_OUT), (429, BUSY), (503, BUSY), (402, DECLINED), (422, DECLINED)],
        *[(500, UNKNOWN), (502, UNKNOWN), (504, UNKNOWN), (302, ERROR), (404, ERROR), (204, ERROR)],
    ],
)
def test_answers(lane, status, expected):
    """Each default status becomes its outcome; all others are errors that are told as nobody's rule, and redirects
    are not followed."""
    with ScriptedService(answer(status, b"" if status == 204 else b"{}", "Location: /elsewhere")) as server:
        one = lane(server.url)
        tap = tapped(one)
        assert told(tap) == expected
        assert len(server.requests) == 1
    assert tap.t_sent <= tap.t_reserved
    text = f"status {status}, which no rule of [bid] names"
    faults = [{"kind": "unmapped", "phase": "bid", "text": text, "count": 1}] if expected == ERROR else []
    assert one.target.faults.rows() == faults


def test_own_rules(lane):
    """The file's own rules decide, also by what the reply's JSON says."""
    reply = [
        {"status": 200, "json": {"state": "sold"}, "verdict": "ok"},
        {"status": "2xx", "json": {"state": "gone"}, "verdict": "sold_out"},
        {"verdict": "unknown"},
    ]
    said = [answer(200, b'{"state": "sold"}'), answer(200, b'{"state": "gone"}'), answer(200, b"{}")]
    with ScriptedService(*said) as server:
        one = lane(server.url, bid={"reply": reply})
        assert [told(tapped(one)) for _ in said] == [OK, SOLD_OUT, UNKNOWN]


@pytest.mark.parametrize(
    ("final", "expected"),
    [
        (answer(200, b'{"status": "confirmed"}'), OK),
        (answer(200, b'{"status": "sold_out"}'), SOLD_OUT),
        (answer(200, b'{"status": "declined"}'), DECLINED),
        (answer(200, b'{"status": "error"}'), ERROR),
    ],
)
def test_pending_is_asked_about(lane, final, expected):
    """A bid that is pending is asked about until the service knows; not yet found means pending too."""
    with ScriptedService(PENDING, answer(404), PENDING, final) as server:
        assert told(tapped(lane(server.url, poll=QUICK))) == expected
        lines = [request.partition(b"\r\n")[0] for request in server.requests]
        assert lines[1:] == [b"GET /tranches/T%207/bids/run1-000007 HTTP/1.1"] * 3
        assert server.connections == 1


def test_pending_for_ever(lane):
    """A bid that stays pending beyond the poll's time is unknown."""
    with ScriptedService(PENDING) as server:
        assert told(tapped(lane(server.url, poll=QUICK))) == UNKNOWN
        assert len(server.requests) > 2


@pytest.mark.parametrize("says_nothing", [429, 500, 502, 503, 302])
def test_a_poll_that_fails_says_nothing_of_the_bid(lane, says_nothing):
    """It is asked again: a bid that was sold is no definite no, because a question about it failed."""
    with ScriptedService(PENDING, answer(says_nothing), answer(200, b'{"status": "confirmed"}')) as server:
        one = lane(server.url, poll=QUICK | {"for_s": 5})
        assert told(tapped(one)) == OK
    assert one.target.faults.rows() == []


@pytest.mark.parametrize(
    ("last", "text"),
    [
        (answer(401), "status 401, which no rule of [poll] names"),
        (answer(200, b'{"status": "what?"}'), "status 200 with a body that no rule of [poll] fits"),
    ],
)
def test_a_poll_that_never_says_anything(lane, last, text):
    """The bid is unknown when the time is over, and what was answered instead is told once a bid."""
    with ScriptedService(PENDING, last) as server:
        one = lane(server.url, poll=QUICK)
        assert told(tapped(one)) == UNKNOWN
        assert len(server.requests) > 2
    assert one.target.faults.rows() == [{"kind": "unmapped", "phase": "poll", "text": text, "count": 1}]


def test_lost_poll_is_asked_again(lane):
    """A poll whose answer is lost changes nothing at the service: the next one finds out."""
    with ScriptedService(PENDING, None, answer(200, b'{"status": "confirmed"}')) as server:
        assert told(tapped(lane(server.url, poll=QUICK | {"for_s": 5}))) == OK
        assert server.connections == 2


def test_poll_by_location(lane):
    """Where the file says so, the reply's own Location is asked, relative or not."""
    with ScriptedService(answer(202, b"", "Location: receipts/9?full=1"), answer(202), answer(200)) as server:
        manners = QUICK | {"path": "location", "reply": [{"status": 200, "verdict": "ok"}], "for_s": 5}
        manners["reply"].append({"status": 202, "verdict": "pending"})
        assert told(tapped(lane(server.url, poll=manners))) == OK
        lines = [request.partition(b"\r\n")[0] for request in server.requests]
        assert lines[1:] == [b"GET /tranches/T%207/receipts/9?full=1 HTTP/1.1"] * 2


@pytest.mark.parametrize("headers", [[], ["Location: http://10.9.8.7/x"], ["Location: //10.9.8.7/x"]])
def test_location_elsewhere(lane, headers):
    """A Location that is missing or leads to another host is never asked: nonsense, and the bid is unknown."""
    with ScriptedService(answer(202, b"", *headers)) as server:
        one = lane(server.url, poll=QUICK | {"path": "location"})
        assert told(tapped(one)) == UNKNOWN
        assert len(server.requests) == 1
    [fault] = one.target.faults.rows()
    assert (fault["kind"], fault["phase"]) == ("nonsense", "bid")


def test_no_answer(lane):
    """A request that has no answer is unknown, sent once, and no fault of the store's; the lane goes on."""
    with ScriptedService(None, answer(201)) as server:
        one = lane(server.url)
        assert told(tapped(one)) == UNKNOWN
        assert len(server.requests) == 1
        assert told(tapped(one)) == OK
    assert one.target.faults.rows() == []


def test_too_late(lane):
    """An answer that takes longer than the file's timeout is unknown."""
    with ScriptedService(lambda client: client.recv(1)) as server:
        assert told(tapped(lane(server.url, timeout_s=0.05))) == UNKNOWN


def test_nonsense(lane):
    """A service that does not speak HTTP leaves the bid unknown, and the fault says so."""
    with ScriptedService(b"-ERR unknown command\r\n") as server:
        one = lane(server.url)
        assert told(tapped(one)) == UNKNOWN
    [fault] = one.target.faults.rows()
    assert fault == {
        "kind": "nonsense",
        "phase": "bid",
        "text": "what the service answered is not HTTP/1.1",
        "count": 1,
    }


def test_service_goes(lane):
    """When the service is gone nothing was sent: an error that held nothing, and a fault of the store's."""
    with ScriptedService(answer(201)) as server:
        one = lane(server.url)
    for _ in range(2):
        tap = tapped(one)
        assert told(tap) == (Outcome.ERROR, HoldEnd.NONE, RefusedBy.STRATEGY, 0, "sent")
    [fault] = one.target.faults.rows()
    assert (fault["kind"], fault["count"]) == ("store", 2)
    assert fault["text"] == "the service did not take a connection: nothing listens there"


def test_bound_of_requests(lane):
    """The bound is shared among the processes; beyond it no tap is sent, which is written down and told."""
    with ScriptedService(answer(201)) as server:
        first, second = (lane(server.url, worker=worker, bounds={"requests": 5}) for worker in (0, 1))
        outcomes = [[tapped(one).outcome for _ in range(4)] for one in (first, second)]
        assert len(server.requests) == 5
        refused = tapped(second)
    assert outcomes == [[Outcome.OK] * 3 + [Outcome.ERROR], [Outcome.OK] * 2 + [Outcome.ERROR] * 2]
    assert told(refused) == (Outcome.ERROR, HoldEnd.NONE, RefusedBy.NOBODY, 0, "never")
    assert refused.t_sent == NEVER
    [fault] = second.target.faults.rows()
    assert (fault["kind"], fault["count"]) == ("limit", 3)
    assert "5 requests" in fault["text"]


def test_polls_count_as_requests(lane):
    """A poll beyond the bound is not sent, and the bid stays unknown."""
    with ScriptedService(PENDING) as server:
        one = lane(server.url, poll=QUICK | {"for_s": 5}, bounds={"requests": 6})
        assert told(tapped(one)) == UNKNOWN
        assert len(server.requests) == 3
        assert one.target.faults.rows()[0]["kind"] == "limit"


def test_no_network_delay_of_our_own(lane):
    """`--rtt` is for stores: a plan with five seconds of it sends its tap at once."""
    with ScriptedService(answer(201)) as server:
        one = lane(server.url)
        slept = []
        one.target.clock.sleep = slept.append
        tapped(one)
    assert slept == []


def test_lane_begins_with_a_connection(lane, tmp_path):
    """A lane connects before the gate opens; where nothing listens one line names the service and the mend."""
    with ScriptedService(answer(201)) as server:
        lane(server.url)
        for _ in range(200):
            if server.connections:
                break
            time.sleep(0.005)
        assert (server.connections, server.requests) == (1, [])
    target = ServiceTarget(assigned(f"http://127.0.0.1:{free_port()}", tmp_path), 0)
    with pytest.raises(StoreUnavailableError, match=r"service shop at .* \(nothing listens there\): start it"):
        target.lane(0)


@pytest.mark.parametrize("mend", ["reset", "renew"])
def test_mended_lane_goes_on(lane, mend):
    """After a lane was interrupted its next tap has a connection of its own."""
    with ScriptedService(answer(201)) as server:
        one = lane(server.url)
        tapped(one)
        getattr(one, mend)()
        assert told(tapped(one)) == OK
        assert server.connections == 2


def test_token_that_is_not_set(tmp_path, monkeypatch):
    """A worker that has no token does not begin; the message names the variable."""
    monkeypatch.delenv("SHOP_TOKEN", raising=False)
    with pytest.raises(UsageError, match="SHOP_TOKEN"):
        ServiceTarget(assigned("http://127.0.0.1:1", tmp_path, auth={"env": "SHOP_TOKEN"}), 0)
