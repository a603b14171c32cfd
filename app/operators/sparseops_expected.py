"""What plain torch makes of the arguments of sparseops' operators."""

from typing import Any

import torch
from torch import Tensor

from .operator import Arguments

LIMIT = 1 << 18  # of a coordinate
PATCH_SIZE = 64
RELATIVE_BOUND = 8


def grid_sample(given: Arguments) -> Any:
    """Cells of the points from 0, the cell of each point, and how many points each has."""
    cells = (given["coord"].double() / given["grid_size"]).floor().long()
    cells = cells - cells.amin(0)
    _, inverse, counts = cells.unique(dim=0, return_inverse=True, return_counts=True)
    return cells, inverse, counts


def submanifold_map(given: Arguments) -> Tensor:
    """int32 (K, V), the voxel at every offset of the kernel from each voxel, -1 for none."""
    coords, half = given["coords"], given["kernel_size"] // 2
    steps = torch.arange(-half, half + 1, device=coords.device)
    shifts = torch.nn.functional.pad(torch.cartesian_prod(steps, steps, steps), (1, 0))
    equal = ((coords + shifts[:, None])[:, :, None] == coords).all(3)  # (K, V, V)
    rows = equal.int().argmax(2).int()
    return torch.where(equal.any(2), rows, -1)


def connected_components(given: Arguments) -> Tensor:
    """The lowest node of each component."""
    neighbours, labels, number = given["neighbours"], given["labels"], len(given["labels"])
    place = torch.repeat_interleave(given["offsets"].diff())
    meets = (neighbours[:, place, None] == place).any(0) & (labels[:, None] == labels)
    meets |= meets.t() | torch.eye(number, dtype=torch.bool, device=labels.device)
    lowest = torch.arange(number, device=labels.device)
    while True:
        further = torch.where(meets, lowest, number).amin(1)
        if torch.equal(further, lowest):
            return lowest
        lowest = further


def strided_map(given: Arguments) -> Any:
    """The halved voxels, their eight children, and the parent of each voxel at its offset."""
    coords = given["coords"]
    halved = torch.cat([coords[:, :1], coords[:, 1:] // 2], 1)
    coarse, parent = halved.unique(dim=0, return_inverse=True)
    remainder = coords[:, 1:] % 2
    offset = remainder[:, 0] * 4 + remainder[:, 1] * 2 + remainder[:, 2]
    children = coarse.new_full((8, len(coarse)), -1)
    parents = coarse.new_full((8, len(coords)), -1)
    rows = torch.arange(len(coords), device=coords.device)
    children[offset, parent], parents[offset, rows] = rows, parent
    return coarse, children, parents


def strided_maps(given: Arguments) -> Any:
    """Those of ``strided_map``, level by level."""
    found: list[Any] = []
    for _ in range(given["num_levels"]):
        found.append(strided_map({"coords": found[-1][0] if found else given["coords"]}))
    return tuple(found)


def sparse_conv(given: Arguments) -> Tensor:
    """The convolution along a kernel map, with bias and residual."""
    features, rows = given["features"], given["kernel_map"].forwards.long()
    padded = torch.cat([features, features.new_zeros(1, features.shape[1])])  # the row -1
    out = given["bias"] + given["residual"]
    for row, kernel in zip(rows, given["weight"].flatten(1, 3).unbind(1), strict=True):
        out = out + padded[row] @ kernel.t()
    return out


def linear(given: Arguments) -> Tensor:
    """The linear layer of a convolution without a map, with bias, residual and GELU."""
    out = given["features"] @ given["weight"].flatten(1).t() + given["bias"] + given["residual"]
    return out * (1 + torch.erf(out * 0.5**0.5)) / 2


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The layer norm of rows (N, C)."""
    centred = x - x.mean(1, keepdim=True)
    return centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt() * weight + bias


def residual_norm(given: Arguments) -> Any:
    """The residual plus the layer norm of x, and the norm of that if there is a second one."""
    out = given["residual"] + layer_norm(given["x"], given["weight"], given["bias"])
    return (out, layer_norm(out, given["next_weight"], given["next_bias"])) if "next_weight" in given else out


def sort_codes(given: Arguments) -> Any:
    """The stable order of each row of codes, and its inverse."""
    orders = given["codes"].argsort(stable=True, dim=1)
    return orders, orders.argsort(1)


def coarse_levels(given: Arguments) -> Any:
    """Of every level: voxels, ends of the clouds, parents, first children, orders and their inverses."""
    finer, orders, before, found = given["coords"], given["orders"].long(), [0, 0], []
    for shifts in given["shifts"]:
        by = finer.new_tensor([high - low for low, high in zip(before, shifts, strict=True)])[finer[:, 0]]
        halved = torch.cat([finer[:, :1], finer[:, 1:] >> by[:, None]], 1)
        finer, parents, counts = halved.unique_consecutive(dim=0, return_inverse=True, return_counts=True)
        orders = torch.stack([order.unique_consecutive() for order in parents[orders]])
        starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        found.append((finer, finer[:, 0].bincount().cumsum(0), parents, starts, orders, orders.argsort(1)))
        before = shifts
    return tuple(found)


def patch_padding(given: Arguments) -> Any:
    """Places of points in whole patches, places of the points among these, and where patches begin."""
    size, begin = given["patch_size"], 0
    pad: list[int] = []
    unpad: list[int] = []
    starts = [0]
    for end in given["offset"].tolist():
        points = list(range(begin, end))
        missing = -len(points) % size if len(points) > size else 0
        unpad += range(len(pad), len(pad) + len(points))
        # the last patch is filled up with the points that stand a patch before the missing ones
        pad += points + [points[len(points) - size + place] for place in range(missing)]
        starts += range(starts[-1] + size, len(pad) + 1, size) if len(points) > size else [len(pad)] * bool(points)
        begin = end
    return torch.tensor(pad), torch.tensor(unpad), torch.tensor(starts)


def patch_attention(given: Arguments) -> Tensor:
    """Attention within patches of ``PATCH_SIZE``, with a bias by relative position."""
    query, key, value = given["qkv"].unflatten(0, (-1, PATCH_SIZE)).permute(2, 0, 3, 1, 4)  # (P, H, L, D) each
    places = given["voxels"].unflatten(0, (-1, PATCH_SIZE))
    distance = (places[:, :, None] - places[:, None]).clamp(-RELATIVE_BOUND, RELATIVE_BOUND) + RELATIVE_BOUND
    bias = sum(along[distance[..., axis]] for axis, along in enumerate(given["table"].chunk(3)))  # (P, L, L, H)
    scores = query @ key.transpose(2, 3) / query.shape[3] ** 0.5 + bias.permute(0, 3, 1, 2)
    return (scores.softmax(3) @ value).transpose(1, 2).flatten(0, 1).flatten(1)


def pack_keys(given: Arguments) -> Tensor:
    """Voxels as one number each."""
    batch, x, y, z = given["coords"].unbind(1)
    return ((batch * LIMIT + x) * LIMIT + y) * LIMIT + z


def sort_voxels(given: Arguments) -> tuple[Tensor, Tensor]:
    """The order of the voxels by their keys, and the voxels in it."""
    order = pack_keys(given).argsort(stable=True)
    return order, given["coords"][order]
