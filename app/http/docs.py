"""GET /docs: the OpenAPI description as one page that loads nothing from elsewhere and runs no script."""

from apiflask import APIBlueprint
from flask import Response, current_app, render_template

from app.clouds.formats import WRITERS

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
    """The page."""
    page = render_template("docs.html", spec=current_app.spec, outputs=list(WRITERS))  # type: ignore[attr-defined]
    return Response(page, mimetype="text/html", headers={"Content-Security-Policy": PAGE_POLICY})
