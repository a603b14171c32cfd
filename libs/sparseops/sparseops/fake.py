"""Shapes and dtypes of the operators' results without their values, for meta tensors and torch.compile."""

import torch
from torch import Tensor
from torch.library import register_fake

PANEL = 16


@register_fake("sparseops::sort_voxels")
def _sort_voxels(coords: Tensor) -> Tensor:
    return coords.new_empty(coords.shape[0])


@register_fake("sparseops::submanifold_map")
def _submanifold_map(coords: Tensor, kernel_size: int) -> Tensor:
    return coords.new_empty(kernel_size**3, coords.shape[0], dtype=torch.int32)


@register_fake("sparseops::strided_map")
def _strided_map(coords: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    num_coarse = torch.library.get_ctx().new_dynamic_size()
    return (
        coords.new_empty(num_coarse, 4),
        coords.new_empty(8, num_coarse, dtype=torch.int32),
        coords.new_empty(8, coords.shape[0], dtype=torch.int32),
    )


@register_fake("sparseops::pack_weight")
def _pack_weight(weight: Tensor) -> Tensor:
    out_channels, num_offsets, in_channels = weight.shape
    per_unit = 2 if weight.dtype == torch.bfloat16 else 1
    panels, units = (out_channels + PANEL - 1) // PANEL, (in_channels + per_unit - 1) // per_unit
    return weight.new_empty(num_offsets, panels, units, PANEL * per_unit)


@register_fake("sparseops::sparse_conv")
def _sparse_conv(
    features: Tensor,
    weight: Tensor,
    out_channels: int,
    rows: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    relu: bool,
) -> Tensor:
    return features.new_empty(rows.shape[1], out_channels)


@register_fake("sparseops::sparse_conv_grouped")
def _sparse_conv_grouped(
    features: Tensor,
    weight: Tensor,
    out_channels: int,
    rows: Tensor,
    order: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    relu: bool,
) -> Tensor:
    return features.new_empty(rows.shape[1], out_channels)


@register_fake("sparseops::group_rows")
def _group_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    return rows.new_empty(rows.shape[1]), torch.empty_like(rows)


@register_fake("sparseops::grid_sample")
def _grid_sample(
    coord: Tensor, grid_size: list[float], hash_number: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    whole, num_points = coord.new_empty(0, dtype=torch.int64), coord.shape[0]
    num_offsets = torch.library.get_ctx().new_dynamic_size(min=2)
    sizes = ((num_points, 3), (3,), (num_points,), (num_offsets,), (num_points,))
    grid_coord, lowest, order, offsets, inverse = (whole.new_empty(size) for size in sizes)
    return grid_coord, lowest, order, offsets, inverse
