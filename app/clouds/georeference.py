"""Coordinate system and units of a cloud, as far as its file and the request state them."""

import math
from dataclasses import replace

import numpy as np

from app.clouds.cloud import Cloud
from app.clouds.crs import BadCrs, units_of
from app.clouds.units import METRE, Units, differ, parse_units
from app.errors import BadRequest

EQUATOR_M = 6_378_137.0  # WGS 84
FLATTENING = 1 / 298.257223563
MAX_SAMPLED = 100_000
LEAST_COSINE = 1e-6


def settle(cloud: Cloud, crs: str = "", units: str = "") -> None:
    """Decide on ``cloud.units``: what the options ``crs`` and ``units`` say, else what the file says.

    Angles get their metres at the middle of the cloud, so that x and y times these are a local projection. What is
    doubtful goes to ``cloud.warnings``. Raises BadRequest for an option that makes no sense.
    """
    chosen = stated_or_asked(cloud.units, crs, units)
    if cloud.units is not None and chosen is not None and differ(chosen, cloud.units):
        cloud.warnings.append(
            f"The file says {cloud.units.described()}, the request {chosen.described()}: the request was followed."
        )
    if chosen is None:
        return
    cloud.warnings += chosen.doubts
    cloud.units = _placed(replace(chosen, doubts=()), cloud)


def stated_or_asked(stated: Units | None, crs: str, units: str) -> Units | None:
    """What the options ``crs`` and ``units`` say, where they leave something open and else what the file says.

    Raises BadRequest for an option that makes no sense.
    """
    asked = _asked(crs, units)
    if asked is None or stated is None:
        return asked or stated
    return _completed(asked, stated)


def _asked(crs: str, units: str) -> Units | None:
    found = None
    if crs:
        try:
            found = units_of(crs, "option")
        except BadCrs as error:
            raise BadRequest(
                f"crs= is no coordinate system: {error}; expected an EPSG code such as EPSG:2263 or EPSG:6434+6360, a "
                "name, WKT, PROJJSON or a PROJ string."
            ) from None
    if units:
        x, y, z = parse_units(units)
        found = replace(found, x=x, y=y, z=z) if found else Units(x, y, z)
    return found


def _completed(asked: Units, stated: Units) -> Units:
    """``asked``, with what it leaves open as the file states it."""
    x, y, z = (
        theirs if ours.source == "assumed" and theirs.source != "assumed" and not theirs.radians else ours
        for ours, theirs in zip(asked.axes, stated.axes, strict=True)
    )
    return replace(asked, x=x, y=y, z=z)


def _placed(units: Units, cloud: Cloud) -> Units:
    """``units`` with the metres of a degree at the place of the cloud."""
    if not units.x.radians:
        return units
    longitude, latitude = _middle(cloud.xyz, units)
    if abs(latitude) <= math.pi / 2 and abs(longitude) <= 2 * math.pi:
        along_x, along_y = metres_per_radian(latitude)
    elif abs(longitude) <= math.pi / 2 and abs(latitude) <= 2 * math.pi:
        along_y, along_x = metres_per_radian(longitude)
        cloud.warnings.append("Latitudes were found in x and longitudes in y, and taken so.")
    else:
        cloud.warnings.append(
            f"The coordinate system says {units.x.plural}, but x and y are beyond what those can be: they were used as "
            "they stand. crs= or units= says what they are."
        )
        return Units(METRE, METRE, units.z)
    x = replace(units.x, metres=along_x * units.x.radians)
    return replace(units, x=x, y=replace(units.y, metres=along_y * units.y.radians))


def _middle(xyz: np.ndarray, units: Units) -> tuple[float, float]:
    """Medians of x and y in radians, of the points with finite coordinates; 0 if there are none."""
    sample = xyz[:: max(1, len(xyz) // MAX_SAMPLED), :2]
    sample = sample[np.isfinite(sample).all(axis=1)]
    if not len(sample):
        return 0.0, 0.0
    x, y = np.median(sample, axis=0)
    return float(x) * units.x.radians, float(y) * units.y.radians


def metres_per_radian(latitude: float) -> tuple[float, float]:
    """Along the parallel and along the meridian of the ellipsoid: the radii of their curvature."""
    squared = FLATTENING * (2 - FLATTENING)
    root = math.sqrt(1 - squared * math.sin(latitude) ** 2)
    parallel = EQUATOR_M / root * max(math.cos(latitude), LEAST_COSINE)
    return parallel, EQUATOR_M * (1 - squared) / root**3
