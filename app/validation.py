"""Words for what pydantic refuses: one table for options, inference requests and settings."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

EXPECTED = {  # by the type of pydantic's error, with the names of its context
    "expected": "{expected}",
    "enum": "{expected}",
    "literal_error": "{expected}",
    "bool_parsing": "yes or no",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number of fewer digits",
    "float_parsing": "a number",
    "finite_number": "a number that is finite",
    "greater_than": "more than {gt:.12g}",
    "greater_than_equal": "{ge:.12g} or more",
    "less_than": "less than {lt:.12g}",
    "less_than_equal": "{le:.12g} or less",
    "string_type": "text",
    "string_too_long": "at most {max_length} characters",
    "list_type": "a list",
    "too_long": "at most {max_length} entries",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "value_error": "{error}",
}


def explain(error: "ErrorDetails") -> str:
    """One of pydantic's errors in words that do not hold the value: "expected a whole number", "is missing"."""
    if error["type"] == "missing":
        return "is missing"
    words = EXPECTED.get(error["type"], "another value")
    return f"expected {words.format(**error.get('ctx', {}))}"
