import io
import struct
import subprocess
import sys

import laspy
import numpy as np
import pytest

from app.clouds import las
from app.errors import BadCloud
from tests.clouds.las_samples import las_bytes, las_data, patched, segmentation, to_bytes


def with_evlr(compressed=False):
    data = las_data(6)
    data.evlrs = laspy.vlrs.vlrlist.VLRList([laspy.VLR("someone", 9, "after the points", b"x" * 100)])
    return to_bytes(data, compressed)


def points_end(data):
    """Where the points of an uncompressed file or the chunk table of a compressed one of points of format 6 end."""
    start, raw_format, length = struct.unpack_from("<I4xBH", data, 96)
    if raw_format < 128:
        return start + 500 * length
    return struct.unpack_from("<q", data, start)[0]


@pytest.mark.parametrize("compressed", [False, True])
def test_truncation_that_costs_points_is_an_error(compressed):
    for data in (las_bytes(compressed, point_format=3), with_evlr(compressed)):
        start = struct.unpack_from("<I", data, 96)[0]
        end = points_end(data)
        for cut in (0, 3, 4, 100, 226, 227, start - 1, start, start + 1, start + 8, end // 2, end - 9, end - 1):
            with pytest.raises(BadCloud):
                las.read(memoryview(data[:cut]))


def test_truncation_of_a_chunk_table_is_an_error_where_the_chunks_cannot_be_told_without_it():
    data = las_bytes(True, point_format=3)
    for cut in (points_end(data) + 4, len(data) - 9, len(data) - 1):
        with pytest.raises(BadCloud):
            las.read(memoryview(data[:cut]))


@pytest.mark.parametrize("compressed", [False, True])
def test_truncation_after_the_points_costs_the_records_that_stand_there(compressed):
    data = with_evlr(compressed)
    whole = las.read(memoryview(data))
    assert whole.warnings == []
    for missing in (1, 100, 150):
        cut = las.read(memoryview(data[:-missing]))
        np.testing.assert_array_equal(cut.xyz, whole.xyz)
        assert "counts 1 EVLRs" in cut.warnings[0]


def test_a_cut_file_says_how_much_is_missing():
    data = las_bytes(compressed=True, point_format=3)
    table_start = struct.unpack_from("<q", data, struct.unpack_from("<I", data, 96)[0])[0]
    missing = table_start + 8 - 3000
    with pytest.raises(BadCloud, match=f"500 compressed points should be at .* at least {missing:,} are missing"):
        las.read(memoryview(data[:3000]))
    with pytest.raises(BadCloud, match="500 points, the file holds 498"):
        las.read(memoryview(with_evlr()[:-200]))


@pytest.mark.parametrize(
    ("offset", "raw", "sentence"),
    [
        (24, b"\x02", "version 2"),
        (25, b"\x09", "version 1.9"),
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


@pytest.mark.parametrize("point_format", [1, 6])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("offset", "raw", "sentence"),
    [
        (94, struct.pack("<H", 10), "size of 10 bytes"),
        (94, struct.pack("<H", 65535), "size of 65535 bytes"),
        (94, struct.pack("<H", 380), "size of 380 bytes"),
        (96, struct.pack("<I", 0xFFFFFFFF), "places the points at byte 4,294,967,295"),
        (96, struct.pack("<I", 100), "places the points at byte 100"),
        (96, struct.pack("<I", 400), "places the points at byte 400"),
        (100, struct.pack("<I", 0), "counts 0 VLRs"),
        (100, struct.pack("<I", 1), "counts 1 VLRs"),
        (100, struct.pack("<I", 7), "counts 7 VLRs"),
        (100, struct.pack("<I", 0xFFFFFFFF), "counts 4,294,967,295 VLRs"),
    ],
)
def test_headers_that_say_wrong_where_the_points_are(point_format, compressed, offset, raw, sentence):
    sound = las_bytes(compressed, point_format=point_format)
    data = patched(sound, offset, raw)
    cloud = las.read(data)
    np.testing.assert_array_equal(cloud.xyz, las.read(memoryview(sound)).xyz)
    assert sentence in cloud.warnings[0]
    answer = las.write_las(cloud, segmentation(500), data)
    back = laspy.read(io.BytesIO(answer))
    np.testing.assert_array_equal(back.xyz, cloud.xyz)
    assert [vlr.user_id for vlr in back.vlrs] == ["someone", "LASF_Projection"]
    assert las.read(memoryview(answer)).warnings == []


@pytest.mark.parametrize("point_format", [3, 6])
def test_a_header_of_1_4_that_ends_where_that_of_1_2_does(point_format):
    """Some writers raise the version and leave the header as long as it was."""
    sound = las_bytes(point_format=point_format, version="1.4")
    start = struct.unpack_from("<I", sound, 96)[0]
    data = bytearray(sound[:227] + sound[375:])
    struct.pack_into("<HI", data, 94, 227, start - 148)
    struct.pack_into("<I", data, 107, 500)
    cloud = las.read(memoryview(data))
    np.testing.assert_array_equal(cloud.xyz, las.read(memoryview(sound)).xyz)
    back = laspy.read(io.BytesIO(las.write_laz(cloud, segmentation(500), memoryview(data))))
    np.testing.assert_array_equal(back.xyz, cloud.xyz)
    assert back.header.point_count == 500


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(("wide", "legacy"), [(500, 400), (400, 500), (2**40, 500), (500, 2**32 - 1)])
def test_of_two_numbers_of_points_the_one_that_the_bytes_hold(compressed, wide, legacy):
    sound = las_bytes(compressed, point_format=6)
    data = patched(patched(sound, 247, struct.pack("<Q", wide)), 107, struct.pack("<I", legacy))
    cloud = las.read(data)
    np.testing.assert_array_equal(cloud.xyz, las.read(memoryview(sound)).xyz)
    assert f"states {wide:,} and {legacy:,} points; 500 were read" in cloud.warnings[0]
    back = laspy.read(io.BytesIO(las.write_las(cloud, segmentation(500), data)))
    assert len(back) == 500
    assert back.header.point_count == 500


def test_a_number_of_points_that_was_never_stated():
    sound = las_bytes(point_format=3)
    cloud = las.read(patched(sound, 107, bytes(4)))
    assert len(cloud) == 500
    assert "states 0 points; the 500" in cloud.warnings[0]


def test_what_describes_no_point_is_not_asked():
    """Bounds, numbers by return, reserved bytes of VLRs."""
    sound = las_bytes(point_format=6)
    data = patched(sound, 179, struct.pack("<6d", *[np.nan] * 3, np.inf, -np.inf, 1e308))
    data = patched(patched(data, 255, b"\xff" * 120), 375, b"\xaa\xbb")
    cloud = las.read(data)
    np.testing.assert_array_equal(cloud.xyz, las.read(memoryview(sound)).xyz)
    assert cloud.warnings == []


def test_a_million_records_are_walked_only_so_far():
    """Zeros are records of nothing: a header that counts them must not cost memory for each."""
    sound = las_bytes(point_format=1)
    header = patched(sound, 96, struct.pack("<II", 227 + 54 * 200_000, 0xFFFFFFFF))[:227]
    data = memoryview(bytes(header) + bytes(54 * 200_000) + sound[-500 * 28 :])
    cloud = las.read(data)
    np.testing.assert_array_equal(cloud.xyz, las.read(memoryview(sound)).xyz)
    assert "65,536 stand before the points" in cloud.warnings[0]


def test_bytes_after_the_points_are_told():
    sound = las_bytes(point_format=1)
    cloud = las.read(memoryview(sound + b"garbage"))
    np.testing.assert_array_equal(cloud.xyz, las.read(memoryview(sound)).xyz)
    assert cloud.warnings == ["7 bytes after the points are none that the header tells of: left out."]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("start", "count", "num_read"),
    [(None, 2**32 - 1, 1), (0, 1, 0), (2**64 - 1, 1, 0), (400, 3, 0), (None, 2, 1)],
)
def test_evlrs_that_are_not_there_cost_no_points(compressed, start, count, num_read):
    sound = with_evlr(compressed)
    data = patched(sound, 243, struct.pack("<I", count))
    if start is not None:
        data = patched(data, 235, struct.pack("<Q", start))
    cloud = las.read(data)
    np.testing.assert_array_equal(cloud.xyz, las.read(memoryview(sound)).xyz)
    assert f"counts {count:,} EVLRs" in cloud.warnings[0]
    assert len(laspy.read(io.BytesIO(las.write_las(cloud, segmentation(500), data))).evlrs) == num_read


@pytest.mark.parametrize("compressed", [False, True])
def test_a_place_of_no_evlrs_means_nothing(compressed):
    sound = las_bytes(compressed, point_format=6)
    for start in (0, 1, len(sound), len(sound) + 1, 641_012_047, 2**64 - 1):
        cloud = las.read(patched(sound, 235, struct.pack("<Q", start)))
        assert (len(cloud), cloud.warnings) == (500, [])


@pytest.mark.parametrize("point_format", [1, 6])
def test_lying_compressed_counts_and_tables(point_format):
    data = las_bytes(True, point_format=point_format)
    count_at = 107 if point_format == 1 else 247
    for count in (50_001, 2**31, 2**32 - 1):
        with pytest.raises(BadCloud, match="chunks"):
            las.read(patched(data, count_at, struct.pack("<I", count)))
    start = struct.unpack_from("<I", data, 96)[0]
    table = struct.unpack_from("<q", data, start)[0]
    lies = [(start, struct.pack("<q", lie)) for lie in (0, -1, 2**40, -2, len(data), start)]
    lies += [(table + 4, struct.pack("<I", lie)) for lie in (0, 2, 2**32 - 1)]
    for offset, raw in lies:
        if point_format == 1:
            with pytest.raises(BadCloud, match=r"table|chunks"):
                las.read(patched(data, offset, raw))
        else:
            cloud = las.read(patched(data, offset, raw))
            np.testing.assert_array_equal(cloud.xyz, las.read(memoryview(data)).xyz)
            assert "table of compressed chunks is missing or wrong" in cloud.warnings[0]


def test_layered_chunks_without_their_table():
    expected = las_bytes(True, point_format=7, num_points=120_000)
    table = struct.unpack_from("<q", expected, struct.unpack_from("<I", expected, 96)[0])[0]
    cloud = las.read(memoryview(expected[:table]))
    np.testing.assert_array_equal(cloud.xyz, las.read(memoryview(expected)).xyz)
    with pytest.raises(BadCloud):
        las.read(memoryview(expected[: table - 1]))


@pytest.mark.parametrize("num_points", [500, 50_001])
@pytest.mark.parametrize("point_format", [1, 6])
def test_a_chunk_size_of_0_says_nothing(point_format, num_points):
    data = las_bytes(True, point_format=point_format, num_points=num_points)
    cloud = las.read(patched(data, data.index(b"laszip encoded") - 2 + 54 + 12, bytes(4)))
    np.testing.assert_array_equal(cloud.xyz, las.read(memoryview(data)).xyz)
    assert cloud.warnings == []


@pytest.mark.parametrize("point_format", [1, 6])
def test_lying_laszip_records(point_format):
    data = las_bytes(True, point_format=point_format)
    laszip = data.index(b"laszip encoded") - 2 + 54
    other_compressor = b"\x03" if point_format == 1 else b"\x02"
    lies = [(0, b"\x09"), (0, other_compressor), (32, b"\xff\xff"), (34, b"\x63"), (36, b"\x01")]
    for offset, raw in [*lies, (-52, b"somebody else!")]:
        with pytest.raises(BadCloud, match="LASzip"):
            las.read(patched(data, laszip + offset, raw))


def test_the_first_compressor_is_named_with_the_program_that_unpacks_it():
    data = las_bytes(True, point_format=1)
    with pytest.raises(BadCloud, match=r"first compressor.*laszip -i old.laz -o new.las"):
        las.read(patched(data, data.index(b"laszip encoded") - 2 + 54, b"\x01"))


def test_damaged_points_are_refused_in_words_of_our_own():
    data = las_bytes(True, point_format=1)
    version = data.index(b"laszip encoded") - 2 + 54 + 34 + 4
    with pytest.raises(BadCloud) as caught:
        las.read(patched(data, version, b"\x09\0"))
    assert caught.value.detail == "The compressed points are damaged: they cannot be unpacked. Send the file again."


def test_layers_that_lie_are_found_before_the_decoder_takes_memory():
    data = las_bytes(True, point_format=6)
    chunk = struct.unpack_from("<I", data, 96)[0] + 8
    with pytest.raises(BadCloud, match="layers"):
        las.read(patched(data, chunk + 30 + 4, b"\xff\xff\xff\xf0"))


HAMMER = """
import resource, sys
import numpy as np
from app.clouds import las, laz
from app.errors import Problem
laz._Threads.count = int(sys.argv[2])
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


@pytest.mark.slow
@pytest.mark.parametrize("point_format", [3, 7])
@pytest.mark.parametrize(("compressed", "num_threads"), [(False, 1), (True, 1), (True, 16)])
def test_random_damage_ends_as_a_problem_within_memory(tmp_path, point_format, compressed, num_threads):
    """In a process of its own: what must not happen is an abort, a panic, a hang, or gigabytes."""
    path = tmp_path / "sample"
    data = las_data(point_format, extra=[("amplitude", "uint16")])
    if point_format == 7:
        data.scanner_channel = np.zeros(len(data), np.uint8)
    path.write_bytes(to_bytes(data, compressed))
    child = subprocess.run(
        [sys.executable, "-c", HAMMER, str(path), str(num_threads)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-2000:]
    assert int(child.stdout) > (20 if compressed else 2)  # most bytes of an uncompressed file are no point's place
