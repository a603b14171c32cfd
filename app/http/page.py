"""GET /: the page on which a cloud is dropped, classified and looked at; its built files are in ``app/page``."""

import json
import re
from functools import cache
from pathlib import Path

from apiflask import APIBlueprint
from flask import Response, request

from app.http.state import state
from app.settings import MIB

FILES = Path(__file__).parents[1] / "page"
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
LINKS = {
    "page": "",
    "docs": "docs",
    "openapi": "openapi.json",
    "predict": "predict",
    "models": "models",
    "samples": "samples",
    "health": "health",
}

blueprint = APIBlueprint("page", __name__, static_folder=str(FILES), static_url_path="/page", enable_openapi=False)


@blueprint.get("/")
def index() -> Response:
    """The page for a browser; a program gets the addresses of the API."""
    if request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html":
        text = _page().replace("<html ", f"<html {_told()} ", 1)
        response = Response(text, mimetype="text/html", headers={"Content-Security-Policy": POLICY})
        response.headers["Cache-Control"] = "no-cache"
        response.add_etag()
        response.make_conditional(request)
    else:
        links = {name: f"{request.script_root}/{path}" for name, path in LINKS.items()}
        location = links["docs"] if request.script_root else LINKS["docs"]
        response = Response(json.dumps(links) + "\n", 302, {"Location": location}, mimetype="application/json")
    response.vary.add("Accept")
    return response


def _told() -> str:
    """What the page has to know of this service before it asks anything, as attributes."""
    max_body_bytes = state().settings.max_body_mib * MIB
    return f'data-max-body-bytes="{max_body_bytes}"' + (" data-jobs" if state().jobs else "")


@cache
def _page() -> str:
    """The built page with addresses that hold under any path: relative, not from the root of the host."""
    return re.sub(r'(href|src)="/', r'\1="', (FILES / "index.html").read_text())
