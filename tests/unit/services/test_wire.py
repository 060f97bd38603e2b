"""One HTTP connection: what is sent once, what is known of it afterwards, and what ends the wait."""

import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.scripted_service import ScriptedService, answer

from oversold.errors import UsageError
from oversold.services import wire
from oversold.services.mapping import Service
from oversold.services.reader import MAX_LIST_BYTES, MAX_REPLY_BYTES, NOT_HTTP, Reader
from oversold.services.wire import (
    Connection,
    NoAnswerError,
    NotHttpError,
    NotSentError,
    Reply,
    address_of,
    ask_once,
)
from oversold.stores.endpoint import free_port

REQUEST = b"POST /bids HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n{}"
OK = answer(201, b"first")
SHORT_S = 0.15


def service(url, timeout_s=5.0, **fields):
    """Return a service that has a URL and nothing else of its own."""
    return Service(name="shop", url=url, timeout_s=timeout_s, **{"connect_timeout_s": 2.0, **fields})


@pytest.fixture
def connect():
    """Return a function that connects to a service; all that it opened is closed."""
    opened = []

    def connect(server, **fields):
        opened.append(Connection(address_of(service(server.url, **fields))))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


def settle(condition):
    """Wait until something that other threads do has happened."""
    for _ in range(200):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("it did not happen")


def test_connection_is_kept(connect):
    """Two requests go over one connection, and each gets its own answer."""
    with ScriptedService(OK, answer(409, b"second", "Location: /bids/7")) as server:
        connection = connect(server)
        assert connection.ask(REQUEST) == Reply(201, b"first", None)
        assert connection.ask(REQUEST) == Reply(409, b"second", "/bids/7")
        assert (server.connections, server.requests) == (1, [REQUEST, REQUEST])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (answer(201, b""), Reply(201, b"", None)),
        (b"HTTP/1.1 204 No Content\r\n\r\n", Reply(204, b"", None)),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", Reply(304, b"", None)),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
            Reply(200, b"abcde", None),
        ),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK,
            Reply(201, b"first", None),
        ),
        (answer(302, b"", "LOCATION: http://elsewhere/"), Reply(302, b"", "http://elsewhere/")),
        (answer(202, b"", "Location: /b/\xe9"), Reply(202, b"", "/b/Ã©")),
    ],
)
def test_kinds_of_answer(connect, data, expected):
    """Whatever form an answer has, it ends where HTTP says, and the next one comes over the same connection."""
    with ScriptedService(data, OK) as server:
        connection = connect(server)
        assert connection.ask(REQUEST) == expected
        assert connection.ask(REQUEST).body == b"first"
        assert server.connections == 1


