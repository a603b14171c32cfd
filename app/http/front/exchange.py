"""One request: parsed by gunicorn, answered by the application, in the thread that waits for its client."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gunicorn.http import wsgi
from gunicorn.http.errors import NoMoreData
from gunicorn.http.parser import RequestParser

from app.http.connection import BodyIsLate
from app.http.front.connection import After, Connection
from app.http.front.pace import Crowd, Patience
from app.http.front.refusal import refusal_of, refuse
from app.http.front.stream import Phase, Stream, TooSlow
from app.http.front.unreader import Unreader, receiver
from app.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

FAILED = "The server failed before it could answer the request. It is in the server's log; please report it."
LEFT_BYTES = 65536
NO_PATIENCE = Patience(0.0, 0.0)

log = logging.getLogger(__name__)


class Exchange:
    """Serves requests by ``application``, which finds in its environ, beside what WSGI says:

    - ``pointserve.client``: the Stream
    - ``pointserve.close``: a function that ends the connection after the answer, which then says so
    - ``pointserve.receive``: a function that puts the next bytes of the body into a buffer; None if it is in chunks
    - ``pointserve.make_room``: a function that has slow clients give way, and says whether there are any
    - ``pointserve.was_asked``: whether this is the second time, after BodyIsLate
    - ``pointserve.body_is_late``: whether its first bytes are not here yet, so that BodyIsLate may be raised
    """

    def __init__(
        self,
        cfg: Any,
        application: "WSGIApplication",
        crowd: Crowd,
        settings: Settings,
        make_room: Callable[[], bool] | None = None,
    ):
        """``make_room`` has clients give way that are slow, by default those of ``crowd``."""
        self.is_last = False  # whether every answer says that its connection ends
        self._cfg = cfg
        self._application = application
        self._crowd = crowd
        self._make_room = make_room or crowd.make_room
        self._receiving = Patience(settings.upload_stall_s, settings.min_rate_bytes_s)
        self._sending = Patience(settings.send_stall_s, settings.min_rate_bytes_s)

    def serve(self, connection: Connection, is_probe: bool) -> After:
        """Answer the request, whose head has arrived. A thread never waits for the client of a probe."""
        is_late, was_asked = connection.lacks_body, connection.was_asked
        data, connection.was_asked = connection.take(), False
        patience = (NO_PATIENCE, NO_PATIENCE) if is_probe else (self._receiving, self._sending)
        stream = Stream(connection.sock, *patience, self._crowd)
        stream.says_continue = not was_asked
        parser = RequestParser(self._cfg, stream, connection.address)
        parser.unreader = Unreader(stream)
        parser.unreader.unread(data)
        try:
            try:
                request = next(parser)
            except (NoMoreData, StopIteration):
                return After.DROP
            except Exception as error:
                status, detail = refusal_of(error) or _failed(error)
                stream.sendall(refuse(status, detail, data, connection.address))
                return After.CLOSE
            stream.phase = Phase.BODY
            environ = {"pointserve.body_is_late": is_late, "pointserve.was_asked": was_asked}
            try:
                after = self._answer(request, stream, connection, environ)
            except BodyIsLate:
                connection.put_back(data)
                connection.was_asked = True
                return After.KEEP
            stream.phase = Phase.OVER
            if after is After.KEEP and not _is_read(parser):
                return After.CLOSE  # where the next request begins is not known
            connection.put_back(parser.unreader.take_buffered())
            return after
        except TooSlow as slow:
            log.warning("%s", slow)
        except OSError as error:
            log.debug("A connection broke off (%s).", error)
        return After.DROP

    def _answer(self, request: Any, stream: Stream, connection: Connection, told_too: dict[str, bool]) -> After:
        response = None
        try:
            response, environ = wsgi.create(request, stream, connection.address, connection.server, self._cfg)
            environ["wsgi.multithread"] = True
            environ |= told_too
            environ["pointserve.client"] = stream
            environ["pointserve.receive"] = receiver(request.body)
            environ["pointserve.close"] = request.force_close
            environ["pointserve.make_room"] = self._make_room
            if self.is_last:
                response.force_close()
            chunks = self._application(environ, response.start_response)
            try:
                for chunk in chunks:
                    response.write(chunk)
                response.close()
            finally:
                if hasattr(chunks, "close"):
                    chunks.close()
        except OSError:
            raise
        except Exception as error:
            status, detail = _failed(error)
            if response is not None and response.headers_sent:
                return After.DROP
            stream.sendall(refuse(status, detail, f"{request.method} {request.path} ".encode(), connection.address))
            return After.CLOSE
        return After.CLOSE if response.should_close() else After.KEEP


def _is_read(parser: RequestParser) -> bool:
    """Whether nothing is left of the request's body, or a little that is here already."""
    try:
        return bool(parser.finish_body(max_bytes=LEFT_BYTES))
    except Exception:
        return False


def _failed(error: Exception) -> tuple[int, str]:
    log.error("a request failed", exc_info=error)
    return 500, FAILED
