"""The commands that show what is there: `report`, `list`, `doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from oversold import shell
from oversold.commands.arguments import OUTPUT, PIPELINE_OPTIONS, STORE_OPTIONS, Json, choice_of, option, takes
from oversold.commands.pipeline import judged, reported, wishes_of
from oversold.commands.root import app, finish
from oversold.errors import Exit, UsageError


@app.command()
@takes(PIPELINE_OPTIONS)
def report(
    context: typer.Context,
    folders: Annotated[list[Path], typer.Argument(help="Folders of runs or comparisons.", metavar="RUN_DIR...")],
    out: Annotated[
        Path, option("--out", panel=OUTPUT, env="OVERSOLD_OUT", metavar="DIR", text="Where several come together.")
    ] = Path("reports"),
    json_: Json = False,
    **values: Any,
) -> None:  # fmt: skip
    """Draw charts and pages and print tables again, from what was recorded.

    Several folders are also put side by side, with what differed in their conditions: yesterday's and today's.
    """
    from oversold import comparison, showing, terminal
    from oversold.report import sources
    from oversold.telling import Telling

    wishes = wishes_of(context, values, None)
    console = terminal.console(json_on_stdout=json_)
    found, problems = sources.gathered(folders)
    read = []
    for source in found:
        try:
            files = showing.drawn(Telling(), source.folder, source.document, wanted=True, patient=False)
        except UsageError as error:  # a file that is gone
            problems.append(f"left out: {error}")
            continue
        read.append(source)
        showing.shown(console, dict(source.document), source.folder, files)
    for problem in problems:
        shell.complain(problem)
    if len(read) > 1:
        showing.side_by_side(console, read, out)
    documents = [judged(wishes, dict(source.document), source.folder) for source in read]
    bases = [
        comparison.comparison_exit(document) if "runs" in document else comparison.run_exit(document)
        for document in documents
    ]
    code = reported(wishes, documents, bases, console, as_json=json_)
    whole = documents[0] if len(folders) == 1 and documents else {"reports": documents}
    finish(whole, json_, comparison.worst([code, *[Exit.USAGE] * bool(problems)]))


@app.command(name="list")
def list_(
    sections: Annotated[
        list[str] | None,
        typer.Argument(
            help="Only these, in full: scenarios, bids, payouts, presets, profiles, settings, or strategies.",
            metavar="SECTION|NAME...", show_default=False,
        ),
    ] = None,
    json_: Json = False,
) -> None:  # fmt: skip
    """Show scenarios, strategies, presets, channel profiles and settings. The JSON document is always whole."""
    from oversold import catalogue, terminal

    document = catalogue.everything()
    catalogue.show(terminal.console(json_on_stdout=json_, pipe_width=200), document, sections or ())
    finish(document, json_, Exit.PASS)


@app.command()
@takes(STORE_OPTIONS)
def doctor(json_: Json = False, **values: Any) -> None:
    """Show what each store would be on this machine, and what to install to get the real one."""
    from oversold import catalogue, terminal
    from oversold.stores.providers import describe

    rows = describe(choice_of(values))
    catalogue.show_stores(terminal.console(json_on_stdout=json_), rows)
    finish(
        {"schema": "oversold/doctor/1", "stores": rows},
        json_,
        Exit.PASS if all(row["ready"] for row in rows.values()) else Exit.USAGE,
    )
