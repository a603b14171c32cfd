"""Options that several commands share; each overrides the setting of its name."""

from typing import Annotated

import typer

Models = Annotated[
    str | None,
    typer.Option(help="Experiment folders or parents of such, joined by ':'. Default: the bundled model."),
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N. Default: auto.")]
Precision = Annotated[str | None, typer.Option(help="Of the network: auto, fp32, fp16 or bf16. Default: auto.")]
Backend = Annotated[
    str | None,
    typer.Option(help="What runs the network: auto, native, or upstream, that is Pointcept itself. Default: auto."),
]
LegacyColors = Annotated[
    str | None,
    typer.Option(help="Whether colours go in from -1 to 1, as before Pointcept 1.6: auto, yes, no. Default: auto."),
]
LegacyBlocks = Annotated[
    str | None,
    typer.Option(help="Whether PT-v3m1 runs as before Pointcept 1.5.2: auto, yes, no. Default: auto."),
]
Threads = Annotated[int | None, typer.Option(help="CPU threads; 0: all cores. Default: 0.", min=0)]
