"""Access checks of every request (host name, key, rate, origin), and the security headers of every answer."""

from apiflask import APIFlask
from flask import Response, g, request
from werkzeug.middleware.proxy_fix import ProxyFix

from app.errors import Busy, Forbidden, Unauthorized, quoted
from app.http.connection import was_asked
from app.http.hosts import Hosts, is_origin_of
from app.http.keys import CHALLENGES, OPEN_PATHS, Keys
from app.http.measures import Measures
from app.http.rate import Rate
from app.http.trace import note
from app.settings import Settings

READING = ("GET", "HEAD", "OPTIONS")
EXPOSED = (
    "Content-Disposition, Content-Encoding, Inference-Header-Content-Length, Retry-After, Server-Timing, traceparent, "
    "X-Pointserve-Model, X-Pointserve-Passes, X-Pointserve-Points, X-Pointserve-Refined, "
    "X-Pointserve-Warnings, X-Request-Id"
)
ACCEPTED = (
    "Authorization, Content-Encoding, Content-Type, Idempotency-Key, Inference-Header-Content-Length, traceparent, "
    "tracestate, X-API-Key, X-Request-Id, X-Request-Timeout"
)
PREFLIGHT = {
    "Access-Control-Allow-Methods": "DELETE, GET, POST",
    "Access-Control-Allow-Headers": ACCEPTED,
    "Access-Control-Max-Age": "600",
}
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "X-Frame-Options": "DENY",
}


class Guard:
    """The rules of one app, as its settings state them."""

    def __init__(self, settings: Settings, measures: Measures, rate: Rate):
        self._keys = Keys(settings.api_keys)
        self._rate = rate
        self._origins = {origin.strip().rstrip("/") for origin in settings.cors_origins.split(",") if origin.strip()}
        self._hosts = Hosts(settings.allowed_hosts, settings.host)
        self._proxies = settings.proxies
        self._measures = measures

    def register(self, app: APIFlask) -> None:
        """Hold every request to ``app`` against the rules, before its body is read."""
        if self._proxies:
            app.wsgi_app = ProxyFix(app.wsgi_app, x_for=self._proxies, x_proto=0)  # type: ignore[method-assign]
        app.before_request(self._check)
        app.after_request(self._mark)

    def _check(self) -> Response | None:
        try:
            self._check_host()
            if request.method == "OPTIONS":
                return self._preflight()
            self._check_origin()
            g.owner = owner = self._keys.owner(request)
            if owner:
                note(key=owner)
            if request.method not in READING and not was_asked(request.environ):
                self._rate.take(f"key {owner}" if owner else f"address {request.remote_addr}")
        except (Busy, Forbidden, Unauthorized) as problem:
            self._measures.rejected({Busy: "rate", Forbidden: "origin", Unauthorized: "key"}[type(problem)])
            raise
        return None

    def _preflight(self) -> Response | None:
        is_preflight = "Access-Control-Request-Method" in request.headers and self._allows_origin()
        return Response(status=204, headers=PREFLIGHT) if is_preflight else None

    def _check_host(self) -> None:
        """Raise Forbidden if the server is asked under a name that is not its own, but for probes."""
        host = request.headers.get("Host", "")
        if request.path not in OPEN_PATHS and not self._hosts.allows(host):
            raise Forbidden(
                f"This server is asked under the name {quoted(host)}, which is not known to be its own. Its operator "
                "names those that are in POINTSERVE_ALLOWED_HOSTS."
            )

    def _check_origin(self) -> None:
        """Raise Forbidden if a browser says that a page of another origin wants to change something here."""
        if request.method in READING or self._allows_origin():
            return
        origin, site = request.headers.get("Origin", ""), request.headers.get("Sec-Fetch-Site")
        if site is not None:
            is_own = site in ("same-origin", "none")
        else:  # over plain http browsers say no more than Origin; a page cannot set these headers for another site
            served_as = (request.headers.get(name, "") for name in ("Host", "X-Forwarded-Host"))
            is_own = not origin or any(is_origin_of(origin, authority) for authority in served_as)
        if not is_own:
            raise Forbidden(
                f"Pages of {quoted(origin or 'other sites')} may not use this server. Its operator names those that "
                "may in POINTSERVE_CORS_ORIGINS; a proxy in front has to hand on Host, or send X-Forwarded-Host."
            )

    def _allows_origin(self) -> bool:
        origin = request.headers.get("Origin", "")
        return bool(origin) and (origin in self._origins or "*" in self._origins)

    def _mark(self, response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if self._origins:
            response.vary.add("Origin")
        if self._allows_origin():
            response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
            response.headers["Access-Control-Expose-Headers"] = EXPOSED
            response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        if response.status_code == 401:
            for challenge in CHALLENGES:
                response.headers.add("WWW-Authenticate", challenge)
        return response
