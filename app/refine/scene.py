"""The scene that steps work on: the points of a cloud with their predictions, their labels and what the file says."""

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from app.clouds.cloud import Cloud
from app.clouds.fields import FIELDS

from .check import stated_codes
from .legend import Legend

ORIGIN_STEP_M = 1024.0


class Scene:
    """P usable points of a cloud of N; the package's docstring says what a step may do with them.

    Args:
        cloud: all N points, context included.
        rows: int64 (N,), the row of the prediction for each point, -1 for one that is not usable.
        probabilities: float32 (R, C) of the rows.
        classes: of the model, C of them.
        ignore_label: id of points that could not be used.
        metres: that one unit of x, y and z is.
        load: brings an array to the device of ``rows``; nobody writes to what it gives.
        warnings: those of the answer.
        check_cancelled: called between steps, and by those that may take long; an exception of it ends them.
        vegetation_heights_m: those that the model states.
    """

    def __init__(
        self,
        cloud: Cloud,
        rows: Tensor,
        probabilities: Tensor,
        classes: Legend,
        ignore_label: int,
        metres: Sequence[float],
        load: Callable[[np.ndarray], Tensor],
        warnings: list[str],
        check_cancelled: Callable[[], None] = lambda: None,
        vegetation_heights_m: Sequence[float] = (),
    ):
        self.cloud = cloud
        self.classes = classes
        self.ignore_label = ignore_label
        self.warnings = warnings
        self.check_cancelled = check_cancelled
        self.vegetation_heights_m = vegetation_heights_m
        self.fields: dict[str, Tensor] = {}
        self._metres = metres
        self._load = load
        places = (rows >= 0).nonzero().flatten()
        self.places = None if len(places) == len(rows) else places
        """int64 (P,), the place of each point in the cloud; None if all points are usable."""
        self.rows = rows if self.places is None else rows.index_select(0, places)
        self.whole = rows.new_full((len(rows),), ignore_label)
        """int64 (N,), the label of every point of the cloud."""
        self.predict(probabilities)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labels(self) -> Tensor:
        """int64 (P,), the class id of each point. Assigned, not written into."""
        return self.whole if self.places is None else self.whole.index_select(0, self.places)

    @labels.setter
    def labels(self, labels: Tensor) -> None:
        self.whole = labels if self.places is None else self.whole.index_copy(0, self.places, labels)

    @property
    def answered(self) -> Tensor:
        """int64, the labels of the points that are no context, usable or not."""
        return self.whole[: self.cloud.num_answered]

    def answered_fields(self) -> dict[str, Tensor]:
        """``fields`` of the points that are no context, usable or not."""
        fields = self.fields
        if self.places is not None:
            fields = {
                name: values.new_full((len(self.whole),), FIELDS[name].unusable).index_copy_(0, self.places, values)
                for name, values in fields.items()
            }
        return {name: values[: self.cloud.num_answered] for name, values in fields.items()}

    def predict(self, probabilities: Tensor) -> None:
        """Replace the ``probabilities`` float32 (R, C) of all rows, and label every point by the likeliest class."""
        self.probabilities = probabilities
        ids = self.whole.new_tensor([info.id for info in self.classes.known])
        if len(self) and len(ids):
            self.labels = ids.index_select(0, self.best).index_select(0, self.rows)

    @property
    def best(self) -> Tensor:
        """int64 (R,), the likeliest class of each row."""
        return self.probabilities.max(1).indices

    @cached_property
    def xyz(self) -> Tensor:
        """float32 (P, 3), local coordinates in metres."""
        xyz = self._of_points(self._load(self.cloud.xyz))
        xyz = xyz * xyz.new_tensor(self._metres)
        return (xyz - (xyz.amin(0) / ORIGIN_STEP_M).floor() * ORIGIN_STEP_M).float() if len(xyz) else xyz.float()

    @cached_property
    def row_points(self) -> Tensor:
        """int64 (R,), the first point of each row; a row without points has the number P."""
        first = self.rows.new_full((len(self.probabilities),), len(self))
        return first.scatter_reduce(0, self.rows, torch.arange(len(self), device=self.rows.device), "amin")

    @cached_property
    def rgb(self) -> Tensor | None:
        """float32 (P, 3), 0 to 255; NaN for points of context whose file has no colors."""
        if self.cloud.rgb is None:
            return None
        rgb = self._load(self.cloud.rgb).float()
        for first, end in self.cloud.uncolored:
            rgb[first:end] = torch.nan
        return self._of_points(rgb)

    @cached_property
    def normals(self) -> Tensor | None:
        """float32 (P, 3), unit length as far as the file keeps to it."""
        return None if self.cloud.normals is None else self._of_points(self._load(self.cloud.normals))

    def means(self, *codes: int) -> Tensor:
        """bool (P,), whether the label of a point means one of the ASPRS ``codes``."""
        return torch.isin(self.labels, self.labels.new_tensor(self.classes.ids_of(*codes)))

    def file_codes(self, option: str) -> Tensor:
        """int64 (N,), the classes that the file states, those of neighbours for the context.

        Raises BadRequest, which names ``option``, if it states none.
        """
        return self._load(stated_codes(self.cloud, option)).long()

    def answered_column(self, name: str) -> Tensor | None:
        """(N - context,), the file's column ``name`` of the points that are answered, usable or not."""
        values = self.cloud.extra.get(name)
        return None if values is None else self._load(values[: self.cloud.num_answered])

    def answered_xy(self) -> Tensor:
        """float64 (N - context, 2), x and y of the points that are answered as the file has them."""
        return self._load(self.cloud.xyz[: self.cloud.num_answered])[:, :2]

    def _of_points(self, values: Tensor) -> Tensor:
        return values if self.places is None else values.index_select(0, self.places)
