"""The coordinate system of GeoTIFF keys, as LAS files carry them (GeoTIFF 1.1, OGC 19-008r4)."""

import re

import numpy as np

from app.clouds.citation import unit_in
from app.clouds.crs import GEOCENTRIC, BadCrs, epsg_unit, units_of
from app.clouds.units import METRE, SAME, Unit, Units, length, shown

MODEL_TYPE, CITATION = 1024, 1026
GEOGRAPHIC_CODE, GEOGRAPHIC_CITATION, ANGULAR_UNIT = 2048, 2049, 2054
PROJECTED_CODE, PROJECTED_CITATION, LINEAR_UNIT, LINEAR_UNIT_SIZE = 3072, 3073, 3076, 3077
VERTICAL_CODE, VERTICAL_CITATION, VERTICAL_UNIT = 4096, 4097, 4099
GEOGRAPHIC_MODEL, GEOCENTRIC_MODEL = 2, 3
UNSET, USER_DEFINED = 0, 32767
DATUMS = range(5001, 5200)  # of GeoTIFF 1.0, in place of vertical systems; they say nothing of the unit
DOUBLES, TEXTS = 34736, 34737
DEGREE_CODE = 9102
MAX_CITATION_CHARS = 8192

PARTS = re.compile(r"\s\+\s|\|")
EPSG = re.compile(r"EPSG[:= ]+(\d{4,6})(?!\d)", re.IGNORECASE)

Keys = dict[int, int | float | str]


