"""LAS 1.0 to 1.5, LAZ and COPC (read as LAZ), every point format from 0 to 10."""

from collections.abc import Callable, Collection
from functools import partial

import numpy as np

from app.clouds import copc, copc_table, las_crs, las_writer, laz, octree
from app.clouds.checks import check_num_points
from app.clouds.cloud import Cloud, Segmentation
from app.clouds.columns import NORMAL, OWN, Wanted, bound, canonical, full_scale, is_kept
from app.clouds.las_dimensions import Descriptors
from app.clouds.las_file import LasFile, parse
from app.clouds.las_layout import SCAN_ANGLE_STEP
from app.clouds.needs import (
    ADDED_BYTES,
    BUILT_BYTES,
    SORTED_BYTES,
    XYZ_BYTES,
    XYZ_WORK_BYTES,
    Keep,
    Needs,
)
from app.clouds.rows import by_blocks, contiguous, empty
from app.clouds.units import METRE, Units

DEGREE_SCALE = 1e-6

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


def read(
    data: memoryview,
    columns: Wanted | None = None,
    max_points: int | None = None,
    keep: Collection[str] | None = None,
) -> Cloud:
    """The cloud in a LAS or LAZ file, every point of it.

    ``extra`` holds the fields beside coordinates, color and intensity: ``classification``, ``return_number``,
    ``number_of_returns``, ``scan_angle`` (degrees), ``user_data``, ``point_source_id``, ``gps_time`` and ``nir`` where
    the format has them, flags and ``scanner_channel`` if they are not zero everywhere; and numeric extra dimensions
    (``name_0``, ``name_1`` … if a dimension has elements). What ``columns.is_kept`` denies is not unpacked.
    ``columns`` may pair channels with these names; then all are.

    Raises:
        BadCloud: the header contradicts the bytes, the compressed points are damaged, or there are no points.
        TooLarge: more than ``max_points`` points, found before they are decoded.
    """
    file = parse(data)
    check_num_points(file.num_points, max_points)
    keep = None if isinstance(columns, dict) else keep
    descriptors = Descriptors(file)
    extra_bytes = any(_is_kept(name, keep) for name, _, _ in descriptors.columns)
    records = laz.decode(file, laz.layers([name for name in laz.LAYER_OF if _is_kept(name, keep)], extra_bytes))
    cloud = Cloud(xyz=_xyz(file, records), format="laz" if file.compressed else "las", warnings=file.warnings)
    cloud.rgb = _rgb(file, records, cloud.warnings)
    cloud.intensity, cloud.intensity_scale = _intensity(file, records)
    cloud.warnings += descriptors.warnings
    found: dict[str, Callable[[], np.ndarray]] = {
        name: partial(dimension.values, records, element) for name, dimension, element in descriptors.columns
    }
    found |= _standard_columns(file, records)
    cloud.extra = {name: load() for name, load in found.items() if _is_kept(name, keep)}
    cloud = bound(cloud, columns)
    names = [*(name for name in cloud.columns if name not in found), *found]
    cloud.columns = {name: cloud.columns.get(name, [name] if name in OWN else []) for name in names}
    cloud.units = las_crs.units(file) or _doubtful(file, cloud.xyz)
    return cloud


def _is_kept(name: str, keep: Collection[str] | None) -> bool:
    return is_kept(name, keep) or canonical(name) in NORMAL


