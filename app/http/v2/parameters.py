"""Options of a prediction among the parameters of an inference request."""

from typing import Any

from app import options
from app.errors import BadRequest, quoted
from app.http.v2.tensors import OUTPUTS
from app.option_text import parse
from app.options import MAX_TIMEOUT_S, Options

OF_PROTOCOL = (
    "binary_data_output",
    "timeout",
    "priority",
    "sequence_id",
    "sequence_start",
    "sequence_end",
    "content_type",
    "headers",
)
SAID_ELSEWHERE = {"model": "the path", "fields": "the outputs", "output": "the outputs"}

NAMES = tuple(name for name in options.NAMES if name not in SAID_ELSEWHERE)
ACCEPTED = (*NAMES, *OF_PROTOCOL)


def options_of(parameters: dict[str, Any], model: str, outputs: list[str]) -> Options:
    """The options that ``parameters`` of a request for ``outputs`` of ``model`` state.

    ``timeout`` is in microseconds, as the protocol's clients send it. Raises BadRequest for what is unknown or wrong.
    """
    given: dict[str, str] = {}
    for name, value in parameters.items():
        if name in SAID_ELSEWHERE:
            raise BadRequest(f"Parameter {name!r}: that is said by {SAID_ELSEWHERE[name]}.")
        if name in OF_PROTOCOL:
            continue
        if not isinstance(value, str | int | float):
            raise BadRequest(f"Parameter {quoted(name)} is neither text nor a number.")
        given[name] = str(value).strip()
    if "timeout" in parameters:
        timeout_us = parameters["timeout"]
        if not isinstance(timeout_us, int) or isinstance(timeout_us, bool) or timeout_us < 0:
            raise BadRequest(f"Parameter 'timeout' is {timeout_us!r:.30}; expected a whole number of microseconds.")
        if timeout_us:  # 0 is the protocol's word for no limit
            given["timeout_s"] = str(min(timeout_us / 1e6, MAX_TIMEOUT_S))
    fields = [OUTPUTS[name].name for name in outputs if name != "labels"]
    return parse({**given, "model": model, "fields": ",".join(fields), "output": "safetensors"}, accepted=ACCEPTED)
