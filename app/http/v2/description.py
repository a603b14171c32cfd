"""The request bodies of the paths under /v2, for the OpenAPI description."""

from typing import Any

from app.http.v2.request import HEADER_LENGTH


def describe(spec: Any, schema: dict[str, Any]) -> None:
    """Add bodies to ``spec``; ``schema`` is that of an inference request's JSON."""
    body = {"application/json": {"schema": schema}}
    infer = spec["paths"]["/v2/models/{name}/infer"]["post"]
    infer["requestBody"] = {
        "required": True,
        "description": "JSON, and after it the binary data of the inputs that have no 'data' in it.",
        "content": {**body, "application/octet-stream": {"schema": {}}},
    }
    length = "Length of the JSON in bytes, uncompressed, where binary data follows."
    infer.setdefault("parameters", []).append(
        {"name": HEADER_LENGTH, "in": "header", "description": length, "schema": {"type": "integer", "minimum": 0}}
    )
    for path in ("index", "models/{name}/load", "models/{name}/unload"):
        content = {"application/json": {"schema": {"type": "object"}}}
        spec["paths"][f"/v2/repository/{path}"]["post"]["requestBody"] = {"required": False, "content": content}
