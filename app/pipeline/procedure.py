"""The inference procedure of a model: transforms, voxels, views and classes, apart from files and folders."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from app.clouds.asprs import LOW_NOISE
from app.clouds.cloud import ClassInfo
from app.clouds.units import METRE, Unit

Transform = dict[str, Any]
DEFAULT_GRID_SIZE = 0.05  # of GridSample


@dataclass(frozen=True)
class InferenceProcedure:
    """The test procedure of a Pointcept config, with its classes.

    Attributes:
        name: of the model, for answers.
        transform: ``data.test.transform``, applied to the raw cloud.
        voxelize: ``data.test.test_cfg.voxelize``, a GridSample.
        post_transform: ``data.test.test_cfg.post_transform``, applied to the points that represent voxels; ends in
            Collect.
        aug_transform: ``data.test.test_cfg.aug_transform``, one list of transforms a view.
        classes: every class in the order of the logits.
        ignore_label: label of points that could not be used.
        condition: name of the dataset whose norms and classes a network trained on several uses by default.
        conditions: for a network with a head for each of several datasets, the classes of each.
        remarks: warnings of every answer, on how the model is run.
        unit: of the coordinates that the transforms and the grid are made for.
        vegetation_heights_m: heights above ground from which vegetation is medium and high; none if it states none.
    """

    name: str
    transform: list[Transform]
    voxelize: Transform
    post_transform: list[Transform]
    classes: list[ClassInfo]
    aug_transform: list[list[Transform]] = field(default_factory=list)
    ignore_label: int = -1
    condition: str | None = None
    conditions: dict[str, list[ClassInfo]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    unit: Unit = METRE
    vegetation_heights_m: tuple[float, ...] = ()

    @property
    def grid_size(self) -> float | Sequence[float]:
        """The edge of a voxel in ``unit``, or one an axis."""
        size: float | Sequence[float] = self.voxelize.get("grid_size", DEFAULT_GRID_SIZE)
        return size

    @property
    def noise_column(self) -> int | None:
        """The place among ``classes`` of low noise; None if there is no such class."""
        codes = [info.asprs for info in self.classes]
        return codes.index(LOW_NOISE) if LOW_NOISE in codes else None
