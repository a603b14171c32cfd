"""``pointserve models`` and the choice of a model."""

import importlib.util
import json
import os
import re
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .configuration import configure
from .options import DeclaredGroup, with_settings
from .terminal import results, warn

if TYPE_CHECKING:
    from app.settings import Settings

app = typer.Typer(cls=DeclaredGroup, help="The models at hand.", no_args_is_help=True)


def choose(settings: "Settings") -> list[Path]:
    """The folders of the models that the settings name as one, the first one found if they name none.

    Raises:
        NotFound: no model of that name.
        BadModel: a setting names a folder without experiments.
    """
    from app.errors import NotFound
    from app.options import models_in
    from app.zoo.experiment import find

    folders = find(settings.models)
    by_name = {folder.name: folder for folder in reversed(folders)}
    wanted = models_in(settings.default_model or folders[0].name, by_name)
    for name in wanted:
        if name not in by_name:
            raise NotFound(f"There is no model {name!r}; there are {', '.join(folder.name for folder in folders)}.")
    return [by_name[name] for name in wanted]


@app.command("list")
@with_settings("models")
def list_models(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the models that a server with these settings would find, by their configs and the names in their weights."""
    from app.errors import Problem
    from app.zoo.executable_names import check_file
    from app.zoo.experiment import find, load

    cards = []
    settings = configure(**context.obj)
    for folder in find(settings.models):
        try:
            experiment = load(folder, settings)
            check_file(experiment.checkpoint, settings)
            cards.append(experiment.card())
        except Problem as problem:
            cards.append({"name": folder.name, "path": str(folder), "served": False, "reason": problem.detail})
    if as_json:
        typer.echo(json.dumps(cards, indent=2))
        return
    for card in cards:
        results.print(card["name"], style="bold", markup=False, soft_wrap=True)
        style = "" if card["served"] else "red"
        for line in [*_about(card), *_unchecked(card)]:
            results.print(f"  {line}", style=style, markup=False, soft_wrap=True)


def _about(card: dict[str, Any]) -> list[str]:
    """What there is to say of a model, a line each."""
    if not card["served"]:
        return [f"cannot be served: {card['reason']}"]
    grid = f", voxels of {card['grid_size_m']} m" if card["grid_size_m"] else ""
    return [f"{card['backbone']}, {card['num_classes']} classes{grid}", f"reads {', '.join(card['feat_keys'])}"]


def _unchecked(card: dict[str, Any]) -> list[str]:
    """What a list leaves to the command that reads weights."""
    return [f"weights: not checked; pointserve models check {shlex.quote(card['path'])}"] if card["served"] else []


@app.command("check")
def check_folder(
    folder: Annotated[Path, typer.Argument(help="An experiment folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what an experiment folder holds, or why it is refused; exit code 1 if it cannot be served."""
    from rich.markup import escape

    from app.zoo.check import check

    report = check(folder, configure())
    if as_json:
        findings = [asdict(finding) for finding in report.findings]
        typer.echo(json.dumps({"name": report.name, "served": report.served, "findings": findings}, indent=2))
    else:
        for finding in report.findings:
            mark = "[green]ok[/]     " if finding.ok else "[red]refused[/]"
            results.print(f"{mark} {escape(finding.check)}: {escape(finding.detail)}", soft_wrap=True)
        results.print(f"{escape(report.name)} {'can' if report.served else 'cannot'} be served.")
    raise typer.Exit(0 if report.served else 1)


@app.command("pull")
def pull_model(
    source: Annotated[
        str,
        typer.Argument(
            help="On the Hugging Face hub: hf://owner/repo, with @revision and /folder or /file.pth where needed."
        ),
    ],
    to: Annotated[Path, typer.Option(help="Folder that the model is put into, under its own name.")] = Path("models"),
    sha256: Annotated[str, typer.Option(help="SHA-256 that the weights must have.", show_default=False)] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Fetch an experiment folder or an encoder from the hub, without executing anything of it.

    A token is read from HF_TOKEN. Files are kept in the hub's cache: with HF_HUB_OFFLINE=1, or if the hub cannot be
    reached, they come from there.
    """
    if sha256 and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise typer.BadParameter("expected are 64 hexadecimal digits.", param_hint="--sha256")
    from app.errors import Problem

    if importlib.util.find_spec("huggingface_hub") is None:
        raise Problem(
            "Pulling models needs huggingface-hub, which is not installed: "
            f"run `{sys.executable} -m pip install huggingface-hub`."
        )
    from app.zoo.hub import Address, Repository

    address = Address.parse(source)
    repository = Repository(address.repo, address.revision, os.environ.get("HF_TOKEN", "").strip())

    from app.zoo.experiment import load
    from app.zoo.pull import pull

    pulled = pull(repository, address.path, to, sha256)
    if repository.unreachable:
        warn(f"{repository.unreachable}; this is what the cache has of {source}.")
    try:
        card = load(pulled.path, configure()).card()
    except Problem as problem:
        card = {"served": False, "reason": problem.detail}
    if as_json:
        sums = {str(path): found for path, found in pulled.sha256.items()}
        about = {"source": str(pulled.source), "path": str(pulled.path), "sha256": sums}
        typer.echo(json.dumps(about | {key: card[key] for key in ("served", "reason")}, indent=2))
        return
    results.print(str(pulled.source), style="bold", markup=False, soft_wrap=True)
    for path, found in pulled.sha256.items():
        results.print(f"{found}  {path}", markup=False, soft_wrap=True)
    for line in _about(card):
        results.print(line, style="" if card["served"] else "red", markup=False, soft_wrap=True)
    if card["served"]:
        results.print(f"pointserve serve --models {shlex.quote(str(pulled.path))}", markup=False, soft_wrap=True)
