"""``pointserve sample``."""

from pathlib import Path
from typing import Annotated

import typer

from .output import output_format, write_file
from .terminal import messages

FORMATS = ("laz", "las", "ply", "pcd", "npz", "csv")


def sample(
    out: Annotated[Path, typer.Argument(help="The file to write.", dir_okay=False)],
    kind: Annotated[str, typer.Option(help="town, village or forest.")] = "town",
    seed: Annotated[int, typer.Option(help="Another seed, another tile.", min=0)] = 0,
    size_m: Annotated[float, typer.Option(help="Width of the square tile in metres.")] = 120.0,
    density: Annotated[float, typer.Option(help="Points per square metre, about.")] = 20.0,
    output: Annotated[
        str | None, typer.Option("--format", help=f"{', '.join(FORMATS)}. Default: OUT's suffix, else laz.")
    ] = None,
    unlabelled: Annotated[bool, typer.Option("--unlabelled", help="Leave the classification out.")] = False,
) -> None:
    """Write a made-up airborne tile: terrain, roads, houses, trees, water, with its ASPRS classification."""
    from app.clouds import formats
    from app.sample.tile import las_bytes, make_tile, truth

    name = output_format(output, out, default="laz", formats=FORMATS, option="--format")
    with messages.status(f"Making a {kind} of {size_m:g} m × {size_m:g} m"):
        tile = make_tile(kind, seed, size_m, density)
        if unlabelled:
            tile.extra["classification"][:] = 0
        if name in ("las", "laz"):
            data = las_bytes(tile, compress=name == "laz")
        else:
            data = formats.write(name, tile, truth(tile))
        write_file(out, data)
    messages.print(f"{out}: {len(tile):,} points, {len(data) / 1e6:.1f} MB", markup=False)
