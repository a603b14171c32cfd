"""Operators on sparse voxels."""

from .kernel_map import KernelMap
from .reference import COORD_LIMIT, pack_keys, sparse_conv, strided_map, submanifold_map

__all__ = ["COORD_LIMIT", "KernelMap", "pack_keys", "sparse_conv", "strided_map", "submanifold_map"]
