"""Payment channels as processes: HTTP says what the kernel says, and a kill loses nothing acknowledged."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import urllib3
from rich.console import Console

from oversold import standalone
from oversold.clock import now_ns
from oversold.errors import HarnessError, StoreUnavailableError, UsageError
from oversold.model import Terms
from oversold.platform.channels import operator
from oversold.platform.channels.books import Books, Call, read_calls, read_stall_ns, read_withdrawals
from oversold.platform.channels.client import HttpChannel, KernelChannel, fetch_terms
from oversold.platform.channels.kernel import Kernel
from oversold.platform.channels.operator import ChannelEndpoint
from oversold.platform.channels.profile import Profile, parse
from oversold.stores.endpoint import free_port
from oversold.stores.guard import Guard, package_environment

pytestmark = pytest.mark.servers

SEED = 7
# Half of the answers are lies. No effect is late and nothing is hidden, so that time does not matter.
MIXED = {
    "outcomes": {
        "applied_ok": 0.4,
        "applied_failed": 0.2,
        "none_ok": 0.1,
        "none_failed": 0.29,
        "none_timeout": 0.01,
    },
    "timeout_s": 1.0,
}
Start = Callable[..., dict[str, ChannelEndpoint]]


def profile_of(**channels: Any) -> Profile:
    """Return a profile of channels given by their tables; a word stands for the outcome of every call."""
    tables = {
        name: {"outcomes": {table: 1.0}, "timeout_s": 10.0} if isinstance(table, str) else table
        for name, table in channels.items()
    }
    return parse("test", {"channels": tables})


@pytest.fixture
def start(guard: Guard, tmp_path: Path) -> Iterator[Start]:
    """Start the channels of a profile: start(A=..., B=...); they end with the test."""
    running: list[ChannelEndpoint] = []

    def begin(ports: dict[str, int] | None = None, **channels: Any) -> dict[str, ChannelEndpoint]:
        endpoints = operator.start(profile_of(**channels), SEED, guard, tmp_path, ports)
        running.extend(endpoints.values())
        return endpoints

    yield begin
    for endpoint in running:
        guard.stop(endpoint.pid)


@contextmanager
def client(endpoint: ChannelEndpoint, caller: str = "test") -> Iterator[HttpChannel]:
    """Connect to a channel as a job does."""
    with closing(HttpChannel(endpoint.name, endpoint.url, fetch_terms(endpoint.url), caller)) as channel:
        yield channel


def ask(endpoint: ChannelEndpoint, method: str, path: str, content: Any = None, **headers: str) -> tuple[int, Any]:
    """Send one request as anybody may; return the status code and the content."""
    body = None if content is None else content if isinstance(content, bytes) else json.dumps(content)
    headers = {
        "Content-Type": "application/json",
        **{name.replace("_", "-"): text for name, text in headers.items()},
    }
    response = urllib3.request(method, endpoint.url + path, body=body, headers=headers, retries=False)
    return response.status, json.loads(response.data)


def together(calls: Iterable[Callable[[], Any]]) -> list[Any]:
    """Run calls in a thread each, at once; return what they return, in order."""
    calls = list(calls)
    found: list[Any] = [None] * len(calls)
    gate = threading.Barrier(len(calls))

    def run(number: int) -> None:
        gate.wait(timeout=30)
        found[number] = calls[number]()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def conversation(channel: HttpChannel | KernelChannel) -> list[Any]:
    """Ask a channel everything that can be asked, and return its answers."""
    said: list[Any] = []
    for number in range(40):
        ref, user = f"p1-{number:06d}", f"p1-u{number % 5:06d}"
        said += [channel.pay(ref, user, 100 + number, f"key:{number}"), channel.query(ref)]
        said += [channel.pay(ref, user, 100 + number, f"key:{number}"), channel.query(ref)]
        said += [channel.pay(ref, user, 7, f"key:{number}"), channel.pay(ref, user, 7)]
        if number % 3 == 0:
            said += [channel.void(ref), channel.pay(ref, user, 100 + number, f"key:{number}"), channel.query(ref)]
        said += [channel.withdraw(user, 50), channel.withdraw(user) if number % 7 == 0 else 0]
    return [*said, channel.statement(), *(channel.account(f"p1-u{user:06d}") for user in range(6))]


class Still:
    """A clock for conversations in which time does not matter."""

    def now_s(self) -> float:
        """It stands still."""
        return 0.0

    def sleep(self, seconds: float) -> None:
        """Nobody waits."""


def written(calls: Iterable[Call]) -> list[tuple[Any, ...]]:
    """Return calls without their times."""
    return [
        (
            call.ref,
            call.user_id,
            call.amount_fen,
            call.key,
            call.caller,
            call.reply,
            call.replay_of,
            paid,
            call.voided,
        )
        for call in calls
        for paid in [call.t_effect is not None]
    ]


def test_http_says_what_the_kernel_says(start: Start) -> None:
    """The same conversation over HTTP and straight over a kernel has the same answers and leaves equal books."""
    endpoint = start(A=MIXED)["A"]
    books = Books(":memory:")
    kernel = Kernel("A", profile_of(A=MIXED).channels["A"], SEED, books)
    with client(endpoint) as channel:
        assert channel.terms == kernel.profile.terms()
        over_http = conversation(channel)
    assert over_http == conversation(KernelChannel(kernel, Still(), "test"))
    assert written(read_calls(endpoint.books)) == written(books.calls())
    assert {"ok", "failed", "timeout", "mismatch", "success", "voided", "paid"} <= {
        word for word in over_http if isinstance(word, str)
    }
    other = Kernel("A", kernel.profile, SEED + 1, Books(":memory:"))  # planted: another seed, another conversation
    assert over_http != conversation(KernelChannel(other, Still(), "test"))


def test_status_codes_are_those_of_a_real_channel(start: Start) -> None:
    """201 paid, 202 processing, 402 failed, 409 mismatch, 504 no answer; 422 says what is wrong with a request."""
    late = {"outcomes": {"later_processing": 1.0}, "later_s": 1000.0, "timeout_s": 10.0}
    silent = {"outcomes": {"none_timeout": 1.0}, "timeout_s": 0.05}
    endpoints = start(A="applied_ok", B="none_failed", C=late, D=silent)
    wish = {"ref": "r1", "user_id": "u1", "amount_fen": 100}
    replies = {name: ask(endpoint, "POST", "/payments", wish) for name, endpoint in endpoints.items()}
    assert {name: (code, content["status"]) for name, (code, content) in replies.items()} == {
        "A": (201, "ok"),
        "B": (402, "failed"),
        "C": (202, "processing"),
        "D": (504, "timeout"),
    }
    assert ask(endpoints["A"], "POST", "/payments", {**wish, "ref": "r2"}, Idempotency_Key="k")[0] == 201
    code, content = ask(endpoints["A"], "POST", "/payments", wish, Idempotency_Key="k")
    assert (code, content["status"], content["payment_id"]) == (409, "mismatch", "A-2")
    assert ask(endpoints["C"], "POST", "/payments/r1/void") == (200, {"status": "voided"})
    assert ask(endpoints["A"], "POST", "/payments/r1/void") == (200, {"status": "paid"})


@pytest.mark.parametrize(
    "wish",
    [
        {"ref": "r1", "user_id": "u1", "amount_fen": 0},
        {"ref": "r1", "user_id": "u1", "amount_fen": 1.5},
        {"ref": "", "user_id": "u1", "amount_fen": 1},
        {"ref": "r" * 201, "user_id": "u1", "amount_fen": 1},
        {"ref": "../r", "user_id": "u1", "amount_fen": 1},
        {"ref": "r1", "amount_fen": 1},
        {"ref": "r1", "user_id": "u1", "amount_fen": 1, "fee": 1},
        b"{",
    ],
)
def test_a_request_that_cannot_be_read_pays_nothing(start: Start, wish: Any) -> None:
    """It is answered 422, which a client takes for a definite failure, and is not in the books."""
    endpoint = start(A="applied_ok")["A"]
    assert ask(endpoint, "POST", "/payments", wish)[0] == 422
    with client(endpoint) as channel:
        assert channel.pay("no/ref", "u1", 100) == "failed"
        assert channel.query("no/ref") == "timeout"
    assert read_calls(endpoint.books) == []
    fit = {"ref": "r" * 200, "user_id": "u1", "amount_fen": 1}  # planted: what fits is in the books
    assert ask(endpoint, "POST", "/payments", fit)[0] == 201
    assert len(read_calls(endpoint.books)) == 1


def test_calls_at_once_with_one_key_pay_once(start: Start) -> None:
    """However many callers send the same call with the same key at once, one of them pays and all hear ok."""
    slow = {"outcomes": {"applied_ok": 1.0}, "latency_s": 0.05, "timeout_s": 10.0}
    endpoints = start(A=slow, B={**slow, "honours_keys": False})

    def pay(endpoint: ChannelEndpoint, number: int) -> str:
        with client(endpoint, f"w{number}") as channel:
            return channel.pay("r1", "u1", 100, "k")

    for name, paid in (("A", 1), ("B", 8)):  # planted: a channel that ignores keys pays all eight
        endpoint = endpoints[name]
        replies = together([partial(pay, endpoint, number) for number in range(8)])
        assert replies == ["ok"] * 8
        calls = read_calls(endpoint.books)
        assert sum(call.t_effect is not None for call in calls) == paid
        assert {call.caller for call in calls} == {f"w{number}" for number in range(8)}


def test_calls_in_flight_make_it_lie(start: Start) -> None:
    """The calls that one process is processing at a time congest it; one at a time they do not."""
    endpoint = start(
        A={"outcomes": {"applied_ok": 1.0}, "lie_cap": 1, "lie_slope": 1.0, "latency_s": 0.5, "timeout_s": 10.0}
    )["A"]

    def call(number: int) -> str:
        with client(endpoint) as channel:
            return channel.pay(f"r{number}", "u1", 100)

    assert call(100) == "ok"
    assert sorted(together([partial(call, number) for number in range(4)])) == ["failed"] * 3 + ["ok"]
    assert all(call.t_effect is not None for call in read_calls(endpoint.books))
    assert ask(endpoint, "GET", "/health")[1] == {"name": "A", "in_flight": 0}


def unbacked(acknowledged: Iterable[str], calls: Iterable[Call]) -> set[str]:
    """Return the refs that were acknowledged as paid and of which the books know no effect."""
    return set(acknowledged) - {call.ref for call in calls if call.applied(1 << 62)}


def test_a_kill_loses_no_payment_that_was_acknowledged(
    start: Start, guard: Guard, eventually: Callable[[Callable[[], bool], float], bool]
) -> None:
    """SIGKILL under load: what was answered ok or processing is in the books, which go on after the restart."""
    endpoint = start(
        A={"outcomes": {"applied_ok": 0.8, "later_processing": 0.2}, "latency_s": 0.002, "timeout_s": 10.0}
    )["A"]
    acknowledged: list[str] = []
    replies: set[str] = set()
    done = threading.Event()

    def load(worker: int) -> None:
        with client(endpoint, f"w{worker}") as channel:
            ready.wait(timeout=30)
            for number in range(100_000):
                reply = channel.pay(f"r{worker}-{number}", "u1", 100, f"k{worker}-{number}")
                replies.add(reply)
                if reply in ("ok", "processing"):
                    acknowledged.append(f"r{worker}-{number}")
                else:
                    done.wait(0.01)
                if done.is_set():
                    return

    ready = threading.Barrier(4)
    threads = [threading.Thread(target=load, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    assert eventually(lambda: len(acknowledged) > 200, 30)
    os.kill(endpoint.pid, signal.SIGKILL)
    assert eventually(lambda: "unreachable" in replies, 30)
    before = len(acknowledged)
    killed = read_calls(endpoint.books)  # the books of a process that is dead
    assert unbacked(acknowledged[:before], killed) == set()
    again = operator.restart(endpoint, guard)
    try:
        assert eventually(lambda: len(acknowledged) > before + 200, 30)
        done.set()
        for thread in threads:
            thread.join()
        calls = read_calls(again.books)
    finally:
        done.set()
        guard.stop(again.pid)
    assert (again.url, again.books, again.pid != endpoint.pid) == (endpoint.url, endpoint.books, True)
    assert unbacked(acknowledged, calls) == set()
    assert written(calls[: len(killed)]) == written(killed)
    lost = next(call for call in calls if call.ref == acknowledged[0])  # planted: one row less is found
    assert unbacked(acknowledged, [call for call in calls if call is not lost]) == {lost.ref}


def test_withdrawals_are_in_the_books(start: Start) -> None:
    """What an investor is granted at once from several sides never exceeds what was received."""
    endpoint = start(A="applied_ok")["A"]
    with client(endpoint) as channel:
        channel.pay("r1", "u1", 1_000)

        def take() -> int:
            with client(endpoint) as own:
                return own.withdraw("u1", 300)

        assert sorted(together([take] * 6)) == [0, 0, 100, 300, 300, 300]
        account = channel.account("u1")
        assert account is not None
        assert (account.received_fen, account.balance_fen) == (1_000, 0)
    assert sum(each.amount_fen for each in read_withdrawals(endpoint.books)) == 1_000


def test_a_port_that_is_taken(start: Start, guard: Guard) -> None:
    """A fixed port is used; one that is taken, or given to nobody, is named before anything starts."""
    port = free_port()
    endpoint = start({"B": port}, A="applied_ok", B="applied_ok")["B"]
    assert endpoint.url == f"http://127.0.0.1:{port}"
    with pytest.raises(UsageError, match=f"channel A cannot have port {port}"):
        start({"A": port}, A="applied_ok")
    with pytest.raises(UsageError, match=f"channel B cannot have port {port}"):
        operator.restart(endpoint, guard)
    with pytest.raises(UsageError, match="no channel 'C' to give a port to"):
        start({"C": port}, A="applied_ok")
    with pytest.raises(UsageError, match="one port for two channels"):
        start(dict.fromkeys("AB", free_port()), A="applied_ok", B="applied_ok")


def test_books_of_another_run_are_not_continued(start: Start) -> None:
    """Starting in a folder that holds books is refused: two runs in one book would be the truth of neither."""
    start(A="applied_ok")
    with pytest.raises(UsageError, match="holds the books of another run"):
        start(A="applied_ok")


def test_an_endpoint_travels_as_json(start: Start) -> None:
    """What one process knows of a channel another one can be told."""
    endpoint = start(A="applied_ok")["A"]
    assert ChannelEndpoint.from_json(json.loads(json.dumps(endpoint.to_json()))) == endpoint


def test_it_stops_when_told_to(
    start: Start, guard: Guard, eventually: Callable[[Callable[[], bool], float], bool]
) -> None:
    """SIGTERM ends the service with code 0 and nothing in its log, callers who wait or not."""
    endpoint = start(A={"outcomes": {"applied_ok": 1.0}, "latency_s": 60.0, "timeout_s": 100.0})["A"]
    with client(endpoint) as channel:
        waiting = threading.Thread(target=lambda: replies.append(channel.pay("r1", "u1", 100)))
        replies: list[str] = []
        waiting.start()
        assert eventually(lambda: bool(read_calls(endpoint.books)), 30)
        guard.stop(endpoint.pid, grace_s=30)
        waiting.join()
        assert guard.returncode(endpoint.pid) == 0
        assert replies == ["timeout"]
        assert channel.pay("r2", "u1", 100) == "unreachable"
    assert endpoint.log.read_text() == ""
    assert [call.ref for call in read_calls(endpoint.books)] == ["r1"]


HARD_OF_HEARING = """
from oversold.platform.channels import service
async def never(request):
    return False
