"""LAS 1.0 to 1.5, LAZ and COPC (read as LAZ), every point format from 0 to 10."""

import numpy as np

from app.clouds import las_crs, las_writer, laz
from app.clouds.checks import check_num_points
from app.clouds.cloud import Cloud, Segmentation
from app.clouds.columns import Wanted, bound, full_scale
from app.clouds.las_dimensions import Descriptors
from app.clouds.las_file import LasFile, parse
from app.clouds.needs import ADDED_BYTES, BUILT_BYTES, SORTED_BYTES, XYZ_BYTES, XYZ_WORK_BYTES, Keep, Needs
from app.clouds.records import column
from app.clouds.units import METRE, Units

DEGREE_SCALE = 1e-6
SCAN_ANGLE_DEGREES = 0.006

# Byte, first bit and number of bits of fields that share one, below point format 6 and from it on.
FIELDS = (
    {
        "classification": ("raw_classification", 0, 5),
        "return_number": ("bit_fields", 0, 3),
        "number_of_returns": ("bit_fields", 3, 3),
        "scan_direction_flag": ("bit_fields", 6, 1),
        "edge_of_flight_line": ("bit_fields", 7, 1),
        "synthetic": ("raw_classification", 5, 1),
        "key_point": ("raw_classification", 6, 1),
        "withheld": ("raw_classification", 7, 1),
    },
    {
        "classification": ("classification", 0, 8),
        "return_number": ("bit_fields", 0, 4),
        "number_of_returns": ("bit_fields", 4, 4),
        "scan_direction_flag": ("classification_flags", 6, 1),
        "edge_of_flight_line": ("classification_flags", 7, 1),
        "synthetic": ("classification_flags", 0, 1),
        "key_point": ("classification_flags", 1, 1),
        "withheld": ("classification_flags", 2, 1),
        "overlap": ("classification_flags", 3, 1),
        "scanner_channel": ("classification_flags", 4, 2),
    },
)
FLAGS = {*FIELDS[1]} - {"classification", "return_number", "number_of_returns"}


def read(data: memoryview, columns: Wanted | None = None, max_points: int | None = None) -> Cloud:
    """The cloud in a LAS or LAZ file, every point of it.

    ``extra`` holds the fields beside coordinates, color and intensity: ``classification``, ``return_number``,
    ``number_of_returns``, ``scan_angle`` (degrees), ``user_data``, ``point_source_id``, ``gps_time`` and ``nir`` where
    the format has them, flags and ``scanner_channel`` if they are not zero everywhere; and numeric extra dimensions
    (``name_0``, ``name_1`` … if a dimension has elements).
    ``columns`` may pair channels with these names.

    Raises:
        BadCloud: the header contradicts the bytes, the compressed points are damaged, or there are no points.
        TooLarge: more than ``max_points`` points, found before they are decoded.
    """
    file = parse(data)
    check_num_points(file.num_points, max_points)
    records = laz.decode(file)
    cloud = Cloud(xyz=_xyz(file, records), format="laz" if file.compressed else "las", warnings=file.warnings)
    cloud.rgb = _rgb(file, records, cloud.warnings)
    cloud.intensity, cloud.intensity_scale = _intensity(file, records)
    cloud.extra = _extra_dimensions(file, records, cloud.warnings) | _standard_columns(file, records)
    cloud = bound(cloud, columns)
    cloud.units = las_crs.units(file) or _doubtful(file, cloud.xyz)
    return cloud


