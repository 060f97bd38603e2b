"""Parent of every process a run starts; when the run ends, however it ends, they and their folders go.

The guard is a small process of its own (standard library only, own session, so that Ctrl-C in the terminal
does not reach it). It starts servers and load generators on request, and reads those requests from a pipe.
The pipe closes when the run's process dies, even by SIGKILL: then the guard stops all it has started and
deletes the folders it has made. `Guard` is the handle that the run holds.

Requests and answers are one JSON object a line.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

GRACE_S = 3.0
PR_SET_PDEATHSIG = 1


def package_environment() -> dict[str, str]:
    """Return this process's environment, with this package importable even from a bare checkout."""
    package_parent = str(Path(__file__).parents[2])
    paths = filter(None, [package_parent, os.environ.get("PYTHONPATH")])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


class Guard:
    """Handle on a guard process. Use as a context manager: leaving it stops everything.

    Raises:
        OSError: a program could not be started (the guard's own answer).
    """

    def __init__(self) -> None:
        self._asked = 0
        self._lock = threading.Lock()  # servers are started by several threads side by side
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )

    @property
    def pid(self) -> int:
        """Process id of the guard itself."""
        return self._process.pid

    def folder(self, prefix: str) -> Path:
        """Make a private folder (mode 0700) that goes with the run."""
        return Path(str(self._ask({"op": "folder", "prefix": prefix})["path"]))

    def spawn(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        uid: int | None = None,
        gid: int | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> int:
        """Start a program in a session of its own; return its process id. Its output goes to `log`."""
        answer = self._ask(
            {
                "op": "spawn",
                "argv": list(argv),
                "log": str(log),
                "cwd": str(cwd) if cwd else None,
                "env": dict(env) if env is not None else None,
                "uid": uid,
                "gid": gid,
                "signal": int(stop_signal),
            }
        )
        return int(answer["pid"])

    def returncode(self, pid: int) -> int | None:
        """Return the exit status of a started program, None while it runs."""
        code = self._ask({"op": "poll", "pid": pid})["code"]
        return None if code is None else int(code)

    def stop(self, pid: int, grace_s: float = GRACE_S) -> None:
        """Stop a program and its children: its stop signal first, SIGKILL after `grace_s`."""
        self._ask({"op": "stop", "pid": pid, "grace_s": grace_s})

    def close(self) -> None:
        """Stop everything and wait until the guard has gone."""
        if self._process.stdin and not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):  # the guard has gone already
                self._process.stdin.close()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            with self._lock:
                self._asked += 1
                number = self._asked
                self._process.stdin.write(json.dumps({**request, "number": number}) + "\n")
                self._process.stdin.flush()
                # A second Ctrl-C may have left the answer to an earlier request in the pipe.
                answer: dict[str, Any] = {}
                while answer.get("number") != number:
                    answer = json.loads(self._process.stdout.readline())
        except (BrokenPipeError, ValueError):
            raise OSError("the guard process that keeps the servers has died") from None
        if "error" in answer:
            raise OSError(answer["error"])
        return answer


class _Keeper:
    """The guard's side: what was started, in order, and the folders made."""

    def __init__(self) -> None:
        self.children: dict[int, tuple[subprocess.Popen[bytes], int]] = {}
        self.folders: list[str] = []

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        op = request["op"]
        if op == "folder":
            path = tempfile.mkdtemp(prefix=request["prefix"])
            self.folders.append(path)
            return {"path": path}
        if op == "spawn":
            return self._spawn(request)
        child, stop_signal = self.children[request["pid"]]
        if op == "poll":
            return {"code": child.poll()}
        self._end([(child, stop_signal)], float(request["grace_s"]))
        return {}

    def _spawn(self, request: dict[str, Any]) -> dict[str, Any]:
        ids = {
            key: request[name] for key, name in (("user", "uid"), ("group", "gid")) if request[name] is not None
        }
        if ids:
            ids["extra_groups"] = []
        with open(request["log"], "ab") as log:  # noqa: PTH123 - the guard stays free of pathlib's import cost
            child = subprocess.Popen(
                request["argv"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=request["cwd"],
                env=request["env"],
                start_new_session=True,
                preexec_fn=_in_child,  # noqa: PLW1509 - the guard has no threads
                **ids,
            )
        self.children[child.pid] = (child, request["signal"])
        return {"pid": child.pid}

    def end_all(self) -> None:
        self._end(list(reversed(self.children.values())), GRACE_S)
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)

    @staticmethod
    def _end(children: list[tuple[subprocess.Popen[bytes], int]], grace_s: float) -> None:
        for child, stop_signal in children:
            if child.poll() is None:
                _signal_group(child.pid, stop_signal)
        deadline = time.monotonic() + grace_s
        for child, _ in children:
            while child.poll() is None and time.monotonic() < deadline:
                time.sleep(0.005)
            # The group may outlive its leader (forked workers): it goes in any case.
            _signal_group(child.pid, signal.SIGKILL)
            child.wait()


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # gone already
        os.killpg(pid, number)


def _in_child() -> None:
    """Undo what the guard ignores; on Linux the child follows the guard even when that is killed by SIGKILL."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _raise_exit(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def main() -> None:
    """Serve requests until the pipe closes; then stop and delete everything."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _raise_exit)
    keeper = _Keeper()
    try:
        for line in sys.stdin:
            request = json.loads(line)
            try:
                answer = keeper.answer(request)
            except Exception as error:  # noqa: BLE001 - every failure is an answer, never the guard's end
                answer = {"error": f"{error}"}
            try:
                print(json.dumps({**answer, "number": request["number"]}), flush=True)
            except BrokenPipeError:
                break
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        keeper.end_all()
        # A dead reader must not turn the interpreter's last flush into an error message.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    main()
