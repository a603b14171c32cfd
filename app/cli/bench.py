"""``pointserve bench``."""

import json
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .terminal import messages
from .waits import asking, warn_once

if TYPE_CHECKING:
    from pointserve_client import Client

    from app.bench.clouds import BenchCloud


def bench(
    url: Annotated[str, typer.Argument(help="The service, such as http://localhost:5001.")],
    files: Annotated[
        list[Path] | None, typer.Argument(help="Clouds to send.", exists=True, dir_okay=False, readable=True)
    ] = None,
    points: Annotated[
        str, typer.Option(help="Without FILES: sizes of made-up clouds, each with its weight where it has one.")
    ] = "2000,10000,50000",
    clients: Annotated[int, typer.Option(help="Clients; with --rate, the most at once.", min=1, max=1000)] = 8,
    rate: Annotated[
        float | None,
        typer.Option(help="Requests a second, whether or not others are answered. Default: as they are."),
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long.", min=0.1)] = 30.0,
    requests: Annotated[int | None, typer.Option(help="End after so many requests, too.", min=1)] = None,
    model: Annotated[str, typer.Option(help="Name of the model. Default: the first one.")] = "",
    key: Annotated[str, typer.Option(help="Key for the service.", envvar="POINTSERVE_KEY", show_default=False)] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Put a service under load: latency, throughput, answers by status, time outside the network, memory over time.

    Every answer is compared with what its cloud got before the load; the exit code is 1 if one differs or its status is
    neither 200 nor 429.
    """
    from pointserve_client import PATIENCE_S, Client, PredictionWarning

    from app.bench.figures import figures
    from app.bench.load import Load, LoadLimit
    from app.bench.report import report
    from app.bench.watch import Watch

    if rate is not None and rate <= 0:
        raise typer.BadParameter("--rate must be positive.")
    warnings.simplefilter("ignore", PredictionWarning)
    messages.print("asking once for every cloud", style="dim")
    on_wait = warn_once(url, PATIENCE_S)
    with asking(), Client(url, key, on_wait=on_wait) as client:
        load = Load(url, key, _clouds(client, url, files or [], points, model), on_wait)
    watch = Watch(url, key)
    begin_s = time.monotonic()
    limit = LoadLimit(seconds, requests)
    with watch.watching():
        if rate is None:
            load.closed(clients, limit)
        else:
            load.open(rate, clients, limit)
        elapsed_s = time.monotonic() - begin_s
    found = figures(load.samples, elapsed_s, watch)
    print(json.dumps(found) if as_json else report(found), end="\n" if as_json else "")
    if found["wrong"] or set(found["statuses"]) - {"200", "429"}:
        raise typer.Exit(1)


def _clouds(client: "Client", url: str, files: list[Path], points: str, model: str) -> "list[BenchCloud]":
    from app.bench.clouds import made_up, of_file, sizes
    from app.errors import NotFound

    if files:
        return [of_file(path, model) for path in files]
    cards = {card["name"]: card for card in client.models() if card["served"]}
    if not cards:
        client.check_ready()  # raises the reason
    card = cards.get(model or next(iter(cards), ""))
    if card is None:
        raise NotFound(f"{url} serves no model {model}; it serves {', '.join(cards)}.")
    return [cloud for size in sizes(points) for cloud in made_up(size, card)]
