"""The ring of a tile, and a tile put together with the points around it, from memory file to memory file.

Both are what ``strips.ring`` and ``strips.joined`` give. Columns are written piece by piece, in pieces that stay in the
cache of a core: a tile is copied once, and nothing but numbers of rows is held in between.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from app.clouds import strips
from app.clouds.cloud import Cloud
from app.clouds.rows import BLOCK_ROWS
from app.clouds.strips import SIDES, Strip
from app.engine import arrays
from app.engine.packed import EXTRA, Packed, PackedRing, parts, unpack_cloud
from app.engine.protocol import ArraySpec, Border, CloudMeta, Join


def cut(cloud: Cloud, border: Border) -> PackedRing:
    """The ring of ``cloud`` along ``border``, the caller's to close."""
    rows = strips.rows_of_ring(cloud, border.bounds, border.width_m)
    inner = strips.inner(border.bounds, border.width_m, cloud.units)
    columns, meta = parts(strips.read_by(cloud, border.columns))
    with arrays.ArrayFile() as file:
        layout = []
        for name, values in columns.items():
            spec = ArraySpec(name, values.dtype.str, (len(rows), *values.shape[1:]), 0)
            layout.append(file.add_pieces(spec, _pieces(values, rows)))
        sides = (strips.sides(xyz, inner) for xyz in _pieces(cloud.xyz, rows))
        layout.append(file.add_pieces(ArraySpec(EXTRA + SIDES, "|u1", (len(rows),), 0), sides))
        return PackedRing(file.seal(), layout, meta, inner)


def join(cloud: Packed[CloudMeta], rings: Sequence[PackedRing], request: Join) -> Packed[CloudMeta]:
    """The tile ``cloud`` with what ``rings`` have around it, the caller's to close; so are the files of both."""
    each = (unpack_cloud(ring) for ring in rings)
    inners = [ring.inner for ring in rings]
    whole, found = strips.taken(unpack_cloud(cloud), each, request.bounds, request.buffer_m, request.columns, inners)
    meta = replace(
        cloud.meta,
        intensity_scale=whole.intensity_scale,
        warnings=whole.warnings,
        num_context=whole.num_context,
        uncolored=whole.uncolored,
        frame=request.frame,
    )
    num_points = cloud.num_points + sum(len(strip.rows) for strip in found)
    with arrays.ArrayFile() as file:
        layout = []
        for spec in cloud.layout:
            others = [(rings[strip.place], strip) for strip in found]
            dtype = np.result_type(spec.dtype, *(at.dtype for ring, _ in others if (at := _spec(ring, spec.name))))
            both = replace(spec, dtype=dtype.str, shape=(num_points, *spec.shape[1:]))
            layout.append(file.add_pieces(both, _both(cloud, spec, others)))
        return Packed(file.seal(), layout, meta)


def _both(
    cloud: Packed[CloudMeta], spec: ArraySpec, others: Sequence[tuple[PackedRing, Strip]]
) -> Iterator[np.ndarray]:
    """The column ``spec`` of a tile, and then what is taken of each ring, 0 if that lacks it.

    Each is mapped for as long as it is read, so that no more than one takes address space.
    """
    yield _column(cloud, spec)
    for ring, strip in others:
        own = _spec(ring, spec.name)
        if own:
            yield from _pieces(_column(ring, own), strip.rows)
        else:
            yield np.zeros((len(strip.rows), *spec.shape[1:]), spec.dtype)


def _pieces(values: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), BLOCK_ROWS):
        yield values.take(rows[start : start + BLOCK_ROWS], axis=0)


def _spec(packed: Packed[CloudMeta], name: str) -> ArraySpec | None:
    return next((spec for spec in packed.layout if spec.name == name), None)


def _column(packed: Packed[CloudMeta], spec: ArraySpec) -> np.ndarray:
    return arrays.unpack(packed.fd, [spec])[spec.name]
