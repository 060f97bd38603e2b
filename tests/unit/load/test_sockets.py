"""The lanes' own sockets, in a process of their own that gevent has patched, as those of workers are."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PATCHED = r"""
from gevent import monkey
monkey.patch_all()
import gevent, socket, time
from gevent.event import Event
from oversold.load.sockets import LaneSockets
from oversold.services.mapping import Service
from oversold.services.wire import Connection, NoAnswerError, NotSentError, address_of
from tests.scripted_service import ScriptedService, answer

sockets = LaneSockets()
request = b"GET / HTTP/1.1\r\n\r\n"

def connect(server, timeout_s=5.0):
    address = address_of(Service(name="shop", url=f"http://127.0.0.1:{server.port}", timeout_s=timeout_s))
    return Connection(address, sockets.adopt)

def told(connection, data=request):
    try:
        return connection.ask(data).status
    except (NoAnswerError, NotSentError) as error:
        return str(error)

def together(client):
    seen.append(client)
    if len(seen) == 2:
        both.set()
    both.wait()
    client.sendall(answer(201))

both, seen = Event(), []
with ScriptedService(together, together, answer(200)) as server:
    asked = [gevent.spawn(told, connect(server)) for _ in range(2)]
    gevent.joinall(asked, raise_error=True)
    print("together", [one.value for one in asked])

with ScriptedService(answer(200), answer(201), None) as server:
    one = connect(server)
    print("kept", told(one), told(one), server.connections)
    print("left", told(one))

with ScriptedService(answer(200)) as server:
    one = connect(server)
    told(one)
    server.hang_up()
    gevent.sleep(0)
    print("idle", told(one), server.connections)

def dribble(client):
    for byte in answer(200):
        client.sendall(bytes([byte]))
        gevent.sleep(0.02)

with ScriptedService(lambda client: gevent.sleep(5)) as silent, ScriptedService(dribble) as slow:
    print("late", {told(connect(server, 0.1)) for server in (silent, slow)})

parts = b"POST / HTTP/1.1\r\nContent-Length: 8000000\r\n\r\n" + b"x" * 8_000_000
with ScriptedService(answer(201)) as server:
    print("large", told(connect(server), parts), server.requests == [parts])

with socket.create_server(("127.0.0.1", 0)) as deaf:
    address = address_of(Service(name="shop", url=f"http://127.0.0.1:{deaf.getsockname()[1]}", timeout_s=0.1))
    print("deaf", told(Connection(address, sockets.adopt), parts))

for line in list(sockets._open):
    line.close()
sockets._keeper.join(timeout=5)
print("keeper", bool(sockets._keeper), len(sockets._open))
with ScriptedService(answer(200), lambda client: gevent.sleep(5)) as server:
    one = connect(server, 0.1)
    print("again", told(one), told(one))
"""
EXPECTED = """\
together [201, 201]
kept 200 201 1
left the service closed the connection after the request was sent, and did not answer all of it
idle 200 2
late {'the service did not answer in time'}
large 201 True
deaf the service did not answer in time
keeper False 0
again 200 the service did not answer in time
"""


@pytest.mark.slow
def test_lane_sockets():
    """Lanes wait side by side; connections are kept; what is closed, silent, slow or deaf ends the wait in
    time; and the keeper of time-outs ends with the last socket, and begins again with the next."""
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
    assert run.stdout == EXPECTED, run.stderr
