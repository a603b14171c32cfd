"""GET /docs: the OpenAPI description as one page that loads nothing from elsewhere and runs no script."""

from urllib.parse import quote

from apiflask import APIBlueprint
from flask import Response, current_app, render_template, request

from app.clouds.catalog import WRITERS
from app.http.examples import BUNDLED, example
from app.http.state import state

PAGE_POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

blueprint = APIBlueprint(
    "docs",
    __name__,
    template_folder="templates",
    static_folder="static",
    static_url_path="/static",
    enable_openapi=False,
)


@blueprint.get("/docs")
def docs() -> Response:
    """The page; its examples are for this server and the first of its models."""
    served = next((card.name for card in state().service.models() if card.served), BUNDLED)
    page = render_template(
        "docs.html",
        spec=current_app.spec,  # type: ignore[attr-defined]
        outputs=list(WRITERS),
        needs_key=bool(state().settings.api_keys),
        example=lambda name: example(name, request.url_root, quote(served, safe="")),
    )
    return Response(page, mimetype="text/html", headers={"Content-Security-Policy": PAGE_POLICY})
