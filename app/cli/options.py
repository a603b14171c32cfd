"""Options that several commands share; each overrides the setting of its name."""

from typing import Annotated

import typer

Models = Annotated[
    str | None,
    typer.Option(help="Experiment folders or parents of such, joined by ':'. [default: the bundled model]"),
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N. [default: auto]")]
Threads = Annotated[int | None, typer.Option(help="CPU threads; 0: all cores. [default: 0]", min=0)]
