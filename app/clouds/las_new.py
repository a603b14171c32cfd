"""A plain LAS file of a cloud that came in another format."""

import io

import laspy
import numpy as np

from app.clouds.cloud import Cloud
from app.clouds.records import fits

SCALE_M = 1e-3
SCALE_DEGREES = 1e-7
MAX_RAW = 2**31 - 1


def las_from(cloud: Cloud) -> bytes:
    """An uncompressed LAS 1.4 file, point format 6 or 7, of a cloud that came in another format.

    It takes coordinates, colours (times 257), intensity, normals (extra dimensions ``normal_x`` …), returns, GPS time
    and an existing classification. Points that are not finite are placed at the offset.
    """
    finite = np.isfinite(cloud.xyz).all(axis=1)
    xyz = cloud.xyz[finite]
    low = xyz.min(axis=0) if len(xyz) else np.zeros(3)
    high = xyz.max(axis=0) if len(xyz) else np.zeros(3)
    header = laspy.LasHeader(version="1.4", point_format=6 if cloud.rgb is None else 7)
    header.offsets = np.floor(low)
    header.scales = _scales(low, high)
    header.generating_software = "pointserve"
    header.global_encoding.wkt = True
    if cloud.normals is not None:
        header.add_extra_dims([laspy.ExtraBytesParams(f"normal_{axis}", "float32") for axis in "xyz"])
    las = laspy.LasData(header, laspy.ScaleAwarePointRecord.zeros(len(cloud), header=header))
    raw = np.zeros(cloud.xyz.shape, np.int32)
    raw[finite] = np.rint((xyz - header.offsets) / header.scales)
    las.X, las.Y, las.Z = raw.T
    _fill(las, cloud)
    out = io.BytesIO()
    las.write(out, do_compress=False)
    return out.getvalue()


def _fill(las: laspy.LasData, cloud: Cloud) -> None:
    for name in ("return_number", "number_of_returns"):
        las[name] = np.clip(np.nan_to_num(cloud.extra.get(name, np.ones(len(cloud)))), 0, 15).astype(np.uint8)
    if fits(cloud.extra.get("classification", np.empty(0)), np.dtype(np.uint8)) and "classification" in cloud.extra:
        las.classification = cloud.extra["classification"].astype(np.uint8)
    if "gps_time" in cloud.extra:
        las.gps_time = cloud.extra["gps_time"]
    if cloud.intensity is not None:
        full = 65535 if cloud.intensity_scale == 1 else 1
        las.intensity = np.clip(np.nan_to_num(np.rint(cloud.intensity * full)), 0, 65535).astype(np.uint16)
    if cloud.rgb is not None:
        las.red, las.green, las.blue = cloud.rgb.T.astype(np.uint16) * 257
    if cloud.normals is not None:
        for axis, values in zip("xyz", cloud.normals.T, strict=True):
            las[f"normal_{axis}"] = values


def _scales(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """A millimetre; finer where x and y may be degrees or the object is tiny; coarser where 32 bits do not reach."""
    in_degrees = max(abs(low[0]), abs(high[0])) <= 360 and max(abs(low[1]), abs(high[1])) <= 90
    fine = in_degrees and bool((high - low)[:2].max() < 1)
    scales = np.array([SCALE_DEGREES, SCALE_DEGREES, SCALE_M] if fine else [SCALE_M] * 3)
    needed = (high - np.floor(low)) / MAX_RAW
    with np.errstate(divide="ignore"):
        decades = np.ceil(np.log10(np.maximum(needed / scales, 1)))
    return scales * 10.0**decades
