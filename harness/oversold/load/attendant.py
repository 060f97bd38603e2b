"""Plain `locust -f`: the process that keeps the stores and audits, since Locust's own is patched by gevent."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from oversold.plan import Kind

# Locust's option, and the flag that it becomes: `--profile` is taken by Locust itself.
OWN: Mapping[Kind, tuple[str, str]] = {"bids": ("capacity", "--capacity"), "payouts": ("channels", "--profile")}

log = logging.getLogger("oversold")


class Attendant:
    """A child process that runs `oversold attend`: it has the stores up when it answers, and audits at the end.

    When this process dies, even by SIGKILL, the pipe to the attendant closes, and it cleans up.

    Raises:
        RuntimeError: it could not begin; the text is its one-line reason.
    """

    def __init__(self, scenario: str, drives: Kind, options: Any, users: int, processes: int) -> None:
        argv = [sys.executable, "-m", "oversold", "attend", scenario]
        for option in ("strategy", "seed", "lanes", "rtt", "out"):
            argv += [f"--{option}", getattr(options, option)]
        option, flag = OWN[drives]
        argv += [flag, getattr(options, option)]
        argv += ["--users", str(users), "--processes", str(processes)]
        if options.preset:
            argv += ["--preset", options.preset]
        for pair in filter(None, options.settings.split(",")):
            argv += ["--set", pair]
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            _, errors = self._process.communicate()
            raise RuntimeError(errors.strip() or "the attendant of the stores did not start")
        self.assignment: str = json.dumps(json.loads(line)["assignment"])

    def finish(self) -> int:
        """Ask for the audit, show its table, return the verdict's exit code."""
        _, text = self._process.communicate("finish\n")
        for row in text.rstrip().splitlines():
            log.warning("%s", row)
        return self._process.returncode
