"""Admission of requests that bring a cloud: before the body is read, until the answer is sent."""

from collections.abc import Callable
from contextlib import suppress

from flask import Response, request

from app.errors import NotReady
from app.http.connection import awaits_continue, make_room
from app.http.front.descriptors import check_left
from app.http.progress import Progress
from app.http.state import state
from app.http.trace import request_id
from app.options import Options


def admitted(answer: Callable[[Progress], Response]) -> Response:
    """What ``answer`` gives, while GET /progress tells of it.

    Raises Busy if as many requests are here as may be, NotReady if the service stops or descriptors run out.
    """
    check_left()
    admission = state().service.admission.admit(lambda: make_room(request.environ))
    progress = state().under_way[request_id()] = Progress(request.content_length)
    try:
        response = answer(progress)
    except BaseException:
        admission.close()
        raise
    finally:
        state().under_way.pop(request_id(), None)
    response.call_on_close(admission.close)
    return response


def check_early(asked: Options) -> None:
    """Raise what is wrong with the model and the passes that ``asked`` states, if the client can still keep its body.

    Others hear of it once their body is here: if they were answered while they send, they might miss the answer.
    """
    if awaits_continue(request.environ):
        with suppress(NotReady), state().service.stages.request(asked):  # it may be ready once the body is here
            pass
