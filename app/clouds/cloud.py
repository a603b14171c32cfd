"""The types of a point cloud and of its segmentation, which every part of the service passes on."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from app.clouds.fields import FIELDS, LABELS, OutputField
from app.clouds.units import Units

Bounds = tuple[float, float, float, float, float, float]
"""Least x, y, z and greatest x, y, z."""
UNUSED = ("gps_time", "ring")  # columns with a meaning that only models use which ask for them


@dataclass
class Cloud:
    """A point cloud as its file states it, in input order, with every point kept.

    Attributes:
        xyz: float64 (N, 3), the file's own units and origin; may hold NaN or inf.
        format: name of the format that it was read from, a key of ``app.clouds.catalog.READERS``.
        rgb: uint8 (N, 3), 0 to 255.
        intensity: float32 (N,) as the file states it.
        intensity_scale: the value of ``intensity`` that means full scale (1, 255, 65535), None if unknown.
        normals: float32 (N, 3), unit length as far as the file keeps to it.
        extra: further columns by name, each (N,) numeric. Names that matter downstream: ``classification``,
            ``return_number``, ``number_of_returns``, ``gps_time``, ``ring``, ``segment``, ``instance``.
        warnings: what the reader had to assume, one sentence each, for the answer.
        columns: for every column of the file by its own name, in the file's order, the channels that it feeds, names of
            ``app.clouds.columns.NAMES``.
        units: of the coordinates, if the file or the request states them; else None.
        num_context: the last so many points are neighbours of the others: the network sees them, the answer has no
            row for them.
        uncolored: rows of context whose file has no colors, each as its first and its end; ``rgb`` is 0 there.
        frame: least x, y, z and greatest x, y, z of the survey that the cloud is a part of, as ``xyz`` has them: grids
            are laid out as in the survey as one cloud. None for the box around its own points.
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
    num_context: int = 0
    uncolored: list[tuple[int, int]] = field(default_factory=list)
    frame: Bounds | None = None

    def __len__(self) -> int:
        return len(self.xyz)

    @property
    def num_answered(self) -> int:
        """Points that the answer has a row for."""
        return len(self) - self.num_context

    def answered(self) -> "Cloud":
        """The points that the answer has a row for, as a cloud of views; this one if it has no context."""
        if not self.num_context:
            return self
        return self.taken(slice(self.num_answered))

    def taken(self, rows: slice | np.ndarray) -> "Cloud":
        """The points ``rows``, a slice or what indexes rows of an array, as a cloud without context."""

        def of(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[rows]

        return replace(
            self,
            xyz=self.xyz[rows],
            rgb=of(self.rgb),
            intensity=of(self.intensity),
            normals=of(self.normals),
            extra={name: values[rows] for name, values in self.extra.items()},
            num_context=0,
            uncolored=[],
        )

    def left_out(self, output: str) -> list[str]:
        """A warning that names what points have beside coordinates, for a writer that has no place for any of it."""
        parts = {"colors": self.rgb, "intensity": self.intensity, "normals": self.normals, **self.extra}
        names = [name for name, values in parts.items() if values is not None]
        unread = {*UNUSED} - {*parts}
        names += [name for name, feeds in self.columns.items() if name not in parts and unread.issuperset(feeds)]
        left = ", ".join(names)
        return [f"{output} holds coordinates and labels; left out: {len(names):,} columns ({left:.200})."] * bool(names)


@dataclass(frozen=True)
class ClassInfo:
    """One class of a model: ``id`` as in the labels, display ``color`` (r, g, b) 0 to 255, ASPRS code if stated."""

    id: int
    name: str
    color: tuple[int, int, int]
    asprs: int | None = None


@dataclass(frozen=True)
class InstanceInfo:
    """One object: ``id`` as in the field ``instances``, class id ``label``, ``score`` from 0 to 1, number of points."""

    id: int
    label: int
    score: float
    num_points: int


@dataclass(frozen=True)
class RefinedStep:
    """A step that refined the labels, a name in ``app.refine.steps``, and how many points it ``changed``."""

    step: str
    changed: int


@dataclass
class SegmentationMeta:
    """What an answer holds beside its arrays.

    Attributes:
        classes: every class that the model knows, then the ``num_added`` that only refinement gave points; an encoder
            knows none.
        ignore_label: the id that no class has.
        instances: every instance, if the field ``instances`` was asked for.
        passes: of the network, made.
        passes_wanted: those that the mode asks for, more than ``passes`` if a limit kept some from being made.
        model: name of the model that answered.
        request_id: the id that the request carries in logs and answers.
        warnings: one sentence each.
        timings_ms: milliseconds by stage, in the order in which they ran.
        units: those that the coordinates of the cloud were taken for; None if no network has seen them.
        num_added: how many of the last ``classes`` the model does not know.
        refined: the steps that refined the labels, in their order.
        given_codes: ASPRS codes beside those of ``known_classes`` that the model or a step of refinement tells from
            others; not those that points only kept.
        label_column: name of the column of labels in files of points; '' for the classification of LAS, and ``label``.
    """

    classes: list[ClassInfo]
    ignore_label: int = -1
    instances: list[InstanceInfo] = field(default_factory=list)
    passes: int = 1
    passes_wanted: int = 1
    model: str = ""
    request_id: str = ""
    warnings: list[str] = field(default_factory=list)
    timings_ms: dict[str, float] = field(default_factory=dict)
    units: Units | None = None
    num_added: int = 0
    refined: list[RefinedStep] = field(default_factory=list)
    given_codes: list[int] = field(default_factory=list)
    label_column: str = ""

    @property
    def known_classes(self) -> list[ClassInfo]:
        """Those of ``classes`` that the model knows, one for each of its probabilities."""
        return self.classes[: len(self.classes) - self.num_added]


@dataclass
class Segmentation:
    """The answer for the N points of one cloud that are no context, in input order.

    Attributes:
        labels: int32 (N,), ids of ``meta.classes``, or ``meta.ignore_label`` for points that could not be used.
        meta: the rest of the answer.
        fields: arrays of N rows by name, those of ``app.clouds.fields.FIELDS`` that were asked for.
    """

    labels: np.ndarray
    meta: SegmentationMeta
    fields: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Labels and fields by name."""
        return {"labels": self.labels, **self.fields}

    @property
    def label_column(self) -> str:
        """Name of the column of labels in files of points."""
        return self.meta.label_column or LABELS.column_name

    @property
    def num_bytes(self) -> int:
        """Bytes of labels and fields."""
        return sum(array.nbytes for array in self.arrays.values())

    @property
    def num_values(self) -> int:
        """Numbers of a point in the fields."""
        return sum(values.shape[1] if values.ndim > 1 else 1 for values in self.fields.values())

    def columns(self, output: str, *, by_class: bool = False) -> Iterator[tuple[OutputField, str, np.ndarray]]:
        """OutputField, name and values (N,) of every column that the fields become in a file of points.

        With ``by_class`` a field with a value a class has a column a class. A warning names the fields that the format
        ``output`` gets none of, as a point has too many of their values.
        """
        class_names = [info.name for info in self.meta.known_classes] if by_class else []
        for name, declared in FIELDS.items():
            if name not in self.fields:
                continue
            columns = declared.columns(self.fields[name], class_names)
            if columns is None:
                self.meta.warnings.append(f"{output} gets no {name}: ask for another output to get them.")
                continue
            for column, values in columns.items():
                yield declared, column, values
