"""NPY: one array, a row a point; never a pickle."""

import io
import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.lib import format as npy_format

from app.clouds.checks import check_num_points
from app.clouds.cloud import Cloud, Segmentation
from app.clouds.columns import XYZ, Column, Wanted, canonical, cloud_from_columns, listed, split_vectors
from app.clouds.columns_option import check_columns
from app.clouds.needs import Keep, Needs, arrays_needs, of_table
from app.clouds.unnamed import assumed_names
from app.errors import BadCloud, BadRequest

MAX_HEADER_BYTES = 65536


@dataclass(frozen=True)
class ArrayHeader:
    """Shape and dtype that an NPY file states; its numbers start at byte ``size``."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype
    size: int

    @property
    def num_bytes(self) -> int:
        """Bytes that the numbers take."""
        return math.prod(self.shape) * self.dtype.itemsize

    def array(self, data: memoryview) -> np.ndarray:
        """The numbers in ``data`` as a view; they start at its first byte."""
        flat = np.frombuffer(data, self.dtype, math.prod(self.shape))
        return flat.reshape(self.shape, order="F" if self.fortran_order else "C")


def read(data: memoryview, columns: Wanted | None = None, max_points: int | None = None) -> Cloud:
    """An array (N, C) of numbers, or a structured one (N,) with named fields.

    The columns of (N, C) are named by ``columns``, else by the rules of ``unnamed.assumed_names``.
    """
    header = read_header(data[:MAX_HEADER_BYTES], "The NPY file")
    check_table(header, max_points, "The NPY array")
    there = len(data) - header.size
    if there < header.num_bytes:
        raise BadCloud(
            f"The NPY header states {header.dtype} {header.shape}, {header.num_bytes:,} bytes, but {there:,} follow; "
            "the file is cut short."
        )
    return cloud_from_array("npy", header.array(data[header.size :]), columns)


def write(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> list[bytes | memoryview]:
    """The labels, int32 (N,), or the features, float32 (N, C), if they were asked for.

    What else was asked for is left out, which is said in a warning.
    """
    features = segmentation.fields.get("features")
    array = segmentation.labels.astype("<i4", copy=False) if features is None else features.astype("<f4", copy=False)
    missing = [name for name in segmentation.fields if name != "features"]
    missing += ["labels"] if features is not None and segmentation.meta.classes else []
    if missing:
        segmentation.meta.warnings.append(f"NPY gets no {' or '.join(missing)}: ask for another output, such as npz.")
    header = io.BytesIO()
    npy_format.write_array_header_1_0(header, npy_format.header_data_from_array_1_0(array))
    return [header.getvalue(), np.ascontiguousarray(array).data]


def read_header(head: memoryview, what: str) -> ArrayHeader:
    """The header at the start of ``head``; BadCloud if it is damaged."""
    file = io.BytesIO(head)
    try:
        version = npy_format.read_magic(file)
        reader = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        shape, fortran_order, dtype = reader(file)
    except Exception as error:  # the header is a Python literal: parsers fail on a damaged one in many ways
        raise BadCloud(f"{what} has a damaged header: {error!s:.200}") from None
    if any(length < 0 for length in shape):
        raise BadCloud(f"{what} states a negative shape {shape}.")
    return ArrayHeader(shape, fortran_order, dtype, file.tell())


def check_table(header: ArrayHeader, max_points: int | None, what: str) -> None:
    """Raise unless the array is a table of points: (N, at least 3) numbers, or (N,) of named fields."""
    if header.dtype.hasobject:
        raise BadCloud(f"{what} holds Python objects, which are pickled and never opened; save numbers instead.")
    dimensions = 1 if header.dtype.names else 2
    if len(header.shape) != dimensions or (dimensions == 2 and header.shape[1] < 3):
        raise BadCloud(f"{what} has shape {header.shape}; expected (N, 3 or more), a row a point.")
    if not header.dtype.names and header.dtype.kind not in "iuf":
        raise BadCloud(f"{what} holds {header.dtype}, not numbers.")
    check_num_points(header.shape[0], max_points, what)


def cloud_from_array(format: str, array: np.ndarray, columns: Wanted | None) -> Cloud:
    """A Cloud of a table that ``check_table`` passed."""
    if array.dtype.names:
        if isinstance(columns, tuple):
            raise BadRequest(
                "columns= does not apply to a structured array: its fields have names. Leave it out, or say which of "
                "them feeds what: columns=intensity:amplitude."
            )
        texts = [
            name
            for name in array.dtype.names
            if array.dtype[name].base.kind not in "biuf" and canonical(name) not in XYZ
        ]
        warnings = [f"Fields that do not hold numbers were left out: {listed(texts)}."] if texts else []
        return cloud_from_columns(format, _field_columns(array, texts), wanted=columns, warnings=warnings)
    names, warnings = (check_columns(columns), []) if isinstance(columns, tuple) else assumed_names(array, columns)
    if len(names) != array.shape[1]:
        raise BadCloud(f"columns= names {len(names)} columns, but the array has {array.shape[1]}.")
    return cloud_from_columns(format, zip(names, array.T, strict=True), wanted=columns, warnings=warnings)


def _field_columns(array: np.ndarray, left_out: Collection[str]) -> list[Column]:
    columns: list[Column] = []
    for name in array.dtype.names or ():
        if name in left_out:
            continue
        if array[name].ndim > 2:
            raise BadCloud(f"Field '{name}' of the NPY array has shape {array[name].shape}; expected (N,) or (N, C).")
        columns += split_vectors(name, array[name])
    return columns


def reading_needs(data: memoryview, wanted: Wanted | None, keep: Keep) -> Needs:
    """The memory that reading takes, by the header."""
    header = read_header(data[:MAX_HEADER_BYTES], "The NPY file")
    num_points = min(header.shape[0], len(data))
    row_bytes = min(header.num_bytes, len(data)) // max(1, num_points)
    return of_table(num_points, len(header.dtype.names or ()) or header.shape[1], row_bytes, keep)


writing_needs = arrays_needs
