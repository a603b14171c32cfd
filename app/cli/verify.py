"""``pointserve verify``."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .configuration import configure
from .device import open_device
from .options import with_settings
from .terminal import progress, results

if TYPE_CHECKING:
    from rich.table import Table

    from app.verify import CaseResult

STYLES = {"pass": "green", "fail": "red", "not served": "dim"}


@with_settings("device", "threads")
def verify(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="A folder of goldens, or one of them.", exists=True, file_okay=False)],
    only: Annotated[list[str] | None, typer.Option(help="Only cases whose name matches; may be repeated.")] = None,
    precision: Annotated[str, typer.Option(help="Of the networks: fp32, upstream, fp16 or bf16.")] = "fp32",
    backend: Annotated[str, typer.Option(help="What runs the networks: auto, native or upstream.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run known inputs and compare with known answers; exit code 1 if one is missed or none could be run."""
    torch_device = open_device(configure(**context.obj))

    from app import verify as goldens

    found = []
    with progress() as bar:
        task = bar.add_task("verifying", total=None)
        for result in goldens.verify(folder, only or (), torch_device, precision, backend):
            found.append(result)
            bar.update(task, advance=1, description=f"{result.name}: {result.verdict}")
    if as_json:
        typer.echo(json.dumps([asdict(result) for result in found], indent=2))
    else:
        results.print(_table(found))
        for result in found:
            if result.detail:
                results.print(f"{result.name}: {result.detail}", markup=False, soft_wrap=True)
        counts = ", ".join(f"{_count(found, verdict)} {verdict}" for verdict in STYLES)
        results.print(f"{len(found)} cases on {torch_device}: {counts}")
    raise typer.Exit(1 if _count(found, "fail") or not _count(found, "pass") else 0)


def _count(found: list["CaseResult"], verdict: str) -> int:
    return sum(result.verdict == verdict for result in found)


def _table(found: list["CaseResult"]) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("case", overflow="fold")
    table.add_column("max|Δ|", justify="right")
    table.add_column("allowed", justify="right")
    table.add_column("agree", justify="right")
    table.add_column("verdict")
    for result in found:
        agreement = "" if result.argmax_agreement is None else f"{100 * result.argmax_agreement:.2f} %"
        verdict = f"[{STYLES[result.verdict]}]{result.verdict}[/]"
        table.add_row(result.name, _number(result.max_abs_diff), _number(result.tolerance), agreement, verdict)
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"
