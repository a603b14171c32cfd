"""GET /samples: made-up tiles to try a model on."""

import logging
from dataclasses import asdict, dataclass
from threading import Lock
from typing import Any

from apiflask import APIBlueprint
from flask import Response, request

from app import processes
from app.engine.environment import plain_environment
from app.errors import NotFound, NotReady, quoted
from app.http.openapi import problems, responses

MEDIA_TYPE = "application/vnd.laszip"
MAKE_S = 60.0
KINDS = {
    "town": "Houses, trees and cars along three roads",
    "village": "Few houses on a hillside with trees",
    "forest": "Trees on steep ground",
}

log = logging.getLogger(__name__)
blueprint = APIBlueprint("samples", __name__)
_made: dict[str, bytes] = {}
_making = Lock()


@dataclass(frozen=True)
class Sample:
    """One tile, to be had as LAZ at ``url``."""

    name: str
    title: str
    url: str


@dataclass(frozen=True)
class Samples:
    """All of them."""

    samples: list[Sample]


@blueprint.get("/samples")
@blueprint.doc(responses=responses(Samples))
def samples() -> dict[str, Any]:
    """Made-up airborne tiles to try a model on"""
    root = f"{request.script_root}/samples"
    return asdict(Samples([Sample(name, title, f"{root}/{name}.laz") for name, title in KINDS.items()]))


@blueprint.get("/samples/<name>.laz")
@blueprint.doc(responses={200: {"description": "LAZ", "content": {MEDIA_TYPE: {}}}, **problems(404, 503)})
def sample(name: str) -> Response:
    """One tile with its classes, as `pointserve sample` makes it; equal each time"""
    if name not in KINDS:
        raise NotFound(f"There is no sample {quoted(name)}. Samples are: {', '.join(KINDS)}.")
    if name not in _made:
        if not _making.acquire(blocking=False):
            raise NotReady("A sample is being made for somebody else. Ask again in some seconds.", retry_after_s=3)
        try:
            _made[name] = _made.get(name) or _make(name)
        finally:
            _making.release()
    response = Response(_made[name], mimetype=MEDIA_TYPE, headers={"Cache-Control": "max-age=86400"})
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.laz"'
    return response


def _make(name: str) -> bytes:
    """The tile from a process of its own, so that other requests go on; no disk is needed."""
    arguments = ["sample", "/dev/stdout", "--format", "laz", "--kind", name]
    try:
        done = processes.run("app.cli", arguments, plain_environment(), MAKE_S)
    except TimeoutError:
        raise NotReady(f"Making the sample took longer than {MAKE_S:.0f} s.", retry_after_s=60) from None
    except OSError as error:
        why = str(error)
    else:
        if done.returncode == 0:
            return done.stdout
        why = done.stderr.decode(errors="replace")
    log.error("the sample %s was not made: %s", name, why)
    raise NotReady("The sample could not be made now; the server's log says why.", retry_after_s=30)
