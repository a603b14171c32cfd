"""The options of a prediction. Each is declared here, once, for every way to ask and for whatever uses it.

``app.option_text`` reads them from requests and commands, and says what each takes; messages between processes carry
``Options`` whole.
"""

import dataclasses
import re
from collections.abc import Callable, Collection, Iterable
from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic.dataclasses import dataclass
from pydantic_core import CoreSchema, core_schema

from app.clouds import area
from app.clouds.asprs import MAX_CODE
from app.clouds.catalog import READERS, WRITERS, reader_named
from app.clouds.checks import MAX_COLUMNS
from app.clouds.crs import MAX_CHARS as MAX_CRS_CHARS
from app.clouds.fields import CLASSES, FEATURES, FIELDS, INSTANCES, LOGITS, REFINED, VOTES, Source
from app.errors import BadRequest, quoted

MAX_TIMEOUT_S = 86400.0
JOINT = "+"  # between the names of models whose probabilities are averaged
JOINED_CLASS_BYTES = 5  # of a class of a point beside its mode's: the sums over models, and of their votes
MAX_JOINED = 4  # models, so that there are not endlessly many names of which statistics are kept
MAX_CHARS = 1 << 16  # of one option: names of many columns
LONG = {"within": 1 << 20}  # characters of options that may be longer, and come as files
COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,30}")  # LAS has room for 31 bytes
FLAGS = ("withheld", "synthetic", "overlap", "key_point")  # of points in LAS
HEIGHT_FIELD = "height_above_ground"
READING = ("filename", "format", "columns", "crs", "units")  # arguments of app.clouds.formats.read


Ground = Literal["model", "file"]
OfModel = Literal["model"]
OF_MODEL: OfModel = "model"


class Mode(str, Enum):
    """How often a cloud goes through the network, and from what that finds fields can be made (``sources``).

    ``class_bytes`` are those of memory that a class of a point takes at most, beside a pass and the answer: logits,
    probabilities, sums, votes.
    """

    description: str
    class_bytes: int
    sources: tuple[Source, ...]

    def __new__(cls, value: str, description: str, class_bytes: int, *sources: Source) -> "Mode":
        mode = str.__new__(cls, value)
        mode._value_ = value
        mode.description = description
        mode.class_bytes = class_bytes
        mode.sources = (CLASSES, *sources, REFINED)
        return mode

    @property
    def is_single_pass(self) -> bool:
        """Whether clouds may share its pass."""
        return self is Mode.FAST

    __str__ = str.__str__

    FAST = "fast", "one pass, a voxel's label for its points", 12, LOGITS, INSTANCES, FEATURES
    EXACT = "exact", "Pointcept's tester, every view and point", 12, INSTANCES
    VOTE = "vote", "the mean of several passes, each over another view and grid", 17, VOTES


class OneOf:
    """``Annotated[str, OneOf(names)]`` is a string that is one of ``names``."""

    def __init__(self, names: Iterable[str]):
        self.names = list(names)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return core_schema.literal_schema(self.names)


