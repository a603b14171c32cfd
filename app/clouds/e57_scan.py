"""One scan of an E57 file: its points in the file's common coordinate system, and every further field of numbers."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.transform import Rotation

from app.errors import BadCloud

if TYPE_CHECKING:
    import pye57

CARTESIAN = ("cartesianX", "cartesianY", "cartesianZ")
SPHERICAL = ("sphericalRange", "sphericalAzimuth", "sphericalElevation")
COLORS = ("colorRed", "colorGreen", "colorBlue")
NORMALS = ("nor:normalX", "nor:normalY", "nor:normalZ")  # of the extension for surface normals
INVALID = {CARTESIAN: "cartesianInvalidState", SPHERICAL: "sphericalInvalidState"}
COLOR_INVALID, INTENSITY_INVALID = "isColorInvalid", "isIntensityInvalid"
FULL_SCALES = (1, 255, 4095, 65535)
LEAST_ROTATION = 1e-9  # length of a quaternion; that of a rotation is 1
UNLIMITED = 1e30  # what a type of floating point states that has no limits is above
# Types that pye57 fills; it takes the int64 of numpy for 32 bits, and its long long for what it is.
INTEGERS: list[Any] = [np.int8, np.uint8, np.int16, np.uint16, np.longlong]


@dataclass
class Table:
    """The points of one scan.

    Attributes:
        xyz: float64 (N, 3) in the common system, NaN if the scan marks the point as invalid.
        rgb, intensity, normals: as of a Cloud, None if the scan has none.
        extra: other fields by name, (N,) each.
        num_invalid: points without coordinates, without color, without intensity.
        warnings: what had to be assumed.
    """

    xyz: np.ndarray
    rgb: np.ndarray | None = None
    intensity: np.ndarray | None = None
    normals: np.ndarray | None = None
    extra: dict[str, np.ndarray] = field(default_factory=dict)
    num_invalid: tuple[int, int, int] = (0, 0, 0)
    warnings: list[str] = field(default_factory=list)


class E57Scan:
    """One entry of the file's data3D."""

    def __init__(self, file: "pye57.E57", index: int):
        from pye57 import libe57

        self._lib = libe57
        self._image = file.image_file
        self._header = file.get_header(index)
        self._prototype = libe57.StructureNode(self._header.points.prototype())
        nodes = {name: self._node(name) for name in self._header.point_fields}
        numeric = (libe57.FloatNode, libe57.IntegerNode, libe57.ScaledIntegerNode)
        self._nodes = {name: node for name, node in nodes.items() if isinstance(node, numeric)}
        self.others = [name for name in nodes if name not in self._nodes]
        self.index = index
        self.num_points = self._header.point_count
        self.system = next((names for names in (CARTESIAN, SPHERICAL) if set(names) <= set(self._nodes)), None)

    @property
    def fields(self) -> list[str]:
        """Names of the fields that hold numbers."""
        return list(self._nodes)

    def check_size(self, num_bytes: int) -> None:
        """Raise BadCloud if ``num_bytes`` cannot hold the points: fields are bit-packed, not compressed."""
        bits = sum(map(self._bits, self._nodes.values()))
        if self.num_points * bits > num_bytes * 8:
            raise BadCloud(
                f"Scan {self.index} states {self.num_points} points of {bits} bits; the file has {num_bytes} bytes."
            )

    def _node(self, name: str) -> Any:
        from pye57.utils import get_node

        return get_node(self._prototype, name)

    def _bits(self, node: Any) -> int:
        if isinstance(node, self._lib.FloatNode):
            return 32 if node.precision() == self._lib.E57_SINGLE else 64
        return (int(node.maximum()) - int(node.minimum())).bit_length()

    def _dtype(self, name: str) -> np.dtype:
        """The least type that holds every value of a field and can be read."""
        node = self._nodes[name]
        if isinstance(node, self._lib.IntegerNode):
            low, high = int(node.minimum()), int(node.maximum())
            return np.dtype(next(kind for kind in INTEGERS if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max))
        single = isinstance(node, self._lib.FloatNode) and node.precision() == self._lib.E57_SINGLE
        return np.dtype(np.float32 if single else np.float64)

    def limit(self, group: str, names: tuple[str, ...], field: str) -> float:
        """The greatest stated value of ``names`` in ``group``, else what the type of ``field`` holds, else inf; 0 if
        the scan has no such field."""
        if field not in self._nodes:
            return 0.0
        if self._header.node.isDefined(group):
            limits = self._header[group]
            stated = [_value(limits[name]) for name in names if limits.isDefined(name)]
            if any(map(math.isfinite, stated)):
                return max(filter(math.isfinite, stated))
        node = self._nodes[field]
        if isinstance(node, self._lib.ScaledIntegerNode):
            return float(node.scaledMaximum())
        maximum = float(node.maximum())
        return maximum if maximum < UNLIMITED else math.inf

    def read(self) -> Table:
        """All points of the scan, whose ``system`` is not None."""
        system = self.system or CARTESIAN
        floats = {*system, *COLORS}
        values = self._columns(
            {name: np.dtype(np.float64) if name in floats else self._dtype(name) for name in self.fields}
        )
        xyz = np.stack([values.pop(name) for name in system], axis=1)
        table = Table(_cartesian(xyz) if system == SPHERICAL else xyz)
        if set(NORMALS) <= set(values):
            table.normals = np.stack([values.pop(name) for name in NORMALS], axis=1).astype(np.float32)
        self._pose(table)
        invalid, dark, dim = (
            values.get(name, np.zeros(self.num_points, np.uint8)) != 0
            for name in (INVALID[system], COLOR_INVALID, INTENSITY_INVALID)
        )
        table.xyz[invalid] = np.nan
        if set(COLORS) <= set(values):
            table.rgb = self._rgb([values.pop(color) for color in COLORS], table.warnings)
            table.rgb[dark] = 0
        if "intensity" in values:
            table.intensity = values.pop("intensity").astype(np.float32)
            table.intensity[dim] = np.nan
        table.num_invalid = (
            int(invalid.sum()),
            int(dark.sum()) if table.rgb is not None else 0,
            int(dim.sum()) if table.intensity is not None else 0,
        )
        if "returnIndex" in values and "returnCount" in values:  # they count from 0
            values["return_number"] = values["returnIndex"].astype(np.int64) + 1
            values["number_of_returns"] = values["returnCount"]
        table.extra = values
        return table

    def _pose(self, table: Table) -> None:
        """Move and turn what the scan holds as its pose says, as far as that is a pose."""
        if not self._header.has_pose():
            return
        if not isinstance(self._header.node["pose"], self._lib.StructureNode):
            table.warnings.append(f"Scan {self.index} has a pose that is no rotation and translation: taken as none.")
            return
        rotation = self._pose_part("rotation", "wxyz", table.warnings)
        if rotation is not None and math.hypot(*rotation) < LEAST_ROTATION:
            table.warnings.append(f"Scan {self.index} has a rotation of length 0: taken as none.")
        elif rotation is not None:
            turn = Rotation.from_quat([*rotation[1:], rotation[0]])
            table.xyz = np.ascontiguousarray(turn.apply(table.xyz))
            if table.normals is not None:
                table.normals = np.ascontiguousarray(turn.apply(table.normals), np.float32)
        translation = self._pose_part("translation", "xyz", table.warnings)
        if translation is not None:
            table.xyz += translation

    def _pose_part(self, part: str, names: str, warnings: list[str]) -> list[float] | None:
        """The numbers of a part of the pose, None if it is not there or no numbers, which ``warnings`` says."""
        pose = self._header.pose
        if not pose.isDefined(part):
            return None
        node = pose[part]
        is_whole = isinstance(node, self._lib.StructureNode) and all(map(node.isDefined, names))
        numbers = [_value(node[name]) for name in names] if is_whole else [math.nan]
        if all(map(math.isfinite, numbers)):
            return numbers
        warnings.append(f"Scan {self.index} has a {part} that is not {len(names)} numbers: taken as none.")
        return None

    def _columns(self, dtypes: dict[str, np.dtype]) -> dict[str, np.ndarray]:
        values = {name: np.empty(self.num_points, dtype) for name, dtype in dtypes.items()}
        buffers = self._lib.VectorSourceDestBuffer()
        for name, array in values.items():
            buffers.append(self._lib.SourceDestBuffer(self._image, name, array, self.num_points, True, True))
        num_read = self._header.points.reader(buffers).read()
        if num_read != self.num_points:
            raise BadCloud(f"Scan {self.index} states {self.num_points} points but holds {num_read}.")
        return values

    def _rgb(self, channels: list[np.ndarray], warnings: list[str]) -> np.ndarray:
        names = tuple(f"{color}Maximum" for color in COLORS)
        limit = max(self.limit("colorLimits", names, color) for color in COLORS)
        greatest = max(float(np.nan_to_num(channel, posinf=0).max()) for channel in channels)
        reached = max(limit, greatest) if math.isfinite(limit) else greatest
        full_scale = next((scale for scale in FULL_SCALES if reached <= scale), greatest)
        if full_scale != 255:
            warnings.append(f"Colors of scan {self.index} run from 0 to {full_scale:g} and became 8 bits a channel.")
        rgb = np.stack(channels, axis=1) * (255 / full_scale)
        return np.clip(np.rint(np.nan_to_num(rgb)), 0, 255).astype(np.uint8)


def _value(node: Any) -> float:
    return float(node.scaledValue() if hasattr(node, "scaledValue") else node.value())


def _cartesian(spherical: np.ndarray) -> np.ndarray:
    """Range, azimuth and elevation (N, 3), in metres and radians, to x, y, z."""
    distance, azimuth, elevation = spherical.T
    flat = distance * np.cos(elevation)
    return np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), distance * np.sin(elevation)], axis=1)
