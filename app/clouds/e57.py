"""E57 (ASTM E2807): every scan of the file, in the file's common coordinate system. Needs the extra ``e57``."""

import math
import sys
import tempfile
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.transform import Rotation

from app.clouds.checks import check_num_points
from app.clouds.cloud import Cloud
from app.clouds.columns import Wanted, bound
from app.clouds.crs import BadCrs, units_of
from app.clouds.units import SAME, Units, length
from app.errors import BadCloud, Problem, UnsupportedFormat, storage_problem

if TYPE_CHECKING:
    import pye57

CARTESIAN = ("cartesianX", "cartesianY", "cartesianZ")
SPHERICAL = ("sphericalRange", "sphericalAzimuth", "sphericalElevation")
COLOURS = ("colorRed", "colorGreen", "colorBlue")
INVALID = {CARTESIAN: "cartesianInvalidState", SPHERICAL: "sphericalInvalidState"}
FULL_SCALES = (1, 255, 4095, 65535)


def read(data: memoryview, columns: Wanted | None = None, max_points: int | None = None) -> Cloud:
    """All scans of an E57 file one after the other, each moved by its pose; ``extra["scan"]`` is each point's scan.

    Points that the file marks as invalid are kept with NaN coordinates. ``columns`` may pair channels with ``x``,
    ``red``, ``intensity``, ``scan`` and so on.

    Raises:
        UnsupportedFormat: pye57 is not installed.
        BadCloud: the file is damaged, has no scans, or a scan has no coordinates.
        TooLarge: more than ``max_points`` points, found before they are read.
        NoRoom: the library reads files only, and the disk has no room for a copy.
    """
    try:
        import pye57
    except ImportError:
        raise UnsupportedFormat(
            f"Reading E57 needs pye57, which is not installed: run `{sys.executable} -m pip install pye57`."
        ) from None
    with _spooled(data) as spool:
        try:
            with pye57.E57(f"/dev/fd/{spool.fileno()}") as file:  # the library opens paths only
                cloud = bound(_read_scans(file, len(data), max_points), columns)
                cloud.units = _units(file)
                return cloud
        except (KeyboardInterrupt, SystemExit, MemoryError, Problem):
            raise
        except BaseException as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise BadCloud(f"The E57 file cannot be read: {reason}") from None


def _spooled(data: memoryview) -> IO[bytes]:
    """A file with ``data``, without a name, so that none is left if this process is killed.

    Raises NoRoom where the disk has no room for it.
    """
    try:
        with ExitStack() as stack:
            spool = stack.enter_context(tempfile.TemporaryFile())
            spool.write(data)
            spool.flush()
            stack.pop_all()
            return spool
    except OSError as error:
        raise storage_problem(error, "the E57 file") from error


def _read_scans(file: "pye57.E57", num_bytes: int, max_points: int | None) -> Cloud:
    scans = [_Scan(file, index) for index in range(file.scan_count)]
    check_num_points(sum(scan.num_points for scan in scans), max_points, "The E57 file")
    for scan in scans:
        scan.check_size(num_bytes)
    scans = [scan for scan in scans if scan.num_points]
    tables = [scan.read() for scan in scans]
    xyz = np.concatenate([table["xyz"] for table in tables])
    cloud = Cloud(np.ascontiguousarray(xyz), "e57")  # a rotation leaves columns contiguous
    cloud.extra["scan"] = np.repeat(
        np.array([scan.index for scan in scans], np.int32), [scan.num_points for scan in scans]
    )
    num_invalid = sum(int(table["num_invalid"]) for table in tables)
    if num_invalid:
        cloud.warnings.append(f"Points marked invalid in the file: {num_invalid:,}; their coordinates became NaN.")
    cloud.rgb = _joined("rgb", tables, scans, cloud.warnings)
    cloud.intensity = _joined("intensity", tables, scans, cloud.warnings)
    if cloud.intensity is not None:
        limit = max(scan.limit("intensityLimits", ("intensityMaximum",), "intensity") for scan in scans)
        cloud.intensity_scale = next((float(scale) for scale in FULL_SCALES if limit <= scale), None)
    return cloud


def _units(file: "pye57.E57") -> Units:
    """Metres, as the standard has it, with a doubt where the file states a coordinate system in something else."""
    metre = length(1.0, source="format")
    root = file.root
    text = str(root["coordinateMetadata"].value()) if root.isDefined("coordinateMetadata") else ""
    if not text.strip():
        return Units(metre, metre, metre)
    try:
        stated = units_of(text)
    except BadCrs as error:
        return Units(metre, metre, metre, doubts=(f"The coordinate system of the E57 file cannot be read: {error}.",))
    doubts = stated.doubts
    if any(unit.radians or abs(unit.metres - 1) > SAME for unit in stated.axes):
        doubts += (
            f"The coordinate system of the E57 file is in {stated.described()}, but E57 has metres by its standard: "
            "they were taken for metres. units= says otherwise.",
        )
    return Units(metre, metre, metre, stated.crs, doubts)


