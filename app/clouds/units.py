"""The units of coordinates: what a file, a request or a model says of them."""

import math
from dataclasses import dataclass, field
from typing import Literal

from app.errors import BadRequest

MIN_METRES, MAX_METRES = 1e-7, 1e5
SAME = 1e-7  # relative difference of two factors that mean one unit
LENGTHS = {
    "metre": 1.0,
    "foot": 0.3048,
    "US survey foot": 1200 / 3937,
    "kilometre": 1000.0,
    "decimetre": 0.1,
    "centimetre": 0.01,
    "millimetre": 0.001,
    "inch": 0.0254,
    "yard": 0.9144,
    "US survey yard": 3600 / 3937,
}
DEGREE = math.pi / 180
SHORT = {
    "metre": ("m", "meter", "metres", "meters"),
    "foot": ("ft", "feet", "international foot", "ift", "intl-ft"),
    "US survey foot": ("us-ft", "usft", "ftus", "us-foot", "us-feet", "us survey feet", "survey foot", "survey feet"),
    "kilometre": ("km", "kilometer", "kilometres", "kilometers"),
    "decimetre": ("dm", "decimeter", "decimetres", "decimeters"),
    "centimetre": ("cm", "centimeter", "centimetres", "centimeters"),
    "millimetre": ("mm", "millimeter", "millimetres", "millimeters"),
    "inch": ("in", "inches"),
    "yard": ("yd", "yards"),
    "US survey yard": ("us-yd",),
    "degree": ("deg", "degrees"),
}
MAX_NAME_CHARS = 60
MAX_CRS_NAME_CHARS = 120
UnitSource = Literal["file", "option", "format", "assumed"]


@dataclass(frozen=True)
class Unit:
    """The unit of an axis.

    Attributes:
        name: in the singular.
        metres: that one unit is; of an angle, along this axis at the place of the cloud.
        source: who says so: ``file``, ``option`` of the request, ``format`` by its standard, or nobody: ``assumed``.
        radians: that one unit of an angle is, 0 for a length.
    """

    name: str
    metres: float
    source: UnitSource = "assumed"
    radians: float = 0.0

    @property
    def of_height(self) -> "Unit":
        """The unit assumed for z if this is that of x and y: this one if it is a length, else metres."""
        return METRE if self.radians else Unit(self.name, self.metres)

    @property
    def plural(self) -> str:
        """The name for several."""
        if "foot" in self.name:
            return self.name.replace("foot", "feet")
        if self.name.startswith("unit "):
            return self.name.replace("unit", "units", 1)
        return self.name + ("es" if self.name.endswith("inch") else "s")


@dataclass(frozen=True)
class Units:
    """The units of x, y and z, the name of the coordinate system, '' if it has none, and what is doubtful in what
    a file says of them, one sentence each. ``system`` is the coordinate system as ``app.clouds.crs.units_of`` takes
    it, '' if it has none that is known in full."""

    x: Unit
    y: Unit
    z: Unit
    crs: str = ""
    doubts: tuple[str, ...] = ()
    system: str = field(default="", compare=False)

    @property
    def axes(self) -> tuple[Unit, Unit, Unit]:
        """Of x, y, z."""
        return self.x, self.y, self.z

    def described(self) -> str:
        """For a sentence: "US survey feet", or "metres (x, y) and feet (z)"."""
        names: dict[str, list[str]] = {}
        for axis, unit in zip("xyz", self.axes, strict=True):
            names.setdefault(unit.plural, []).append(axis)
        if len(names) == 1:
            return next(iter(names))
        return " and ".join(f"{name} ({', '.join(axes)})" for name, axes in names.items())


METRE = Unit("metre", 1.0)


def shown(name: str) -> str:
    """``name`` of a coordinate system, as much of it as an answer repeats, in one line."""
    return "".join(char for char in " ".join(name.split()) if char.isprintable())[:MAX_CRS_NAME_CHARS]


def length(metres: float, name: str = "", source: UnitSource = "file") -> Unit:
    """A unit of length, named by its factor if that is known, else ``name``; ValueError for an absurd factor."""
    if not MIN_METRES <= metres <= MAX_METRES:
        raise ValueError(f"a unit of {metres:g} m is not possible")
    for known, factor in LENGTHS.items():
        if abs(metres / factor - 1) < SAME:
            return Unit(known, factor, source)
    words = " ".join(name.split())[:MAX_NAME_CHARS]
    means_nothing = not words or words.lower() in ("unknown", "unnamed", "user-defined", "user defined")
    return Unit(f"unit of {metres:.9g} m" if means_nothing else words, metres, source)


def angle(radians: float, name: str, source: UnitSource = "file") -> Unit:
    """A unit of angle; its ``metres`` are not known yet. ValueError for an absurd factor."""
    if not MIN_METRES <= radians <= math.pi:
        raise ValueError(f"an angle of {radians:g} radians is no unit")
    is_degree = abs(radians / DEGREE - 1) < SAME
    return Unit("degree" if is_degree else " ".join(name.split())[:MAX_NAME_CHARS] or "angle", 1.0, source, radians)


def parse_unit(text: str, source: UnitSource = "option") -> Unit:
    """The unit of a name such as m, ft, us-ft or deg, or of a factor in metres; ValueError for anything else."""
    word = " ".join(text.lower().replace("_", " ").split())
    for name, others in SHORT.items():
        if word in (name.lower(), *others) or word.replace(" ", "-") in others:
            return angle(DEGREE, name, source) if name == "degree" else length(LENGTHS[name], name, source)
    try:
        return length(float(word), "", source)
    except ValueError:
        known = ", ".join(others[0] for others in SHORT.values())
        raise ValueError(f"'{text:.40}' is no unit; known are {known}, or how many metres one is, as 0.3048") from None


def parse_units(text: str) -> tuple[Unit, Unit, Unit]:
    """The units of x, y and z of the option ``units``: one for all, or three joined by commas.

    An angle alone is that of x and y, with z in metres. Raises BadRequest.
    """
    try:
        units = [parse_unit(part.strip()) for part in text.split(",", 3)]
        if len(units) == 1:
            x = y = z = units[0]
            z = length(1.0, source="option") if z.radians else z
        elif len(units) == 3:
            x, y, z = units
        else:
            raise ValueError(f"it has {len(units)} units; give one, or three for x, y and z")
        if z.radians or bool(x.radians) != bool(y.radians):
            raise ValueError("x and y can be angles, both of them, z cannot")
    except ValueError as error:
        raise BadRequest(f"units={text:.60}: {error}.") from None
    return x, y, z


def alike(first: Unit, second: Unit) -> bool:
    """Whether both are one unit, whoever says so."""
    if bool(first.radians) != bool(second.radians):
        return False
    return abs((first.radians or first.metres) / (second.radians or second.metres) - 1) <= SAME


def differ(first: Units, second: Units) -> bool:
    """Whether both state units of one axis, and different ones."""
    said = [(a, b) for a, b in zip(first.axes, second.axes, strict=True) if "assumed" not in (a.source, b.source)]
    return not all(alike(a, b) for a, b in said)