def write_las(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> bytes:
    """A LAS file with the classes; see ``las_writer.classified``."""
    return las_writer.classified(cloud, segmentation, source, compressed=False)


def write_laz(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> bytes:
    """A LAZ file with the classes; see ``las_writer.classified``."""
    return las_writer.classified(cloud, segmentation, source, compressed=True)


def write_copc(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> bytes:
    """A COPC file with the classes; see ``las_writer.classified`` and ``copc.packed``."""
    kept = copc_table.nodes_of(parse(source)) if source is not None else None
    data = las_writer.classified(cloud, segmentation, source, compressed=False)
    return copc.packed(data, kept, segmentation.meta.warnings)


def _xyz(file: LasFile, records: np.ndarray) -> np.ndarray:
    xyz = empty((len(records), 3), np.float64)
    axes = [file.column(records, name) for name in "XYZ"]

    @np.errstate(over="ignore", invalid="ignore")
    def scale(block: slice) -> None:
        for axis, raw in enumerate(axes):
            values = raw[block] * file.scale[axis]
            np.add(values, file.offset[axis], out=xyz[block, axis])

    by_blocks(len(xyz), scale)
    return xyz


def _rgb(file: LasFile, records: np.ndarray, warnings: list[str]) -> np.ndarray | None:
    """Colors as 8 bits; the greatest value of all points tells whether 8, 10, 12 or 16 bits were used."""
    if "red" not in file.fields or len(records) == 0:
        return None
    channels = [file.column(records, name) for name in ("red", "green", "blue")]
    rgb, greatest, num_fine = _upper_bits(channels, 8)
    if greatest == 0:
        warnings.append("The point format has color, but all of it is zero: treated as absent.")
        return None
    shift = next(bits - 8 for bits in (8, 10, 12, 16) if greatest < 1 << bits)
    if shift < 8:
        rgb, _, num_fine = _upper_bits(channels, shift)
    if num_fine:
        warnings.append(
            f"Colors have {shift + 8} bits a channel; the model and answers other than LAS get the upper 8: "
            f"{num_fine:,} points have more."
        )
    return rgb


def _upper_bits(channels: list[np.ndarray], shift: int) -> tuple[np.ndarray, int, int]:
    """Colors (N,) of ``8 + shift`` bits as uint8 (N, 3), the greatest of their values, and how many points have more.

    8 bits that were stretched to 16 are times 256 or 257, and have no more.
    """
    rgb = empty((len(channels[0]), 3), np.uint8)

    def take(block: slice) -> tuple[int, int]:
        greatest, fine = 0, np.zeros(block.stop - block.start, bool)
        for place, channel in enumerate(channels):
            values = channel[block].astype(np.uint16)
            greatest = max(greatest, int(values.max()))
            upper, lower = values >> shift, values & ((1 << shift) - 1)
            fine |= (lower != 0) & (lower != upper) if shift == 8 else lower != 0
            rgb[block, place] = upper
        return greatest, int(np.count_nonzero(fine))

    found = by_blocks(len(rgb), take)
    return rgb, max(greatest for greatest, _ in found), sum(num_fine for _, num_fine in found)


def _intensity(file: LasFile, records: np.ndarray) -> tuple[np.ndarray | None, float | None]:
    """Intensity as it stands and the least full scale (8, 12 or 16 bits) that holds it; None if all is zero."""
    values = contiguous(file.column(records, "intensity"), np.uint16)
    return (values.astype(np.float32), full_scale(values)) if values.any() else (None, None)


def _standard_columns(file: LasFile, records: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """What gives each of the fields that every point format has, flags only if one of them is set."""
    fields = FIELDS[file.point_format >= 6]
    raw = {
        where: contiguous(file.column(records, where), np.uint8) for where in {where for where, _, _ in fields.values()}
    }
    is_set = {name: int(np.bitwise_or.reduce(values, initial=0)) for name, values in raw.items()}
    columns: dict[str, Callable[[], np.ndarray]] = {}
    for name, (where, first, num_bits) in fields.items():
        if name not in FLAGS or (is_set[where] >> first) & ((1 << num_bits) - 1):
            columns[name] = partial(_bits, raw[where], first, num_bits)
    columns["scan_angle"] = partial(_scan_angle, file, records)
    for name in ("gps_time", "user_data", "point_source_id", "nir"):
        if name in file.fields:
            columns[name] = partial(_copied, file, records, name)
    return columns


def _bits(values: np.ndarray, first: int, num_bits: int) -> np.ndarray:
    """Some bits of a byte of every point, (N,), as numbers."""
    return (values >> first) & ((1 << num_bits) - 1)


def _scan_angle(file: LasFile, records: np.ndarray) -> np.ndarray:
    """Scan angles in degrees, float32 (N,)."""
    if file.point_format < 6:
        return contiguous(file.column(records, "scan_angle_rank"), np.float32)
    return contiguous(file.column(records, "scan_angle"), np.float32) * np.float32(SCAN_ANGLE_STEP)


def _copied(file: LasFile, records: np.ndarray, name: str) -> np.ndarray:
    values = file.column(records, name)
    return contiguous(values, values.dtype)


def _doubtful(file: LasFile, xyz: np.ndarray) -> Units | None:
    """Metres, with a doubt, if no unit is stated and scale and range are those of degrees."""
    fine = len(xyz) > 0 and bool((np.abs(file.scale[:2]) <= DEGREE_SCALE).all() and (np.abs(xyz[:, :2]) <= 360).all())
    if not fine:
        return None
    doubt = "Coordinates look like degrees; they were used as they stand, but models expect metres: if they are "
    return Units(METRE, METRE, METRE, doubts=(doubt + "degrees, units=deg says so.",))


def reading_needs(data: memoryview, wanted: Wanted | None, keep: Keep) -> Needs:
    """By the header, the table of extra dimensions, and that of chunks."""
    file = parse(data)
    keep = None if isinstance(wanted, dict) else keep
    num_extra = sum(_is_kept(name, keep) for name, _, _ in Descriptors(file).columns)
    standard = 32  # classification, returns, scan angle, GPS time
    work = XYZ_WORK_BYTES + 64 + 8 * num_extra + standard
    cloud = XYZ_BYTES + 7 + standard + 8 * num_extra
    return Needs(file.num_points, file.num_points * work + laz.decoding_bytes(file), file.num_points * cloud)


def writing_needs(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> tuple[int, int]:
    """By the header of ``source``, or for a file made of the cloud's columns."""
    row_bytes, built = BUILT_BYTES + 8 * len(cloud.extra), 4 * BUILT_BYTES
    if source is not None:
        row_bytes, built = parse(source).record_length, 0
    size = len(cloud) * (row_bytes + ADDED_BYTES)
    return 4 * size + len(cloud) * (built + SORTED_BYTES), size + (len(source) if source is not None else 0)


def copc_needs(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> tuple[int, int]:
    """As ``writing_needs``, and for the LAS file that a COPC file is made of, and its octree."""
    work_bytes, size_bytes = writing_needs(cloud, segmentation, source)
    return work_bytes + size_bytes + len(cloud) * octree.BYTES_A_POINT, size_bytes
