"""The fields of an answer, each declared once; what packs, describes or writes answers goes through this table.

A file of points that came in may have a column of such a name. LAS and PCD overwrite it, with a warning, if its type
can hold the values; else, and always in PLY, the new column gets a name that is free (``records.free_name``).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Source = Literal["classes", "logits", "votes", "instances", "features", "refined"]
CLASSES: Source = "classes"
LOGITS: Source = "logits"
VOTES: Source = "votes"
INSTANCES: Source = "instances"
FEATURES: Source = "features"
REFINED: Source = "refined"
OF_SEVERAL = (CLASSES, VOTES, REFINED)  # what several models together give, too


@dataclass(frozen=True)
class OutputField:
    """Values of one meaning for every of N points.

    Attributes:
        name: in the option ``fields`` of a request and in ``Segmentation.fields``.
        dtype: of the values, as numpy writes it.
        source: what it is made from: probabilities of classes, logits, votes of views, instances, or features; or
            ``REFINED`` if a step of ``app.refine`` makes it. A pass that gives instances gives no features.
        description: for users; with the unit at most 32 bytes if the field has columns, as LAS has no room for more.
        width: C of an array (N, C), ``CLASSES`` or ``FEATURES`` for the number of those; None for (N,).
        array: its name in JSON, safetensors and Open Inference; ``name`` if empty.
        column: its name as a column of LAS, PLY, PCD, CSV and the page's format, and in NPZ; ``name`` if empty.
        parts: names of the C columns of an array (N, C); none if a point has too many values for columns.
        class_part: name of the column of a class, ``{}``, in CSV, which alone takes a column a class.
        step: unit in which LAS stores it, as whole numbers from 0; None to store it as it is.
        greatest: the greatest value possible, by the number of classes; None if there is none.
        unusable: value of points that could not be used.
        unit: of the values; empty if they have none.
    """

    name: str
    dtype: str
    source: Source
    description: str
    width: int | Source | None = None
    array: str = ""
    column: str = ""
    parts: tuple[str, ...] = ()
    class_part: str = ""
    step: float | None = None
    greatest: Callable[[int], float] | None = None
    unusable: float = 0
    unit: str = ""

    @property
    def kind(self) -> str:
        """Of the values: ``i`` for ids, ``u`` for a byte, ``f`` for numbers."""
        return np.dtype(self.dtype).kind

    @property
    def text(self) -> str:
        """Description and unit."""
        return f"{self.description}, in {self.unit}" if self.unit else self.description

    @property
    def array_name(self) -> str:
        """Name of its array in JSON, safetensors and Open Inference."""
        return self.array or self.name

    @property
    def column_name(self) -> str:
        """Name of its column, and in NPZ."""
        return self.column or self.name

    def row_shape(self, num_classes: int, num_features: int) -> tuple[int, ...]:
        """Shape of the values of a point: () or (C,)."""
        widths = {CLASSES: num_classes, FEATURES: num_features}
        return () if self.width is None else (self.width if isinstance(self.width, int) else widths[self.width],)

    def row_bytes(self, num_classes: int, num_features: int) -> int:
        """Bytes of the values of a point."""
        return np.dtype(self.dtype).itemsize * math.prod(self.row_shape(num_classes, num_features))

    def columns(self, values: np.ndarray, class_names: Sequence[str] = ()) -> dict[str, np.ndarray] | None:
        """``values`` (N,) or (N, C) as columns (N,) by name; None if a point has too many values for that.

        ``class_names`` are given by a format that takes a column a class.
        """
        if self.width is None:
            return {self.column_name: values}
        names = [self.class_part.format(name) for name in class_names] if self.width == CLASSES else self.parts
        return {name: values[:, place].copy() for place, name in enumerate(names)} or None


INT32, FLOAT32, UINT8 = "<i4", "<f4", "|u1"

LABELS = OutputField("labels", INT32, CLASSES, "Class id, or ignore_label", column="label")
"""What every answer has, named in no request."""

_TABLE = (
    OutputField(
        "confidence", FLOAT32, CLASSES, "Probability of the label", step=1e-4, greatest=lambda num_classes: 1.0
    ),
    OutputField("probabilities", FLOAT32, CLASSES, "Probability of every class", width=CLASSES, class_part="p_{}"),
    OutputField(
        "entropy",
        FLOAT32,
        CLASSES,
        "Entropy over classes",
        unit="nats",
        step=1e-4,
        greatest=lambda num_classes: math.log(max(2, num_classes)),
    ),
    OutputField("energy", FLOAT32, LOGITS, "-logsumexp of the logits"),
    OutputField(
        "agreement", FLOAT32, VOTES, "Share of views with this label", step=1e-4, greatest=lambda num_classes: 1.0
    ),
    OutputField(
        "instances",
        INT32,
        INSTANCES,
        "Instance id, -1 for none",
        array="instance_ids",
        column="instance",
        unusable=-1,
    ),
    OutputField("features", FLOAT32, FEATURES, "What the last layer of the network reads", width=FEATURES),
    OutputField(
        "features_rgb",
        UINT8,
        FEATURES,
        "Principal components as colors",
        width=3,
        parts=("features_red", "features_green", "features_blue"),
    ),
    OutputField("height_above_ground", FLOAT32, REFINED, "Height above ground", unusable=math.nan, unit="m"),
)
FIELDS = {field.name: field for field in _TABLE}
"""What a request can ask for beside the labels, by name."""

OUTPUTS = {"labels": LABELS, **FIELDS}
"""Every array of an answer by its name in ``Segmentation.arrays``."""


def made_from(source: Source, names: Iterable[str]) -> list[str]:
    """Those of the fields ``names`` that are made from ``source``, each once."""
    return [name for name in dict.fromkeys(names) if FIELDS[name].source == source]
