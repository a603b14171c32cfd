"""The coordinate system of a LAS file: the WKT or the GeoTIFF keys among its records."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from app.clouds import geotiff
from app.clouds.crs import MAX_CHARS, BadCrs, system_of, units_of
from app.clouds.las_file import LasFile
from app.clouds.units import METRE, Unit, Units, alike, differ

PROJECTION = "LASF_Projection"
WKT = ((PROJECTION, 2112), ("liblas", 2112))
GEO_KEYS, GEO_DOUBLES, GEO_TEXTS = (PROJECTION, 34735), (PROJECTION, 34736), (PROJECTION, 34737)
SYSTEMS = (*WKT, GEO_KEYS, GEO_DOUBLES, GEO_TEXTS)
MAX_RECORD = 0xFFFF  # bytes of a VLR's data
WKT_BIT = 0x10  # of the global encoding: the WKT holds, not the keys

Found = tuple[Units | None, list[str]]


def units(file: LasFile) -> Units | None:
    """The units of the coordinates of ``file``, with what is doubtful in them; None if it has neither record."""
    readers: list[Callable[[LasFile], Found]] = [_by_keys, _by_wkt]
    names = ["GeoTIFF", "WKT"]
    if file.header[6] & WKT_BIT:
        readers.reverse()
        names.reverse()
    (first, faults), (second, more) = (read(file) for read in readers)
    if first and second and differ(first, second):
        faults.append(
            f"{names[0]} and {names[1]} contradict each other: {first.described()} and {second.described()}; "
            f"{names[0]} decides, as the file's header says."
        )
    chosen = first or second
    faults += more if first is None else []
    if chosen is None and not faults:
        return None
    if chosen is None:
        chosen = Units(METRE, METRE, METRE)
        faults.append("Coordinates were used as they stand: crs= or units= says what they are.")
    return replace(chosen, doubts=(*faults, *chosen.doubts))


def system(file: LasFile) -> str:
    """The system that decides on ``units``: its WKT, or EPSG codes as in EPSG:6434+6360; '' if the file has none."""
    texts = [_epsg(file), _wkt(file)[0]]
    if file.header[6] & WKT_BIT:
        texts.reverse()
    return texts[0] or texts[1]


def wkt_data(system: Any) -> bytes:
    """The data of a record with the WKT of ``system``, a ``pyproj.CRS``."""
    wkt: str = system.to_wkt("WKT1_GDAL") or system.to_wkt()
    return wkt.encode() + b"\0"


def new_wkt(units: Units | None, warnings: list[str]) -> bytes:
    """The data of a record that states ``units``, for a new file; empty if metres of no system are stated, or nothing.

    ``warnings`` say if the coordinate system itself cannot be stated.
    """
    if units is None:
        return b""
    found = system_of(units.system)
    data = wkt_data(found) if found is not None and units.crs else b""
    if data and len(data) <= MAX_RECORD and _states(data, units):
        return data
    if units.crs:
        warnings.append(f"The coordinate system {units.crs} is left out: LAS has no room for what is known of it.")
    return _of_lengths(units.x, units.z)


def _states(wkt: bytes, units: Units) -> bool:
    """Whether the axes of ``wkt`` have these ``units``."""
    try:
        read = units_of(wkt.decode())
    except BadCrs:
        return False
    return all(alike(ours, theirs) for ours, theirs in zip(units.axes, read.axes, strict=True))


def _of_lengths(flat: Unit, height: Unit) -> bytes:
    """The WKT of a system of which only the units are known; empty for metres and for angles."""
    if flat.radians or (alike(flat, METRE) and alike(height, METRE)):
        return b""
    level, up = (f'UNIT["{unit.name.replace(chr(34), "")}",{unit.metres!r}]' for unit in (flat, height))
    datum, axes = 'LOCAL_DATUM["unknown",0]', 'AXIS["x",EAST],AXIS["y",NORTH]'
    vertical = f'VERT_CS["unknown",VERT_DATUM["unknown",2005],{up},AXIS["Up",UP]]'
    return f'COMPD_CS["unknown",LOCAL_CS["unknown",{datum},{level},{axes}],{vertical}]'.encode() + b"\0"


def _epsg(file: LasFile) -> str:
    return geotiff.codes_of_keys(_keys(file))


def _wkt(file: LasFile) -> tuple[str, list[str]]:
    """The WKT among the records, '' if there is none, and what is wrong with it."""
    records = [record for key in WKT for record in file.find_all(key)]
    record = next((record for record in records if bytes(record.raw[record.header_size :][:1]).strip(b"\0 ")), None)
    if record is None:
        return "", []
    size = len(record.raw) - record.header_size
    if size > MAX_CHARS:
        return "", [f"The WKT of the coordinate system has {size:,} bytes; up to {MAX_CHARS:,} are read."]
    return record.data.decode("utf-8", "replace").split("\0")[0].strip(), []


def _by_wkt(file: LasFile) -> Found:
    text, faults = _wkt(file)
    if not text:
        return None, faults
    try:
        return units_of(text), []
    except BadCrs as error:
        return None, [f"The coordinate system of the file cannot be read: {error}."]


def _by_keys(file: LasFile) -> Found:
    return geotiff.units_of_keys(_keys(file))


def _keys(file: LasFile) -> geotiff.Keys:
    return geotiff.parse(*(_data(file, key) for key in (GEO_KEYS, GEO_DOUBLES, GEO_TEXTS)))


def _data(file: LasFile, key: tuple[str, int]) -> bytes:
    """The data of the record ``key``; empty if there is none, or if it is larger than the standard's VLRs can be."""
    record = file.find(key)
    return record.data if record and len(record.raw) <= MAX_CHARS else b""
