"""The JSON of an error, RFC 9457, with a string ``error`` beside for Open Inference clients."""

from typing import Any

MEDIA_TYPE = "application/problem+json"


def problem_body(status: int, title: str, detail: str, request_id: str) -> dict[str, Any]:
    """What an answer with ``status`` says; ``request_id`` is the one that the log has it under."""
    return {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "error": detail,
        "request_id": request_id,
    }
