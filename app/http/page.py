"""GET /: the page on which a cloud is dropped, classified and looked at; its built files are in ``page/``."""

import json
from pathlib import Path

from apiflask import APIBlueprint
from flask import Response, request, send_from_directory

FILES = Path(__file__).with_name("page")
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
    "page": "/",
    "docs": "/docs",
    "openapi": "/openapi.json",
    "predict": "/predict",
    "models": "/models",
    "samples": "/samples",
    "health": "/health",
}

blueprint = APIBlueprint("page", __name__, static_folder="page", static_url_path="/page", enable_openapi=False)


@blueprint.get("/")
def index() -> Response:
    """The page for a browser; a program is told where things are."""
    if request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html":
        response = send_from_directory(FILES, "index.html")
        response.headers["Content-Security-Policy"] = POLICY
    else:
        response = Response(json.dumps(LINKS) + "\n", 302, {"Location": "/docs"}, mimetype="application/json")
    response.vary.add("Accept")
    return response
