"""Extra dimensions of LAS points: the descriptors of the Extra Bytes record and the columns that they describe."""

from dataclasses import dataclass

import numpy as np

from app.clouds.las_file import EXTRA_BYTES, LasFile, Record, new_vlr, standard_length
from app.clouds.records import column, fits

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
LIMITS, SCALED, SHIFTED = 0b00110, 0b01000, 0b10000  # bits of ``options``: minimum and maximum, scale, offset


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
        raw = column(records, self.start + element * self.dtype.itemsize, self.dtype)
        return raw * self.scale[element] + self.shift[element] if self.scaled else raw.copy()

    def encode(self, values: np.ndarray) -> np.ndarray | None:
        """``values`` (N,) as they are stored in this dimension, None where its type cannot hold them."""
        raw = (values - self.shift[0]) / self.scale[0] if self.scaled else values
        if self.scaled and self.dtype.kind != "f":
            raw = np.rint(raw)
        return raw if self.num_elements == 1 and fits(raw, self.dtype) else None


class Descriptors:
    """The descriptors of a file's extra bytes, as far as its points have room for them."""

    def __init__(self, file: LasFile):
        self._record = file.find(EXTRA_BYTES)
        data = self._record.data if self._record else b""
        table = np.frombuffer(data, DESCRIPTOR, len(data) // DESCRIPTOR.itemsize)
        self.dimensions: list[Dimension] = []
        self._end = standard_length(file.point_format)
        self._record_length = file.record_length
        num_used = 0
        for index, row in enumerate(table):
            dimension, num_bytes = _dimension(row, self._end, index)
            if num_bytes == 0 or self._end + num_bytes > file.record_length:
                break
            if dimension:
                self.dimensions.append(dimension)
            self._end += num_bytes
            num_used = index + 1
        self.names = {_text(row["name"]) for row in table[:num_used]}
        self._table = table[:num_used].copy()
        self._changed = False

    def find(self, name: str) -> Dimension | None:
        """The dimension of that name."""
        return next((dimension for dimension in self.dimensions if dimension.name == name), None)

    def forget_limits(self, dimension: Dimension) -> None:
        """Withdraw the least and greatest value that were stated of a dimension that is overwritten."""
        if self._table["options"][dimension.index] & LIMITS:
            self._table["options"][dimension.index] &= 0xFF ^ LIMITS
            self._changed = True

    def append(self, name: str, dtype: np.dtype, scale: float | None, description: str) -> None:
        """Describe one more dimension at the end; bytes that nothing describes yet are declared as undocumented."""
        while (undeclared := min(self._record_length - self._end, 0xFF)) > 0:
            filler = "ExtraBytes" if "ExtraBytes" not in self.names else f"ExtraBytes_{self._end}"
            self._add(filler, UNDOCUMENTED, undeclared, undeclared, None, "undeclared in the source")
        options = SCALED if scale else 0
        self._add(name, TYPES.index(dtype) + 1, options, dtype.itemsize, scale, description)
        self._record_length = self._end

    def _add(
        self, name: str, data_type: int, options: int, num_bytes: int, scale: float | None, description: str
    ) -> None:
        row = np.zeros(1, DESCRIPTOR)
        row["data_type"], row["options"] = data_type, options
        row["name"], row["description"] = name.encode(), description.encode()
        row["scale"][0, 0] = scale or 0
        self._table = np.concatenate([self._table, row])
        self.names.add(name)
        self._end += num_bytes
        self._changed = True

    def replace_in(self, records: list[Record]) -> list[Record]:
        """``records`` with the Extra Bytes record rewritten where it stood, if anything in it changed."""
        if not self._changed:
            return records
        return [record.with_data(self._table.tobytes()) if record is self._record else record for record in records]

    def added_to(self, vlrs: list[Record]) -> list[Record]:
        """``vlrs`` with an Extra Bytes record behind them if the file had none."""
        missing = self._record is None and self._changed
        return [*vlrs, new_vlr(EXTRA_BYTES, "Extra bytes", self._table.tobytes())] if missing else vlrs


def _dimension(row: np.void, start: int, index: int) -> tuple[Dimension | None, int]:
    """The dimension that a descriptor states, None for undocumented bytes, and its bytes, 0 for an unknown type."""
    data_type, options = int(row["data_type"]), int(row["options"])
    if data_type == UNDOCUMENTED:
        return None, options
    if data_type > 3 * len(TYPES):
        return None, 0
    dtype = TYPES[(data_type - 1) % len(TYPES)]
    num_elements = (data_type - 1) // len(TYPES) + 1
    scale = row["scale"][:num_elements] if options & SCALED else np.ones(num_elements)
    shift = row["offset"][:num_elements] if options & SHIFTED else np.zeros(num_elements)
    usable = bool(np.isfinite([scale, shift]).all() and scale.all())
    scaled = usable and bool(options & (SCALED | SHIFTED))
    dimension = Dimension(_text(row["name"]), dtype, num_elements, start, scale, shift, scaled, index)
    return dimension, num_elements * dtype.itemsize


def _text(name: bytes) -> str:
    return name.split(b"\0")[0].decode("utf-8", "replace")
