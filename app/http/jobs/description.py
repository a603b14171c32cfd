"""What requests about jobs may say, for the OpenAPI description."""

import copy
from typing import Any

from app.http.jobs.described import MAX_NUMBER
from app.survey.job_sources import MAX_FILES
from app.survey.jobs.shown import SHOWN

BUFFER: dict[str, Any] = {"type": "number", "minimum": 0, "exclusiveMaximum": 1e6}
KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A text of the client's, such as a UUID in quotation marks: a request that comes again with the key "
    "of a job that is kept makes no other job, and is answered with that one.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 257},
}
AFTER: dict[str, Any] = {
    "name": "after",
    "in": "query",
    "description": "Number of a file: only those after it are told one by one",
    "schema": {"type": "integer", "minimum": 0, "maximum": MAX_NUMBER, "default": 0},
}
OUTPUT: dict[str, Any] = {
    "name": "output",
    "in": "query",
    "description": "view: the answer as the page shows it, of LAS, LAZ, PLY and PCD",
    "schema": {"type": "string", "enum": [SHOWN]},
}
SOURCES: dict[str, Any] = {"type": "array", "items": {"type": "string"}, "maxItems": MAX_FILES}
OWN = {
    "buffer": (BUFFER, "Metres around a file within which others of the job give context; default: the model's."),
    "sources": (SOURCES, "Files, folders or globs of the server, or URLs, below what its operator allows."),
}
"""Schema and description of what a job takes beside the options of a prediction."""


def describe(spec: Any, predict: Any) -> None:
    """Add to ``spec`` what requests about jobs may say; ``predict`` is the operation with the options."""
    spec["paths"]["/jobs/{job_id}"]["get"].setdefault("parameters", []).append(AFTER)
    spec["paths"]["/jobs/{job_id}/result/{name}"]["get"].setdefault("parameters", []).append(OUTPUT)
    submit = spec["paths"]["/jobs"]["post"]
    submit["parameters"] = copy.deepcopy(predict["parameters"])
    for name, (schema, text) in OWN.items():
        submit["parameters"].append({"name": name, "in": "query", "description": text, "schema": schema})
    submit["parameters"].append(KEY)
    form = copy.deepcopy(predict["requestBody"]["content"]["multipart/form-data"]["schema"])
    options = {name: schema for name, schema in form["properties"].items() if name != "file"}
    wanted = options | {name: schema for name, (schema, _) in OWN.items()}
    form["properties"] = {"file": {"type": "array", "items": form["properties"]["file"]}, **wanted}
    submit["requestBody"] = {
        "required": False,
        "description": "Files as parts 'file' of a form, one file as it is, or sources as JSON.",
        "content": {
            "multipart/form-data": {"schema": form},
            "application/octet-stream": {"schema": {}},
            "application/json": {"schema": {"type": "object", "properties": wanted}},
        },
    }
