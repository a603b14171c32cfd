"""Shapes and dtypes of the operators' results without their values, for meta tensors and torch.compile."""

from typing import Any

import torch
from torch import Tensor
from torch.library import register_fake

from .reference_levels import MAX_CLOUDS

PANEL = 16  # output channels side by side in a packed weight on the CPU, as in csrc/conv.h


@register_fake("sparseops::sort_voxels")
def _sort_voxels(coords: Tensor) -> tuple[Tensor, Tensor]:
    return coords.new_empty(coords.shape[0]), torch.empty_like(coords)


@register_fake("sparseops::submanifold_map")
def _submanifold_map(coords: Tensor, kernel_size: int) -> Tensor:
    return coords.new_empty(kernel_size**3, coords.shape[0], dtype=torch.int32)


@register_fake("sparseops::submanifold_maps")
def _submanifold_maps(coords: list[Tensor], kernel_sizes: list[int]) -> list[Tensor]:
    return [_submanifold_map(*each) for each in zip(coords, kernel_sizes, strict=True)]


@register_fake("sparseops::strided_map")
def _strided_map(coords: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    num_coarse = torch.library.get_ctx().new_dynamic_size()
    return (
        coords.new_empty(num_coarse, 4),
        coords.new_empty(8, num_coarse, dtype=torch.int32),
        coords.new_empty(8, coords.shape[0], dtype=torch.int32),
    )


@register_fake("sparseops::sized_strided_map")
def _sized_strided_map(coords: Tensor, num_coarse: int) -> tuple[Tensor, Tensor, Tensor]:
    return (
        coords.new_empty(num_coarse, 4),
        coords.new_empty(8, num_coarse, dtype=torch.int32),
        coords.new_empty(8, coords.shape[0], dtype=torch.int32),
    )


@register_fake("sparseops::halved_sizes")
def _halved_sizes(coords: Tensor, num_levels: int) -> Tensor:
    return coords.new_empty(num_levels + 2, dtype=torch.int32)


@register_fake("sparseops::pack_weight")
def _pack_weight(weight: Tensor) -> Tensor:
    out_channels, num_offsets, in_channels = weight.shape
    per_unit = 2 if weight.dtype == torch.bfloat16 else 1
    panels, units = (out_channels + PANEL - 1) // PANEL, (in_channels + per_unit - 1) // per_unit
    return weight.new_empty(num_offsets, panels, units, PANEL * per_unit)


@register_fake("sparseops::sparse_conv")
@register_fake("sparseops::sparse_conv_grouped")
def _sparse_conv(
    features: Tensor, weight: Tensor, out_channels: int, rows: Tensor | None, *others: Tensor | int | None
) -> Tensor:
    return features.new_empty(features.shape[0] if rows is None else rows.shape[1], out_channels)


@register_fake("sparseops::layer_norm")
def _layer_norm(x: Tensor, *others: Tensor | float | None) -> Tensor:
    return torch.empty_like(x)


@register_fake("sparseops::residual_norm")
def _residual_norm(x: Tensor, *others: Tensor | float | None) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(x)


@register_fake("sparseops::block_input")
def _block_input(
    x: Tensor, positional: Tensor, rows: Tensor, order: Tensor | None, into: Tensor, *others: Any
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), x.new_empty(into.shape[1], 3 * x.shape[1])


@register_fake("sparseops::block_output")
def _block_output(attended: Tensor, x: Tensor, *others: Any) -> Tensor:
    return torch.empty_like(x)


@register_fake("sparseops::attention_blocks")
def _attention_blocks(x: Tensor, *others: Any) -> Tensor:
    return torch.empty_like(x)


@register_fake("sparseops::residual_blocks")
def _residual_blocks(
    x: Tensor, rows: Tensor, order: Tensor | None, parameters: list[Tensor | None], channels: int
) -> Tensor:
    return x.new_empty(x.shape[0], channels)


@register_fake("sparseops::pool")
def _pool(
    x: Tensor,
    starts: Tensor,
    linear: list[Tensor | None],
    norm: list[Tensor | None],
    eps: float,
    channels: int,
) -> Tensor:
    return x.new_empty(starts.shape[0] - 1, channels)


@register_fake("sparseops::unpool")
def _unpool(
    x: Tensor, skip: Tensor, parents: Tensor, parameters: list[Tensor | None], channels: int
) -> tuple[Tensor, Tensor]:
    return x.new_empty(skip.shape[0], channels), x.new_empty(skip.shape[0], channels)


@register_fake("sparseops::group_rows")
def _group_rows(maps: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    return [rows.new_empty(rows.shape[1]) for rows in maps], [torch.empty_like(rows) for rows in maps]


@register_fake("sparseops::grid_sample")
def _grid_sample(
    coord: Tensor, grid_size: list[float], hash_number: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    whole, num_points = coord.new_empty(0, dtype=torch.int64), coord.shape[0]
    num_offsets = torch.library.get_ctx().new_dynamic_size(min=2)
    sizes = ((num_points, 3), (3,), (num_points,), (num_offsets,), (num_points,))
    grid_coord, lowest, order, offsets, inverse = (whole.new_empty(size) for size in sizes)
    return grid_coord, lowest, order, offsets, inverse


@register_fake("sparseops::serialization_codes")
def _serialization_codes(
    grid_coord: Tensor, batch: Tensor | None, depths: Tensor | None, depth: int, curves: list[int]
) -> Tensor:
    return grid_coord.new_empty(len(curves), grid_coord.shape[0], dtype=torch.int64)


@register_fake("sparseops::sort_codes")
def _sort_codes(codes: Tensor, num_bits: int) -> tuple[Tensor, Tensor]:
    return torch.empty_like(codes), torch.empty_like(codes)


@register_fake("sparseops::segment_reduce")
def _segment_reduce(values: Tensor, offsets: Tensor, reduction: int) -> Tensor:
    return values.new_empty(offsets.shape[0] - 1, values.shape[1])


@register_fake("sparseops::connected_components")
def _connected_components(neighbours: Tensor, offsets: Tensor, labels: Tensor) -> Tensor:
    return torch.empty_like(labels)


@register_fake("sparseops::patch_padding")
def _patch_padding(
    offset: Tensor, patch_size: int, num_points: int, num_padded: int, num_patches: int
) -> tuple[Tensor, Tensor, Tensor]:
    cu_seqlens = offset.new_empty(num_patches + 1, dtype=torch.int32)
    return offset.new_empty(num_padded), offset.new_empty(num_points), cu_seqlens


@register_fake("sparseops::ordered_voxels")
def _ordered_voxels(coords: Tensor, depths: list[int], curves: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    num_voxels = coords.shape[0]
    orders, inverses = (coords.new_empty(len(curves), num_voxels, dtype=torch.int32) for _ in range(2))
    return coords.new_empty(num_voxels), torch.empty_like(coords), orders, inverses


@register_fake("sparseops::patch_attention")
def _patch_attention(
    qkv: Tensor, cu_seqlens: Tensor, scale: float, table: Tensor | None = None, voxels: Tensor | None = None
) -> Tensor:
    return qkv.new_empty(qkv.shape[0], qkv.shape[2] * qkv.shape[3])


@register_fake("sparseops::cloud_extents")
def _cloud_extents(coords: Tensor) -> Tensor:
    return coords.new_empty(MAX_CLOUDS + 1, 2, dtype=torch.int32)


@register_fake("sparseops::coarse_ranks")
def _coarse_ranks(coords: Tensor, shifts: Tensor) -> Tensor:
    return coords.new_empty(shifts.shape[0], coords.shape[0], dtype=torch.int32)


@register_fake("sparseops::coarse_rows")
def _coarse_rows(coords: Tensor, ranks: Tensor, shifts: Tensor, sizes: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    rows = sum(sizes)
    num_parents = coords.shape[0] + rows - sizes[-1] if sizes else 0
    return coords.new_empty(rows, 4), coords.new_empty(num_parents), coords.new_empty(rows + len(sizes))


@register_fake("sparseops::coarse_orders")
def _coarse_orders(orders: Tensor, parents: Tensor, sizes: list[int]) -> tuple[Tensor, Tensor]:
    rows = orders.shape[0] * sum(sizes)
    return orders.new_empty(rows), orders.new_empty(rows)
