"""The files that a pipeline asked for by name: found unwritable before the run, written after it."""

from __future__ import annotations

import os
from pathlib import Path

from oversold.errors import UsageError


def check_writable(path: Path, option: str) -> None:
    """Raise UsageError when a file could not be written there; nothing is made or changed."""
    if path.is_dir():
        raise UsageError(f"{option} {path} is a folder: name a file in it")
    if path.exists():
        if not os.access(path, os.W_OK):
            raise UsageError(f"{option} {path} cannot be written (permission denied): choose another file")
        return
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise UsageError(f"{option} {path}: {folder} is not a folder: choose another file")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(
            f"{option} {path}: nothing can be written to {folder} (permission denied): choose another file"
        )


def write(path: Path, text: str, option: str) -> None:
    """Write a text as UTF-8; folders on the way are made.

    Raises:
        UsageError: it cannot be written; what is there is then no whole file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n", errors="replace")
    except OSError as error:
        raise UsageError(
            f"{option} {path} cannot be written ({error.strerror}): the run's own files are kept"
        ) from error
