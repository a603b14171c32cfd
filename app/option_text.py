"""The options of a prediction as text: what each takes, and those that a request or a command states.

OpenAPI, the help of the command line and the documents are made from ``properties``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from app.errors import BadRequest, quoted
from app.options import LONG, MAX_CHARS, NAMES, Options
from app.validation import explain

_BOUNDS = {  # of numbers, by their names in a JSON schema
    "minimum": "{minimum:.12g} or more",
    "exclusiveMinimum": "more than {exclusiveMinimum:.12g}",
    "maximum": "{maximum:.12g} or less",
    "exclusiveMaximum": "less than {exclusiveMaximum:.12g}",
}
MAX_PROBLEMS = 8  # that one message tells


def properties() -> dict[str, dict[str, Any]]:
    """The JSON schema of each option by its name: type, bounds, default, description."""
    schemas: dict[str, dict[str, Any]] = TypeAdapter(Options).json_schema()["properties"]
    return schemas


def accepted(option: Mapping[str, Any]) -> str:
    """What an option of this schema takes, for a table or a help text: "fast, exact", "integer, 0 or more"."""
    kinds = [schema for schema in option.get("anyOf", [option]) if schema["type"] != "null"]
    return ", or ".join(map(_accepted, kinds))


def _accepted(schema: Mapping[str, Any]) -> str:
    if "const" in schema:
        return str(schema["const"])
    if "array" in schema["type"]:
        items = schema["items"]
        if items["type"] == "integer":
            return f"integers, {', '.join(_bounds(items))}"
        words = "numbers" if items["type"] == "number" else "names"
        return f"some of {', '.join(items['enum'])}" if "enum" in items else words
    if "enum" in schema:
        return ", ".join(schema["enum"])
    words = {"string": "text", "boolean": "true, false"}.get(schema["type"], schema["type"])
    return ", ".join([words, *_bounds(schema)])


def _bounds(schema: Mapping[str, Any]) -> list[str]:
    return [words.format(**schema) for key, words in _BOUNDS.items() if key in schema]


def parse(
    given: Mapping[str, str], problems: Mapping[str, str] | None = None, accepted: Sequence[str] = NAMES
) -> Options:
    """The options that ``given`` states as text; an empty text means that the option was not given.

    ``accepted`` are all names that whoever asks may give, with those that are no options.

    Raises:
        BadRequest: unknown options, values of the wrong kind, and ``problems`` by option that were found before; names
            every one of them, and for unknown ones what is ``accepted``.
    """
    found = dict(problems or {})
    for name, value in given.items():
        most = LONG.get(name, MAX_CHARS)
        if len(value) > most:
            found.setdefault(name, f"{len(value):,} characters long; at most {most:,} are accepted")
    unknown = [name for name in given if name not in NAMES]
    try:
        values: dict[str, Any] = {name: given[name] for name in NAMES if given.get(name) and name not in found}
        options = Options(**values)
    except ValidationError as error:
        for item in error.errors(include_url=False):
            name, place = str(item["loc"][0]), item["loc"][1:]
            if name in found and item["type"] == "literal_error" and isinstance(place[-1], str):
                found[name] += f", or {item['ctx']['expected']}"  # the word that may stand for a value of another kind
            problem = f"{quoted(str(item['input']))} is not accepted: {explain(item)}"
            found.setdefault(name, problem)
    if unknown or found:
        of_options = {name: problem for name, problem in found.items() if name in NAMES}
        raise BadRequest(_sentence(unknown, found, accepted), options=of_options)
    return options


def _sentence(unknown: list[str], problems: dict[str, str], accepted: Sequence[str]) -> str:
    """Words for the first of the ``unknown`` names and ``problems`` by name, and how many there are beside."""
    sentences = [f"{quoted(name)} is no option" for name in unknown] + [
        f"{name:.60}: {problem}" for name, problem in problems.items() if name not in unknown
    ]
    left = [f"and {len(sentences) - MAX_PROBLEMS:,} more"] if len(sentences) > MAX_PROBLEMS else []
    known = [f"options are {', '.join(accepted)}"] if unknown else []
    return "; ".join([*sentences[:MAX_PROBLEMS], *left, *known]) + "."
