"""LAS of any version as LAS 1.4 with one of the point formats 6 to 8, which COPC is made of.

Fields are placed as the ASPRS LAS specification 1.4 R15 has them, tables 3 and 7 to 17.
"""

import struct
from dataclasses import replace
from functools import partial

import numpy as np

from app.clouds import las_crs
from app.clouds.crs import system_of
from app.clouds.las_file import LasFile, standard_length
from app.clouds.las_layout import HEADER_1_4, SCAN_ANGLE_STEP
from app.clouds.las_records import new_vlr
from app.errors import UnsupportedFormat

FORMATS = {0: 6, 1: 6, 2: 7, 3: 7, 6: 6, 7: 7, 8: 8}
NUM_RETURNS = 15
LEGACY = slice(107, 131)  # of the header: numbers of points in 32 bits, which are 0 for these formats
RETURN_COUNTS = 255
WAVEFORMS_START = 227
MINOR, ENCODING = 25, 6


def upgraded(file: LasFile, warnings: list[str]) -> LasFile:
    """``file`` as one of LAS 1.4 and a point format of 6 to 8: header and records, for points that ``points`` gives.

    A coordinate system that only GeoTIFF keys state is added as WKT, as these formats need it. What changes by that
    goes to ``warnings``. Raises UnsupportedFormat for points with waveforms.
    """
    if file.point_format not in FORMATS:
        raise UnsupportedFormat("COPC holds no waveforms: use output=laz or output=las for this file.")
    target = FORMATS[file.point_format]
    if target != file.point_format:
        lacking = "" if "gps_time" in file.fields else "; GPS time, which it does not have, is 0"
        warnings.append(
            f"Points of format {file.point_format} became {target}, as COPC needs: scan angles are in steps of "
            f"{SCAN_ANGLE_STEP}°{lacking}."
        )
    if file.minor != 4:
        warnings.append(f"The file is LAS 1.4 now instead of 1.{file.minor}, as COPC needs.")
    if len(file.header) > HEADER_1_4:
        warnings.append(f"The last {len(file.header) - HEADER_1_4} bytes of the header were left out: COPC has none.")
    header = bytearray(file.header[:HEADER_1_4].ljust(HEADER_1_4, b"\0"))
    header[MINOR] = 4
    header[LEGACY] = bytes(LEGACY.stop - LEGACY.start)
    struct.pack_into("<Q", header, WAVEFORMS_START, 0)
    vlrs = list(file.vlrs)
    has_wkt, has_keys = any(file.find(key) for key in las_crs.WKT), file.find(las_crs.GEO_KEYS) is not None
    if has_wkt and not has_keys:
        header[ENCODING] |= las_crs.WKT_BIT
    elif has_keys and not has_wkt:
        system = system_of(las_crs.system(file))
        if system is None:
            warnings.append(
                "The coordinate system is stated by GeoTIFF keys that have no WKT; they were kept as they are."
            )
        else:
            vlrs.append(new_vlr(las_crs.WKT[0], "", las_crs.wkt_data(system)))
            header[ENCODING] |= las_crs.WKT_BIT
            warnings.append("The coordinate system of the GeoTIFF keys is there as WKT too, which COPC asks for.")
    length = file.record_length - standard_length(file.point_format) + standard_length(target)
    return replace(file, header=bytes(header), vlrs=vlrs, minor=4, point_format=target, record_length=length)


def points(file: LasFile, target: LasFile, records: np.ndarray) -> np.ndarray:
    """``records`` of ``file`` as those of ``target``, which ``upgraded`` made of it; (N, record_length) each."""
    if file.point_format == target.point_format:
        return records
    found = np.zeros((len(records), target.record_length), np.uint8)
    old_end, new_end = standard_length(file.point_format), standard_length(target.point_format)
    found[:, new_end:] = records[:, old_end:]

    old, new = partial(file.column, records), partial(target.column, found)
    same = ("X", "Y", "Z", "intensity", "user_data", "point_source_id", "gps_time", "red", "green", "blue")
    for name in same:
        if name in file.fields:
            new(name)[:] = old(name)
    bits, classes = old("bit_fields"), old("raw_classification")
    new("bit_fields")[:] = (bits & 0x07) | ((bits >> 3 & 0x07) << 4)
    new("classification_flags")[:] = (classes >> 5) | (bits & 0xC0)
    new("classification")[:] = classes & 0x1F
    new("scan_angle")[:] = np.rint(old("scan_angle_rank") / SCAN_ANGLE_STEP)
    return found


def with_facts(target: LasFile, returns: np.ndarray, low: np.ndarray, high: np.ndarray) -> LasFile:
    """``target`` whose header states how many points have each return number, and the box around all of them.

    ``returns`` are the counts of 0 to 15; ``low`` and ``high`` (3,) are in the units of the file.
    """
    header = bytearray(target.header)
    struct.pack_into(f"<{NUM_RETURNS}Q", header, RETURN_COUNTS, *returns[1 : NUM_RETURNS + 1].tolist())
    struct.pack_into("<6d", header, 179, *np.stack([high, low], axis=1).reshape(-1).tolist())
    return replace(target, header=bytes(header))
