"""``pointserve diagnose``."""

import json
from pathlib import Path
from typing import Annotated

import typer


def diagnose(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Run and time every operator and the bundled model.")] = False,
    log: Annotated[
        Path | None,
        typer.Option(
            help="Only name the known faults that this log of a build or a run shows.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Report versions, devices, operators, the optional stack, known faults and remedies; exit code 1 if serving will
    not work.
    """
    from rich.console import Console

    from app.diagnostics.faults import explain
    from app.diagnostics.report import report
    from app.diagnostics.table import show

    if log:
        raise typer.Exit(explain(str(log)))
    facts = report(deep=deep)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    else:
        show(facts, Console())
    raise typer.Exit(0 if facts["ok"] else 1)
