"""Known files that are not read: what each is, and how to make a readable point cloud of it."""

import re
from dataclasses import dataclass

from app.errors import UnsupportedFormat

UNPACK = "Unpack it and send the file inside."
RASTER = "A raster of heights becomes points with PDAL (readers.gdal)."
ORIGINAL = "Send the cloud that it was made of."
PDAL = "PDAL or QGIS can export it as LAZ."
SAMPLE = "Sample points on it with CloudCompare and save them as PLY."
CLOUDCOMPARE = "Open it in CloudCompare and save the points as PLY, LAZ or E57."


@dataclass(frozen=True)
class Unsupported:
    """A kind of file: ``what`` it is and what to do with it, by its first bytes or, if these say nothing, its name.

    ``holds_points`` if it is a point cloud in a format that only its maker's programs read.
    """

    what: str
    advice: str = ""
    magic: tuple[bytes, ...] = ()
    extensions: tuple[str, ...] = ()
    holds_points: bool = False

    def error(self) -> UnsupportedFormat:
        """The error for such a file."""
        said = "in a format that only its maker's programs read" if self.holds_points else "not a point cloud"
        return UnsupportedFormat(f"This is {self.what}, {said}. {self.advice}".rstrip())


CHECKPOINT = Unsupported(
    "a checkpoint, the weights of a network",
    "It goes into an experiment folder beside config.py, which the setting POINTSERVE_MODELS names.",
)
KINDS = (
    Unsupported("gzip data", UNPACK, (b"\x1f\x8b\x08",)),
    Unsupported("bzip2 data", UNPACK, (b"BZh91AY",)),
    Unsupported("xz data", UNPACK, (b"\xfd7zXZ\x00",)),
    Unsupported("zstandard data", UNPACK, (b"\x28\xb5\x2f\xfd",)),
    Unsupported("LZ4 data", UNPACK, (b"\x04\x22\x4d\x18",)),
    Unsupported("a 7z archive", UNPACK, (b"7z\xbc\xaf\x27\x1c",)),
    Unsupported("a RAR archive", UNPACK, (b"Rar!\x1a\x07",)),
    Unsupported("a cabinet archive", UNPACK, (b"MSCF\x00\x00",)),
    Unsupported("a PNG image", "", (b"\x89PNG\r\n",)),
    Unsupported("a JPEG image", "", (b"\xff\xd8\xff",)),
    Unsupported("a GIF image", "", (b"GIF8",)),
    Unsupported("a TIFF image", RASTER, (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")),
    Unsupported("a PDF document", "", (b"%PDF-",)),
    Unsupported("an HDF5 file", "Send its arrays as NPZ.", (b"\x89HDF\r\n",)),
    Unsupported("a MATLAB file", "Send its arrays as NPZ or text.", (b"MATLAB 5.0 MAT-file", b"MATLAB 7.")),
    Unsupported("a Parquet table", "Save it as CSV or NPZ with columns x, y and z.", (b"PAR1\x15",)),
    Unsupported("an Arrow table", "Save it as CSV or NPZ with columns x, y and z.", (b"ARROW1",)),
    Unsupported("an old Excel workbook", "Save the sheet as CSV.", (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",)),
    Unsupported(
        "an SQLite database (GeoPackage, a ROS 2 bag or another)",
        "Export a GeoPackage's points as CSV with QGIS; send one sweep of a bag as PCD.",
        (b"SQLite format 3\x00",),
    ),
    Unsupported("a glTF model", CLOUDCOMPARE, (b"glTF\1\0", b"glTF\2\0")),
    Unsupported(
        "a tile of 3D Tiles",
        ORIGINAL,
        (b"pnts\1\0", b"b3dm\1\0", b"i3dm\1\0", b"cmpt\1\0"),
    ),
    Unsupported("a Draco file", "Decode it to PLY with draco_decoder.", (b"DRACO",)),
    Unsupported("a ROS bag", "Send one sweep as PCD (pcl_ros: bag_to_pcd).", (b"#ROSBAG",)),
    Unsupported("an MCAP recording", "Send one sweep as PCD.", (b"\x89MCAP",)),
    Unsupported(
        "a capture of network packets",
        "Save sweeps as PCD or LAS with the sensor maker's viewer (VeloView, Ouster SDK).",
        (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\x0a\x0d\x0d\x0a"),
    ),
    Unsupported(
        "a shapefile",
        "Export its points as CSV with QGIS or ogr2ogr (-lco GEOMETRY=AS_XYZ).",
        (b"\x00\x00\x27\x0a\x00\x00\x00\x00",),
        (".shp", ".shx", ".dbf"),
    ),
    Unsupported("an FBX model", CLOUDCOMPARE, (b"Kaydara FBX Binary",), (".fbx",)),
    Unsupported("a Blender file", "Export the points as PLY.", (b"BLENDER",)),
    Unsupported("a VTK file", "Export the points as PLY or CSV with ParaView.", (b"# vtk DataFile",), (".vtk",)),
    Unsupported("a VRML model", CLOUDCOMPARE, (b"#VRML",), (".wrl",)),
    Unsupported("an OFF mesh", CLOUDCOMPARE, (b"OFF\n", b"OFF\r\n", b"COFF\n", b"NOFF\n"), (".off",)),
    Unsupported("an STL mesh", SAMPLE, (), (".stl",)),
    Unsupported("a STEP model", SAMPLE, (b"ISO-10303-21",)),
    Unsupported("an AutoCAD drawing", "Export its points as CSV or LAZ.", (), (".dwg",)),
    Unsupported("a binary DXF drawing", "Export its points as CSV or LAZ with CloudCompare.", (b"AutoCAD Binary DXF",)),
    Unsupported("a DXF drawing", "Export its points as CSV or LAZ with CloudCompare.", (), (".dxf",)),
    Unsupported("a FARO scan", "Export it as E57 with FARO SCENE.", (), (".fls", ".fws", ".lsproj"), True),
    Unsupported("an Autodesk ReCap project or scan", "Export it as E57 or PTS with ReCap.", (), (".rcp", ".rcs"), True),
    Unsupported("a Zoller+Fröhlich scan", "Export it as E57 with Z+F LaserControl.", (), (".zfs", ".zfprj"), True),
    Unsupported("a RIEGL scan", "Export it as LAZ or E57 with RiSCAN PRO.", (), (".rxp", ".rdbx", ".rdb"), True),
    Unsupported("a Leica Cyclone file", "Export it as E57 or PTX with Cyclone.", (), (".imp", ".lgs", ".lgsx"), True),
    Unsupported(
        "a Trimble scan", "Export it as E57 or LAZ with Trimble RealWorks.", (), (".tzf", ".tzs", ".rwp"), True
    ),
    Unsupported("a Bentley Pointools cloud", "Export it as E57 or LAZ with Pointools.", (), (".pod",), True),
    Unsupported("a MicroStation drawing", "Export its points as XYZ text or LAZ.", (), (".dgn",)),
    Unsupported("a CloudCompare project", "Save the cloud in it as PLY, LAZ or E57.", (b"CCB2",)),
    Unsupported("an OpenVDB volume", "", (), (".vdb",)),
    Unsupported("a splat of a radiance field", "Save it as PLY.", (), (".splat", ".ksplat", ".spz")),
)
ZIPPED = (
    (re.compile(r"xl/"), Unsupported("an Excel workbook", "Save the sheet as CSV.")),
    (re.compile(r"word/|ppt/"), Unsupported("an Office document")),
    (re.compile(r"content\.xml$"), Unsupported("an OpenDocument file", "Save the sheet as CSV.")),
    (re.compile(r"doc\.kml$"), Unsupported("a KMZ file", "Export its points as CSV with QGIS.")),
    (re.compile(r"3dSceneLayer\.json"), Unsupported("an Esri scene layer", ORIGINAL)),
    (re.compile(r".*\.shp$"), Unsupported("a zipped shapefile", "Export its points as CSV with QGIS.")),
)
MARKUP = re.compile(rb"<[a-z!?]", re.IGNORECASE)
MARKUPS = (
    (re.compile(rb"<gpx", re.IGNORECASE), Unsupported("a GPX track", "Export its points as CSV with QGIS.")),
    (re.compile(rb"<kml", re.IGNORECASE), Unsupported("a KML file", "Export its points as CSV with QGIS.")),
    (re.compile(rb"<landxml", re.IGNORECASE), Unsupported("a LandXML file", "Export its points as CSV.")),
)
OBJ = Unsupported("a Wavefront OBJ model", CLOUDCOMPARE)
OBJ_NAMES = (b"mtllib", b"o", b"g", b"usemtl", b"s")
# Lines of text that no table of points has: these files begin with numbers further down.
TEXTS = (
    (re.compile(rb"solid[^\n]*\n\s*facet\s"), Unsupported("an STL mesh", SAMPLE)),
    (
        re.compile(rb"\s*0\r?\n\s*SECTION\r?\n"),
        Unsupported("a DXF drawing", "Export its points as CSV with CloudCompare."),
    ),
    (re.compile(rb"\s*ncols\s+\d+\s+nrows\s+\d+", re.IGNORECASE), Unsupported("an Esri ASCII grid", PDAL)),
)


def refuse_known(head: bytes) -> None:
    """Raise UnsupportedFormat if ``head``, the first bytes of a file, shows one of ``KINDS``."""
    for kind in KINDS:
        if head.startswith(kind.magic):
            raise kind.error()


def refuse_text(head: bytes) -> None:
    """Raise UnsupportedFormat if ``head``, the first bytes of a text, shows what is not read."""
    if MARKUP.match(head):
        for mark, kind in MARKUPS:
            if mark.search(head):
                raise kind.error()
        raise UnsupportedFormat(
            "This is an HTML or XML page, not a point cloud; was a download link followed to a login?"
        )
    words = (line.split() for line in head.splitlines()[:1000])
    first = next((line for line in words if line and line[0][:1] != b"#" and line[0] not in OBJ_NAMES), [])
    if len(first) in (3, 4, 7, 8) and first[0] in (b"v", b"vt", b"vn"):
        raise OBJ.error()
    for mark, kind in TEXTS:
        if mark.match(head):
            raise kind.error()


def refuse_zip(names: list[str]) -> None:
    """Raise UnsupportedFormat if files called ``names`` show that a zip is not read."""
    for mark, kind in ZIPPED:
        if any(mark.match(name) for name in names):
            raise kind.error()


def refuse_name(filename: str) -> None:
    """Raise UnsupportedFormat if the name of a file whose bytes show nothing is that of one of ``KINDS``."""
    for kind in KINDS:
        if kind.extensions and filename.lower().endswith(kind.extensions):
            raise kind.error()
