"""LAS and LAZ files made with laspy, which the reader and writer under test do not use for reading."""

import io
import struct

import laspy
import numpy as np
from laspy.vlrs.known import WktCoordinateSystemVlr

from app.clouds.cloud import ClassInfo, Segmentation, SegmentationMeta
from app.clouds.fields import FIELDS

VERSIONS = {0: "1.2", 1: "1.2", 2: "1.2", 3: "1.2", 4: "1.3", 5: "1.3"}  # of the format's first version; others 1.4
WKT_METRES = 'LOCAL_CS["Lambert-93",UNIT["metre",1]]'


def las_data(point_format=3, num_points=500, version=None, seed=0, extra=(), vlrs=True):
    """A LasData with every standard dimension filled with random values that fit."""
    rng = np.random.default_rng(seed)
    header = laspy.LasHeader(version=version or VERSIONS.get(point_format, "1.4"), point_format=point_format)
    header.scales, header.offsets = [0.01, 0.01, 0.001], [600_000.0, 6_800_000.0, 100.0]
    header.system_identifier, header.generating_software = "a scanner", "a tool"
    if vlrs:
        header.vlrs.append(laspy.VLR("someone", 7, "a note", b"kept \x00 as it is"))
        header.vlrs.append(WktCoordinateSystemVlr(WKT_METRES))
    for name, dtype in extra:
        header.add_extra_dims([laspy.ExtraBytesParams(name, dtype)])
    las = laspy.LasData(header, laspy.ScaleAwarePointRecord.zeros(num_points, header=header))
    for dimension in las.point_format.dimensions:
        if dimension.num_elements > 1:
            continue
        if dimension.kind == laspy.point.dims.DimensionKind.FloatingPoint:
            las[dimension.name] = rng.normal(size=num_points)
        elif dimension.num_bits >= 32:
            las[dimension.name] = rng.integers(0, 100_000, num_points)
        elif dimension.kind == laspy.point.dims.DimensionKind.SignedInteger:
            las[dimension.name] = rng.integers(-50, 50, num_points)
        else:
            las[dimension.name] = rng.integers(0, 1 << dimension.num_bits, num_points)
    if las.point_format.id >= 9:
        las.scanner_channel = np.zeros(num_points, np.uint8)  # lazrs mixes up the waveforms of several channels
    return las


def to_bytes(las, compressed=False):
    out = io.BytesIO()
    las.write(out, do_compress=compressed)
    return out.getvalue()


def las_bytes(compressed=False, **options):
    return to_bytes(las_data(**options), compressed)


def patched(data, offset, raw):
    data = bytes(data)
    return memoryview(data[:offset] + raw + data[offset + len(raw) :])


def undeclared(data):
    """The file with the user id of its Extra Bytes VLR overwritten, so that nothing describes the extra bytes."""
    at = data.index(b"LASF_Spec")
    return data[:at] + b"forgotten" + data[at + 9 :]


def descriptors(*dimensions):
    """The data of an Extra Bytes record: name, data type and options of each."""
    return b"".join(
        struct.pack("<2xBB32s152x4x", kind, options, name if isinstance(name, bytes) else name.encode())
        for name, kind, options in dimensions
    )


def file_with(extra, *records):
    """A file of format 6 whose points end in ``extra`` (N, bytes), with Extra Bytes ``records``."""
    data = las_data(6, len(extra), vlrs=False)
    data.header.vlrs.append(laspy.VLR("someone", 7, "first", b"kept"))
    for record in records:
        data.header.vlrs.append(laspy.VLR("LASF_Spec", 4, "by one program of several", record))
    data.header.vlrs.append(laspy.VLR("someone", 8, "last", b"kept too"))
    plain = bytearray(to_bytes(data))
    start, length = struct.unpack_from("<I", plain, 96)[0], struct.unpack_from("<H", plain, 105)[0]
    points = np.frombuffer(plain, np.uint8, len(extra) * length, start).reshape(len(extra), length)
    struct.pack_into("<H", plain, 105, length + extra.shape[1])
    return memoryview(bytes(plain[:start]) + np.hstack([points, extra]).tobytes())


ASPRS = [ClassInfo(i, name, (0, 0, 0), code) for i, (name, code) in enumerate([("ground", 2), ("roof", 6), ("sea", 9)])]
INDOOR = [ClassInfo(i, f"class {i}", (0, 0, 0)) for i in range(20)]


def segmentation(num_points, classes=ASPRS, ignored=(), **options):
    labels = np.arange(num_points, dtype=np.int32) % len(classes)
    labels[list(ignored)] = -1
    fields = {name: options.pop(name) for name in FIELDS if name in options}
    return Segmentation(labels, SegmentationMeta(classes, **options), fields)
