"""``pointserve models`` and the choice of a model."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options
from .configuration import configure
from .terminal import results

if TYPE_CHECKING:
    from app.settings import Settings

app = typer.Typer(help="The models at hand.", no_args_is_help=True)


def choose(settings: "Settings") -> Path:
    """The folder of the model that the settings name, the first one found if they name none.

    Raises:
        NotFound: no model of that name.
        BadModel: a setting names a folder without experiments.
    """
    from app.errors import NotFound
    from app.zoo.experiment import find

    folders = find(settings.models)
    wanted = settings.default_model or folders[0].name
    for folder in folders:
        if folder.name == wanted:
            return folder
    raise NotFound(f"There is no model {wanted!r}; there are {', '.join(folder.name for folder in folders)}.")


@app.command("list")
def list_models(
    models: options.Models = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the models that a server with these settings would find."""
    from app.errors import Problem
    from app.zoo.experiment import find, load

    cards = []
    for folder in find(configure(models=models).models):
        try:
            cards.append(load(folder).card())
        except Problem as problem:
            cards.append({"name": folder.name, "path": str(folder), "served": False, "reason": problem.detail})
    if as_json:
        typer.echo(json.dumps(cards, indent=2))
        return
    for card in cards:
        results.print(card["name"], style="bold", markup=False, soft_wrap=True)
        style = "" if card["served"] else "red"
        for line in _about(card):
            results.print(f"  {line}", style=style, markup=False, soft_wrap=True)


def _about(card: dict[str, Any]) -> list[str]:
    """What there is to say of a model, a line each."""
    if not card["served"]:
        return [f"cannot be served: {card['reason']}"]
    grid = f", voxels of {card['grid_size_m']} m" if card["grid_size_m"] else ""
    return [f"{card['backbone']}, {card['num_classes']} classes{grid}", f"reads {', '.join(card['feat_keys'])}"]


@app.command("check")
def check_folder(
    folder: Annotated[Path, typer.Argument(help="An experiment folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what an experiment folder holds, or why it is refused; exit code 1 where it cannot be served."""
    from rich.markup import escape

    from app.zoo.check import check

    report = check(folder)
    if as_json:
        findings = [asdict(finding) for finding in report.findings]
        typer.echo(json.dumps({"name": report.name, "served": report.served, "findings": findings}, indent=2))
    else:
        for finding in report.findings:
            mark = "[green]ok[/]     " if finding.ok else "[red]refused[/]"
            results.print(f"{mark} {escape(finding.check)}: {escape(finding.detail)}", soft_wrap=True)
        results.print(f"{escape(report.name)} {'can' if report.served else 'cannot'} be served.")
    raise typer.Exit(0 if report.served else 1)
