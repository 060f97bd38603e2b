"""Whatever ends a run, what its guard started and made is gone; the guard answers truly meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

import oversold
from oversold.stores.guard import Guard

pytestmark = pytest.mark.servers

Eventually = Callable[[Callable[[], bool], float], bool]

FAMILY = ["sh", "-c", "(sleep 600; true) & sleep 600 & wait"]
KIN = 4  # the shell, its subshell, and the two that sleep
STUBBORN = ["sh", "-c", "trap '' TERM; echo ready; exec sleep 600"]
ORPHANING = ["sh", "-c", "sleep 600 & echo $!"]  # ends at once and leaves a child in its group
GONE_S = 15.0  # generous: a program that ignores its stop signal is given 3 s
OWNER = """
import json, subprocess, sys, time
from pathlib import Path
from oversold.stores.guard import Guard

guard = Guard()
folder = guard.folder("oversold-test-")
log = folder / "stubborn.log"
family = guard.spawn(json.loads(sys.argv[1]), log=folder / "family.log")
stubborn = guard.spawn(json.loads(sys.argv[2]), log=log, cwd=folder)
while "ready" not in log.read_text():
    time.sleep(0.01)
outside = subprocess.Popen(["sleep", "600"], start_new_session=True, stdout=subprocess.DEVNULL)
(folder / "data").mkdir()
(folder / "data" / "file").write_text("x")
print(json.dumps({"guard": guard.pid, "family": family, "stubborn": stubborn, "outside": outside.pid,
                  "folder": str(folder)}), flush=True)
