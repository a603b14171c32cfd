"""The two types that travel through the service: what came in, and what goes out."""

from dataclasses import dataclass, field

import numpy as np

from app.clouds.units import Units

FIELDS = ("confidence", "probabilities", "entropy", "instances", "features", "features_rgb")


@dataclass
class Cloud:
    """A point cloud as its file states it, in input order, with every point kept.

    Attributes:
        xyz: float64 (N, 3), the file's own units and origin; may hold NaN or inf.
        format: name of the format that it was read from, a key of ``app.clouds.formats.READERS``.
        rgb: uint8 (N, 3), 0 to 255.
        intensity: float32 (N,) as the file states it.
        intensity_scale: the value of ``intensity`` that means full scale (1, 255, 65535), None if unknown.
        normals: float32 (N, 3), unit length as far as the file keeps to it.
        extra: further columns by name, each (N,) numeric. Names that matter downstream: ``classification``,
            ``return_number``, ``number_of_returns``, ``gps_time``, ``ring``, ``segment``, ``instance``.
        warnings: what the reader had to assume, one sentence each, for the answer.
        columns: for every column of the file by its own name, in the file's order, the channels that it feeds, names of
            ``app.clouds.columns.NAMES``.
        units: of the coordinates, where the file or the request says them; None if nobody does.
    """

    xyz: np.ndarray
    format: str
    rgb: np.ndarray | None = None
    intensity: np.ndarray | None = None
    intensity_scale: float | None = None
    normals: np.ndarray | None = None
    extra: dict[str, np.ndarray] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    columns: dict[str, list[str]] = field(default_factory=dict)
    units: Units | None = None

    def __len__(self) -> int:
        return len(self.xyz)

    def left_out(self, output: str) -> list[str]:
        """A warning that names what points have beside coordinates, for a writer that has no place for any of it."""
        parts = {"colours": self.rgb, "intensity": self.intensity, "normals": self.normals, **self.extra}
        names = [name for name, values in parts.items() if values is not None]
        names += [name for name, feeds in self.columns.items() if not feeds and name not in parts]  # not even read
        told = ", ".join(names)
        return [f"{output} holds coordinates and labels; left out: {len(names):,} columns ({told:.200})."] * bool(names)


@dataclass(frozen=True)
class ClassInfo:
    """One class of a model: ``id`` as in the labels, display ``color`` (r, g, b) 0 to 255, ASPRS code if stated."""

    id: int
    name: str
    color: tuple[int, int, int]
    asprs: int | None = None


@dataclass(frozen=True)
class InstanceInfo:
    """One object: its ``id`` as in ``Segmentation.instances``, class id ``label``, ``score`` from 0 to 1, points."""

    id: int
    label: int
    score: float
    num_points: int


@dataclass
class Segmentation:
    """The answer for one cloud of N points, in input order; ``FIELDS`` are filled on request.

    Attributes:
        labels: int32 (N,), ids of ``classes`` or ``ignore_label`` for points that could not be used.
        classes: every class that the model knows; an encoder knows none.
        ignore_label: the id that no class has.
        confidence: float32 (N,), probability of the label, 0 where ignored.
        probabilities: float32 (N, num_classes), zeros where ignored.
        entropy: float32 (N,), in nats.
        features: float32 (N, C), what the network's last layer reads, zeros where ignored.
        features_rgb: uint8 (N, 3), their first three principal components as colors, zeros where ignored.
        instances: int32 (N,), ids of ``instance_infos``, -1 for points of no instance.
        instance_infos: every instance, where ``instances`` were asked for.
        passes: of the network, made.
        passes_wanted: those that the mode asks for, more than ``passes`` where a limit kept some from being made.
        model: name of the model that answered.
        request_id: the id that the request carries in logs and answers.
        warnings: one sentence each.
        timings_ms: milliseconds by stage, in the order in which they ran.
        units: those that the coordinates of the cloud were taken for; None if no network has seen them.
    """

    labels: np.ndarray
    classes: list[ClassInfo]
    ignore_label: int = -1
    confidence: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    entropy: np.ndarray | None = None
    instances: np.ndarray | None = None
    features: np.ndarray | None = None
    features_rgb: np.ndarray | None = None
    instance_infos: list[InstanceInfo] = field(default_factory=list)
    passes: int = 1
    passes_wanted: int = 1
    model: str = ""
    request_id: str = ""
    warnings: list[str] = field(default_factory=list)
    timings_ms: dict[str, float] = field(default_factory=dict)
    units: Units | None = None

    def wide_fields(self) -> list[str]:
        """Those asked for of which a point has many values, too many for columns of a file of points."""
        return [name for name in ("probabilities", "features") if getattr(self, name) is not None]

    def color_columns(self) -> list[tuple[str, np.ndarray]]:
        """``features_rgb``, if asked for, as columns uint8 (N,) by name."""
        if self.features_rgb is None:
            return []
        names = ("features_red", "features_green", "features_blue")
        return list(zip(names, np.ascontiguousarray(self.features_rgb.T), strict=True))
