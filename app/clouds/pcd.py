"""PCD, the file format of the Point Cloud Library: text, binary and compressed."""

import re

import numpy as np

from app.clouds import overwritten
from app.clouds.cloud import Cloud, Segmentation
from app.clouds.color import are_missing, unpacked
from app.clouds.columns import PACKED, Column, Wanted, cloud_from_columns
from app.clouds.comments import of_units, units_in
from app.clouds.fields import LABELS
from app.clouds.needs import ADDED_BYTES, BUILT_BYTES, GROWTH, Keep, Needs, of_table
from app.clouds.pcd_file import MAX_LZF_RATIO, compose, read_records
from app.clouds.pcd_header import DEFAULT_VIEWPOINT, PADDING, Field, parse_header
from app.clouds.records import (
    MAX_ROUNDING,
    column,
    common_dtype,
    fits,
    float32_error,
    free_name,
    one_word,
    renamed,
    widen,
)

# Lines of a header, wherever it begins: they match in one way only, so that a miss takes no more than linear time.
HEADER_LINES = re.compile(
    rb"^(?:DATA[ \t]+(?:ascii|binary)|VIEWPOINT[ \t]+[-\d.]|(?:WIDTH|HEIGHT|POINTS)[ \t]+\d+[ \t\r]*$|"
    rb"(?:SIZE|COUNT)(?:[ \t]+\d+){3}|TYPE(?:[ \t]+[FUI]){3})",
    re.MULTILINE,
)


def read(data: memoryview, columns: Wanted | None = None, max_points: int | None = None) -> Cloud:
    """The cloud in a PCD file; organised clouds row by row, their NaN points kept.

    Fields without a meaning of their own go to ``extra``, those with COUNT above 1 as ``name_0``, ``name_1`` …
    The viewpoint is not applied, as in PCL. ``columns`` may pair channels with fields.

    Raises:
        BadCloud: the header cannot be understood, or the body does not hold what it states.
        TooLarge: more than ``max_points`` points, found before they are read.
    """
    header = parse_header(data)
    records = read_records(data, header, max_points)
    pairs = [pair for field in header.fields for pair in _columns(field, records)]
    cloud = cloud_from_columns("pcd", pairs, wanted=columns, warnings=header.warnings)
    cloud.units = units_in(line.lstrip("# \t") for line in header.others)
    return cloud


def _columns(field: Field, records: np.ndarray) -> list[Column]:
    if field.name == PADDING or field.dtype.kind == "V":
        return []
    if field.name.lower() in PACKED and field.dtype.itemsize == 4 and field.count == 1:
        packed = np.ascontiguousarray(column(records, field.offset, "<u4"))
        missing = are_missing(packed) if field.dtype.kind == "f" else np.zeros(len(packed), bool)
        return list(zip("rgb", unpacked(packed, missing), strict=True))
    elements = [
        column(records, field.offset + element * field.dtype.itemsize, field.dtype) for element in range(field.count)
    ]
    if field.count == 1:
        return [(field.name, elements[0])]
    return [(f"{field.name}_{element}", values) for element, values in enumerate(elements)]