service._hung_up = never
service.main()
"""
STOPPED_S = 0.3  # how long a caller waits, and so a channel is stopped at least


def stopped_amid_calls(
    endpoint: ChannelEndpoint, eventually: Callable[[Callable[[], bool], float], bool]
) -> list[str]:
    """Stop a channel, let twelve callers lose patience and one keep it, and let it go on; return what it booked.

    Half of the impatient ones have a connection already, the others make one meanwhile.
    """
    terms = Terms(STOPPED_S, 0, 0, True, 60)
    hasty = [HttpChannel("A", endpoint.url, terms, f"w{number}") for number in range(12)]
    for channel in hasty[:6]:
        assert channel.query("r") == "not_found"
    patient: list[str] = []
    process = psutil.Process(endpoint.pid)
    with client(endpoint) as other:
        os.kill(endpoint.pid, signal.SIGSTOP)
        try:
            assert eventually(lambda: process.status() == psutil.STATUS_STOPPED, 30)
            waiting = threading.Thread(target=lambda: patient.append(other.pay("patient", "u1", 100)))
            waiting.start()
            calls = [partial(channel.pay, f"hasty-{n}", "u1", 100, "k") for n, channel in enumerate(hasty)]
            assert together(calls) == ["timeout"] * 12
        finally:
            os.kill(endpoint.pid, signal.SIGCONT)
        waiting.join()
        assert patient == ["ok"]
        assert other.pay("later", "u1", 100) == "ok"
    return sorted(call.ref for call in read_calls(endpoint.books))


def test_a_call_whose_caller_hung_up_before_its_turn_pays_nothing(
    start: Start,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Callable[[Callable[[], bool], float], bool],
) -> None:
    """What waited in the socket while the process was stopped is dropped if its caller has gone, and only then."""
    assert stopped_amid_calls(start(A="applied_ok")["A"], eventually) == ["later", "patient"]
    (tmp_path / "hard_of_hearing.py").write_text(HARD_OF_HEARING)  # planted: one that does not notice
    monkeypatch.setattr(operator, "SERVICE", "hard_of_hearing")
    booked = stopped_amid_calls(start(B="applied_ok")["B"], eventually)
    assert booked == [*sorted(f"hasty-{number}" for number in range(12)), "later", "patient"]


def test_a_stall_is_in_the_books(
    start: Start, guard: Guard, eventually: Callable[[Callable[[], bool], float], bool]
) -> None:
    """How long a channel stood still is entered when it goes on, also when it is told to end meanwhile."""
    endpoints = start(A="applied_ok", B="applied_ok")

    def stand_still(endpoint: ChannelEndpoint, *signals: int) -> None:
        process = psutil.Process(endpoint.pid)
        os.kill(endpoint.pid, signal.SIGSTOP)
        assert eventually(lambda: process.status() == psutil.STATUS_STOPPED, 30)
        before, begun = read_stall_ns(endpoint.books), now_ns()
        assert eventually(lambda: now_ns() - begun > 400_000_000, 30)
        assert read_stall_ns(endpoint.books) == before  # who stands still enters nothing
        for number in (*signals, signal.SIGCONT):
            os.kill(endpoint.pid, number)
        assert eventually(lambda: read_stall_ns(endpoint.books) > 300_000_000, 30)

    stand_still(endpoints["A"])
    stand_still(endpoints["B"], signal.SIGTERM)
    assert eventually(lambda: guard.returncode(endpoints["B"].pid) == 0, 30)


@pytest.mark.parametrize(
    ("log", "says"),
    [
        ("starting\nthe disk is full\n\n", r"\(status -9\); its log ends with: the disk is full$"),
        ("", "its log is empty$"),
    ],
)
def test_channels_alone_of_which_one_ends_by_itself(monkeypatch: pytest.MonkeyPatch, log: str, says: str) -> None:
    """The error says how its log ends, since that goes with its folder, and what was paid has been told before."""
    begin = operator.start

    def beginning(*arguments: Any) -> dict[str, ChannelEndpoint]:
        """Start them, pay one ref through both, and kill the second one."""
        endpoints = begin(*arguments)
        for endpoint in endpoints.values():
            with client(endpoint) as channel:
                channel.pay("r1", "u1", 100)
        endpoints["B"].log.write_text(log)
        os.kill(endpoints["B"].pid, signal.SIGKILL)
        return endpoints

    monkeypatch.setattr(operator, "start", beginning)
    late = {"outcomes": {"later_failed": 1.0}, "later_s": 1000.0, "timeout_s": 10.0}
    told = io.StringIO()
    with pytest.raises(HarnessError, match=f"channel B has ended by itself.*{says}"):
        standalone.serve(profile_of(A=late, B="applied_ok"), SEED, 0, None, Console(file=told))
    assert "1 of 1 refs were paid more than once: r1\n" in told.getvalue()


def test_openapi_teaches_every_route(start: Start) -> None:
    """/openapi.json lists every route with a summary, and no page loads scripts from elsewhere."""
    endpoint = start(A="applied_ok")["A"]
    document = ask(endpoint, "GET", "/openapi.json")[1]
    routes = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert routes == {
        "POST /payments",
        "GET /payments/{ref}",
        "POST /payments/{ref}/void",
        "GET /statement",
        "GET /accounts/{user_id}",
        "POST /accounts/{user_id}/withdrawals",
        "GET /terms",
        "GET /health",
    }
    for methods in document["paths"].values():
        assert all(each["summary"] for each in methods.values())
    assert {"201", "202", "402", "409", "504"} <= document["paths"]["/payments"]["post"]["responses"].keys()
    headers = {each["name"] for each in document["paths"]["/payments"]["post"]["parameters"]}
    assert headers == {"Idempotency-Key", "X-Caller"}
    models = document["components"]["schemas"]
    for name in ("PaymentRequest", "PaymentReply", "QueryAnswer", "VoidAnswer", "TermsAnswer", "AccountAnswer"):
        assert models[name]["description"]
    assert ask(endpoint, "GET", "/docs")[0] == 404
    assert ask(endpoint, "GET", "/redoc")[0] == 404


@contextmanager
def listener(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Listen on a port, do something with every connection, and yield the URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    answer(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_no_connection_is_unreachable(start: Start) -> None:
    """Only where nothing was sent does a pay call say unreachable; whoever asks then gets no answer."""
    channel = HttpChannel("A", f"http://127.0.0.1:{free_port()}", Terms(0.5, 0, 0, True, 60), "test")
    assert channel.pay("r1", "u1", 100) == "unreachable"
    assert (channel.query("r1"), channel.void("r1"), channel.statement()) == ("timeout", "timeout", {})
    assert (channel.account("u1"), channel.withdraw("u1")) == (None, 0)
    with pytest.raises(StoreUnavailableError, match="does not answer"):
        fetch_terms(f"http://127.0.0.1:{free_port()}")


@pytest.mark.parametrize(
    "answer",
    [
        lambda connection: connection.recv(10_000),  # heard it, and went
        lambda connection: connection.sendall(b"HTTP/1.1 201 Crea"),
        lambda connection: (connection.recv(10_000), connection.sendall(b"HTTP/1.1 201 Crea")),
        lambda connection: (connection.recv(10_000), connection.sendall(b"nonsense\r\n\r\n")),
        lambda connection: (
            connection.recv(10_000),
            connection.sendall(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"),
        ),
        lambda connection: (connection.recv(10_000), connection.recv(10_000), connection.recv(10_000)),  # silent
    ],
)
def test_an_answer_that_does_not_come_is_a_timeout(answer: Callable[[socket.socket], None]) -> None:
    """Once a call may have been heard, anything but a proper answer means that it may have paid."""
    with listener(answer) as url, closing(HttpChannel("A", url, Terms(0.3, 0, 0, True, 60), "test")) as channel:
        assert channel.pay("r1", "u1", 100, "k\n\x00é满") == "timeout"
        assert (channel.query("r1"), channel.void("r1"), channel.statement()) == ("timeout", "timeout", {})


def test_a_channel_that_was_cut_sends_nothing(start: Start) -> None:
    """After the cut every call raises what was given, also a call that was still connecting."""

    class Killed(BaseException):
        pass

    endpoint = start(A="applied_ok")["A"]
    with client(endpoint) as channel:
        assert channel.pay("r1", "u1", 100) == "ok"
        channel.cut(Killed())
        for call in (lambda: channel.pay("r2", "u1", 100), lambda: channel.query("r1"), channel.statement):
            with pytest.raises(Killed):
                call()
    with client(endpoint) as channel:
        connection = channel._pool.ConnectionCls
        connect = connection.connect

        def slowly(self: Any) -> None:
            connect(self)
            channel.cut(Killed())

        connection.connect = slowly  # type: ignore[method-assign]
        with pytest.raises(Killed):
            channel.pay("r3", "u1", 100)
    assert [call.ref for call in read_calls(endpoint.books)] == ["r1"]


GREEN = """
from gevent import monkey
monkey.patch_all()
import sys, time, gevent
from oversold.platform.channels.client import HttpChannel, fetch_terms
url = sys.argv[1]
terms = fetch_terms(url)
def work(number):
    channel = HttpChannel("A", url, terms, f"w{number}")
    return [channel.pay(f"r{number}-{n}", "u1", 100) for n in range(3)] + [channel.query(f"r{number}-0")]
jobs = [gevent.spawn(work, number) for number in range(20)]
gevent.joinall(jobs, raise_error=True)
print(sorted({word for job in jobs for word in job.value}))
"""


def test_clients_work_under_gevent(start: Start) -> None:
    """In a patched process the clients of many greenlets are in flight together in one thread."""
    slow = {"outcomes": {"applied_ok": 1.0}, "lie_cap": 10, "lie_slope": 1.0, "latency_s": 0.3, "timeout_s": 20.0}
    endpoint = start(A=slow)["A"]
    argv = [sys.executable, "-c", GREEN, endpoint.url]
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=100, check=False, env=package_environment()
    )
    # More than ten at a time make it lie; in turn they would not.
    assert done.stdout.strip() == "['failed', 'ok', 'success']", done.stderr
    assert len(read_calls(endpoint.books)) == 60
