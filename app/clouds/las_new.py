"""A plain LAS file of a cloud that came in another format."""

import io
from dataclasses import dataclass, field

import laspy
import numpy as np

from app.clouds import las_crs
from app.clouds.checks import MAX_COORDINATE
from app.clouds.cloud import Cloud
from app.clouds.columns import key
from app.clouds.las_dimensions import Column
from app.clouds.las_layout import SCAN_ANGLE_STEP
from app.clouds.records import common_dtype, fits

SCALES = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
SCALE = 1e-4  # of coordinates that are no multiples of any of SCALES
SCALE_DEGREES = 1e-7
LEAST_SCALE = 1e-9
STEPS = 1e6  # that the extent of a small object has at least
MAX_RAW = 2**31 - 1
FULL = 65535
ORIGINAL = "original_"

# The greatest value of a field that is a whole number from 0, under the name that a column has in a Cloud.
GREATEST = {
    "return_number": 15,
    "number_of_returns": 15,
    "classification": 255,
    "user_data": 255,
    "point_source_id": 65535,
    "scanner_channel": 3,
    "scan_direction_flag": 1,
    "edge_of_flight_line": 1,
    "synthetic": 1,
    "key_point": 1,
    "withheld": 1,
    "overlap": 1,
}
FIELDS = {key(name): name for name in (*GREATEST, "scan_angle", "gps_time")}
FIELDS[key("scan_angle_rank")] = "scan_angle"


@dataclass
class NewLas:
    """An uncompressed file ``data``, and what of its cloud a point of it has no field for.

    Attributes:
        data: LAS 1.4, point format 6 or 7.
        columns: to be stored as extra dimensions.
        lost: bool (N,), points whose coordinates LAS cannot hold; they are at the offset.
        warnings: what was changed, one sentence each.
    """

    data: bytes
    columns: list[Column]
    lost: np.ndarray
    warnings: list[str] = field(default_factory=list)


def las_from(cloud: Cloud) -> NewLas:
    """A LAS file of a cloud that came in another format.

    Its fields take coordinates, colors (times 257), intensity and the columns that LAS knows, as far as they hold
    every value; normals, other columns, and those whose values had to be changed for a field, become extra dimensions.
    """
    warnings: list[str] = []
    lost = ~(np.abs(cloud.xyz) <= MAX_COORDINATE).all(axis=1)
    header = laspy.LasHeader(version="1.4", point_format=6 if cloud.rgb is None else 7)
    header.offsets, header.scales = _frame(cloud.xyz[~lost], warnings)
    header.generating_software = "pointserve"
    header.global_encoding.wkt = True
    wkt = las_crs.new_wkt(cloud.units, warnings)
    if wkt:
        header.vlrs.append(laspy.VLR(*las_crs.WKT[0], "", wkt))
    las = laspy.LasData(header, laspy.ScaleAwarePointRecord.zeros(len(cloud), header=header))
    raw = np.zeros(cloud.xyz.shape, np.int32)
    raw[~lost] = np.rint((cloud.xyz[~lost] - header.offsets) / header.scales)
    las.X, las.Y, las.Z = raw.T
    columns = _fill(las, cloud, warnings)
    out = io.BytesIO()
    las.write(out, do_compress=False)
    return NewLas(out.getvalue(), columns, lost, warnings)


def _fill(las: laspy.LasData, cloud: Cloud, warnings: list[str]) -> list[Column]:
    """Fill the fields beside the coordinates; the columns that become extra dimensions."""
    columns: list[Column] = []
    if cloud.rgb is not None:
        las.red, las.green, las.blue = cloud.rgb.T.astype(np.uint16) * 257
    if cloud.intensity is not None and _fill_intensity(las, cloud.intensity, cloud.intensity_scale, warnings):
        columns.append(_column(f"{ORIGINAL}intensity", cloud.intensity))
    if cloud.normals is not None:
        columns += [_column(f"normal_{axis}", values) for axis, values in zip("xyz", cloud.normals.T, strict=True)]
    las.return_number[:] = las.number_of_returns[:] = 1
    filled = set()
    for name, values in cloud.extra.items():
        target = FIELDS.get(key(name))
        if target is None or target in filled:
            columns.append(_column(name, values))
            continue
        filled.add(target)
        num_changed = _fill_field(las, target, values)
        if num_changed:
            columns.append(_column(ORIGINAL + target, values))
            warnings.append(
                f"{num_changed:,} values of {name} do not go into the field {target} of LAS and were changed there; "
                f"the extra dimension {ORIGINAL}{target} holds all as they were."
            )
    return columns


