"""Kernel maps: public, checked functions."""

from collections.abc import Sequence

import torch
from torch import Tensor

from . import reference
from .extension import compiled_for
from .kernel_map import KernelMap
from .values import need_values

LARGEST_KERNEL = 7
MAPS_AT_ONCE = 16  # as in csrc/maps/maps_cuda.h


def sort_voxels(coords: Tensor, check: bool = True) -> tuple[Tensor, Tensor]:
    """Voxels in ascending order by batch, x, y, z.

    Args:
        coords: int64 (V, 4) of batch, x, y, z, contiguous.
        check: whether a GPU is read to check the values; unchecked, wrong ones give a meaningless order.

    Returns:
        Their rows in ``coords``, int64 (V,), and themselves, int64 (V, 4).

    Raises:
        ValueError: wrong shape, dtype or layout; if checked, a coordinate outside [0, 2**18) or a batch index outside
            [0, 512).
    """
    _check(coords)
    if compiled_for(coords):
        if check and coords.is_cuda:
            reference.check_limits(coords)
        order, ascending = torch.ops.sparseops.sort_voxels(coords)
        return order, ascending
    order = reference.pack_keys(coords, check).argsort(stable=True)
    return order, coords[order]


def submanifold_map(coords: Tensor, kernel_size: int) -> KernelMap:
    """Kernel map of a submanifold convolution: output voxels are the input voxels, the kernel is centred.

    The offset (i, j, k) of the kernel reads the voxel at (i, j, k) - (kernel_size - 1) / 2 from the output voxel. The
    compiled operator on a GPU looks at no value, which would wait for the device: there voxels outside the limits meet
    nothing or one another, and of a voxel given twice the neighbours meet one.

    Args:
        coords: int64 (V, 4) of batch, x, y, z in any order, contiguous, no voxel twice, in the limits of
            ``sort_voxels``.
        kernel_size: odd, at most 7.

    Returns:
        A map of ``kernel_size ** 3`` offsets, of the V rows onto themselves.

    Raises:
        ValueError: wrong shape, dtype, layout or size; where values are looked at also those that are not so.
    """
    _check(coords)
    _check_size(kernel_size)
    if compiled_for(coords):
        return KernelMap(torch.ops.sparseops.submanifold_map(coords, kernel_size))
    return reference.submanifold_map(coords, kernel_size)


def submanifold_maps(coords: Sequence[Tensor], kernel_sizes: Sequence[int]) -> list[KernelMap]:
    """``submanifold_map`` of several levels, each with its kernel size; on a GPU in one call.

    Args:
        coords: of each level, as for ``submanifold_map``.
        kernel_sizes: of each level.

    Raises:
        ValueError: as ``submanifold_map``, and if there are not as many sizes as levels.
    """
    if len(coords) != len(kernel_sizes):
        raise ValueError(f"kernel_sizes must be {len(coords)}, one a level, got {len(kernel_sizes)}")
    for level, kernel_size in zip(coords, kernel_sizes, strict=True):
        _check(level)
        _check_size(kernel_size)
    if not coords or not coords[0].is_cuda or not compiled_for(coords[0]) or len(coords) > MAPS_AT_ONCE:
        return [submanifold_map(*each) for each in zip(coords, kernel_sizes, strict=True)]
    return list(map(KernelMap, torch.ops.sparseops.submanifold_maps(coords, kernel_sizes)))


def strided_map(coords: Tensor) -> tuple[Tensor, KernelMap]:
    """Voxels of half the resolution, and the kernel map to them of a convolution of kernel 2, stride 2.

    The output voxel of c is floor(c / 2); the offset is the remainder. The inverse convolution uses ``inverse()`` of
    the map. Waits for the device.

    Args:
        coords: as for ``submanifold_map``.

    Returns:
        The coarser voxels, int64 (W, 4) in ascending order, and a map of 8 offsets.

    Raises:
        ValueError: wrong shape, dtype, layout or values, or a meta tensor.
    """
    _check(coords)
    need_values("coords", coords)
    if compiled_for(coords):
        coarse, children, parents = torch.ops.sparseops.strided_map(coords)
        return coarse, KernelMap(children, parents)
    return reference.strided_map(coords)


def strided_maps(coords: Tensor, num_levels: int) -> list[tuple[Tensor, KernelMap]]:
    """``strided_map`` of the voxels, of its coarser voxels, and so on, ``num_levels`` times, up to 18.

    If the rows of ``coords`` ascend, all sizes are read from a GPU at once; else it is waited for at every level.

    Args:
        coords: as for ``submanifold_map``.
        num_levels: 0 to 18.

    Returns:
        Coarser voxels and map of each level, from fine to coarse.

    Raises:
        ValueError: as ``strided_map``.
    """
    _check(coords)
    need_values("coords", coords)
    found: list[tuple[Tensor, KernelMap]] = []
    if coords.device.type != "cuda" or not compiled_for(coords):
        for _ in range(num_levels):
            found.append(strided_map(found[-1][0] if found else coords))
        return found
    *sizes, descents, outside = torch.ops.sparseops.halved_sizes(coords, num_levels).tolist()
    for size in sizes:
        if descents or outside:
            coords, kernel_map = strided_map(coords)
        else:
            coords, children, parents = torch.ops.sparseops.sized_strided_map(coords, size)
            kernel_map = KernelMap(children, parents)
        found.append((coords, kernel_map))
    return found


def _check_size(kernel_size: int) -> None:
    if kernel_size % 2 == 0 or not 1 <= kernel_size <= LARGEST_KERNEL:
        raise ValueError(f"kernel_size must be odd, from 1 to {LARGEST_KERNEL}, got {kernel_size}")


def _check(coords: Tensor) -> None:
    if coords.ndim != 2 or coords.shape[1] != 4 or coords.dtype != torch.int64 or not coords.is_contiguous():
        contiguous = "" if coords.is_contiguous() else ", not contiguous"
        raise ValueError(
            f"coords must be contiguous int64 (V, 4) of batch, x, y, z, got {coords.dtype} {tuple(coords.shape)}"
            + contiguous
        )