def _joined(name: str, tables: list[dict[str, Any]], scans: "list[_Scan]", warnings: list[str]) -> np.ndarray | None:
    """One array of a channel over all scans, zero in the scans that lack it; None where all do."""
    present = [table[name] for table in tables if name in table]
    if not present:
        return None
    if len(present) < len(tables):
        warnings.append(f"{len(tables) - len(present)} of {len(tables)} scans have no {name}; it is zero there.")
    empty = present[0][:0]
    return np.concatenate(
        [
            table.get(name, np.zeros((scan.num_points, *empty.shape[1:]), empty.dtype))
            for table, scan in zip(tables, scans, strict=True)
        ]
    )


class _Scan:
    """One entry of the file's data3D."""

    def __init__(self, file: "pye57.E57", index: int):
        from pye57 import libe57

        self._lib = libe57
        self._image = file.image_file
        self._header = file.get_header(index)
        self._prototype = libe57.StructureNode(self._header.points.prototype())
        self._fields = self._header.point_fields
        self.index = index
        self.num_points = self._header.point_count

    def check_size(self, num_bytes: int) -> None:
        """Raise BadCloud where ``num_bytes`` cannot hold the points: fields are bit-packed, not compressed."""
        bits = sum(self._bits(name) for name in self._fields)
        if self.num_points * bits > num_bytes * 8:
            raise BadCloud(
                f"Scan {self.index} states {self.num_points} points of {bits} bits; the file has {num_bytes} bytes."
            )

    def _node(self, name: str) -> Any:
        from pye57.utils import get_node

        return get_node(self._prototype, name)

    def _bits(self, name: str) -> int:
        node = self._node(name)
        if isinstance(node, self._lib.FloatNode):
            return 32 if node.precision() == self._lib.E57_SINGLE else 64
        if isinstance(node, (self._lib.IntegerNode, self._lib.ScaledIntegerNode)):
            return (int(node.maximum()) - int(node.minimum())).bit_length()
        return 0

    def limit(self, group: str, names: tuple[str, ...], field: str) -> float:
        """The greatest stated value of ``names`` in ``group``, else what the type of ``field`` holds, else inf."""
        if field not in self._fields:
            return 0.0
        if self._header.node.isDefined(group):
            limits = self._header[group]
            stated = [limits[name].value() for name in names if limits.isDefined(name)]
            if stated:
                return float(max(stated))
        node = self._node(field)
        if isinstance(node, self._lib.ScaledIntegerNode):
            return float(node.scaledMaximum())
        maximum = float(node.maximum())
        return maximum if maximum < 1e30 else math.inf

    def read(self) -> dict[str, Any]:
        """``xyz`` in the common system, ``num_invalid``, and ``rgb`` and ``intensity`` where the scan has them."""
        system = next((names for names in (CARTESIAN, SPHERICAL) if set(names) <= set(self._fields)), None)
        if system is None:
            raise BadCloud(f"Scan {self.index} of the E57 file has no coordinates; its fields are {self._fields}.")
        wanted = [*system, *(name for name in (INVALID[system], "intensity", *COLOURS) if name in self._fields)]
        values = self._columns(wanted)
        xyz = np.stack([values[name] for name in system], axis=1)
        if system == SPHERICAL:
            xyz = _cartesian(xyz)
        if self._header.has_pose():
            xyz = self._posed(xyz)
        invalid = values.get(INVALID[system], np.zeros(len(xyz))) != 0
        xyz[invalid] = np.nan
        table: dict[str, Any] = {"xyz": xyz, "num_invalid": invalid.sum()}
        if "intensity" in values:
            table["intensity"] = values["intensity"].astype(np.float32)
        if set(COLOURS) <= set(values):
            table["rgb"] = self._rgb(values)
        return table

    def _posed(self, xyz: np.ndarray) -> np.ndarray:
        pose = self._header.pose
        if pose.isDefined("rotation"):
            quaternion = [float(pose["rotation"][name].value()) for name in "xyzw"]
            xyz = Rotation.from_quat(quaternion).apply(xyz)
        if pose.isDefined("translation"):
            xyz = xyz + [float(pose["translation"][name].value()) for name in "xyz"]
        return xyz

    def _columns(self, names: list[str]) -> dict[str, np.ndarray]:
        values = {name: np.empty(self.num_points) for name in names}
        buffers = self._lib.VectorSourceDestBuffer()
        for name, array in values.items():
            buffers.append(self._lib.SourceDestBuffer(self._image, name, array, self.num_points, True, True))
        num_read = self._header.points.reader(buffers).read()
        if num_read != self.num_points:
            raise BadCloud(f"Scan {self.index} states {self.num_points} points but holds {num_read}.")
        return values

    def _rgb(self, values: dict[str, np.ndarray]) -> np.ndarray:
        names = tuple(f"{colour}Maximum" for colour in COLOURS)
        limit = max(self.limit("colorLimits", names, colour) for colour in COLOURS)
        greatest = max(float(values[colour].max()) for colour in COLOURS)
        full_scale = next((scale for scale in FULL_SCALES if max(limit, greatest) <= scale), greatest)
        rgb = np.stack([values[colour] for colour in COLOURS], axis=1) * (255 / full_scale)
        return np.clip(np.rint(np.nan_to_num(rgb)), 0, 255).astype(np.uint8)


def _cartesian(spherical: np.ndarray) -> np.ndarray:
    """Range, azimuth and elevation (N, 3), in metres and radians, to x, y, z."""
    distance, azimuth, elevation = spherical.T
    flat = distance * np.cos(elevation)
    return np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), distance * np.sin(elevation)], axis=1)
