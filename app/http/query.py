"""The options of a prediction in a request: its query, the fields of its form, its headers."""

import math
from collections.abc import Sequence

from werkzeug.datastructures import Headers, MultiDict

from app import option_text
from app.errors import BadRequest, quoted
from app.options import MAX_TIMEOUT_S, NAMES, Options


def parse(*sources: MultiDict[str, str], accepted: Sequence[str] = NAMES) -> Options:
    """The options that ``sources`` (query, form) give together; ``accepted`` is as in ``option_text.parse``.

    Raises:
        BadRequest: unknown options, options given twice, values of the wrong kind; names every one of them.
    """
    given: dict[str, str] = {}
    problems: dict[str, str] = {}  # the first of each option
    for name, value in ((name, value.strip()) for source in sources for name, value in source.items(multi=True)):
        if given.get(name, value) != value:
            problems.setdefault(name, f"given as {quoted(given[name])} and as {quoted(value)}: give it once")
        if value or name not in NAMES:
            given[name] = value
    return option_text.parse(given, problems, accepted)


def timeout_s(headers: Headers) -> float | None:
    """Seconds that the header X-Request-Timeout gives the answer, as the option of this name takes them; None without.

    Raises BadRequest if it is no positive number.
    """
    given = headers.get("X-Request-Timeout")
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise BadRequest(f"X-Request-Timeout: {quoted(given)} is not accepted: give a positive number of seconds.")
    return min(seconds, MAX_TIMEOUT_S)
