"""All commands. Each imports what it needs when it runs, so that help comes at once."""

import importlib.metadata
from typing import Annotated

import typer

from . import batch, bench, diagnose, evaluate, key, models, predict, sample, serve, verify
from .options import DeclaredGroup

app = typer.Typer(
    cls=DeclaredGroup,
    help="Segment point clouds with networks trained in Pointcept.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("serve")(serve.serve)
app.command("predict")(predict.predict)
app.command("batch")(batch.batch)
app.command("evaluate")(evaluate.evaluate)
app.add_typer(models.app, name="models")
app.command("diagnose")(diagnose.diagnose)
app.command("verify")(verify.verify)
app.command("sample")(sample.sample)
app.command("bench")(bench.bench)
app.command("key")(key.key)


def _version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(f"pointserve {importlib.metadata.version('pointserve')}")
        except importlib.metadata.PackageNotFoundError:
            typer.echo("pointserve (not installed)")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of the program itself."""