def write_las(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> bytes:
    """A LAS file with the classes; see ``las_writer.classified``."""
    return las_writer.classified(cloud, segmentation, source, compressed=False)


def write_laz(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> bytes:
    """A LAZ file with the classes; see ``las_writer.classified``."""
    return las_writer.classified(cloud, segmentation, source, compressed=True)


def _column(file: LasFile, records: np.ndarray, name: str) -> np.ndarray:
    dtype, start = file.fields[name]
    return column(records, start, dtype)


def _xyz(file: LasFile, records: np.ndarray) -> np.ndarray:
    xyz = np.empty((len(records), 3))
    with np.errstate(over="ignore"):
        for axis, name in enumerate("XYZ"):
            np.multiply(_column(file, records, name), file.scale[axis], out=xyz[:, axis])
            xyz[:, axis] += file.offset[axis]
    return xyz


def _rgb(file: LasFile, records: np.ndarray, warnings: list[str]) -> np.ndarray | None:
    """Colors as 8 bits; the greatest value of all points tells whether 8, 10, 12 or 16 bits were used."""
    if "red" not in file.fields or len(records) == 0:
        return None
    channels = [_column(file, records, name) for name in ("red", "green", "blue")]
    greatest = max(int(channel.max()) for channel in channels)
    if greatest == 0:
        warnings.append("The point format has color, but all of it is zero: treated as absent.")
        return None
    shift = next(bits - 8 for bits in (8, 10, 12, 16) if greatest < 1 << bits)
    fine = np.zeros(len(records), bool)
    for channel in channels:
        fine |= (channel & ((1 << shift) - 1) != 0) & ((channel % 257 != 0) if shift == 8 else True)
    if fine.any():
        warnings.append(
            f"Colors have {shift + 8} bits a channel; the model and answers other than LAS get the upper 8: "
            f"{np.count_nonzero(fine):,} points have more."
        )
    return np.stack([(channel >> shift).astype(np.uint8) for channel in channels], axis=1)


def _intensity(file: LasFile, records: np.ndarray) -> tuple[np.ndarray | None, float | None]:
    """Intensity as it stands and the least full scale (8, 12 or 16 bits) that holds it; None if all is zero."""
    values = _column(file, records, "intensity")
    return (values.astype(np.float32), full_scale(values)) if values.any() else (None, None)


def _standard_columns(file: LasFile, records: np.ndarray) -> dict[str, np.ndarray]:
    columns = {name: _bits(file, records, *where) for name, where in FIELDS[file.point_format >= 6].items()}
    columns = {name: values for name, values in columns.items() if name not in FLAGS or values.any()}
    if file.point_format < 6:
        columns["scan_angle"] = _column(file, records, "scan_angle_rank").astype(np.float32)
    else:
        columns["scan_angle"] = _column(file, records, "scan_angle") * np.float32(SCAN_ANGLE_DEGREES)
    for name in ("gps_time", "user_data", "point_source_id", "nir"):
        if name in file.fields:
            columns[name] = _column(file, records, name).copy()
    return columns


def _bits(file: LasFile, records: np.ndarray, name: str, first: int, num_bits: int) -> np.ndarray:
    """Some bits of the byte ``name`` of every point as numbers, uint8 (N,)."""
    return (_column(file, records, name) >> first) & ((1 << num_bits) - 1)


def _extra_dimensions(file: LasFile, records: np.ndarray, warnings: list[str]) -> dict[str, np.ndarray]:
    descriptors = Descriptors(file)
    warnings += descriptors.warnings
    columns = {}
    for dimension in descriptors.dimensions:
        for element in range(dimension.num_elements):
            name = dimension.name if dimension.num_elements == 1 else f"{dimension.name}_{element}"
            columns[name] = dimension.values(records, element)
    return columns


def _doubtful(file: LasFile, xyz: np.ndarray) -> Units | None:
    """Metres, with a doubt, if no unit is stated and scale and range are those of degrees."""
    fine = len(xyz) > 0 and bool((np.abs(file.scale[:2]) <= DEGREE_SCALE).all() and (np.abs(xyz[:, :2]) <= 360).all())
    if not fine:
        return None
    doubt = "Coordinates look like degrees; they were used as they stand, but models expect metres: if they are "
    return Units(METRE, METRE, METRE, doubts=(doubt + "degrees, units=deg says so.",))


def reading_needs(data: memoryview, wanted: Wanted | None, keep: Keep) -> Needs:
    """By the header and the table of extra dimensions."""
    file = parse(data)
    extra = sum(8 * dimension.num_elements for dimension in Descriptors(file).dimensions)
    held = file.record_length if file.compressed else 0
    standard = 32  # classification, returns, scan angle, GPS time
    work = XYZ_WORK_BYTES + 64 + held + extra + standard
    cloud = XYZ_BYTES + 7 + standard + (extra if keep is None else min(extra, 8 * len(keep)))
    return Needs(file.num_points, file.num_points * work, file.num_points * cloud)


def writing_needs(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> tuple[int, int]:
    """By the header of ``source``, or for a file made of the cloud's columns."""
    row_bytes, built = BUILT_BYTES + 8 * len(cloud.extra), 4 * BUILT_BYTES
    if source is not None:
        row_bytes, built = parse(source).record_length, 0
    size = len(cloud) * (row_bytes + ADDED_BYTES)
    return 4 * size + len(cloud) * (built + SORTED_BYTES), size + (len(source) if source is not None else 0)