@given(cuts=st.lists(st.integers(1, 200), max_size=20))
def test_answer_in_parts(cuts):
    """However the network cuts an answer, it is the same answer, and whole with its last byte only."""
    data = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 A\r\nLocation: /b/7\r\nTransfer-Encoding: chunked\r\n\r\n"
    data += b'4\r\n{"a"\r\n4\r\n: 1}\r\n0\r\n\r\n'
    places = sorted({cut for cut in cuts if cut < len(data)})
    reader = Reader()
    reader.begin()
    *parts, last = [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
    assert not any(reader.feed(part) for part in parts)
    assert reader.feed(last) == Reply(202, b'{"a": 1}', "/b/7")
    assert reader.keeps_open


@pytest.mark.parametrize("says", ["HTTP/1.1 200 OK\r\nConnection: close\r\n", "HTTP/1.0 200 OK\r\n"])
def test_close_is_honoured(connect, says):
    """A service that says it closes the connection gets a new one for the next request, and none is lost."""
    with ScriptedService(f"{says}Content-Length: 2\r\n\r\n{{}}".encode()) as server:
        connection = connect(server)
        assert [connection.ask(REQUEST).status for _ in range(3)] == [200] * 3
        assert (server.connections, len(server.requests)) == (3, 3)


def test_end_of_connection_ends_a_body(connect):
    """An answer that does not say its length ends with its connection."""

    def unsized(client):
        client.sendall(b"HTTP/1.0 200 OK\r\n\r\nall ")
        client.sendall(b"of it")
        client.shutdown(socket.SHUT_RDWR)

    with ScriptedService(unsized, OK) as server:
        connection = connect(server)
        assert connection.ask(REQUEST) == Reply(200, b"all of it", None)
        assert connection.ask(REQUEST).body == b"first"


@pytest.mark.parametrize("greeting", [b"", answer(408)])
def test_idle_connection_was_closed(connect, greeting):
    """A connection that was closed while idle, with or without a last word, is opened again: nothing was sent, and
    the request arrives once."""
    with ScriptedService(OK) as server:
        connection = connect(server)
        connection.ask(REQUEST)
        server.say(greeting)
        server.hang_up()
        assert connection.ask(REQUEST) == Reply(201, b"first", None)
        assert (server.connections, len(server.requests)) == (2, 2)


def test_unasked_bytes(connect):
    """What a service sends without being asked is not taken for the answer to the next request."""
    with ScriptedService(OK) as server:
        connection = connect(server)
        connection.ask(REQUEST)
        server.say(answer(500, b"unasked"))
        assert connection.ask(REQUEST).body == b"first"
        assert server.connections == 2


@pytest.mark.parametrize("rest", [answer(500, b"more"), b"garbage"])
def test_bytes_behind_an_answer(connect, rest):
    """What comes right behind a whole answer belongs to nobody, and its connection is given up."""
    with ScriptedService(OK + rest, answer(200, b"mine")) as server:
        connection = connect(server)
        assert connection.ask(REQUEST).body == b"first"
        assert connection.ask(REQUEST).body == b"mine"
        assert server.connections == 2


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 201 Cre", OK[:-1], b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_closed_after_sending(connect, part):
    """When the connection ends after the request was sent, nobody knows the end of it: it is not sent again."""

    def leave(client):
        client.sendall(part)
        client.shutdown(socket.SHUT_RDWR)

    with ScriptedService(leave, OK) as server:
        connection = connect(server)
        with pytest.raises(NoAnswerError, match="closed the connection after"):
            connection.ask(REQUEST)
        assert server.requests == [REQUEST]
        assert connection.ask(REQUEST).body == b"first"


def test_reset_after_sending(connect):
    """A connection that is reset after the request was sent leaves it unknown as well."""

    def reset(client):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()

    with ScriptedService(reset) as server, pytest.raises(NoAnswerError, match="connection was lost"):
        connect(server).ask(REQUEST)
    assert server.requests == [REQUEST]


def test_lost_between_check_and_sending(connect, monkeypatch):
    """A connection that breaks before it takes the first byte is opened again, and the request arrives once."""
    with ScriptedService(OK) as server:
        connection = connect(server)
        connection.open().shutdown(socket.SHUT_WR)
        monkeypatch.setattr(wire, "_spent", lambda *_: False)
        assert connection.ask(REQUEST).body == b"first"
        assert (server.connections, len(server.requests)) == (2, 1)


def test_timeout_is_for_the_whole_answer(connect):
    """A service that sends a byte now and then does not keep a request waiting for longer than its time."""

    def dribble(client):
        for byte in OK:
            client.sendall(bytes([byte]))
            time.sleep(SHORT_S / 5)

    with ScriptedService(dribble) as server, pytest.raises(NoAnswerError, match="in time"):
        connect(server, timeout_s=SHORT_S).ask(REQUEST)


def test_late_answer_is_nobodys(connect):
    """An answer that comes after its time is not taken for that to the next request."""

    def late(client):
        time.sleep(2 * SHORT_S)
        client.sendall(answer(200, b"late"))

    with ScriptedService(late, OK) as server:
        connection = connect(server, timeout_s=SHORT_S)
        with pytest.raises(NoAnswerError, match="in time"):
            connection.ask(REQUEST)
        connection._address = connection._address._replace(timeout_s=5)
        assert connection.ask(REQUEST).body == b"first"


def test_time_of_one_answer_is_not_that_of_the_next(connect):
    """An answer that came in parts leaves the next one all of its time."""

    def halves(client):
        client.sendall(OK[:20])
        time.sleep(0.02)
        client.sendall(OK[20:])

    with ScriptedService(halves) as server:
        connection = connect(server, timeout_s=5)
        ready = connection.open()
        assert connection.ask(REQUEST).body == b"first"
        assert ready.gettimeout() == 5


def test_interrupted_wait(connect, monkeypatch):
    """Whoever is thrown out of the wait for an answer does not leave it to the next request."""

    class ThrownOut(BaseException):
        pass

    def thrown(*_):
        settle(lambda: server.requests)
        raise ThrownOut

    with ScriptedService(answer(200, b"old"), OK) as server:
        connection = connect(server)
        with monkeypatch.context() as patch:
            patch.setattr(Connection, "_receive", thrown)
            with pytest.raises(ThrownOut):
                connection.ask(REQUEST)
        assert connection.ask(REQUEST).body == b"first"


@pytest.mark.parametrize(
    "data",
    [b"+OK redis here\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\0" * 50, b"HTTP/1.1 101 Switch\r\nUpgrade: x\r\n\r\n"],
)
def test_not_http(connect, data):
    """What is no HTTP is told as such; the request may have been done all the same."""
    with ScriptedService(data, OK) as server:
        connection = connect(server)
        with pytest.raises(NotHttpError, match=NOT_HTTP):
            connection.ask(REQUEST)
        assert connection.ask(REQUEST).body == b"first"


@pytest.mark.parametrize(
    "data",
    [answer(200, b"x" * 2 * MAX_REPLY_BYTES), b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * MAX_REPLY_BYTES],
    ids=["body", "headers"],
)
def test_too_large(connect, data):
    """An answer beyond 1 MiB is given up in one line, without being kept in memory."""
    with ScriptedService(data) as server, pytest.raises(NotHttpError) as raised:
        connect(server).ask(REQUEST)
    assert "\n" not in str(raised.value)


def test_a_list_may_be_longer():
    """Whoever asks for all orders allows for more, and no more than that."""
    body = b"x" * 3 * MAX_REPLY_BYTES
    with ScriptedService(answer(200, body)) as server:
        assert ask_once(service(server.url), REQUEST, most_bytes=MAX_LIST_BYTES).body == body
        with pytest.raises(NotHttpError, match="larger than 2,097,152 bytes"):
            ask_once(service(server.url), REQUEST, most_bytes=2 * MAX_REPLY_BYTES)


def test_one_connection_serves_a_whole_run(connect):
    """Hundreds of requests, one thread after the other, and connections that are closed now and then: each request
    has its own answer and arrives once."""
    acts = [answer(200, b"%d" % n, *(["Connection: close"] if n % 7 == 6 else [])) for n in range(300)]
    with ScriptedService(*acts) as server:
        connection = connect(server)
        heard = []

        def ask():
            heard.extend(int(connection.ask(REQUEST).body) for _ in range(100))

        for _ in range(3):
            thread = threading.Thread(target=ask)
            thread.start()
            thread.join()
            server.hang_up()  # idle for too long
        assert heard == list(range(300))
        assert len(server.requests) == 300
        assert server.connections == 1 + 42 + 2


def test_large_request(connect):
    """A request that fills all buffers of the network arrives whole."""
    body = b"x" * 8_000_000
    request = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with ScriptedService(OK) as server:
        assert connect(server).ask(request).status == 201
        assert server.requests == [request]


def test_nothing_listens():
    """Where nothing listens, nothing was sent, and the reason is told."""
    with pytest.raises(NotSentError, match="nothing listens there"):
        ask_once(service(f"http://127.0.0.1:{free_port()}"), REQUEST)


def test_connection_is_not_taken_in_time():
    """A service whose backlog is full does not keep us beyond the time for connecting."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            slow = service(f"http://127.0.0.1:{port}").model_copy(update={"connect_timeout_s": 0.05})
            with pytest.raises(NotSentError, match="did not take the connection in time"):
                ask_once(slow, REQUEST)


def test_unknown_host(monkeypatch):
    """A host name that nobody knows is told as such."""

    def unknown(*_):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", unknown)
    with pytest.raises(NotSentError, match="host name is not known"):
        ask_once(service("http://nowhere.invalid"), REQUEST)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://localhost", "localhost", 80),
        ("http://127.0.0.1:8080/shop", "127.0.0.1", 8080),
        ("http://[::1]:81", "::1", 81),
        ("https://shop.test", "shop.test", 443),
    ],
)
def test_address(url, host, port):
    """A URL without a port has its scheme's; with https there is a TLS context."""
    address = address_of(service(url))
    assert (address.host, address.port, address.tls is not None) == (host, port, url.startswith("https"))


def test_useless_ca_file(tmp_path):
    """A ca_file that is missing, or holds no certificate, is told in one line before anything is sent."""
    (tmp_path / "empty.pem").write_text("nothing")
    for name, told in (("none.pem", "no such file"), ("empty.pem", "cannot be used")):
        with pytest.raises(UsageError, match=told) as raised:
            address_of(service("https://shop.test", ca_file=str(tmp_path / name)))
        assert "\n" not in str(raised.value)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Return a key and a self-signed certificate of 127.0.0.1, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    try:
        subprocess.run([*words, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    both = folder / "both.pem"
    both.write_text(key.read_text() + certificate.read_text())
    return both


def test_tls(connect, certificate):
    """With https the connection is kept as well, and one that was closed while idle is opened again."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    with ScriptedService(OK, tls=context) as server:
        connection = connect(server, ca_file=str(certificate))
        assert [connection.ask(REQUEST).body for _ in range(3)] == [b"first"] * 3
        assert server.connections == 1
        server.hang_up()
        assert connection.ask(REQUEST).body == b"first"
        assert (server.connections, len(server.requests)) == (2, 4)


def test_tls_that_cannot_be_trusted(connect, certificate):
    """A certificate that nobody we know has signed, or no TLS at all, means: not sent, and why."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    with ScriptedService(OK, tls=context) as server:
        with pytest.raises(NotSentError, match=r"not trusted.*ca_file"):
            connect(server).ask(REQUEST)
        assert not server.requests
    with ScriptedService(b"HTTP/1.1 400 Bad\r\n\r\n") as plain:
        plain.url = plain.url.replace("http:", "https:")
        with pytest.raises(NotSentError, match=r"does not speak TLS|connection failed|in time"):
            connect(plain, connect_timeout_s=SHORT_S).ask(REQUEST)


PATCHED = """
from gevent import monkey
monkey.patch_all()
import gevent
from gevent.event import Event
from oversold.services.mapping import Service
from oversold.services.wire import Connection, NoAnswerError, address_of
from tests.scripted_service import ScriptedService, answer

both, seen = Event(), []

def together(client):
    seen.append(client)
    if len(seen) == 2:
        both.set()
    both.wait()
    client.sendall(answer(201))

with ScriptedService(together, together, answer(200), lambda client: gevent.sleep(1)) as server:
    address = address_of(Service(name="shop", url=server.url, timeout_s=5))
    one, two = Connection(address), Connection(address)
    request = b"GET / HTTP/1.1\\r\\n\\r\\n"
    asked = [gevent.spawn(connection.ask, request) for connection in (one, two)]
    gevent.joinall(asked, raise_error=True)
    server.hang_up()
    gevent.sleep(0)
    assert one.ask(request).status == 200
    two._address = address._replace(timeout_s=0.1)
    try:
        two.ask(request)
    except NoAnswerError as error:
        print(server.connections, error)
"""


def test_under_gevent():
    """In a patched process connections wait side by side, and closed ones and time-outs are noticed as well."""
    root = Path(__file__).parents[3]
    run = subprocess.run(
        [sys.executable, "-c", PATCHED],
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.stdout == "4 the service did not answer in time\n", run.stderr
