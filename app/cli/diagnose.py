"""``pointserve diagnose``."""

import json
from typing import Annotated

import typer


def diagnose(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Report versions, devices, operators and the optional stack; exit code 1 where serving will not work."""
    from rich.console import Console

    from app.diagnostics.report import report
    from app.diagnostics.table import show

    facts = report()
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    else:
        show(facts, Console())
    raise typer.Exit(0 if facts["ok"] else 1)
