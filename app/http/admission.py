"""One of the places for requests that bring a cloud: taken before the body is read, given back after the answer."""

from collections.abc import Callable

from flask import Response, request

from app.errors import Busy
from app.http.connection import make_room
from app.http.front.descriptors import check_left
from app.http.progress import Progress
from app.http.state import state
from app.http.trace import request_id

ROOM_S = 2.0  # for those who give way to be gone


def admitted(answer: Callable[[Progress], Response]) -> Response:
    """What ``answer`` gives, while GET /progress tells of it; raises Busy if every place is taken,
    NotReady if descriptors run out."""
    check_left()
    if not _acquire():
        state().measures.rejected("uploads")
        raise Busy("As many requests as the queue may hold are being received or answered.", retry_after_s=1)
    progress = state().under_way[request_id()] = Progress(request.content_length)
    try:
        response = answer(progress)
    except BaseException:
        state().uploads.release()
        raise
    finally:
        state().under_way.pop(request_id(), None)
    response.call_on_close(state().uploads.release)
    return response


def _acquire() -> bool:
    places = state().uploads
    return places.acquire(blocking=False) or (make_room(request.environ) and places.acquire(timeout=ROOM_S))