sys.stdin.readline()
guard.close()
"""


def alive(pid: int) -> bool:
    """Return whether a process runs; a dead one that nobody has waited for does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def kin(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    with suppress(psutil.NoSuchProcess):
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    return []


@dataclass
class Estate:
    """What an owner leaves: its guard's processes, their folder, and one process that the guard does not know."""

    owner: subprocess.Popen[str]
    guard: int
    pids: list[int]
    folder: Path
    outside: int


def settle(eventually: Eventually) -> Estate:
    """Start a process that owns a guard with a family, a stubborn program and a folder."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, json.dumps(FAMILY), json.dumps(STUBBORN)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # SIGINT makes a traceback
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(oversold.__file__).parents[1])},
    )
    assert owner.stdout
    told = json.loads(owner.stdout.readline())
    assert eventually(lambda: len(kin(told["family"])) == KIN, GONE_S)
    pids = [*kin(told["family"]), told["stubborn"]]
    return Estate(owner, told["guard"], pids, Path(told["folder"]), told["outside"])


def end(estate: Estate, how: str) -> None:
    """End an owner, or let it close its guard."""
    if how == "close":
        assert estate.owner.stdin
        estate.owner.stdin.write("close\n")
        estate.owner.stdin.flush()
    else:
        estate.owner.send_signal(signal.Signals[how])


ENDS = ["close", "SIGKILL", "SIGTERM", "SIGINT"]


@pytest.fixture(scope="module")
def estates() -> Iterator[Mapping[str, Estate]]:
    """One owner for each way to end, all ended at about the same time."""

    def eventually(true: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not true() and time.monotonic() < deadline:
            time.sleep(0.01)
        return true()

    left = {how: settle(eventually) for how in ENDS}
    for how, estate in left.items():
        assert all(map(alive, [estate.guard, *estate.pids, estate.outside]))
        assert (estate.folder / "data" / "file").exists()
        end(estate, how)
    yield left
    for estate in left.values():
        for pid in filter(alive, [*estate.pids, estate.outside]):
            os.kill(pid, signal.SIGKILL)
        estate.owner.kill()
        estate.owner.communicate()


@pytest.mark.parametrize("how", ENDS)
def test_nothing_is_left(estates: Mapping[str, Estate], eventually: Eventually, how: str) -> None:
    """However the owner ends, processes, their grandchildren, folders and the guard itself go."""
    estate = estates[how]
    assert eventually(lambda: not any(map(alive, [*estate.pids, estate.guard])), GONE_S)
    assert not estate.folder.exists()
    assert estate.owner.wait(GONE_S) == (0 if how == "close" else -signal.Signals[how])


@pytest.mark.parametrize("how", ENDS)
def test_what_the_guard_did_not_start_survives(
    estates: Mapping[str, Estate], eventually: Eventually, how: str
) -> None:
    """Planted: a process that its owner started without the guard lives on, and the same look finds it."""
    estate = estates[how]
    assert eventually(lambda: not alive(estate.guard), GONE_S)
    assert alive(estate.outside)


def test_guard_is_out_of_the_terminals_reach(guard: Guard) -> None:
    """Ctrl-C in a terminal does not reach the guard or its programs: each has a session of its own."""
    assert len({os.getsid(0), os.getsid(guard.pid)}) == 2


def test_killed_guard_takes_its_programs_along(tmp_path: Path, eventually: Eventually) -> None:
    """On Linux even SIGKILL of the guard itself ends its programs; its owner is told at the next request."""
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux has this")
    with Guard() as guard:
        pid = guard.spawn(["sleep", "600"], log=tmp_path / "log")
        os.kill(guard.pid, signal.SIGKILL)
        assert eventually(lambda: not alive(pid), GONE_S)
        with pytest.raises(OSError, match="has died"):
            guard.returncode(pid)


def test_program_that_cannot_be_started(guard: Guard, tmp_path: Path) -> None:
    """It is an OSError that names the program, and the guard goes on serving."""
    with pytest.raises(OSError, match="no-such-program"):
        guard.spawn([str(tmp_path / "no-such-program")], log=tmp_path / "log")
    (tmp_path / "plain").write_text("no program")
    with pytest.raises(OSError, match="ermission"):
        guard.spawn([str(tmp_path / "plain")], log=tmp_path / "log")
    with pytest.raises(OSError, match="no-such-folder"):
        guard.spawn(["true"], log=tmp_path / "no-such-folder" / "log")
    with pytest.raises(OSError, match="999999999"):
        guard.returncode(999_999_999)
    assert guard.spawn(["true"], log=tmp_path / "log") > 0


def test_returncode(guard: Guard, tmp_path: Path, eventually: Eventually) -> None:
    """It is None while the program runs, then its exit status, or minus the signal that ended it."""
    waiting, failing = (
        guard.spawn(["sh", "-c", text], log=tmp_path / "log") for text in ("exec sleep 600", "echo reason; exit 7")
    )
    assert eventually(lambda: guard.returncode(failing) is not None, GONE_S)
    assert guard.returncode(failing) == 7
    assert (tmp_path / "log").read_text() == "reason\n"
    assert guard.returncode(waiting) is None
    os.kill(waiting, signal.SIGKILL)
    assert eventually(lambda: guard.returncode(waiting) == -signal.SIGKILL, GONE_S)


def test_stop_ends_the_whole_group(guard: Guard, tmp_path: Path, eventually: Eventually) -> None:
    """Stopping a program ends its children and grandchildren, and no other program."""
    family = guard.spawn(FAMILY, log=tmp_path / "log")
    other = guard.spawn(["sleep", "600"], log=tmp_path / "log")
    assert eventually(lambda: len(kin(family)) == KIN, GONE_S)
    members = kin(family)
    guard.stop(family)
    assert guard.returncode(family) == -signal.SIGTERM
    assert eventually(lambda: not any(map(alive, members)), GONE_S)
    assert alive(other)
    guard.stop(other)
    assert not alive(other)
    guard.stop(other)  # once more is no error


def test_stop_ends_a_group_whose_leader_has_gone(guard: Guard, tmp_path: Path, eventually: Eventually) -> None:
    """A program that has ended by itself may have left children; stopping it ends them."""
    log = tmp_path / "log"
    leader = guard.spawn(ORPHANING, log=log)
    assert eventually(lambda: guard.returncode(leader) == 0, GONE_S)
    orphan = int(log.read_text())
    assert alive(orphan)
    guard.stop(leader)
    assert eventually(lambda: not alive(orphan), GONE_S)


def test_stop_is_patient_first(guard: Guard, tmp_path: Path, eventually: Eventually) -> None:
    """A program gets the stop signal that it wants, and SIGKILL only when it ignores that."""
    log = tmp_path / "log"
    text = "trap 'exit 5' HUP; echo ready; while :; do sleep 0.05; done"
    polite = guard.spawn(["sh", "-c", text], log=log, stop_signal=signal.SIGHUP)
    assert eventually(lambda: "ready" in log.read_text(), GONE_S)
    guard.stop(polite, 10.0)
    assert guard.returncode(polite) == 5
    log.write_text("")
    stubborn = guard.spawn(STUBBORN, log=log)
    assert eventually(lambda: "ready" in log.read_text(), GONE_S)
    guard.stop(stubborn, 0.1)
    assert guard.returncode(stubborn) == -signal.SIGKILL


def test_program_can_be_stopped_by_sigint(guard: Guard, tmp_path: Path) -> None:
    """A program that has said nothing of SIGINT ends by it, as it would in a terminal."""
    pid = guard.spawn(["sleep", "600"], log=tmp_path / "log", stop_signal=signal.SIGINT)
    guard.stop(pid, 0.5)
    assert guard.returncode(pid) == -signal.SIGINT


def test_folder_is_private(guard: Guard) -> None:
    """A folder is for this user alone, and new at each request."""
    folder = guard.folder("oversold-private-")
    assert folder.name.startswith("oversold-private-")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert guard.folder("oversold-private-") != folder
