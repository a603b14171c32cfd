"""Operators on sparse voxels: compiled if there was a compiler, else in plain torch."""

from .attention import patch_attention
from .block import AttentionBlock, AttentionBlocks, LinearWeights, NormWeights, ResidualBlock, ResidualBlocks
from .components import connected_components
from .conv import PackedWeight, pack_weight, sparse_conv
from .extension import ARCHITECTURES
from .grid import GridSample, grid_sample
from .kernel_map import KernelMap
from .levels import CloudExtents, CoarseLevel, cloud_extents, coarse_levels
from .maps import sort_voxels, strided_map, strided_maps, submanifold_map, submanifold_maps
from .norm import layer_norm, residual_norm
from .patches import LevelPatches, PatchPadding, level_patches, patch_padding
from .reference import COORD_LIMIT, pack_keys
from .reference_grid import HASHES
from .reference_serial import CURVES
from .segments import segment_reduce
from .serialization import (
    OrderedVoxels,
    Serialization,
    ordered_voxels,
    serialization_depth,
    serialize,
    sort_codes,
)
from .steps import BatchNormWeights, PoolingStep, UnpoolingStep

if ARCHITECTURES:
    from . import fake as fake

__all__ = [
    "ARCHITECTURES",
    "COORD_LIMIT",
    "CURVES",
    "HASHES",
    "AttentionBlock",
    "AttentionBlocks",
    "BatchNormWeights",
    "CloudExtents",
    "CoarseLevel",
    "GridSample",
    "KernelMap",
    "LevelPatches",
    "LinearWeights",
    "NormWeights",
    "OrderedVoxels",
    "PackedWeight",
    "PatchPadding",
    "PoolingStep",
    "ResidualBlock",
    "ResidualBlocks",
    "Serialization",
    "UnpoolingStep",
    "cloud_extents",
    "coarse_levels",
    "connected_components",
    "grid_sample",
    "layer_norm",
    "level_patches",
    "ordered_voxels",
    "pack_keys",
    "pack_weight",
    "patch_attention",
    "patch_padding",
    "residual_norm",
    "segment_reduce",
    "serialization_depth",
    "serialize",
    "sort_codes",
    "sort_voxels",
    "sparse_conv",
    "strided_map",
    "strided_maps",
    "submanifold_map",
    "submanifold_maps",
]
