"""An area on the map: a box, or polygons as GeoJSON, in the coordinate system of a file."""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

EXPECTED = (
    "a box as xmin,ymin,xmax,ymax, or a GeoJSON Polygon or MultiPolygon, all in the coordinate system of the file"
)
NONE_WITHIN = (
    "No point lies within the area, so all keep the class that the file states. The area is in the coordinate system "
    "and the units of the file."
)
POLYGONS = ("Polygon", "MultiPolygon")
BYTE_ORDER_MARK = "\ufeff"  # that some programs begin files with
Ring = list[tuple[float, float]]
_parsing = threading.Lock()  # what JSON takes as Python objects is taken once at a time


@dataclass(frozen=True)
class Area:
    """Polygons, each of the rings of its border and its holes; a ring's last point is joined to its first."""

    polygons: list[list[Ring]]


def parse(text: str) -> Area:
    """The area that ``text`` states. Raises ValueError that says what was expected."""
    text = text.removeprefix(BYTE_ORDER_MARK)
    if not text.lstrip().startswith("{"):
        return Area([[_box(text)]])
    try:
        with _parsing:
            polygons = _polygons(orjson.loads(text))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        why = str(error) if type(error) is ValueError else "it is cut short, or not as GeoJSON has it"
        raise ValueError(f"{EXPECTED} ({why})") from None
    if not polygons:
        raise ValueError(f"{EXPECTED} (it has no polygon)")
    return Area(polygons)


def _box(text: str) -> Ring:
    try:
        low_x, low_y, high_x, high_y = map(float, text.split(","))
    except ValueError:
        raise ValueError(EXPECTED) from None
    if not (-math.inf < low_x < high_x < math.inf and -math.inf < low_y < high_y < math.inf):
        raise ValueError(f"{EXPECTED} (xmin is less than xmax, ymin less than ymax)")
    return [(low_x, low_y), (high_x, low_y), (high_x, high_y), (low_x, high_y)]


def _polygons(found: Any) -> list[list[Ring]]:
    """Those of a geometry, a feature or a collection of features."""
    kind = found["type"]
    if kind == "FeatureCollection":
        return [polygon for feature in found["features"] for polygon in _polygons(feature)]
    if kind == "Feature":
        return _polygons(found["geometry"])
    if kind not in POLYGONS:
        raise ValueError(f"it is a {kind!s:.40}")
    coordinates = found["coordinates"]
    return [[_ring(ring) for ring in polygon] for polygon in ([coordinates] if kind == "Polygon" else coordinates)]


def _ring(points: Sequence[Sequence[float]]) -> Ring:
    ring = [(float(point[0]), float(point[1])) for point in points]
    if len(ring) > 1 and ring[0] == ring[-1]:
        ring.pop()
    if len(ring) < 3 or not all(math.isfinite(value) for point in ring for value in point):
        raise ValueError("a ring has three finite points or more")
    return ring