def parse(directory: bytes, doubles: bytes = b"", texts: bytes = b"") -> Keys:
    """The value of every key of a GeoKeyDirectory; longer values stand in ``doubles`` and ``texts``."""
    numbers = np.frombuffer(directory, "<u2", len(directory) // 8 * 4).reshape(-1, 4)
    floats = np.frombuffer(doubles, "<f8", len(doubles) // 8)
    keys: Keys = {}
    for key, location, count, value in numbers[1:].tolist():
        if location == 0:
            keys[key] = value
        elif location == DOUBLES and value < len(floats):
            keys[key] = float(floats[value])
        elif location == TEXTS:
            text = texts[value : value + min(count, MAX_CITATION_CHARS)].decode("latin-1")
            keys[key] = text.split("\0")[0].strip("| ")
    return keys


def units_of_keys(keys: Keys) -> tuple[Units | None, list[str]]:
    """What ``keys`` say of units, None if they say nothing, and what is wrong with them, one sentence each.

    A key of a unit is believed before the code of a coordinate system, and both before a citation in words.
    """
    faults: list[str] = []
    flat = _horizontal(keys, faults)
    height = _vertical(keys, faults)
    if flat is None and height is None:
        return None, faults
    if flat is None:
        flat = Units(METRE, METRE, METRE)
        faults.append("The GeoTIFF keys state the unit of z only; x and y were taken for metres.")
    if height is None:
        return flat, faults
    crs, of_height = flat.crs, height.crs
    name = f"{crs} + {of_height}" if crs and of_height else crs or of_height
    system = codes_of_keys(keys) if flat.system else ""
    return Units(flat.x, flat.y, height.z, name, (*flat.doubts, *height.doubts), system), faults


def codes_of_keys(keys: Keys) -> str:
    """The coordinate systems that ``keys`` name by code, as in EPSG:6434+6360; '' if they name no horizontal one."""
    is_geographic = keys.get(MODEL_TYPE) in (GEOGRAPHIC_MODEL, GEOCENTRIC_MODEL)
    flat = keys.get(GEOGRAPHIC_CODE if is_geographic or PROJECTED_CODE not in keys else PROJECTED_CODE)
    if _by_code(flat, []) is None:
        return ""
    height = keys.get(VERTICAL_CODE)
    is_datum = isinstance(height, int) and height in DATUMS
    return f"EPSG:{flat}" + (f"+{height}" if not is_datum and _by_code(height, []) else "")


def _horizontal(keys: Keys, faults: list[str]) -> Units | None:
    stated = _linear_unit(keys, faults)
    if keys.get(MODEL_TYPE) == GEOCENTRIC_MODEL:
        found = _by_code(keys.get(GEOGRAPHIC_CODE), faults)
        if found is not None and not found.x.radians:
            return found
        return Units(*3 * (stated or METRE,), doubts=(GEOCENTRIC,))
    is_geographic = keys.get(MODEL_TYPE) == GEOGRAPHIC_MODEL or (
        MODEL_TYPE not in keys and PROJECTED_CODE not in keys and stated is None and GEOGRAPHIC_CODE in keys
    )
    if is_geographic:
        found = _by_code(keys.get(GEOGRAPHIC_CODE), faults)
        unit = _unit(keys.get(ANGULAR_UNIT, DEGREE_CODE)) if found is None else None
        return Units(unit, unit, METRE) if unit and unit.radians else found
    found = _by_code(keys.get(PROJECTED_CODE), faults)
    if found is None and stated is None:
        return _cited(keys, ((PROJECTED_CITATION, 0), (CITATION, 0)))
    if found is None or stated is None:
        return found or (_of(stated) if stated else None)
    if found.x.radians or abs(stated.metres / found.x.metres - 1) > SAME:
        faults.append(
            f"The GeoTIFF keys contradict each other: {found.crs} is in {found.x.plural}, but the unit stated is the "
            f"{stated.name}, which was taken."
        )
        z = found.z if found.z.source != "assumed" else _of(stated).z
        return Units(stated, stated, z, found.crs)
    return found


def _vertical(keys: Keys, faults: list[str]) -> Units | None:
    """The units of a vertical system; only z counts."""
    code = keys.get(VERTICAL_UNIT)
    unit = _unit(code)
    if code not in (None, UNSET, USER_DEFINED) and (unit is None or unit.radians):
        faults.append(f"The GeoTIFF key of the unit of z is {code!r:.20}, which is no unit of length.")
        unit = None
    known = keys.get(VERTICAL_CODE)
    is_datum = isinstance(known, int) and known in DATUMS
    found = None if is_datum else _by_code(known, [] if unit else faults)
    if unit is not None:
        return Units(METRE, METRE, unit, found.crs if found else "", found.doubts if found else ())
    return found or _cited(keys, ((VERTICAL_CITATION, 0), (PROJECTED_CITATION, 1), (CITATION, 1)))


def _linear_unit(keys: Keys, faults: list[str]) -> Unit | None:
    code = keys.get(LINEAR_UNIT)
    size = keys.get(LINEAR_UNIT_SIZE)
    if code in (None, UNSET):
        return None
    if code == USER_DEFINED and isinstance(size, int | float):
        try:
            return length(float(size))
        except ValueError as error:
            faults.append(f"The GeoTIFF keys make no sense: {error}.")
            return None
    unit = _unit(code)
    if unit is None or unit.radians:
        if code != USER_DEFINED:
            faults.append(f"The GeoTIFF key of the linear unit is {code!r:.20}, which is no unit of length.")
        return None
    return unit


def _unit(code: int | float | str | None) -> Unit | None:
    return epsg_unit(code) if isinstance(code, int) else None


def _of(unit: Unit) -> Units:
    """That unit for x and y, and, assumed, for z."""
    return Units(unit, unit, unit.of_height)


def _by_code(code: int | float | str | None, faults: list[str]) -> Units | None:
    if not isinstance(code, int) or code in (UNSET, USER_DEFINED):
        return None
    try:
        return units_of(f"EPSG:{code}")
    except BadCrs:
        faults.append(f"The coordinate system EPSG:{code} of the GeoTIFF keys is not known.")
        return None


def _cited(keys: Keys, places: tuple[tuple[int, int], ...]) -> Units | None:
    """The units of the first citation that states some. Each citation is a key and a part of its text; the part of the
    vertical system stands behind a plus or a bar."""
    for key, part in places:
        parts = PARTS.split(str(keys.get(key, "")))
        found = _in_words(parts[part]) if part < len(parts) else None
        if found is not None:
            return found
    return None


def _in_words(text: str) -> Units | None:
    """The units that a citation means: a WKT or a code in it, or words such as "(ftUS)"."""
    code = EPSG.search(text)
    wkt = re.search(r"(?:COMPD_CS|PROJCS|PROJCRS|VERT_?CS|VERTCRS)\s*\[", text)
    stated = text[wkt.start() :] if wkt else f"EPSG:{code[1]}" if code else ""
    if stated:
        try:
            return units_of(stated)
        except BadCrs:
            pass
    unit = unit_in(text)
    if unit is None:
        return _by_name(text)
    return Units(unit, unit, unit.of_height, shown(text))


def _by_name(text: str) -> Units | None:
    """That of the coordinate system of exactly this name, such as "NAD27 / New York East", which is in feet."""
    if "/" not in text or len(text) > 100:
        return None
    try:
        found = units_of(text)
    except BadCrs:
        return None
    return found if "".join(found.crs.split()).lower() == "".join(text.split()).lower() else None
