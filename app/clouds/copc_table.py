"""The table of nodes of a COPC file: read of one, and made for another."""

import struct

import numpy as np

from app.clouds import laz_chunks
from app.clouds.las_file import LasFile
from app.clouds.las_records import COPC_HIERARCHY, COPC_INFO
from app.clouds.octree import Octree
from app.errors import BadCloud

# center, half of a side, spacing; offset and size of the root page; least and greatest GPS time
INFO = struct.Struct("<5d2Q2d88x")
ENTRY = np.dtype([("key", "<i4", 4), ("offset", "<u8"), ("num_bytes", "<i4"), ("num_points", "<i4")])
PAGE = -1  # points of an entry that is another page


def made(tree: Octree, start: int, sizes: np.ndarray) -> np.ndarray:
    """The entries of all nodes, whose chunks of ``sizes`` bytes follow each other from ``start``."""
    table = np.zeros(len(tree.keys), ENTRY)
    table["key"], table["num_points"], table["num_bytes"] = tree.keys, tree.counts, sizes
    table["offset"] = start + np.cumsum(sizes) - sizes
    return table


def nodes_of(file: LasFile) -> Octree | None:
    """The nodes of ``file``, in the order of its points; None if it is no COPC, or its table lies.

    Entries of nodes without points are left out.
    """
    info = file.find(COPC_INFO)
    if info is None or len(info.data) != INFO.size or not file.compressed or not file.num_points:
        return None
    *center, half, spacing, root, size, _, _ = INFO.unpack(info.data)
    if not (np.isfinite([*center, half, spacing]).all() and half > 0):
        return None
    try:
        _, chunks, _, _ = laz_chunks.chunks_of(file)
    except BadCloud:
        return None
    counts, sizes = np.array(chunks, np.int64).T
    starts = file.points_start + 8 + np.cumsum(sizes) - sizes
    table = _entries(file, root, size)
    table = table[np.argsort(table["offset"], kind="stable")]
    stated = (table["offset"], table["num_points"], table["num_bytes"])
    if not all(np.array_equal(*pair) for pair in zip(stated, (starts, counts, sizes), strict=True)):
        return None
    return Octree(np.array(center), half, spacing, table["key"], counts, None)


def times_of(file: LasFile) -> tuple[float, float]:
    """The least and greatest GPS time that a COPC file states."""
    info = file.find(COPC_INFO)
    assert info is not None
    *_, least, greatest = INFO.unpack(info.data)
    return least, greatest


def _entries(file: LasFile, root: int, size: int) -> np.ndarray:
    """The entries with points of the page at ``root``, and of those that it names."""
    spans = [(evlr.start + evlr.header_size, evlr.end) for evlr in file.evlrs if evlr.key == COPC_HIERARCHY]
    left = sum(end - first for first, end in spans)  # pages that overlap would be more
    pages, found = [(root, size)], [np.empty(0, ENTRY)]
    while pages:
        start, num_bytes = pages.pop()
        is_there = any(first <= start and start + num_bytes <= end for first, end in spans)
        if not is_there or not 0 < num_bytes <= left or num_bytes % ENTRY.itemsize:
            continue
        left -= num_bytes
        page = np.frombuffer(file.data, ENTRY, num_bytes // ENTRY.itemsize, start)
        pages += [(int(each["offset"]), int(each["num_bytes"])) for each in page[page["num_points"] == PAGE]]
        found.append(page[page["num_points"] > 0])
    return np.concatenate(found)
