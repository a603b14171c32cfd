"""LAZ in which layers are kept against LAZ that is packed from unpacked points."""

import io
import struct

import lazrs
import numpy as np
import pytest

from app.clouds import las, las_writer, laz, laz_kept
from app.clouds.las_file import parse
from app.clouds.las_layout import VARIABLE
from app.clouds.las_records import LASZIP
from tests.clouds.las_samples import INDOOR, las_data, patched, segmentation, to_bytes

EXTRA = [("amplitude", "uint16"), ("confidence", "uint16"), ("pair", "2u1")]


def source(point_format, num_points=700, several_channels=False, extra=EXTRA):
    data = las_data(point_format, num_points, extra=extra)
    if point_format >= 6 and not several_channels:
        data.scanner_channel = np.full(num_points, 3 if point_format < 9 else 0, np.uint8)
    return to_bytes(data, compressed=True)


def written(data, answer):
    return bytes(las.write_laz(las.read(memoryview(data)), answer, memoryview(data)))


def both(monkeypatch, data, answer):
    """What is written with layers kept and with none, and how often layers were kept."""
    kept = []
    encode = laz_kept.KeptLayers.encode
    with monkeypatch.context() as context:
        context.setattr(
            laz_kept.KeptLayers, "encode", lambda self, out, records: kept.append(1) or encode(self, out, records)
        )
        first = written(data, answer())
        context.setattr(las_writer, "kept_layers", lambda file: None)
        return first, written(data, answer()), len(kept)


def answers(num_points):
    confidence = np.random.default_rng(1).random(num_points).astype(np.float32)
    entropy = np.random.default_rng(2).random(num_points).astype(np.float32)
    return {
        "classes alone": lambda: segmentation(num_points, ignored=[0, num_points - 1]),
        "overwritten and added": lambda: segmentation(num_points, confidence=confidence, entropy=entropy),
        "a dimension for the classes": lambda: segmentation(num_points, INDOOR, confidence=confidence),
    }


@pytest.mark.parametrize("several_channels", [False, True])
@pytest.mark.parametrize("what", answers(2))
@pytest.mark.parametrize("point_format", range(6, 9))
def test_kept_layers_give_the_same_bytes(monkeypatch, point_format, what, several_channels):
    data = source(point_format, several_channels=several_channels)
    kept, packed, num_kept = both(monkeypatch, data, answers(700)[what])
    assert num_kept == 1
    assert kept == packed


@pytest.mark.parametrize("num_points", [1, 2, 50_000, 110_000])
def test_chunks_of_any_number_of_points(monkeypatch, num_points):
    data = source(7, num_points)
    kept, packed, num_kept = both(monkeypatch, data, answers(num_points)["overwritten and added"])
    assert num_kept == 1
    assert kept == packed


@pytest.mark.parametrize("point_format", [9, 10])
def test_waveforms_are_kept(monkeypatch, point_format):
    kept, packed, num_kept = both(monkeypatch, source(point_format), answers(700)["overwritten and added"])
    assert num_kept == 1
    assert kept == packed


def test_points_without_extra_bytes_get_some(monkeypatch):
    kept, packed, _ = both(monkeypatch, source(6, extra=()), answers(700)["overwritten and added"])
    assert kept == packed


def test_points_without_layers_are_packed_again(monkeypatch):
    kept, packed, num_kept = both(monkeypatch, source(3), answers(700)["classes alone"])
    assert (kept == packed, num_kept) == (True, 0)


@pytest.mark.parametrize(
    ("chunk_size", "num_points", "is_kept"),
    [(100, 700, False), (1_000, 2_500, True), (VARIABLE, 700, False), (700, 700, True), (100, 90, True)],
)
def test_chunks_of_other_sizes(chunk_size, num_points, is_kept):
    data = source(7, num_points)
    file = parse(memoryview(data))
    size_at = data.index(b"laszip encoded") - 2 + 54 + 12
    out = io.BytesIO(patched(data[: file.points_start], size_at, struct.pack("<I", chunk_size)))
    out.seek(0, io.SEEK_END)
    laszip = bytes(patched(file.find(LASZIP).data, 12, struct.pack("<I", chunk_size)))
    if chunk_size == VARIABLE:
        compressor = lazrs.LasZipCompressor(out, lazrs.LazVlr(laszip))
        compressor.compress_chunks([part.tobytes() for part in np.array_split(laz.decode(file), 2)])
        compressor.done()
    else:
        laz.encode(out, laszip, np.ascontiguousarray(laz.decode(file)))
    other = memoryview(out.getvalue())
    assert (laz_kept.kept_layers(parse(other)) is not None) == is_kept
    expected = las.read(memoryview(written(data, segmentation(num_points))))
    found = las.read(memoryview(written(other, segmentation(num_points))))
    np.testing.assert_array_equal(found.xyz, expected.xyz)
    for name, values in expected.extra.items():
        np.testing.assert_array_equal(found.extra[name], values, err_msg=name)


def test_layers_of_a_version_that_is_not_packed_here_are_packed_again():
    data = source(7)
    file = parse(patched(data, data.index(b"laszip encoded") - 2 + 54 + 34 + 4, b"\x04"))
    assert laz_kept.kept_layers(file) is None
