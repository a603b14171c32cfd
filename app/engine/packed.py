"""Clouds and segmentations as a memory file of arrays and a small rest."""

import math
import os
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from app.clouds.cloud import Cloud, Segmentation, SegmentationMeta
from app.clouds.fields import OUTPUTS
from app.clouds.strips import Window
from app.engine import arrays
from app.engine.owned_file import OwnedFile
from app.engine.protocol import ArraySpec, CloudMeta

Meta = TypeVar("Meta", CloudMeta, SegmentationMeta)

EXTRA = "extra/"
"""What names of columns of ``Cloud.extra`` begin with in a memory file."""
_CLOUD = {"xyz": ("<f8", (3,)), "rgb": ("|u1", (3,)), "intensity": ("<f4", ()), "normals": ("<f4", (3,))}


@dataclass(eq=False)
class Packed(OwnedFile, Generic[Meta]):
    """Arrays in a memory file."""

    layout: list[ArraySpec]
    meta: Meta

    @property
    def num_points(self) -> int:
        """First extent of the first array, which every array shares once checked."""
        return self.layout[0].shape[0]

    @property
    def num_bytes(self) -> int:
        """Of the memory file."""
        return os.fstat(self.fd).st_size

    def share(self) -> "Packed[Meta]":
        """A second owner of this file."""
        return Packed(os.dup(self.fd), self.layout, self.meta)


@dataclass(eq=False)
class PackedRing(Packed[CloudMeta]):
    """The ring of a tile (``app.clouds.strips``), with its ``SIDES`` if its ``inner`` is known."""

    inner: Window | None = None


def pack_cloud(cloud: Cloud) -> Packed[CloudMeta]:
    """Copy a cloud into a memory file; ValueError for an extra column that is not numeric."""
    columns, meta = parts(cloud)
    return Packed(*arrays.pack(columns), meta)


def parts(cloud: Cloud) -> tuple[dict[str, np.ndarray], CloudMeta]:
    """The arrays of a cloud as a memory file has them, and the rest of it."""
    columns = {name: getattr(cloud, name) for name in _CLOUD}
    columns |= {EXTRA + name: values for name, values in cloud.extra.items()}
    scale = None if cloud.intensity_scale is None else float(cloud.intensity_scale)
    warnings = [str(warning) for warning in cloud.warnings]
    meta = CloudMeta(
        cloud.format,
        scale,
        warnings,
        cloud.columns,
        cloud.units,
        cloud.num_context,
        cloud.uncolored,
        cloud.frame,
    )
    return {name: values for name, values in columns.items() if values is not None}, meta


def unpack_cloud(packed: Packed[CloudMeta]) -> Cloud:
    """The cloud as views of the memory file; ValueError if ``check_cloud`` raises it."""
    check_cloud(packed)
    columns = arrays.unpack(packed.fd, packed.layout)
    extra = {name.removeprefix(EXTRA): columns.pop(name) for name in list(columns) if name.startswith(EXTRA)}
    given: dict[str, Any] = columns | vars(packed.meta) | {"warnings": [*packed.meta.warnings], "extra": extra}
    return Cloud(**given)


def without(packed: Packed[CloudMeta], names: Collection[str]) -> Packed[CloudMeta]:
    """A second owner of the file of a cloud, as one that has no extra columns ``names``."""
    layout = [spec for spec in packed.layout if spec.name.removeprefix(EXTRA) not in names or spec.name in _CLOUD]
    return Packed(os.dup(packed.fd), layout, packed.meta)


def check_cloud(packed: Packed[CloudMeta]) -> None:
    """Raise ValueError unless the memory file holds a cloud as ``Cloud`` describes it."""
    arrays.check(packed.fd, packed.layout)
    _check_columns(packed.layout, "xyz", _CLOUD, EXTRA)
    if not 0 <= packed.meta.num_context <= packed.num_points:
        raise ValueError(f"{packed.meta.num_context} of {packed.num_points} points are context")
    if packed.meta.frame is not None and not all(map(math.isfinite, packed.meta.frame)):
        raise ValueError(f"{packed.meta.frame} is no frame")


def pack_segmentation(segmentation: Segmentation) -> Packed[SegmentationMeta]:
    """Copy a segmentation into a memory file."""
    return Packed(*arrays.pack(segmentation.arrays), segmentation.meta)


def unpack_segmentation(packed: Packed[SegmentationMeta]) -> Segmentation:
    """The segmentation as views of the memory file; ValueError if ``check_segmentation`` raises it."""
    check_segmentation(packed)
    fields = arrays.unpack(packed.fd, packed.layout)
    return Segmentation(fields.pop("labels"), packed.meta, fields)


def check_segmentation(packed: Packed[SegmentationMeta]) -> None:
    """Raise ValueError unless the memory file holds a segmentation as ``app.clouds.fields`` declares it."""
    arrays.check(packed.fd, packed.layout)
    num_features = next((spec.shape[-1] for spec in packed.layout if spec.name == "features"), 0)
    num_classes = len(packed.meta.known_classes)
    expected = {name: (field.dtype, field.row_shape(num_classes, num_features)) for name, field in OUTPUTS.items()}
    _check_columns(packed.layout, "labels", expected, None)


def _check_columns(
    layout: list[ArraySpec], first: str, expected: dict[str, tuple[str, tuple[int, ...]]], extra: str | None
) -> None:
    """Every array is one of ``expected`` (dtype, shape of a row) or extra, and all share the length of ``first``."""
    if not layout or layout[0].name != first or not layout[0].shape:
        raise ValueError(f"the first array is not {first!r}")
    num_points = layout[0].shape[0]
    for spec in layout:
        is_extra = extra is not None and spec.name.startswith(extra) and spec.shape == (num_points,)
        if not is_extra and expected.get(spec.name) != (spec.dtype, spec.shape[1:]):
            raise ValueError(f"array {spec.name!r} has dtype {spec.dtype} and shape {spec.shape}")
        if spec.shape[:1] != (num_points,):
            raise ValueError(f"array {spec.name!r} has {spec.shape[:1]} rows, {first!r} has {num_points}")
