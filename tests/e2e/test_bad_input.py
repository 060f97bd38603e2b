"""Bad input: one line that names the cause and the mend, exit code 2, nothing left running."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., Any]
RUN = ["run", "bid-burst", "-s", "redis-lua"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "bid-bust", "-s", "none"], "did you mean bid-burst?"),
        (["run", "bid-burst", "-s", "redis-lau"], "did you mean redis-lua"),
        (["run", "bid-burst"], "--strategy"),
        ([*RUN, "--set", "ful_when=reserved"], "did you mean full_when"),
        ([*RUN, "--set", "full_when"], "key=value"),
        ([*RUN, "--set", "full_when=maybe"], "'reserved' or 'confirmed'"),
        ([*RUN, "--set", "p=1.5"], "p='1.5'"),
        ([*RUN, "--users", "0"], "--users 0"),
        ([*RUN, "--users", "-5"], "--users -5"),
        ([*RUN, "--users", "many"], "--users many"),
        ([*RUN, "--users", "99999999999"], "less than or equal to"),
        ([*RUN, "--users", "1.5"], "--users 1.5"),
        ([*RUN, "--capacity", "0"], "--capacity 0"),
        ([*RUN, "--capacity", "nan"], "--capacity nan"),
        ([*RUN, "--seed", "-1"], "--seed -1"),
        ([*RUN, "--lanes", "4096", "--processes", "64"], "use at most --lanes"),
        ([*RUN, "--rtt", "fast"], "no duration"),
        ([*RUN, "--preset", "sed"], "did you mean seed?"),
        ([*RUN, "--stores", "cloud"], "use auto, local or docker"),
        ([*RUN, "--redis-url", "redis://127.0.0.1:1"], "does not answer"),
        ([*RUN, "--redis-url", "http://127.0.0.1"], "must look like redis://"),
        ([*RUN, "--redis-url", "redis://192.0.2.1:6379"], "not this machine"),
        ([*RUN, "--sql-url", "postgresql://u:secret@127.0.0.1:1/x"], "does not answer"),
        ([*RUN, "--out", "/dev/null/x"], "not a folder"),
        (["run", "bid-burst", "-s", "missing.py:Shop"], "does not exist"),
        (["compare", "bid-burst", "-s", ","], "empty"),
        (["compare", "bid-burst", "-s", "none", "--repeat", "0"], "--repeat 0"),
        (["compare", "bid-burst", "-s", "none", "-u", "100,x"], "--users x"),
        (["report", "nowhere"], "holds no run"),
        (["frobnicate"], "frobnicate"),
        (["run", "bid-burst", "-s", "名前"], "unknown strategy"),
    ],
)
def test_one_line_and_exit_2(within: Call, tmp_path: Path, words: list[str], says: str) -> None:
    """The message is one line on stderr without a traceback, and no folder is made."""
    said = within(*words)
    assert said.code == 2, said.err
    assert said.out == ""
    lines = said.err.strip().splitlines()
    assert len(lines) == 1, said.err
    assert lines[0].startswith("oversold: ")
    assert says in lines[0]
    assert "secret" not in said.err
    assert not (tmp_path / "reports").exists()


def test_a_server_that_takes_connections_but_never_answers(within: Call) -> None:
    """A port held by something silent is told like a port held by nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = within(*RUN, "--redis-url", f"redis://127.0.0.1:{silent.getsockname()[1]}")
    assert said.code == 2
    assert "does not answer" in said.err


def test_config_files_and_environment(within: Call, tmp_path: Path) -> None:
    """A config file sets defaults, the environment beats it, a flag beats both; a wrong key is told."""
    (tmp_path / "oversold.toml").write_text('users = "nonsense-from-file"\n')
    assert "nonsense-from-file" in within(*RUN).err
    assert "from-environment" in within(*RUN, env={"OVERSOLD_USERS": "from-environment"}).err
    assert "from-flag" in within(*RUN, "--users", "from-flag", env={"OVERSOLD_USERS": "x"}).err
    misspelt = within("list", "scenarios", env={"OVERSOLD_USRES": "5"})
    assert misspelt.code == 0
    assert "OVERSOLD_USRES is unknown (did you mean OVERSOLD_USERS" in misspelt.err
    (tmp_path / "oversold.toml").write_text("usres = 5\n")
    assert "did you mean users" in within(*RUN).err


def test_help_teaches(within: Call, oversold: Call) -> None:
    """--help shows an example and the exit codes; --version one line. A process of its own exits with the code."""
    wrong = oversold("run", "bid-bust", "-s", "none")
    assert (wrong.code, wrong.out, wrong.err.count("\n")) == (2, "", 1)
    assert "Exit codes" in within("--help").out
    assert "Example" in within("run", "--help").out
    profiles = within("list", "profiles").out
    assert "hostile" in profiles
    assert "row-lock" not in profiles, "one section only"
    assert "did you mean profiles" in within("list", "profile").err
    assert within("--version").out.startswith("oversold 0")
