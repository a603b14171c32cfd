"""Extra dimensions of LAS points: the descriptors of the Extra Bytes record and the columns that they describe."""

from dataclasses import dataclass

import laspy
import numpy as np

from app.clouds.checks import check_num_columns
from app.clouds.encoding import as_text
from app.clouds.las_file import LasFile, standard_length
from app.clouds.las_records import EXTRA_BYTES, Record, new_vlr
from app.clouds.records import column, cut, fits, free_name
from app.clouds.rows import contiguous

DESCRIPTOR = np.dtype(
    [
        ("reserved", "<u2"),
        ("data_type", "u1"),
        ("options", "u1"),
        ("name", "S32"),
        ("unused", "V4"),
        ("no_data", "V24"),
        ("minimum", "V24"),
        ("maximum", "V24"),
        ("scale", "<f8", 3),
        ("offset", "<f8", 3),
        ("description", "S32"),
    ]
)
TYPES = [np.dtype(kind) for kind in ("u1", "i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f4", "<f8")]
UNDOCUMENTED = 0
# Bits of ``options``: no data, minimum and maximum; scale; offset
STATED_VALUES, SCALED, SHIFTED = 0b00111, 0b01000, 0b10000
NAME_BYTES = 32
RESERVED = ("x", "y", "z", "xyz", "rgb", "scan_angle", "classification")  # what a point has by names beside laspy's


@dataclass(frozen=True)
class Column:
    """Values for every point, to be stored as an extra dimension of type ``dtype`` in units of ``scale``."""

    name: str
    values: np.ndarray
    dtype: np.dtype
    scale: float | None
    description: str

    def raw(self) -> np.ndarray:
        """The values as they are stored in a new dimension."""
        return self.values if self.scale is None else np.rint(np.nan_to_num(self.values) / self.scale)


@dataclass(frozen=True)
class Dimension:
    """One described extra dimension of ``num_elements`` values that start ``start`` bytes into a record."""

    name: str
    dtype: np.dtype
    num_elements: int
    start: int
    scale: np.ndarray
    shift: np.ndarray
    scaled: bool
    index: int

    def values(self, records: np.ndarray, element: int = 0) -> np.ndarray:
        """One element for every point, (N,), in the units that scale and offset give."""
        raw = contiguous(column(records, self.start + element * self.dtype.itemsize, self.dtype), self.dtype)
        return raw * self.scale[element] + self.shift[element] if self.scaled else raw

    def encode(self, values: np.ndarray) -> np.ndarray | None:
        """``values`` (N,) as they are stored in this dimension, None if its type cannot hold them."""
        raw = (values - self.shift[0]) / self.scale[0] if self.scaled else values
        if self.scaled and self.dtype.kind != "f":
            raw = np.rint(raw)
        return raw if self.num_elements == 1 and fits(raw, self.dtype) else None