def _fill_field(las: laspy.LasData, name: str, values: np.ndarray) -> int:
    """Put ``values`` into a field, those that it cannot hold as near as they go; how many those are."""
    if name == "gps_time":
        seconds = values.astype(np.float64)
        las.gps_time = seconds
        with np.errstate(invalid="ignore"):
            return int(np.count_nonzero(seconds.astype(values.dtype) != values)) if values.dtype.kind != "f" else 0
    known = np.nan_to_num(values.astype(np.float64), nan=0.0)
    if name == "scan_angle":
        raw = np.clip(np.rint(known / SCAN_ANGLE_STEP), -30000, 30000)
        las.scan_angle = raw.astype(np.int16)
        return int(np.count_nonzero(~(np.abs(raw * SCAN_ANGLE_STEP - values) <= SCAN_ANGLE_STEP)))
    raw = np.clip(np.rint(known), 0, GREATEST[name])
    if name == "classification":  # a code that is near another is no nearer to its meaning
        raw[raw != known] = 0
    las[name] = raw.astype(np.uint16)
    return int(np.count_nonzero(raw != values))


def _fill_intensity(las: laspy.LasData, values: np.ndarray, full_scale: float | None, warnings: list[str]) -> bool:
    """Fill the field ``intensity``, whole numbers of 16 bits; whether values had to be changed for it."""
    finite = np.isfinite(values)
    known = values[finite].astype(np.float64)
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    if full_scale != 1 and fits(known, np.dtype(np.uint16)):
        least, greatest = 0.0, float(FULL)
    elif low < 0:
        least, greatest = low, high
    elif full_scale is not None and high <= full_scale:
        least, greatest = 0.0, full_scale
    else:
        least, greatest = 0.0, max(high, 1.0)
    raw = np.zeros(len(values), np.uint16)
    raw[finite] = np.rint((known - least) * (FULL / ((greatest - least) or 1.0)))
    las.intensity = raw
    scaled = (least, greatest) != (0, FULL)
    if scaled:
        warnings.append(
            f"Intensity runs from {low:g} to {high:g}, but LAS holds whole numbers from 0 to {FULL}: the "
            f"{np.count_nonzero(finite):,} values were scaled so that {least:g} is 0 and {greatest:g} is {FULL}; the "
            f"extra dimension {ORIGINAL}intensity holds them as they were."
        )
    num_unknown = len(values) - len(known)
    if num_unknown:
        warnings.append(
            f"Intensities that are not finite: {num_unknown:,}; in LAS they are 0, in {ORIGINAL}intensity as they were."
        )
    return scaled or num_unknown > 0


def _column(name: str, values: np.ndarray) -> Column:
    """A column as an extra dimension of its own type, or of the next one that LAS has."""
    return Column(name, values, common_dtype(values.dtype), None, "")


def _frame(xyz: np.ndarray, warnings: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Offset and scale, (3,) each, of coordinates (M, 3): as fine as they need, coarser if 32 bits do not reach."""
    if len(xyz) == 0:
        return np.zeros(3), np.full(3, SCALES[0])
    low, high = xyz.min(axis=0), xyz.max(axis=0)
    offsets = np.floor(low)
    in_degrees = max(abs(low[0]), abs(high[0])) <= 360 and max(abs(low[1]), abs(high[1])) <= 90
    wanted = np.array([_scale(xyz[:, axis], in_degrees and axis < 2) for axis in range(3)])
    needed = (high - offsets) / MAX_RAW
    scales = wanted * 10.0 ** np.ceil(np.log10(np.maximum(needed / wanted, 1)))
    if (scales > wanted).any():
        axis = int(np.argmax(scales / wanted))
        warnings.append(
            f"The cloud is too wide for LAS at a resolution of {wanted[axis]:g}: coordinates are rounded to "
            f"{scales.max():g}."
        )
    return offsets, scales


def _scale(values: np.ndarray, in_degrees: bool) -> float:
    """The coarsest of SCALES that divides all coordinates of an axis, else one that moves them little."""
    for scale in SCALES:
        if _are_multiples(values[:1000], scale) and _are_multiples(values, scale):
            return scale
    if in_degrees:
        return SCALE_DEGREES
    extent = max(float(np.ptp(values)), STEPS * LEAST_SCALE)
    return float(min(SCALE, 10.0 ** np.floor(np.log10(extent / STEPS))))


def _are_multiples(values: np.ndarray, scale: float) -> bool:
    steps = values / scale
    return bool((np.abs(steps - np.rint(steps)) < 1e-2).all() and np.abs(steps).max() < 2**45)
