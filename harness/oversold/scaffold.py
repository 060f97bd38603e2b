"""`oversold new`: small commented files to start from, for a strategy or a service, each with its test."""

from __future__ import annotations

import importlib.util
import keyword
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from oversold.errors import UsageError, near

Start = Literal["strategy", "payout", "service"]
TEMPLATES = Path(__file__).with_name("scaffolds")
# What stands in a template for the name: of the class, of the file, in a sentence, and at its beginning.
PLACES: Mapping[str, tuple[str, str, str, str]] = {
    "strategy": ("MyStock", "my_stock", "my stock", "My stock"),
    "payout": ("MyPayroll", "my_payroll", "my payroll", "My payroll"),
    "service": ("MyShop", "my_shop", "my shop", "My shop"),
}
RUNS = {
    "strategy": "oversold run bid-burst --strategy ./{0}",
    "payout": "oversold run payout-overlap --strategy ./{0}",
    "service": "oversold run bid-burst --strategy ./{0} --dry-run",
}
NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
EXPLORES = {"strategy": "oversold explore ./{0} --bidders 3", "payout": "oversold explore ./{0} --workers 2"}
LONGEST = 40


def write(kind: str, name: str, folder: Path) -> list[Path]:
    """Write the files of a new `strategy`, `payout` or `service` and of its test to a folder; return their paths.

    Nothing that is there is overwritten, and either both files are written or none.

    Raises:
        UsageError: unknown kind, a name that makes no module, a file that exists, a folder that cannot be written.
    """
    if kind not in PLACES:
        raise UsageError(f"`new {kind}` is unknown{near(kind, [*PLACES])}: write one of {', '.join(PLACES)}")
    stem = _stem(name)
    class_name = "".join(word.capitalize() for word in stem.split("_"))
    suffix = ".toml" if kind == "service" else ".py"
    texts = {
        folder / f"{stem}{suffix}": _text(f"{kind}{suffix}", kind, stem, class_name),
        folder / f"test_{stem}.py": _text(f"test_{kind}.py", kind, stem, class_name),
    }
    for path in texts:
        if path.exists() or path.is_symlink():
            raise UsageError(f"{path} exists and is not overwritten: choose another name or another folder")
    if suffix == ".py" and importlib.util.find_spec(stem) is not None:
        raise UsageError(f"{stem}.py would hide the installed module {stem}: choose another name")
    _write(texts)
    return list(texts)


def following(kind: str, paths: list[Path]) -> str:
    """Return what to do with the files that `write` has written: commands, one a line."""
    main, test = paths
    if kind == "service":
        steps = f"write url, [bid] and [ledger] into {main.name}; docs/examples/service.toml has all keys"
        return "\n".join(
            [steps, RUNS[kind].format(main.name), f"the same without --dry-run, then pytest {test.name}"]
        )
    place = f"{main.name}:{_class_in(main)}" if main.suffix == ".py" else main.name
    return "\n".join(["pytest " + test.name, RUNS[kind].format(place), EXPLORES[kind].format(place)])


def _stem(name: str) -> str:
    stem = name.replace("-", "_")
    if not NAME.fullmatch(name) or len(name) > LONGEST or keyword.iskeyword(stem) or keyword.issoftkeyword(stem):
        raise UsageError(
            f"{name!r} makes no module's name: use at most {LONGEST} small letters, digits and hyphens"
        )
    return stem


def _text(template: str, kind: str, stem: str, class_name: str) -> str:
    """Return a template's text with the names put in."""
    text = (TEMPLATES / f"{template}.tmpl").read_text(encoding="utf-8")
    if re.search(rf"\b({class_name}|{stem})\b", text):
        raise UsageError(f"the name {stem} has a meaning in that file already: choose another name")
    sentence = stem.replace("_", " ")
    names = (class_name, stem, sentence, sentence[0].upper() + sentence[1:])
    for place, mine in zip(PLACES[kind], names, strict=True):
        text = text.replace(place, mine)
    return text


def _write(texts: Mapping[Path, str]) -> None:
    written: list[Path] = []
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                written.append(path)
                file.write(text)
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        raise UsageError(f"{path} cannot be written ({error.strerror}): choose another folder") from error


def _class_in(path: Path) -> str:
    return "".join(word.capitalize() for word in path.stem.split("_"))
