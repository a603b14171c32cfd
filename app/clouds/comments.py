"""Coordinate systems and units in comments of PLY, PCD and text files: "crs: EPSG:2263", "units: us-ft"."""

import re
from collections.abc import Iterable
from dataclasses import replace

from app.clouds.crs import BadCrs, short, units_of
from app.clouds.units import METRE, SHORT, Unit, Units, alike, parse_unit

MAX_WRITTEN = 1000  # characters of a comment: programs read headers line by line, into buffers of 1024

KINDS = {
    "system": "crs|srs|epsg|wkt2?|proj4?|projection|coordinate system|coordinate reference system",
    "unit": "(?:(?:horizontal|coordinate|xyz) )?units?",
    "height": "(?:vertical|z) units?",
}
STATED = re.compile(
    "|".join(f"(?P<{kind}>{words})" for kind, words in KINDS.items()).replace(" ", "[ _-]?").join(("(?:", ")"))
    + r"(?P<sign>\s*[:=]\s*|\s+)(?P<value>\S.*)",
    re.IGNORECASE,
)
Statement = tuple[str, bool]  # the value, and whether a sign makes plain that it is one


def units_in(comments: Iterable[str]) -> Units | None:
    """The units that ``comments``, without their mark, state; None if they state none.

    The first comment of each kind counts. A unit that is stated is believed before that of a coordinate system.
    """
    found = _first(comments)
    doubts: list[str] = []
    system = _system(found.get("system"), doubts)
    flat, height = (_unit(found.get(kind), doubts) for kind in ("unit", "height"))
    if system is None and flat is None and height is None:
        return Units(METRE, METRE, METRE, doubts=tuple(doubts)) if doubts else None
    base = system or Units(METRE, METRE, METRE)
    if flat is not None:
        base = replace(base, x=flat, y=flat, z=flat.of_height, doubts=())
    return replace(base, z=height or base.z, doubts=(*base.doubts, *doubts))


def of_units(units: Units | None, output: str, warnings: list[str]) -> list[str]:
    """Comments, without their mark, in which ``units_in`` finds what is stated by ``units``.

    ``warnings`` say if the coordinate system has no room in a comment of the format ``output``.
    """
    if units is None:
        return []
    comments = []
    system = " ".join(short(units.system).split()) if units.crs else ""
    if system and system.isascii() and len(system) <= MAX_WRITTEN:
        comments.append(f"crs: {system}")
    elif units.crs:
        warnings.append(f"The coordinate system {units.crs} is left out: a comment of {output} has no room for it.")
    for name, unit, place in (("units", units.x, 0), ("vertical units", units.z, 2)):
        found = units_in(comments)
        if unit.source != "assumed" and not (found and alike(unit, found.axes[place])):
            comments.append(f"{name}: {unit.name if unit.name in SHORT else repr(unit.metres)}")
    return comments


def _first(comments: Iterable[str]) -> dict[str, Statement]:
    """The first statement of each of ``KINDS``."""
    found: dict[str, Statement] = {}
    for comment in comments:
        match = STATED.fullmatch(comment.strip())
        kind = next((kind for kind in KINDS if match and match[kind]), None)
        if match and kind and kind not in found:
            value = match["value"].strip(" '\"")
            value = f"EPSG:{value}" if match[kind].lower() == "epsg" and value[:1].isdigit() else value
            found[kind] = value, bool(match["sign"].strip())
    return found


def _system(statement: Statement | None, doubts: list[str]) -> Units | None:
    if statement is None:
        return None
    value, is_plain = statement
    try:
        return units_of(value)
    except BadCrs as error:
        if is_plain:
            doubts.append(f"The coordinate system in a comment of the file cannot be read: {error}.")
        return None


def _unit(statement: Statement | None, doubts: list[str]) -> Unit | None:
    if statement is None:
        return None
    value, is_plain = statement
    try:
        unit = parse_unit(value, "file")
    except ValueError as error:
        if is_plain:
            doubts.append(f"The unit in a comment of the file cannot be read: {error}.")
        return None
    return unit
