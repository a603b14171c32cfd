"""The options of a prediction, from the query or from the fields of a form."""

import math
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import CoreSchema, core_schema
from werkzeug.datastructures import Headers, MultiDict

from app.clouds.checks import MAX_COLUMNS
from app.clouds.cloud import FIELDS
from app.clouds.crs import MAX_CHARS as MAX_CRS_CHARS
from app.clouds.formats import READERS, WRITERS
from app.engine.protocol import MODES, ReadOptions, SegmentOptions
from app.errors import BadRequest, quoted

VALUE_CHARS = 65536  # names of many columns
MAX_TOLD = 8  # problems
WORDS = {  # for what pydantic finds
    "literal_error": "accepted are {expected}",
    "int_parsing": "expected an integer",
    "int_parsing_size": "expected an integer of fewer digits",
    "float_parsing": "expected a number",
    "greater_than": "expected a number greater than {gt:g}",
    "greater_than_equal": "expected a number greater than or equal to {ge:g}",
    "less_than": "expected a number less than {lt:,}",
    "less_than_equal": "expected a number of at most {le:g}",
    "string_too_long": "expected at most {max_length} characters",
    "too_long": "expected at most {max_length} names",
}


class OneOf:
    """``Annotated[str, OneOf(names)]`` is a string that is one of ``names``."""

    def __init__(self, names: Iterable[str]):
        self.names = list(names)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return core_schema.literal_schema(self.names)


def _split(value: str) -> tuple[str, ...]:
    """``"a, b"`` to ``("a", "b")``."""
    return tuple(part.strip() for part in value.split(",") if part.strip())


class Options(BaseModel):
    """What a client may ask of a prediction. An empty value means that the option was not given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field("", max_length=200, description="Name of the model, one of GET /models; by default the first.")
    mode: Annotated[str, OneOf(MODES)] = Field(
        MODES[0],
        description="fast: one pass, a voxel's label for its points; exact: Pointcept's tester, every view and point.",
    )
    max_passes: int | None = Field(
        None, gt=0, description="Most passes of mode=exact; by default, and at most, as the server is set."
    )
    format: Annotated[str, OneOf(READERS), BeforeValidator(str.lower)] | None = Field(
        None, description="Format of the file, where its bytes and its name leave it open."
    )
    columns: Annotated[tuple[str, ...], BeforeValidator(_split), Field(max_length=MAX_COLUMNS)] | None = Field(
        None,
        description="Names of the columns of a table or a sweep, comma-separated; or pairs channel:column, such as "
        "intensity:amplitude,nx:_ where _ leaves a channel out.",
    )
    crs: str = Field(
        "",
        max_length=MAX_CRS_CHARS,
        description="Coordinate system of the file, whatever it says itself: an EPSG code such as EPSG:2263 or "
        "EPSG:6434+6360, a name, WKT, PROJJSON or a PROJ string.",
    )
    units: str = Field(
        "",
        max_length=200,
        description="Units of the coordinates, whatever the file says: m, ft, us-ft, deg …, or how many metres one is; "
        "one for all axes or three, as ft,ft,m.",
    )
    output: Annotated[str, OneOf(WRITERS), BeforeValidator(str.lower)] | None = Field(
        None, description="Format of the answer; by default taken from Accept, else json."
    )
    fields: Annotated[tuple[Annotated[str, OneOf(FIELDS)], ...], BeforeValidator(_split)] = Field(
        (), max_length=64, description="Values wanted for every point beside its label, comma-separated."
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of any sampling; equal requests get equal answers.")
    timeout_s: float | None = Field(
        None, gt=0, le=86400, description="Seconds to the answer, else 504; the header X-Request-Timeout says the same."
    )
    condition: str = Field(
        "", max_length=200, description="Dataset whose classes are wanted, of a model trained on several."
    )
    filename: str = Field("", max_length=1000, description="Name of the file, where the body does not carry one.")

    def read_options(self, filename: str, format: str | None = None) -> ReadOptions:
        """How to read a body whose headers state ``filename`` and ``format``: the options of the same names win."""
        return ReadOptions(self.filename or filename, self.format or format, self.columns, self.crs, self.units)

    def segment_options(self) -> SegmentOptions:
        """How to answer."""
        return SegmentOptions(self.model, self.mode, self.fields, self.seed, self.max_passes, self.condition)


def timeout_s(chosen: Options, headers: Headers) -> float:
    """Seconds that the client waits: the option, the header X-Request-Timeout, or no limit of its own.

    Raises BadRequest if the header is no positive number.
    """
    if chosen.timeout_s is not None:
        return chosen.timeout_s
    given = headers.get("X-Request-Timeout", "inf")
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise BadRequest(f"X-Request-Timeout: {quoted(given)} is not accepted: give a positive number of seconds.")
    return seconds


def parse(*sources: MultiDict[str, str]) -> Options:
    """The options that ``sources`` (query, form) give together.

    Raises:
        BadRequest: unknown options, options given twice, values of the wrong kind; names every one of them.
    """
    given: dict[str, str] = {}
    problems: dict[str, str] = {}  # the first of each option
    for name, value in ((name, value.strip()) for source in sources for name, value in source.items(multi=True)):
        if given.get(name, value) != value:
            problems.setdefault(name, f"given as {quoted(given[name])} and as {quoted(value)}: give it once")
        if len(value) > VALUE_CHARS:
            problems.setdefault(name, f"{len(value):,} characters long; at most {VALUE_CHARS:,} are accepted")
        elif value or name not in Options.model_fields:
            given[name] = value
    unknown = [name for name in given if name not in Options.model_fields]
    try:
        options = Options.model_validate({name: value for name, value in given.items() if name in Options.model_fields})
    except ValidationError as error:
        for item in error.errors(include_url=False):
            problems.setdefault(str(item["loc"][0]), _explain(item))
    if unknown or problems:
        raise BadRequest(_told(unknown, problems))
    return options


def _told(unknown: list[str], problems: dict[str, str]) -> str:
    """Sentences for the first of the ``unknown`` names and ``problems`` by name, and how many there are beside."""
    told = [f"{quoted(name)} is no option" for name in unknown] + [
        f"{name:.60}: {problem}" for name, problem in problems.items() if name not in unknown
    ]
    left = [f"and {len(told) - MAX_TOLD:,} more"] if len(told) > MAX_TOLD else []
    known = [f"options are {', '.join(Options.model_fields)}"] if unknown else []
    return "; ".join([*told[:MAX_TOLD], *left, *known]) + "."


def _explain(item: Any) -> str:
    """Words for one of pydantic's errors."""
    expected = WORDS.get(item["type"], "see GET /docs").format(**item.get("ctx", {}))
    return f"{quoted(str(item['input']))} is not accepted: {expected}"