def _split(value: Any) -> Any:
    """``"a, b"`` to ``("a", "b")``."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _two_ascending(values: tuple[float, ...]) -> tuple[float, ...]:
    if values and not (len(values) == 2 and values[0] < values[1]):
        raise ValueError("two numbers that ascend")
    return values


def _reader(value: str) -> str:
    return reader_named(value) or value


def _area(value: str) -> str:
    if value:
        area.parse(value)
    return value


def _pair(value: str) -> str:
    name, _, code = value.rpartition(":")
    if not name or not code.strip().isdecimal() or int(code) > MAX_CODE:
        raise ValueError(f"pairs of a class and its code from 0 to {MAX_CODE}, such as building:6,wire:14")
    return f"{name.strip()}:{int(code)}"


def _column(value: str) -> str:
    if value and not COLUMN.fullmatch(value):
        raise ValueError("a name of at most 31 letters, digits and underscores that begins with no digit")
    return value


Heights = Annotated[
    tuple[Annotated[float, Field(ge=-1000, le=1000)], ...], BeforeValidator(_split), AfterValidator(_two_ascending)
]
Codes = Annotated[
    tuple[Annotated[int, Field(ge=0, le=MAX_CODE)], ...], BeforeValidator(_split), Field(max_length=MAX_CODE + 1)
]


@dataclass(frozen=True)
class Options:
    """What one may ask of a prediction. Raises pydantic's ValidationError for values out of bounds."""

    model: str = Field(
        default="",
        max_length=200,
        description="Name of the model; by default POINTSERVE_DEFAULT_MODEL, or else the first one. a+b averages the "
        "probabilities of models with the same classes.",
    )
    mode: Annotated[Mode, WithJsonSchema({"enum": [mode.value for mode in Mode], "type": "string"})] = Field(
        default=Mode.FAST, description="; ".join(f"{mode}: {mode.description}" for mode in Mode) + "."
    )
    max_passes: int | None = Field(
        default=None,
        gt=0,
        description="Most passes of modes exact and vote; by default, and of a server at most, POINTSERVE_MAX_PASSES.",
    )
    format: Annotated[str, OneOf(READERS), BeforeValidator(_reader)] | None = Field(
        default=None, description="Format of the file, if its bytes and its name do not show it."
    )
    columns: Annotated[tuple[str, ...], BeforeValidator(_split), Field(max_length=MAX_COLUMNS)] | None = Field(
        default=None,
        description="Names of the columns of a table or a sweep, comma-separated; or pairs channel:column, such as "
        "intensity:amplitude,nx:_ in which _ leaves a channel out.",
    )
    crs: str = Field(
        default="",
        max_length=MAX_CRS_CHARS,
        description="Coordinate system of the file, whatever it says itself: an EPSG code such as EPSG:2263 or "
        "EPSG:6434+6360, a name, WKT, PROJJSON or a PROJ string.",
    )
    units: str = Field(
        default="",
        max_length=200,
        description="Units of the coordinates, whatever the file says: m, ft, us-ft, deg and others, or how many "
        "metres one is; one for all axes or three, as ft,ft,m.",
    )
    output: Annotated[str, OneOf(WRITERS), BeforeValidator(str.lower)] | None = Field(
        default=None,
        description="Format of the answer; by default what Accept says, else json; for files, what their names end in.",
    )
    fields: Annotated[tuple[Annotated[str, OneOf(FIELDS)], ...], BeforeValidator(_split)] = Field(
        default=(), max_length=64, description="Values wanted for every point beside its label, comma-separated."
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="Seed of any sampling; equal requests get equal answers.")
    timeout_s: float | None = Field(
        default=None,
        gt=0,
        le=MAX_TIMEOUT_S,
        description="Seconds to the answer, else 504; the header X-Request-Timeout may state it, too.",
    )
    condition: str = Field(
        default="", max_length=200, description="Dataset whose classes are wanted, of a model trained on several."
    )
    smooth: int | None = Field(
        default=None,
        ge=2,
        le=64,
        description="Probabilities become the mean of those of so many nearest voxels.",
    )
    smooth_radius_m: float | None = Field(
        default=None, gt=0, le=100, description="The same of voxels within so many metres, of the 64 or smooth nearest."
    )
    sieve: int | None = Field(
        default=None,
        ge=2,
        le=10**9,
        description="Connected pieces of a class of fewer points take the class around them.",
    )
    sieve_m2: float | None = Field(
        default=None, gt=0, le=1e9, description="The same of pieces that cover less, in square metres seen from above."
    )
    min_confidence: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Points whose class has a lower probability become unclassified.",
    )
    max_entropy: float | None = Field(
        default=None,
        ge=0,
        le=20,
        description="Points whose probabilities have a higher entropy, in nats, become unclassified.",
    )
    noise: bool = Field(
        default=False, description="Points that hang together with nothing become low (7) or high noise (18)."
    )
    vegetation_heights: Heights | OfModel = Field(
        default=(),
        description="Heights above ground, in metres, from which vegetation is medium (4) and high (5) instead of low "
        "(3), such as 0.5,2; or model for those that the model states.",
    )
    ground: Ground = Field(
        default="model",
        description="What heights are above: points that the model calls ground (2), or those that the file does.",
    )
    classes: Annotated[
        tuple[Annotated[str, AfterValidator(_pair)], ...], BeforeValidator(_split), Field(max_length=1000)
    ] = Field(
        default=(),
        description="ASPRS codes of classes of the model, by name or id, comma-separated, such as building:6,wire:14.",
    )
    preserve: Codes = Field(default=(), description="Codes of the file, comma-separated: points that have one keep it.")
    only: Codes = Field(
        default=(), description="Codes of the file, comma-separated: points that have none of them keep their class."
    )
    preserve_flags: Annotated[tuple[Annotated[str, OneOf(FLAGS)], ...], BeforeValidator(_split)] = Field(
        default=(), max_length=16, description="Flags of LAS: points that have one of them keep the file's class."
    )
    within: Annotated[str, AfterValidator(_area)] = Field(
        default="",
        max_length=LONG["within"],
        json_schema_extra={"format": "area"},
        description="Points outside keep the file's class: xmin,ymin,xmax,ymax, or a GeoJSON Polygon or MultiPolygon, "
        "in the coordinate system of the file.",
    )
    classification_to: Annotated[str, AfterValidator(_column)] = Field(
        default="",
        max_length=200,
        description="Name of the column that gets the labels in a file of points; the file's own classification stays "
        "as it is.",
    )
    filename: str = Field(default="", max_length=1000, description="Name of the file, if the body does not state one.")

    @property
    def reading(self) -> dict[str, Any]:
        """Those that say how to read the file, as arguments of ``app.clouds.formats.read``."""
        return {name: getattr(self, name) for name in READING}

    @property
    def columns_read(self) -> tuple[str, ...]:
        """Columns of the file that a prediction with these options reads, beside those of the model."""
        return self.preserve_flags

    @property
    def without_effect(self) -> list[str]:
        """A sentence for each option that was given and changes nothing, because another was not."""
        told = []
        if self.ground != "model" and not self.vegetation_heights and HEIGHT_FIELD not in self.fields:
            told.append(f"ground={self.ground} changes nothing without vegetation_heights or fields={HEIGHT_FIELD}.")
        if self.max_passes and self.mode.is_single_pass:
            told.append(f"max_passes={self.max_passes} changes nothing: mode={self.mode} is one pass.")
        return told

    @property
    def network(self) -> tuple[str, str]:
        """What clouds that go through the network together have in common."""
        return self.model, self.condition

    def or_else(self, **otherwise: Callable[[], Any]) -> "Options":
        """These options, with what ``otherwise`` returns, by name, for those that were not given."""
        return dataclasses.replace(self, **{name: get() for name, get in otherwise.items() if not getattr(self, name)})


NAMES = tuple(field.name for field in dataclasses.fields(Options))


def models_in(name: str, known: Collection[str]) -> list[str]:
    """The names that ``name`` joins by ``JOINT``, each once; one of the ``known`` names is a model whatever it holds.

    In a query + stands for a blank, so blanks between known names join them, too. Raises BadRequest for more than
    ``MAX_JOINED``.
    """
    parts = list(dict.fromkeys(name.split(JOINT if JOINT in name else " ")))
    whole = next((each for each in (name, JOINT.join(parts)) if each in known), None)
    if whole is not None:
        return [whole]
    is_joined = all(parts) and (JOINT in name or all(part in known for part in parts))
    if not is_joined:
        return [name]
    if len(parts) > MAX_JOINED:
        raise BadRequest(f"model={quoted(name)} joins {len(parts)} models; at most {MAX_JOINED} are taken as one.")
    return parts
