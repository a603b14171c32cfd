"""Coordinate systems by name, code, WKT, PROJJSON or PROJ string, and the units of their axes.

pyproj knows them; it is imported when the first one is met, never in the web process. What it cannot read may still
state its units, which are then read from the text of the WKT.
"""

import math
import re
import warnings
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any

from app.clouds.citation import unit_in
from app.clouds.units import METRE, Unit, Units, UnitSource, angle, length, shown

MAX_CHARS = 1 << 16
REFUSED = re.compile(r"\+?\b(?:init|nadgrids|geoidgrids|xy_grids|z_grids|grids|file)\s*=", re.IGNORECASE)
WKT = re.compile(
    r"(?:(?:PROJ|GEOG|GEOC|COMPD_|VERT_|LOCAL_|FITTED_)CS|(?:(?:DERIVED)?PROJ(?:ECTED)?|GEOD(?:ETIC)?|GEOG(?:RAPHIC)?"
    r"|VERT(?:ICAL)?|ENG(?:INEERING)?|COMPOUND|BOUND)CRS)\s*[\[(]",
    re.IGNORECASE,
)
WKT_LIKE = re.compile(r"\w+\s*[\[(]")
PROJ_STRING = re.compile(r"\+?\w+\s*=")
MAX_SYSTEM_NAME = 120  # looking for longer ones takes seconds
UNIT = re.compile(r"\b(LENGTH|ANGLE|)UNIT\s*[\[(]\s*\"([^\"]*)\"\s*,\s*([-+.0-9E]+)", re.IGNORECASE)
VERTICAL = re.compile(r"\b(?:VERT_CS|VERTCRS|VERTICALCRS|VERTCS)\s*[\[(]", re.IGNORECASE)
AXES_FOLLOW = re.compile(r"\b(?:CS|PROJECTION|LOCAL_DATUM|EDATUM|ENGINEERINGDATUM)\s*[\[(]", re.IGNORECASE)
GEOGRAPHIC = re.compile(r"\b(?:GEOGCS|GEOGCRS|GEODCRS|GEODETICCRS|GEOGRAPHICCRS)\s*[\[(]", re.IGNORECASE)
PROJECTED = re.compile(r"\b(?:PROJCS|PROJCRS|PROJECTEDCRS|LOCAL_CS|ENGCRS|ENGINEERINGCRS)\s*[\[(]", re.IGNORECASE)
IS_ANGLE = re.compile(r"deg|grad|gon|rad", re.IGNORECASE)

GEOCENTRIC = "The coordinate system is geocentric, so that z is not up: project the cloud before it is sent."


class BadCrs(Exception):
    """A coordinate system that cannot be used; the text says why, without a full stop."""


def units_of(text: str, source: UnitSource = "file") -> Units:
    """The units of a coordinate system, given as pyproj takes it; bare digits are an EPSG code.

    x and y have the unit of the horizontal axes, z that of the vertical one; if there is none, that of the
    horizontal ones if it is a length, else metres, both ``assumed``. Raises BadCrs.
    """
    text = text.strip("\ufeff\0 \t\r\n")
    if not text:
        raise BadCrs("it is empty")
    if len(text) > MAX_CHARS:
        raise BadCrs(f"it has {len(text):,} characters, more than the {MAX_CHARS:,} that are read")
    if text.isascii() and text.isdigit():
        text = f"EPSG:{text}"
    found = _parsed(text)
    if found is None and WKT_LIKE.match(text) and '"' in text:
        return _scanned(text, source)
    if found is None:
        raise BadCrs(f"'{' '.join(text.split()):.80}' is not known")
    units = replace(_from_axes(found, source), system=text)
    return units if units.z.source != "assumed" else _with_heights(units, text, source)


def system_of(text: str) -> Any:
    """The ``pyproj.CRS`` of ``text``, given as it takes it; None if it is none, or names a file."""
    try:
        return _parsed(text) if text else None
    except BadCrs:
        return None


@lru_cache(maxsize=1024)
def short(text: str) -> str:
    """``text`` as EPSG codes, as in EPSG:6434+6360, if it is that system, in the same units; else as it is."""
    found = system_of(text)
    if found is None:
        return text
    whole = found.to_epsg()
    parts = [whole] if whole else [part.to_epsg() for part in found.sub_crs_list]
    if not all(parts) or not parts:
        return text
    codes = f"EPSG:{'+'.join(map(str, parts))}"
    ours, theirs = units_of(codes).axes, units_of(text).axes
    same = all(math.isclose(a.radians or a.metres, b.radians or b.metres) for a, b in zip(ours, theirs, strict=True))
    return codes if same else text


