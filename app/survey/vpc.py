"""Virtual point clouds (.vpc) of answers: a STAC item for each file, as PDAL wrench writes and QGIS opens them.

STAC 1.0.0 with its extensions pointcloud 1.0.0 and projection 1.1.0.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

import orjson

from app.clouds.cloud import Bounds
from app.clouds.crs import system_of
from app.clouds.las_dimensions import Descriptors
from app.clouds.las_file import LasFile
from app.errors import Problem
from app.survey import ahead, files, headers, remote, target
from app.survey.tile import Tile

STAC_VERSION = "1.0.0"
EXTENSIONS = (
    "https://stac-extensions.github.io/pointcloud/v1.0.0/schema.json",
    "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
)
WGS84 = "EPSG:4326"
EDGE_POINTS = 21  # of an edge of a box, when it is projected
KINDS = {"u": "unsigned", "i": "signed", "f": "floating"}
# By PDAL's names, which QGIS shows: those of every point format, and those that some have under laspy's names.
ALWAYS = (
    *(("X", "f8"), ("Y", "f8"), ("Z", "f8"), ("Intensity", "u2"), ("ReturnNumber", "u1"), ("NumberOfReturns", "u1")),
    *(("ScanDirectionFlag", "u1"), ("EdgeOfFlightLine", "u1"), ("Classification", "u1"), ("ScanAngleRank", "f4")),
    *(("UserData", "u1"), ("PointSourceId", "u2")),
)
SOME = {
    "gps_time": ("GpsTime", "f8"),
    "red": ("Red", "u2"),
    "green": ("Green", "u2"),
    "blue": ("Blue", "u2"),
    "nir": ("Infrared", "u2"),
    "classification_flags": ("ClassFlags", "u1"),
}


def write(path: str, clouds: Iterable[tuple[str, str]]) -> None:
    """Write a virtual point cloud of ``clouds``, each with an id and a path or URL, as ``path``, a path or URL too.

    Files that are no LAS, LAZ or COPC with points are left out: QGIS shows no others. Those in the folder of ``path``
    or below it are named as seen from there. The file appears whole, in place of one that is there. Raises what
    ``target.write`` does.
    """
    target.write(path, _chunks(path.rpartition("/")[0], clouds))


def _chunks(folder: str, clouds: Iterable[tuple[str, str]]) -> Iterator[bytes]:
    """The parts of a virtual point cloud in ``folder``."""

    def item(cloud: tuple[str, str]) -> dict[str, Any] | None:
        return _item(*cloud, folder)

    yield b'{"type":"FeatureCollection","features":['
    separator = b"\n"
    for found in ahead.each(item, clouds) if remote.scheme(folder) else map(item, clouds):
        if found is not None:
            yield separator + orjson.dumps(found)
            separator = b",\n"
    yield b"\n]}\n"


def _item(name: str, cloud: str, folder: str) -> dict[str, Any] | None:
    """The STAC item of a file; None if it is no LAS file with points in known bounds."""
    try:
        head, stat = files.piece(cloud, 0, headers.HEAD_BYTES)
        file = headers.las_header(cloud, stat, head)
        tile = headers.described(Tile(name, cloud, "", stat.num_bytes, stat.version), file)
    except Problem:
        return None
    if not tile.num_points or tile.bounds is None:
        return None
    low_x, low_y, low_z, high_x, high_y, high_z = tile.bounds
    west, south, east, north = _in_wgs84(tile.crs, tile.bounds)
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": EXTENSIONS,
        "id": name,
        "geometry": _polygon(west, south, east, north),
        "bbox": [west, south, low_z, east, north, high_z],
        "properties": {
            "datetime": _created(file),
            "pc:count": tile.num_points,
            "pc:type": "lidar",
            "pc:encoding": "LASzip" if file.compressed else "LAS",
            "pc:schemas": _schemas(file),
            **_projection(tile.crs),
            "proj:geometry": _polygon(low_x, low_y, high_x, high_y),
            "proj:bbox": list(tile.bounds),
        },
        "links": [],
        "assets": {"data": {"href": _href(cloud, folder), "roles": ["data"]}},
    }


def _href(cloud: str, folder: str) -> str:
    """A file as a virtual point cloud in ``folder`` names it."""
    if not remote.scheme(folder):
        is_here = not remote.scheme(cloud)
        return f"./{os.path.relpath(os.path.realpath(cloud), os.path.realpath(folder))}" if is_here else cloud
    return f".{cloud.removeprefix(folder)}" if cloud.startswith(f"{folder}/") else cloud


def _polygon(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def _created(file: LasFile) -> str:
    """The day of the header as STAC writes it; that of 1970 if it states none, because an item must have a time."""
    day, year = int.from_bytes(file.header[90:92], "little"), int.from_bytes(file.header[92:94], "little")
    is_stated = 1 <= day <= 366 and 1900 < year < 9999
    created = date(year, 1, 1) + timedelta(days=day - 1) if is_stated else date(1970, 1, 1)
    return f"{created.isoformat()}T00:00:00Z"


def _schemas(file: LasFile) -> list[dict[str, Any]]:
    columns = [*ALWAYS, *(column for name, column in SOME.items() if name in file.fields)]
    for dimension in Descriptors(file).dimensions:
        several = [f"{dimension.name}_{element}" for element in range(dimension.num_elements)]
        kind = dimension.dtype.str[1:]
        columns += [(name, kind) for name in (several if len(several) > 1 else [dimension.name])]
    return [{"name": name, "size": int(kind[1:]), "type": KINDS[kind[0]]} for name, kind in columns]


@lru_cache(maxsize=256)
def _projection(crs: str) -> dict[str, Any]:
    """The properties that state a coordinate system: PDAL reads its WKT, QGIS its code, if it has a single one."""
    system = system_of(crs)
    if system is None:
        return {"proj:wkt2": crs}
    code = crs.removeprefix("EPSG:")
    stated: dict[str, Any] = {"proj:epsg": int(code)} if code.isdigit() else {}
    return {**stated, "proj:wkt2": system.to_wkt()}


def _in_wgs84(crs: str, bounds: Bounds) -> tuple[float, float, float, float]:
    """West, south, east, north of ``bounds`` in degrees; as they stand if the coordinate system is not known."""
    low_x, low_y, _, high_x, high_y, _ = bounds
    transformer = _transformer(crs)
    if transformer is not None:
        with suppress(Exception):  # pyproj has errors of its own for what lies outside a projection
            found: tuple[float, float, float, float] = transformer.transform_bounds(
                *(low_x, low_y, high_x, high_y), densify_pts=EDGE_POINTS, errcheck=True
            )
            return found
    return low_x, low_y, high_x, high_y


@lru_cache(maxsize=256)
def _transformer(crs: str) -> Any:
    """From a coordinate system to longitude and latitude, None if there is no way."""
    system = system_of(crs)
    if system is None:
        return None
    from pyproj import Transformer
    from pyproj.exceptions import ProjError

    with suppress(ProjError):
        return Transformer.from_crs(system.to_2d(), WGS84, always_xy=True)
    return None