def write(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> bytes:
    """A binary PCD file with ``label`` (int32) and the fields that were asked for, as far as they have columns.

    With a PCD ``source`` its fields, width, height, viewpoint and other lines of the header are kept, whatever its
    encoding was; a field that has the name is overwritten if its type can hold the values, else the new one is called
    ``label_2`` and so on. Without one the file holds coordinates (double if float32 would move a point by more than
    0.0001), packed color, intensity, normals and every other column; none is overwritten. Warnings say what was, and
    how far coordinates moved.

    Raises:
        BadCloud: ``source`` cannot be read.
        ValueError: the number of labels is not the number of points.
    """
    if source is None:
        fields, records = _from_cloud(cloud, segmentation.meta.warnings)
        width, height, viewpoint = len(cloud), 1, DEFAULT_VIEWPOINT
        others = tuple(f"# {line}" for line in of_units(cloud.units, "PCD", segmentation.meta.warnings))
    else:
        header = parse_header(source)
        fields, records = header.fields, read_records(source, header, None)
        width, height, viewpoint = header.width, header.height, header.viewpoint
        others = header.others
    if len(segmentation.labels) != len(records):
        raise ValueError(f"{len(segmentation.labels)} labels for {len(records)} points")
    columns = [(segmentation.label_column, segmentation.labels, np.dtype(LABELS.dtype))]
    columns += [(name, values, np.dtype(field.dtype)) for field, name, values in segmentation.columns("PCD")]
    own = fields if source is not None else []
    fields, records, replaced = _with_columns(fields, records, own, columns)
    if segmentation.label_column in replaced:
        segmentation.meta.warnings += overwritten.of_column(segmentation.label_column, cloud, segmentation)
    segmentation.meta.warnings += [f"The file's own field {name} was overwritten." for name in replaced]
    return compose(fields, records, width, height, viewpoint, others)


def _with_columns(
    fields: list[Field], records: np.ndarray, own: list[Field], columns: list[tuple[str, np.ndarray, np.dtype]]
) -> tuple[list[Field], np.ndarray, list[str]]:
    """Fields and records with ``columns``. Each replaces the ``own`` field of its name if that can hold it, else it is
    added behind."""
    fields = list(fields)
    targets, replaced = [], []
    for name, values, dtype in columns:
        target = next((field for field in own if field.name == name), None)
        if target is not None and target.count == 1 and fits(values, target.dtype):
            replaced.append(name)
        else:
            offset = fields[-1].offset + fields[-1].num_bytes
            target = Field(free_name(name, {field.name for field in fields}), dtype, 1, offset)
            fields.append(target)
        targets.append(target)
    records = widen(records, fields[-1].offset + fields[-1].num_bytes - records.shape[1])
    for target, (_, values, _) in zip(targets, columns, strict=True):
        column(records, target.offset, target.dtype)[:] = values
    return fields, records, replaced


def _from_cloud(cloud: Cloud, warnings: list[str]) -> tuple[list[Field], np.ndarray]:
    error = float32_error(cloud.xyz)
    coordinate = "<f4" if error <= MAX_ROUNDING else "<f8"
    if coordinate == "<f4" and error:
        warnings.append(f"Coordinates are float32 in PCD, which moved them by at most {error:.1g}.")
    columns = [(name, cloud.xyz[:, axis], np.dtype(coordinate)) for axis, name in enumerate("xyz")]
    if cloud.rgb is not None:
        red, green, blue = cloud.rgb.T.astype(np.uint32)
        packed = red << 16 | green << 8 | blue
        columns.append(("rgb", packed.view(np.float32), np.dtype("<f4")))
    if cloud.intensity is not None:
        columns.append(("intensity", cloud.intensity, np.dtype("<f4")))
    if cloud.normals is not None:
        columns += [(f"normal_{name}", cloud.normals[:, axis], np.dtype("<f4")) for axis, name in enumerate("xyz")]
    taken = {name for name, _, _ in columns} | {PADDING, *PACKED}
    names = {}
    for given, values in cloud.extra.items():
        names[given] = one_word(given, taken)
        taken.add(names[given])
        columns.append((names[given], values, common_dtype(values.dtype)))
    warnings += renamed("PCD", names.items())
    fields, offset = [], 0
    for name, _, dtype in columns:
        fields.append(Field(name, dtype, 1, offset))
        offset += dtype.itemsize
    records = np.empty((len(cloud), offset), np.uint8)
    for field, (_, values, _) in zip(fields, columns, strict=True):
        column(records, field.offset, field.dtype)[:] = values
    return fields, records


def looks_like_pcd(head: bytes) -> bool:
    """Whether there is a line of a header in ``head``, before which other lines may stand."""
    return HEADER_LINES.search(head) is not None


def reading_needs(data: memoryview, wanted: Wanted | None, keep: Keep) -> Needs:
    """By the header; a compressed body is taken for as large as it can be."""
    header = parse_header(data)
    row_bytes = header.record_length
    width = sum(field.count for field in header.fields)
    num_points = header.num_points
    held = 0.0
    if header.encoding == "binary":
        num_points = min(num_points, len(data) // row_bytes)
    elif header.encoding == "ascii":
        num_points = min(num_points, len(data) // (2 * width) + 1)
        held = row_bytes + 8 * width * GROWTH + 3 * len(data) / max(1, num_points)
    else:
        num_points = min(num_points, int(MAX_LZF_RATIO * len(data)) // row_bytes)
        held = 3.0 * row_bytes
    return of_table(num_points, 1 + max(3, width), row_bytes, keep, held)


def writing_needs(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> tuple[int, int]:
    """By the header of ``source``, or for a file made of the cloud's columns."""
    row_bytes, text_bytes = BUILT_BYTES + 8 * len(cloud.extra), 0
    if source is not None:
        header = parse_header(source)
        row_bytes = header.record_length
        if header.encoding == "ascii":
            text_bytes = 2 * len(source) + 24 * len(cloud) * sum(field.count for field in header.fields)
    size = len(cloud) * (row_bytes + ADDED_BYTES)
    return 4 * size + text_bytes, size
