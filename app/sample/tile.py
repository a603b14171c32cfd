"""A made-up tile as a Cloud, and as a LAS or LAZ file."""

import io
from datetime import date

import laspy
import numpy as np
from laspy.vlrs.known import WktCoordinateSystemVlr

from app.clouds.cloud import ClassInfo, Cloud, Segmentation, SegmentationMeta
from app.clouds.las_layout import SCAN_ANGLE_STEP
from app.errors import BadRequest

from .land import KINDS, Land
from .scan import Pulses, Returns, scan

ORIGIN_M = np.array([548_200.0, 5_803_400.0, 62.0])
MAX_POINTS = 50_000_000
RESOLUTION_M = 0.001
INTENSITY_SCALE = 65535
CLASSES = {
    0: ("never classified", (160, 160, 160)),
    1: ("unclassified", (200, 200, 200)),
    2: ("ground", (176, 137, 94)),
    3: ("low vegetation", (186, 222, 112)),
    4: ("medium vegetation", (112, 180, 74)),
    5: ("high vegetation", (40, 120, 50)),
    6: ("building", (214, 80, 64)),
    7: ("low noise", (60, 60, 60)),
    9: ("water", (66, 122, 224)),
    18: ("high noise", (60, 60, 60)),
}
CRS_WKT = (
    'PROJCS["ETRS89 / UTM zone 32N",GEOGCS["ETRS89",DATUM["European_Terrestrial_Reference_System_1989",'
    'SPHEROID["GRS 1980",6378137,298.257222101]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],'
    'PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",9],'
    'PARAMETER["scale_factor",0.9996],PARAMETER["false_easting",500000],PARAMETER["false_northing",0],'
    'UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH],AUTHORITY["EPSG","25832"]]'
)


def make_tile(kind: str = "town", seed: int = 0, size_m: float = 120.0, density: float = 20.0) -> Cloud:
    """A tile of ``size_m`` by ``size_m`` with about ``density`` returns per square metre; equal seeds give equal tiles.

    Coordinates are metres of UTM zone 32N. ``extra`` holds ``classification`` (ASPRS codes: 1 cars, 2 ground,
    3 4 5 low, medium and high vegetation, 6 building, 7 and 18 noise, 9 water), ``return_number``,
    ``number_of_returns``, ``gps_time`` (adjusted standard, seconds), ``scan_angle`` (degrees), ``point_source_id``.

    Raises:
        BadRequest: an unknown kind, or a size or density that makes no tile.
    """
    if kind not in KINDS:
        raise BadRequest(f"There is no kind of tile {kind!r}. Kinds are {', '.join(KINDS)}.")
    if not (size_m >= 20 and density > 0 and 100 <= size_m**2 * density <= MAX_POINTS):
        raise BadRequest(
            f"A tile of {size_m:g} m with {density:g} points per m² cannot be made: it must be at least 20 m wide "
            f"and have 100 to {MAX_POINTS:,} points."
        )
    rng = np.random.default_rng(seed)
    pulses, returns = scan(rng, Land(rng, size_m, KINDS[kind]), density)
    order = np.lexsort((-returns.z, pulses.time_s[returns.pulse]))
    returns = Returns(*(getattr(returns, name)[order] for name in Returns.__dataclass_fields__))
    return _cloud(rng, pulses, returns)


def _cloud(rng: np.random.Generator, pulses: Pulses, returns: Returns) -> Cloud:
    pulse = returns.pulse
    starts = np.flatnonzero(np.diff(pulse, prepend=-1))
    number_of_returns = np.diff(starts, append=len(pulse))
    return_number = np.arange(len(pulse)) - np.repeat(starts, number_of_returns) + 1
    total = np.repeat(number_of_returns, number_of_returns)
    angle_deg = pulses.angle_deg[pulse]
    speckle = rng.lognormal(0, 0.18, len(pulse))
    intensity = 40_000 * returns.reflectance / np.sqrt(total) * np.cos(np.radians(angle_deg)) * speckle
    xyz = np.column_stack([returns.xy, returns.z]) + ORIGIN_M
    return Cloud(
        xyz=np.round(xyz / RESOLUTION_M) * RESOLUTION_M,
        format="sample",
        intensity=np.clip(intensity, 1, INTENSITY_SCALE).round().astype(np.float32),
        intensity_scale=INTENSITY_SCALE,
        extra={
            "classification": returns.code,
            "return_number": np.minimum(return_number, 15).astype(np.uint8),
            "number_of_returns": np.minimum(total, 15).astype(np.uint8),
            "gps_time": pulses.time_s[pulse],
            "scan_angle": angle_deg.astype(np.float32),
            "point_source_id": pulses.strip[pulse].astype(np.uint16),
        },
    )


def las_bytes(tile: Cloud, compress: bool = True) -> bytes:
    """``tile`` as LAS 1.4, point format 6, with its coordinate system; LAZ if ``compress``."""
    header = laspy.LasHeader(version="1.4", point_format=6)
    header.scales = np.full(3, RESOLUTION_M)
    header.offsets = np.floor(tile.xyz.min(0) / 1000) * 1000
    header.global_encoding.wkt = True
    header.global_encoding.gps_time_type = laspy.header.GpsTimeType.STANDARD
    header.creation_date = date(2023, 6, 30)
    header.system_identifier = "made up"
    header.generating_software = "pointserve sample"
    header.vlrs.append(WktCoordinateSystemVlr(CRS_WKT))
    las = laspy.LasData(header)
    las.xyz = tile.xyz
    las.intensity = tile.intensity
    for name, column in tile.extra.items():
        las[name] = np.round(column / SCAN_ANGLE_STEP) if name == "scan_angle" else column
    buffer = io.BytesIO()
    las.write(buffer, do_compress=compress)
    return buffer.getvalue()


def truth(tile: Cloud) -> Segmentation:
    """The classification of ``tile`` as an answer, for the writers of ``app.clouds.formats``."""
    classes = [ClassInfo(code, name, color, asprs=code) for code, (name, color) in CLASSES.items()]
    meta = SegmentationMeta(classes, ignore_label=0, model="sample")
    return Segmentation(tile.extra["classification"].astype(np.int32), meta)
