"""Chunks of LAZ that are cut in two for threads that would have nothing to do, against chunks as they are."""

import struct
import tracemalloc

import lazrs
import numpy as np
import pytest

from app.clouds import laz
from app.clouds.las_file import parse
from app.errors import BadCloud
from tests.clouds.las_samples import las_data, patched, to_bytes

EXTRA = [("amplitude", "uint16"), ("height", "float32")]
FEW = laz.layers([], extra_bytes=False)
ALL = lazrs.SELECTIVE_DECOMPRESS_ALL


@pytest.fixture
def calls(monkeypatch):
    """How many chunks were unpacked by each call of the decoder."""
    found = []
    decompress = lazrs.decompress_points_with_chunk_table

    def counted(chunks, record_data, records, table, selection):
        found.append(len(table))
        decompress(chunks, record_data, records, table, selection)

    monkeypatch.setattr(laz.lazrs, "decompress_points_with_chunk_table", counted)
    return found


def decoded(monkeypatch, data, num_threads, chosen=ALL):
    monkeypatch.setattr(laz._Threads, "count", num_threads)
    return laz.decode(parse(memoryview(data)), chosen)


def one_channel(point_format, num_points, extra=EXTRA, channel=2):
    las = las_data(point_format, num_points, extra=extra)
    if 6 <= point_format < 9:
        las.scanner_channel = np.full(num_points, channel, np.uint8)
    return to_bytes(las, compressed=True)


@pytest.mark.parametrize("num_points", [1, 2, 700, 120_000])
@pytest.mark.parametrize("point_format", range(6, 11))
def test_halves_give_what_whole_chunks_give(monkeypatch, calls, point_format, num_points):
    data = one_channel(point_format, num_points)
    expected, found = decoded(monkeypatch, data, 1), decoded(monkeypatch, data, 16)
    num_chunks = calls[0]
    assert calls == [num_chunks, 2 * num_chunks if num_points > 1 else 1]  # one point has no layers
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("point_format", [7, 8])
def test_layers_that_nobody_wants_stay_packed_in_halves_too(monkeypatch, calls, point_format):
    data = one_channel(point_format, 700)
    expected, found = decoded(monkeypatch, data, 1, FEW), decoded(monkeypatch, data, 16, FEW)
    assert calls == [1, 2]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("point_format", [6, 7, 8])
def test_several_scanner_channels_need_whole_chunks(monkeypatch, calls, point_format):
    data = to_bytes(las_data(point_format, 700, extra=EXTRA), compressed=True)
    expected, found = decoded(monkeypatch, data, 1), decoded(monkeypatch, data, 16)
    assert calls == [1, 2, 1]
    np.testing.assert_array_equal(found, expected)


def test_one_point_of_another_channel_is_found(monkeypatch, calls):
    las = las_data(7, 700)
    las.scanner_channel = np.arange(700) == 699
    data = to_bytes(las, compressed=True)
    np.testing.assert_array_equal(decoded(monkeypatch, data, 16), decoded(monkeypatch, data, 1))
    assert calls == [2, 1, 1]


def test_points_without_layers_behind_those_of_every_point_are_not_cut(monkeypatch, calls):
    black = las_data(7, 700)
    black.red = black.green = black.blue = np.zeros(700, np.uint16)
    for data, chosen in (
        (one_channel(6, 700, extra=()), ALL),
        (one_channel(6, 700), FEW),
        (to_bytes(black, compressed=True), ALL),
        (one_channel(3, 700), ALL),
    ):
        decoded(monkeypatch, data, 16, chosen)
    assert calls == [1] * 4


@pytest.mark.parametrize(
    ("num_threads", "num_chunks", "is_cut"),
    [
        *((1, 1, False), (2, 1, True), (2, 2, False), (2, 3, True), (2, 5, False)),
        *((16, 8, True), (16, 9, False), (16, 16, False), (16, 20, True), (16, 25, False), (16, 36, False)),
    ],
)
def test_chunks_are_cut_where_threads_would_be_idle(monkeypatch, num_threads, num_chunks, is_cut):
    monkeypatch.setattr(laz._Threads, "count", num_threads)
    assert laz._leaves_idle(num_chunks) == is_cut


@pytest.mark.parametrize("back", [50, 9_000, 30_000])
def test_damage_is_damage_in_halves_too(monkeypatch, back):
    """Within colors, and within two layers that every point has: what whole chunks give or raise, halves do."""
    data = one_channel(7, 3000, extra=())
    table = struct.unpack_from("<q", data, parse(memoryview(data)).points_start)[0]
    broken = patched(data, table - back, b"\xff" * 40)
    ends = []
    for num_threads in (1, 16):
        try:
            ends.append(decoded(monkeypatch, broken, num_threads).tobytes())
        except BadCloud as problem:
            ends.append(problem.detail)
    assert ends[0] == ends[1]
    assert ends[0] != decoded(monkeypatch, data, 1).tobytes()


@pytest.mark.parametrize("num_threads", [1, 16])
@pytest.mark.parametrize("point_format", [3, 7])
def test_memory_is_estimated_with_halves_and_without(monkeypatch, point_format, num_threads):
    """Numpy's and Python's is measured; lazrs's is in the estimate, too."""
    file = parse(memoryview(one_channel(point_format, 60_000)))
    monkeypatch.setattr(laz._Threads, "count", num_threads)
    stated = laz.decoding_bytes(file) - laz.UNPACKING_BYTES * 2 * (2 if (point_format, num_threads) == (7, 16) else 1)
    tracemalloc.start()
    try:
        laz.decode(file)
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert taken - 100_000 < stated < 1.5 * taken
