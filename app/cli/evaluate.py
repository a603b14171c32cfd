"""``pointserve evaluate``."""

from pathlib import Path
from typing import Annotated

import typer

from .output import write_file
from .terminal import progress, results, warn

SHOWN_TABLES = 3  # the reports have all


def evaluate(
    predicted: Annotated[Path, typer.Argument(metavar="PRED", help="Labelled clouds: a file or a folder.")],
    truth: Annotated[Path, typer.Argument(metavar="TRUTH", help="The same points with their true classes.")],
    out: Annotated[
        list[Path] | None,
        typer.Option(
            "-o", "--out", metavar="PATH", help="Report to write; it ends in .html, .md or .json. Repeatable."
        ),
    ] = None,
    maps: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="RULE",
            help="A class and the codes that mean it: 3,4,5:vegetation. If the prediction has others than the truth: "
            "PREDICTED=TRUE:NAME, as in 0=2:ground. Or a file of such lines. Then only what is named is judged. "
            "Repeatable.",
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CODES",
            help="Codes of the truth that are not judged, as 9,64-255; PATTERN:CODES for files of that name, which are "
            "labelled in part. Repeatable. Points without a class (0,1,7,12,18 of LAS and -1) never are, unless --map "
            "names their code.",
        ),
    ] = None,
    name: Annotated[
        str, typer.Option(metavar="PATTERN", help="Names in PRED by those in TRUTH, such as '{stem}_classified'.")
    ] = "{stem}",
    column: Annotated[str, typer.Option(help="Column of PRED that holds the classes.", show_default=False)] = "",
    truth_column: Annotated[str, typer.Option(help="Column of TRUTH that does.", show_default=False)] = "",
    cell_m: Annotated[float, typer.Option(help="Edge of the cells in plan that square metres are counted by.")] = 1.0,
    resamples: Annotated[int, typer.Option(help="Draws of tiles for the intervals; 0 for none.", min=0)] = 1000,
    seed: Annotated[int, typer.Option(help="Another seed, other draws.", min=0)] = 0,
) -> None:
    """Compare labels with their truth, and say how good they are by class, tile, height and place.

    Files and points are matched by their names and places. A pair that cannot be compared does not end the others:
    it is named with its reason, and the exit code is 1.
    """
    from app.errors import Problem
    from app.evaluate.evaluation import evaluation
    from app.evaluate.partners import partners
    from app.evaluate.reading import Columns, read
    from app.evaluate.report import REPORTS
    from app.evaluate.scheme import Scheme
    from app.evaluate.tables import tables
    from app.evaluate.tally import Tally

    from .tables import print_table

    for path in out or ():
        if path.suffix.lower() not in REPORTS:
            raise typer.BadParameter(f"{path} ends in none of {', '.join(REPORTS)}.", param_hint="-o")
    if not 0.01 <= cell_m <= 1000:
        raise typer.BadParameter("cells are 0.01 to 1000 m wide.", param_hint="--cell-m")
    try:
        name.format(stem="a")
    except (LookupError, ValueError):
        raise typer.BadParameter(
            f"{name!r} is no pattern for names, such as {{stem}}_classified is one.", param_hint="--name"
        ) from None
    try:
        scheme = Scheme.parse(maps or (), ignore or ())
    except Problem as problem:
        raise typer.BadParameter(problem.detail) from None
    pairs, failures = partners(predicted, truth, name)
    for pattern in scheme.unused(pair.name for pair in pairs):
        warn(f"--ignore {pattern}: no file of TRUTH has such a name.")
    tallies = []
    with progress() as bar:
        task = bar.add_task("", total=len(pairs))
        for pair in pairs:
            bar.update(task, description=f"comparing {pair.name}")
            try:
                tallies.append(Tally.of(read(pair, Columns(column, truth_column), scheme), scheme, cell_m))
            except Problem as problem:
                failures[pair.name] = problem.detail
            bar.advance(task)
    if tallies:
        found = evaluation(tallies, scheme, cell_m, resamples, seed, failures)
        for path in out or ():
            write_file(path, REPORTS[path.suffix.lower()](found).encode())
        results.print(found.words, markup=False, soft_wrap=True)
        for note in found.note_lines:
            results.print(note, markup=False, soft_wrap=True)
        for table in tables(found)[:SHOWN_TABLES]:
            results.print()
            print_table(table)
        results.print()
    results.print(f"{len(tallies):,} of {len(pairs):,} pairs were compared.", markup=False)
    for file, reason in failures.items():
        results.print(f"failed: {file}: {reason}", markup=False, soft_wrap=True)
    if failures:
        raise typer.Exit(1)