class Descriptors:
    """The descriptors of a file's extra bytes, as far as its points have room for them.

    A file may hold several Extra Bytes records: they count as one, in their order, or, if one of them alone
    describes just the bytes that a point has, that one counts. Dimensions have names of their own, other than those of
    the point format; ``warnings`` say where the file did not keep to that.
    """

    def __init__(self, file: LasFile):
        self._records = file.find_all(EXTRA_BYTES)
        self._start = standard_length(file.point_format)
        self._record_length = file.record_length
        self.warnings: list[str] = []
        self.names: set[str] = set()
        self._reserved = {*RESERVED, *laspy.PointFormat(file.point_format).dimension_names}
        stated = self._chosen([_table(record) for record in self._records])
        rows, self._end = self._held(stated)
        check_num_columns(len(rows))
        self._table = rows.copy()
        self._name_uniquely()
        self.dimensions: list[Dimension] = []
        start = self._start
        for index, row in enumerate(self._table):
            dimension, num_bytes = _dimension(row, start, index)
            if dimension:
                self.dimensions.append(dimension)
            start += num_bytes
        described = b"".join(record.data for record in self._records)
        self._changed = len(self._records) > 1 or described != self._table.tobytes()
        if self._records and self._end < self._record_length:
            self._changed = True
            self.warnings.append(
                f"The last {self._record_length - self._end} bytes of every point are not described by the file's "
                "Extra Bytes record; they are kept, but have no name."
            )
        if len(rows) < len(stated):
            self.warnings.append(
                f"The Extra Bytes record describes {len(stated)} dimensions; the points hold {len(rows)} of them."
            )

    def _chosen(self, tables: list[np.ndarray]) -> np.ndarray:
        """All descriptors; if they do not fit the points together, those of the record that fits."""
        together = np.concatenate([np.empty(0, DESCRIPTOR), *tables])
        room = self._record_length - self._start
        fitting = [table for table in [together, *tables] if (_sizes(table) > 0).all() and _sizes(table).sum() == room]
        if len(tables) > 1:
            taken = "were read as one" if not fitting or fitting[0] is together else "the one that fits was read"
            self.warnings.append(f"The file holds {len(tables)} Extra Bytes records instead of one: {taken}.")
        return fitting[0] if fitting else together

    def _held(self, table: np.ndarray) -> tuple[np.ndarray, int]:
        """The first descriptors of ``table`` that a point has bytes for, and the end of the last one in the point."""
        sizes = _sizes(table)
        known = int(np.argmax(sizes < 0)) if (sizes < 0).any() else len(sizes)
        ends = self._start + np.cumsum(sizes[:known])
        num_used = int(np.count_nonzero(ends <= self._record_length))
        return table[:num_used], int(ends[num_used - 1]) if num_used else self._start

    def _name_uniquely(self) -> None:
        for index, row in enumerate(self._table):
            stated = _text(row["name"])
            if not stated and row["data_type"] == UNDOCUMENTED:
                continue
            name = self.free_name(stated or f"extra_{index + 1}")
            self.names.add(name)
            if name.encode() != bytes(row["name"]).split(b"\0")[0]:
                self._table["name"][index] = name.encode()
            if name != stated:
                self.warnings.append(f"The extra dimension {index + 1}, called '{stated}', is read as '{name}'.")

    def free_name(self, wanted: str) -> str:
        """``wanted`` as a name that no dimension has, of the bytes that it may have."""
        return free_name(wanted, self.names | self._reserved, max_bytes=NAME_BYTES)

    @property
    def num_left(self) -> int:
        """How many more dimensions the record can describe."""
        return 0xFFFF // DESCRIPTOR.itemsize - len(self._table)

    @property
    def columns(self) -> list[tuple[str, Dimension, int]]:
        """The dimensions by name, and each element of those that have several."""
        return [
            (each.name if each.num_elements == 1 else f"{each.name}_{element}", each, element)
            for each in self.dimensions
            for element in range(each.num_elements)
        ]

    def find(self, name: str) -> Dimension | None:
        """The dimension of that name that the file has."""
        return next((dimension for dimension in self.dimensions if dimension.name == name), None)

    def forget_limits(self, dimension: Dimension) -> None:
        """Withdraw the special and the least and greatest value stated of a dimension that is overwritten."""
        if self._table["options"][dimension.index] & STATED_VALUES:
            self._table["options"][dimension.index] &= 0xFF ^ STATED_VALUES
            self._changed = True

    def append(self, name: str, dtype: np.dtype, scale: float | None, description: str) -> str:
        """Describe one more dimension at the end; its name, which is ``name`` unless that is taken or too long."""
        self._declare_rest()
        name = self.free_name(name)
        options = SCALED if scale else 0
        self._add(name, TYPES.index(dtype) + 1, options, dtype.itemsize, scale, description)
        self._record_length = self._end
        return name

    def _declare_rest(self) -> None:
        """Declare bytes that nothing describes yet as undocumented.

        Their number stands in ``options``, where laspy takes bits of it for those of scale and offset.
        """
        while (rest := self._record_length - self._end) > 0:
            size = next(size for size in range(min(rest, 0xFF), 0, -1) if not size & (SCALED | SHIFTED))
            self._add(self.free_name("ExtraBytes"), UNDOCUMENTED, size, size, None, "undeclared in the source")

    def _add(
        self, name: str, data_type: int, options: int, num_bytes: int, scale: float | None, description: str
    ) -> None:
        row = np.zeros(1, DESCRIPTOR)
        row["data_type"], row["options"] = data_type, options
        row["name"], row["description"] = name.encode(), cut(description, NAME_BYTES).encode()
        row["scale"][0, 0] = scale or 0
        self._table = np.concatenate([self._table, row])
        self.names.add(name)
        self._end += num_bytes
        self._changed = True

    def replace_in(self, records: list[Record]) -> list[Record]:
        """``records`` with one Extra Bytes record, rewritten in the place of the first one if anything in it
        changed."""
        if not self._changed:
            return records
        self._declare_rest()
        kept = [record for record in records if record not in self._records[1:]]
        return [record.with_data(self._table.tobytes()) if record in self._records else record for record in kept]

    def added_to(self, vlrs: list[Record]) -> list[Record]:
        """``vlrs`` with an Extra Bytes record behind them if the file had none and needs one."""
        missing = not self._records and self._changed
        return [*vlrs, new_vlr(EXTRA_BYTES, "Extra bytes", self._table.tobytes())] if missing else vlrs


def _table(record: Record) -> np.ndarray:
    """The descriptors of a record; those that state no bytes at all mean nothing and are left out."""
    rows = np.frombuffer(record.data, DESCRIPTOR, len(record.data) // DESCRIPTOR.itemsize)
    return rows[(rows["data_type"] != UNDOCUMENTED) | (rows["options"] > 0)]


def _sizes(table: np.ndarray) -> np.ndarray:
    """Bytes of a point that each descriptor describes, int64; -1 if its type is unknown."""
    kinds = table["data_type"].astype(np.int64)
    known = np.array([kind.itemsize for kind in TYPES])[(kinds - 1) % len(TYPES)] * ((kinds - 1) // len(TYPES) + 1)
    sizes = np.where(kinds == UNDOCUMENTED, table["options"], known)
    return np.where(kinds > 3 * len(TYPES), -1, sizes)


def _dimension(row: np.void, start: int, index: int) -> tuple[Dimension | None, int]:
    """The dimension that a descriptor of a known type states, None for undocumented bytes, and its bytes."""
    data_type, options = int(row["data_type"]), int(row["options"])
    if data_type == UNDOCUMENTED:
        return None, options
    dtype = TYPES[(data_type - 1) % len(TYPES)]
    num_elements = (data_type - 1) // len(TYPES) + 1
    scale = row["scale"][:num_elements] if options & SCALED else np.ones(num_elements)
    shift = row["offset"][:num_elements] if options & SHIFTED else np.zeros(num_elements)
    usable = bool(np.isfinite([scale, shift]).all() and scale.all())
    scaled = usable and bool(options & (SCALED | SHIFTED))
    dimension = Dimension(_text(row["name"]), dtype, num_elements, start, scale, shift, scaled, index)
    return dimension, num_elements * dtype.itemsize


def _text(name: bytes) -> str:
    return as_text(name.split(b"\0")[0])
