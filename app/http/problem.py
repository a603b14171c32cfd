"""The JSON of an error: RFC 9457, with a string ``error`` beside for Open Inference clients."""

from typing import Annotated

from pydantic import Field
from typing_extensions import NotRequired, TypedDict

MEDIA_TYPE = "application/problem+json"


class ProblemDetails(TypedDict):
    """An error."""

    type: Annotated[str, Field(json_schema_extra={"format": "uri-reference"})]
    title: str
    status: int
    detail: Annotated[str, Field(description="What was wrong, what was expected, what to do.")]
    error: Annotated[str, Field(description="The text of detail, for Open Inference clients.")]
    request_id: str
    columns: NotRequired[
        Annotated[list[str], Field(description="Columns of the file, if their names do not say what they hold.")]
    ]
    options: NotRequired[
        Annotated[dict[str, str], Field(description="What was wrong with each option whose value is not accepted.")]
    ]


def problem_details(status: int, title: str, detail: str, request_id: str) -> ProblemDetails:
    """The body of an answer with ``status``; the log has it under ``request_id``."""
    return {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "error": detail,
        "request_id": request_id,
    }
