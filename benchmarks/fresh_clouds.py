"""Files of clouds of sizes that no request before had, made while nobody waits for them."""

import io
import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode

import numpy as np

from app.bench.clouds import COLUMNS, SPACING_M, SPACING_VOXELS, room
from benchmarks.fresh_sizes import SPREAD, FreshSizes

POINTS_ENCODED = 40_000_000  # of all files of a size, which takes some seconds
MOST_ENCODED = 160


@dataclass(frozen=True)
class FreshCloud:
    """A file, in parts that are sent one after the other, and the query that it needs."""

    num_points: int
    parts: tuple[bytes | memoryview, ...]
    query: str


class FreshClouds(Protocol):
    """Clouds of about one size, for any number of threads."""

    def take(self) -> FreshCloud | None:
        """The next one, or None if there are no more."""


class NpyClouds:
    """Any number of them: parts of one array, which is never copied."""

    def __init__(self, around: int, card: Mapping[str, Any], sizes: FreshSizes):
        self._around, self._sizes, self._lock = around, sizes, threading.Lock()
        self._chance = random.Random(around)
        wanted = [name for name in COLUMNS if name in card.get("feat_keys", ())]
        names = ["x", "y", "z", *(column for name in wanted for column in COLUMNS[name])]
        self._query = urlencode({"columns": ",".join(names), "format": "npy", "model": card["name"]})
        most = round((1 + 2 * SPREAD) * around)
        self._rows = np.ascontiguousarray(room(most, spacing_m(card), wanted, around))

    def take(self) -> FreshCloud:
        """The next one."""
        with self._lock:
            size = self._sizes.around(self._around)
            first = self._chance.randint(0, len(self._rows) - size)
        rows = self._rows[first : first + size]
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(rows))
        return FreshCloud(size, (header.getvalue(), memoryview(rows).cast("B")), self._query)


class LazClouds:
    """Files with colors and without normals, made before the first is taken."""

    def __init__(self, around: int, card: Mapping[str, Any], sizes: FreshSizes, most: int = MOST_ENCODED):
        self._lock = threading.Lock()
        query = urlencode({"filename": "cloud.laz", "model": card["name"]})
        count = min(most, max(1, POINTS_ENCODED // around))
        values = room(round((1 + 2 * SPREAD) * around), spacing_m(card), ["color"], around)
        self._clouds = []
        for size in (sizes.around(around) for _ in range(count)):
            self._clouds.append(FreshCloud(size, (laz(values[:size]),), query))

    def take(self) -> FreshCloud | None:
        """The next one, or None if there are no more."""
        with self._lock:
            return self._clouds.pop() if self._clouds else None


def spacing_m(card: Mapping[str, Any]) -> float:
    """Between neighbouring points, for the model of ``card`` (of GET /models)."""
    return SPACING_VOXELS * card["grid_size_m"] if card.get("grid_size_m") else SPACING_M


def laz(values: np.ndarray) -> bytes:
    """x, y, z, red, green, blue (N, 6) as LAZ, with intensities and one return a pulse."""
    import laspy

    header = laspy.LasHeader(point_format=7, version="1.4")
    header.scales = np.full(3, 0.001)
    las = laspy.LasData(header)
    las.x, las.y, las.z = values[:, :3].T
    las.red, las.green, las.blue = (257 * values[:, 3:6]).astype(np.uint16).T
    las.intensity = np.arange(len(values)).astype(np.uint16)
    las.return_number = las.number_of_returns = np.ones(len(values), np.uint8)
    file = io.BytesIO()
    las.write(file, do_compress=True)
    return file.getvalue()
