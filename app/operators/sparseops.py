"""The operators of sparseops."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import sparseops
import torch
from torch import Generator, Tensor

from . import sparseops_expected as expected
from .operator import Arguments, Golden, Operator
from .sparseops_expected import PATCH_SIZE, RELATIVE_BOUND

CHANNELS = 32


def _voxels(generator: Generator, number: int) -> Tensor:
    """int64 (V, 4) of two clouds of hilly ground in no order, about ``number``, no voxel twice."""
    side = max(round((number / 2) ** 0.5), 1)
    cells = torch.cartesian_prod(torch.arange(2), torch.arange(side), torch.arange(side))
    height = 6 + 3 * torch.sin(cells[:, 1] / 3) + 2 * torch.rand(len(cells), generator=generator)
    coords = torch.cat([cells, height.long()[:, None]], 1)
    return coords[torch.randperm(len(coords), generator=generator)].contiguous()


def _features(generator: Generator, rows: int, *shape: int) -> Tensor:
    return torch.randn(rows, *shape, generator=generator)


def _grid_arguments(generator: Generator, number: int) -> Arguments:
    side = max(number**0.5, 2.0) / 10
    coord = torch.rand(number, 3, generator=generator) * torch.tensor([side, side, 1.0])
    return {"coord": coord, "grid_size": 0.1, "hash_type": "ravel"}


def _component_arguments(generator: Generator, number: int) -> Arguments:
    """Voxels that have up to three of four labels each."""
    neighbours = sparseops.submanifold_map(_voxels(generator, number), 3).forwards[:13].contiguous()
    has_label = torch.rand(neighbours.shape[1], 4, generator=generator).argsort(1) < torch.arange(4)
    has_label = has_label[:, torch.randperm(4, generator=generator)]
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), has_label.sum(1).cumsum(0)])
    return {"neighbours": neighbours, "offsets": offsets, "labels": has_label.nonzero()[:, 1].contiguous()}


def _conv_arguments(generator: Generator, number: int, kind: str) -> Arguments:
    coords = _voxels(generator, number)
    kernel_map = sparseops.submanifold_map(coords, 3) if kind == "submanifold" else sparseops.strided_map(coords)[1]
    size = 3 if kind == "submanifold" else 2
    weight = torch.randn(CHANNELS, size, size, size, CHANNELS, generator=generator) / 30
    return {
        "features": _features(generator, kernel_map.num_in, CHANNELS),
        "weight": weight,
        "kernel_map": kernel_map,
        "bias": torch.randn(CHANNELS, generator=generator),
        "residual": _features(generator, kernel_map.num_out, CHANNELS),
    }


def _linear_arguments(generator: Generator, number: int) -> Arguments:
    weight = torch.randn(CHANNELS, 1, 1, 1, CHANNELS, generator=generator) / 6
    return {
        "features": _features(generator, number, CHANNELS),
        "weight": weight,
        "kernel_map": None,
        "bias": torch.randn(CHANNELS, generator=generator),
        "residual": _features(generator, number, CHANNELS),
        "activation": "gelu",
    }


def _norm_arguments(generator: Generator, number: int, twice: bool) -> Arguments:
    affine = ("weight", "bias", "next_weight", "next_bias") if twice else ("weight", "bias")
    given = {name: torch.randn(CHANNELS, generator=generator) for name in affine}
    return {name: _features(generator, number, CHANNELS) for name in ("x", "residual")} | given


def _cube_arguments(generator: Generator, number: int) -> Arguments:
    """Two clouds, each all cells of a cube."""
    depth = max(number.bit_length() // 3, 1)
    cells = torch.cartesian_prod(*[torch.arange(1 << depth)] * 3)
    cells = torch.cat([cells[torch.randperm(len(cells), generator=generator)] for _ in range(2)])
    batch = torch.arange(2).repeat_interleave(len(cells) // 2)
    return {"grid_coord": cells, "batch": batch, "depth": torch.tensor([depth, depth]), "curves": ["hilbert"]}


def _steps(result: Any, given: Arguments) -> Tensor:
    """From cell to cell along the curve of each cloud."""
    return given["grid_coord"][result.orders[0]].unflatten(0, (2, -1)).diff(dim=1).abs().sum(2)


def _codes_arguments(generator: Generator, number: int) -> Arguments:
    return {"codes": torch.randint(0, max(number // 2, 2), (2, number), generator=generator), "num_bits": 40}


def _along_z(coords: Tensor) -> Tensor:
    """The order of int64 (V, 4) by cloud and then along the z curve."""
    bits = coords[:, 1:, None] >> torch.arange(9) & 1  # (V, 3, bits)
    return (coords[:, 0] << 27 | (bits << 3 * torch.arange(9) + torch.tensor([2, 1, 0])[:, None]).sum((1, 2))).argsort()


def _levels_arguments(generator: Generator, number: int) -> Arguments:
    coords = _voxels(generator, number)
    coords = coords[_along_z(coords)].contiguous()
    orders = torch.stack([torch.arange(len(coords)), _along_z(coords[:, [0, 2, 1, 3]])]).int()
    ends = coords[:, 0].bincount().cumsum(0).tolist()
    return {"coords": coords, "ends": ends, "shifts": [[1, 1], [1, 3], [4, 3]], "orders": orders}


def _levels_compared(result: Any, given: Arguments) -> Any:
    return tuple(tuple(level._replace(ends=torch.tensor(level.ends))) for level in result)


def _largest(given: Arguments, cloud: int) -> Tensor:
    return given["coords"][given["coords"][:, 0] == cloud, 1:].max()


def _segments_arguments(generator: Generator, number: int) -> Arguments:
    count = max(number // 5, 1)
    values = _features(generator, 5 * count, CHANNELS)
    return {"values": values, "offsets": torch.arange(0, 5 * count + 1, 5), "reduction": "mean"}


def _padding_arguments(generator: Generator, number: int) -> Arguments:
    return {"offset": torch.tensor([number // 3, number // 3, number]), "patch_size": PATCH_SIZE}


def _attention_arguments(generator: Generator, number: int) -> Arguments:
    patches = max(number // PATCH_SIZE, 1)
    qkv = _features(generator, patches * PATCH_SIZE, 3, 2, 16)
    starts = torch.arange(0, patches * PATCH_SIZE + 1, PATCH_SIZE, dtype=torch.int32)
    table = torch.randn(3 * (2 * RELATIVE_BOUND + 1), 2, generator=generator)
    voxels = torch.randint(-10, 10, (len(qkv), 3), generator=generator, dtype=torch.int32)
    return {"qkv": qkv, "cu_seqlens": starts, "table": table, "voxels": voxels}


def _coords(generator: Generator, number: int, **others: Any) -> Arguments:
    return {"coords": _voxels(generator, number), **others}


_operator = partial(Operator, "sparseops")
OPERATORS = [
    _operator(
        "grid_sample",
        _grid_arguments,
        expected.grid_sample,
        lambda result, given: (result.grid_coord, result.inverse, result.offsets.diff()),
        sized_by_values=True,
    ),
    _operator("pack_keys", _coords, expected.pack_keys, gapped=frozenset({"coords"})),
    _operator("sort_voxels", _coords, expected.sort_voxels),
    _operator(
        "submanifold_map",
        partial(_coords, kernel_size=3),
        expected.submanifold_map,
        lambda result, given: result.forwards,
        linear=False,
    ),
    _operator("connected_components", _component_arguments, expected.connected_components, linear=False),
    _operator(
        "strided_map",
        _coords,
        expected.strided_map,
        lambda result, given: (result[0], result[1].forwards, result[1].backwards),
        sized_by_values=True,
    ),
    _operator(
        "strided_maps",
        lambda generator, number: {"coords": _voxels(generator, number).unique(dim=0), "num_levels": 3},
        expected.strided_maps,
        lambda result, given: tuple((coarse, each.forwards, each.backwards) for coarse, each in result),
        sized_by_values=True,
    ),
    _operator(
        "pack_weight",
        lambda generator, number: {"weight": torch.randn(CHANNELS, 3, 3, 3, CHANNELS, generator=generator)},
        lambda given: torch.tensor([len(given["weight"]), 27, given["weight"].shape[4]]),
        lambda result, given: torch.tensor([result.out_channels, result.num_offsets, result.in_channels]),
        gapped=frozenset({"weight"}),
    ),
    *(
        _operator(
            "sparse_conv",
            partial(_conv_arguments, kind=kind),
            expected.sparse_conv,
            tolerance=1e-4,
            gradients=("features", "weight", "bias", "residual"),
            gapped=frozenset({"weight"}),
            variant=kind,
        )
        for kind in ("submanifold", "strided")
    ),
    _operator(
        "sparse_conv",
        _linear_arguments,
        expected.linear,
        tolerance=1e-5,
        gradients=("features", "weight", "bias", "residual"),
        gapped=frozenset({"weight"}),
        variant="linear",
    ),
    _operator(
        "layer_norm",
        partial(_norm_arguments, twice=False),
        expected.residual_norm,
        tolerance=1e-5,
        gradients=("x", "residual", "weight", "bias"),
    ),
    _operator(
        "residual_norm",
        partial(_norm_arguments, twice=True),
        expected.residual_norm,
        tolerance=1e-4,
        gradients=("x", "residual", "weight", "bias"),
    ),
    _operator(
        "serialization_depth",
        lambda generator, number: {"grid_coord": _voxels(generator, number)[:, 1:].contiguous()},
        lambda given: int(given["grid_coord"].max() + 1).bit_length(),
        gapped=frozenset({"grid_coord"}),
        any_shape=frozenset({"grid_coord"}),
        sized_by_values=True,
    ),
    _operator(
        "serialize", _cube_arguments, lambda given: given["batch"].new_ones(2, len(given["batch"]) // 2 - 1), _steps
    ),
    _operator("sort_codes", _codes_arguments, expected.sort_codes),
    _operator(
        "cloud_extents",
        _coords,
        lambda given: (given["coords"][:, 0].bincount(), torch.stack([_largest(given, 0), _largest(given, 1)])),
        lambda result, given: tuple(map(torch.tensor, result)),
        sized_by_values=True,
    ),
    _operator("coarse_levels", _levels_arguments, expected.coarse_levels, _levels_compared, sized_by_values=True),
    _operator(
        "segment_reduce",
        _segments_arguments,
        lambda given: given["values"].unflatten(0, (-1, 5)).mean(1),
        tolerance=1e-5,
        gradients=("values",),
    ),
    _operator(
        "patch_padding",
        _padding_arguments,
        expected.patch_padding,
        lambda result, given: tuple(result),
        gapped=frozenset({"offset"}),
        sized_by_values=True,
    ),
    _operator(
        "patch_attention", _attention_arguments, expected.patch_attention, tolerance=1e-4, gradients=("qkv", "table")
    ),
]


def _serialization(given: dict[str, Tensor], params: Mapping[str, Any]) -> dict[str, Tensor]:
    outputs: dict[str, Tensor] = {}
    for depth in params["depths"]:
        codes = sparseops.serialize(given[f"grid_coord_{depth}"], given[f"batch_{depth}"], depth).codes
        outputs |= {f"{curve}_{depth}": row for curve, row in zip(sparseops.CURVES, codes, strict=True)}
    cloud = sparseops.serialize(given["cloud_grid_coord"], given["cloud_batch"])
    return outputs | {
        "cloud_code": cloud.codes,
        "cloud_order": cloud.orders,
        "cloud_inverse": cloud.inverses,
        "cloud_depth": torch.tensor(sparseops.serialization_depth(given["cloud_grid_coord"])),
    }


def _attention_padding(given: dict[str, Tensor], params: Mapping[str, Any]) -> dict[str, Tensor]:
    outputs: dict[str, Tensor] = {}
    for name, offset in given.items():
        kind, _, batch = name.partition("_")
        if kind == "offset":
            padding = sparseops.patch_padding(offset, int(given[f"patch_{batch}"]))
            outputs |= {f"{field}_{batch}": tensor for field, tensor in padding._asdict().items()}
    return outputs


GOLDENS: dict[str, Golden] = {"attention_padding": _attention_padding, "serialization": _serialization}