def _with_heights(flat: Units, text: str, source: UnitSource) -> Units:
    """``flat`` with the unit of a vertical system that stands behind the horizontal one, not with it in a compound."""
    vertical = VERTICAL.search(text)
    head = text[: vertical.start()] if vertical else ""
    if vertical is None or not head or head.count("[") != head.count("]"):
        return flat
    try:
        height = units_of(text[vertical.start() :], source)
    except BadCrs:
        return flat
    name = f"{flat.crs} + {height.crs}" if flat.crs and height.crs else flat.crs or height.crs
    return Units(flat.x, flat.y, height.z, shown(name), (*flat.doubts, *height.doubts), text)


@cache
def epsg_units() -> dict[int, tuple[str, float, bool]]:
    """Name, factor to metres or radians, and whether it is an angle, of every unit by its EPSG code."""
    database = _pyproj().database
    return {
        int(unit.code): (unit.name, unit.conv_factor, unit.category == "angular")
        for unit in database.get_units_map(auth_name="EPSG").values()
        if unit.category in ("linear", "angular") and unit.conv_factor > 0
    }


def epsg_unit(code: int, source: UnitSource = "file") -> Unit | None:
    """The unit of an EPSG code such as 9003; None if there is none."""
    try:
        name, factor, is_angle = epsg_units()[code]
        return angle(factor, name, source) if is_angle else length(factor, name, source)
    except (KeyError, ValueError):
        return None


@cache
def _pyproj() -> Any:
    """The module, which asks no server for grids."""
    import pyproj
    import pyproj.database
    import pyproj.network

    pyproj.network.set_network_enabled(active=False)  # type: ignore[attr-defined]
    return pyproj


def _parsed(text: str) -> Any:
    """The ``pyproj.CRS`` of ``text``; None if it is none."""
    is_structured = bool(WKT.match(text)) or text.startswith("{")
    if not is_structured and REFUSED.search(text):
        raise BadCrs("it names a file, and none is read")
    if not is_structured and not PROJ_STRING.match(text) and ("[" in text or len(text) > MAX_SYSTEM_NAME):
        return None
    pyproj = _pyproj()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pyproj.CRS.from_user_input(text)
    except Exception:  # whatever it is, the file can be read without
        return None


def _from_axes(crs: Any, source: UnitSource) -> Units:
    while crs.is_bound and crs.source_crs is not None:
        crs = crs.source_crs
    flat: list[Unit] = []
    height: Unit | None = None
    doubts = []
    try:
        for axis in crs.axis_info:
            is_vertical = axis.direction in ("up", "down")
            of = angle if crs.is_geographic and not is_vertical else length
            unit = of(axis.unit_conversion_factor, axis.unit_name, source)
            if is_vertical and height is None:
                height = unit
                if axis.direction == "down":
                    doubts.append("The vertical axis of the coordinate system points down; z was used as it stands.")
            else:
                flat.append(unit)
    except ValueError as error:
        raise BadCrs(str(error)) from None
    if crs.is_geocentric:
        doubts.append(GEOCENTRIC)
    if len(flat) > 2 and height is None:
        height = flat[2]
    name = shown(str(crs.name))
    return _completed(flat[:2], height, "" if name in ("unknown", "unnamed") else name, tuple(doubts))


def _completed(flat: list[Unit], height: Unit | None, crs: str, doubts: tuple[str, ...]) -> Units:
    """Units for all three axes, from those that are stated."""
    if not flat and height is None:
        raise BadCrs("it has no axes")
    x, y = (flat[0], flat[-1]) if flat else (METRE, METRE)
    if height is None:
        height = x.of_height
    return Units(x, y, height, crs, doubts)


def _scanned(text: str, source: UnitSource) -> Units:
    """The units that a WKT states which is otherwise no coordinate system; raises BadCrs if it states none."""
    vertical = VERTICAL.search(text)
    head, tail = (text[: vertical.start()], text[vertical.start() :]) if vertical else (text, "")
    marks = list(AXES_FOLLOW.finditer(head))
    found = _stated_units(head[marks[-1].start() :] if marks else head, source)
    height = [unit for unit in _stated_units(tail, source) if not unit.radians][-1:]
    is_geographic = bool(GEOGRAPHIC.search(head)) and not PROJECTED.search(head)
    flat = [unit for unit in found if bool(unit.radians) == is_geographic][-1:]
    match = re.search(r"\"([^\"]{1,120})\"", text)
    name = shown(match[1]) if match else ""
    named = unit_in(name, source)
    if not flat and not height and not named:
        raise BadCrs("its WKT is damaged or cut off, and states no unit")
    flat = flat or ([named] if named and not height else [])
    doubt = "The WKT of the coordinate system is damaged or not complete: no more than its units were read."
    return _completed(flat, height[0] if height else None, name, (doubt,))


def _stated_units(text: str, source: UnitSource) -> list[Unit]:
    units = []
    for kind, name, number in UNIT.findall(text):
        is_angle = kind.upper() == "ANGLE" or (not kind and bool(IS_ANGLE.search(name)))
        try:
            factor = float(number)
            units.append(angle(factor, name, source) if is_angle else length(factor, name, source))
        except ValueError:
            continue
    return [unit for unit in units if math.isfinite(unit.metres)]
