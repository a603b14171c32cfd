import struct
import subprocess
import sys

import laspy
import numpy as np
import pytest

from app.clouds import las
from app.errors import BadCloud
from tests.clouds.las_samples import las_bytes, las_data, patched, to_bytes


def with_evlr(compressed=False):
    data = las_data(6)
    data.evlrs = laspy.vlrs.vlrlist.VLRList([laspy.VLR("someone", 9, "after the points", b"x" * 100)])
    return to_bytes(data, compressed)


@pytest.mark.parametrize("compressed", [False, True])
def test_truncation_anywhere_is_an_error(compressed):
    for data in (las_bytes(compressed, point_format=3), with_evlr(compressed)):
        start = struct.unpack_from("<I", data, 96)[0]
        end = len(data)
        for cut in (0, 3, 4, 100, 226, 227, start - 1, start, start + 1, start + 8, end // 2, end - 9, end - 1):
            with pytest.raises(BadCloud):
                las.read(memoryview(data[:cut]))


def test_a_cut_file_says_how_much_is_missing():
    data = las_bytes(compressed=True, point_format=3)
    table_start = struct.unpack_from("<q", data, struct.unpack_from("<I", data, 96)[0])[0]
    missing = table_start + 8 - 3000
    with pytest.raises(BadCloud, match=f"500 compressed points should be at .* at least {missing:,} are missing"):
        las.read(memoryview(data[:3000]))
    data = with_evlr()
    with pytest.raises(BadCloud, match=r"first EVLR should be at .* at least 1\d\d are missing"):
        las.read(memoryview(data[:-200]))


@pytest.mark.parametrize(
    ("offset", "raw", "sentence"),
    [
        (24, b"\x02", "version 2"),
        (25, b"\x09", "version 1.9"),
        (94, struct.pack("<H", 10), "incoherent"),
        (94, struct.pack("<H", 65535), "incoherent"),
        (96, struct.pack("<I", 0xFFFFFFFF), "incoherent"),
        (96, struct.pack("<I", 100), "incoherent"),
        (100, struct.pack("<I", 0xFFFFFFFF), "VLRs"),
        (100, struct.pack("<I", 100_000), "VLRs"),
        (104, b"\x0b", "point format 11"),
        (104, b"\x43", "point format"),
        (105, struct.pack("<H", 33), "34 bytes, the header says 33"),
        (105, struct.pack("<H", 35), "500 points"),
        (107, struct.pack("<I", 501), "501 points, the file holds 500"),
        (107, struct.pack("<I", 0xFFFFFFFF), "the file holds 500"),
        (131, struct.pack("<d", np.nan), "[Ss]cale"),
        (139, struct.pack("<d", 0.0), "[Ss]cale"),
        (147, struct.pack("<d", np.inf), "[Ss]cale"),
        (155, struct.pack("<d", np.nan), "offset"),
    ],
)
def test_lying_headers(offset, raw, sentence):
    data = las_bytes(point_format=3)
    with pytest.raises(BadCloud, match=sentence):
        las.read(patched(data, offset, raw))


@pytest.mark.parametrize(("offset", "raw"), [(235, b"\xff" * 8), (235, bytes(8)), (243, b"\xff" * 4)])
def test_lying_evlrs(offset, raw):
    with pytest.raises(BadCloud, match="EVLR"):
        las.read(patched(with_evlr(), offset, raw))


@pytest.mark.parametrize("point_format", [1, 6])
def test_lying_compressed_counts_and_tables(point_format):
    data = las_bytes(True, point_format=point_format)
    count_at = 107 if point_format == 1 else 247
    for count in (50_001, 2**31, 2**32 - 1):
        with pytest.raises(BadCloud, match="chunks"):
            las.read(patched(data, count_at, struct.pack("<I", count)))
    start = struct.unpack_from("<I", data, 96)[0]
    table = struct.unpack_from("<q", data, start)[0]
    for lie in (0, 2**40, -2, len(data), start):
        with pytest.raises(BadCloud):
            las.read(patched(data, start, struct.pack("<q", lie)))
    for num_chunks in (0, 2, 2**32 - 1):
        with pytest.raises(BadCloud, match="chunks"):
            las.read(patched(data, table + 4, struct.pack("<I", num_chunks)))


@pytest.mark.parametrize("point_format", [1, 6])
def test_lying_laszip_records(point_format):
    data = las_bytes(True, point_format=point_format)
    laszip = data.index(b"laszip encoded") - 2 + 54
    other_compressor = b"\x03" if point_format == 1 else b"\x02"
    lies = [(0, b"\x01"), (0, other_compressor), (12, bytes(4)), (32, b"\xff\xff"), (34, b"\x63"), (36, b"\x01")]
    for offset, raw in [*lies, (-52, b"somebody else!")]:
        with pytest.raises(BadCloud, match="LASzip"):
            las.read(patched(data, laszip + offset, raw))


def test_layers_that_lie_are_found_before_the_decoder_takes_memory():
    data = las_bytes(True, point_format=6)
    chunk = struct.unpack_from("<I", data, 96)[0] + 8
    with pytest.raises(BadCloud, match="layers"):
        las.read(patched(data, chunk + 30 + 4, b"\xff\xff\xff\xf0"))


HAMMER = """
import resource, sys
import numpy as np
from app.clouds import las
from app.errors import Problem
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
data = open(sys.argv[1], "rb").read()
rng = np.random.default_rng(0)
refused = 0
for _ in range(400):
    broken = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        broken[rng.integers(0, len(data)) if rng.random() < 0.5 else rng.integers(90, 700)] = rng.integers(256)
    try:
        assert len(las.read(memoryview(broken), max_points=1_000_000)) >= 0
    except Problem:
        refused += 1
print(refused)
"""


@pytest.mark.parametrize("point_format", [3, 7])
@pytest.mark.parametrize("compressed", [False, True])
def test_random_damage_ends_as_a_problem_within_memory(tmp_path, point_format, compressed):
    """In a process of its own: what must not happen is an abort, a panic, a hang, or gigabytes."""
    path = tmp_path / "sample"
    path.write_bytes(las_bytes(compressed, point_format=point_format, extra=[("amplitude", "uint16")]))
    child = subprocess.run(
        [sys.executable, "-c", HAMMER, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert child.returncode == 0, child.stderr[-2000:]
    assert int(child.stdout) > 20
