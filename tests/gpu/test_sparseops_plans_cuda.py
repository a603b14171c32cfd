"""What a plan makes in one call on a CUDA device: the same as level by level, and as the processor."""

import pytest
import torch
from effort import rows
from sparseops import KernelMap, level_patches, ordered_voxels, submanifold_map, submanifold_maps
from sparseops_samples import voxels

pytestmark = pytest.mark.gpu
NUMBERS = (rows(20_000), 700, 1)


@pytest.mark.parametrize("curves", [(), ("z",), ("hilbert", "z-trans"), ("z", "z-trans", "hilbert", "hilbert-trans")])
@pytest.mark.parametrize("number", NUMBERS)
def test_voxels_are_ordered_as_on_the_processor(number, curves):
    coords = voxels(1, number, 60)
    depths = [6 + cloud % 2 for cloud in range(int(coords[:, 0].max()) + 1)]
    found = ordered_voxels(coords.cuda(), depths, curves)
    expected = ordered_voxels(coords, depths, curves)
    assert all(torch.equal(one.cpu(), other) for one, other in zip(found, expected, strict=True))


def test_patches_of_levels_are_those_of_the_processor():
    counts = [[rows(9000), 0, 49, 48, 1], [60, 0, 7, 9, 0], [0, 0, 0, 0, 0]]
    ends = [torch.tensor(own).cumsum(0).tolist() for own in counts]
    orders = []
    for own, curves in zip(counts, (4, 1, 2), strict=True):
        starts = [0, *torch.tensor(own).cumsum(0).tolist()[:-1]]
        cloud_rows = [torch.arange(start, start + count) for start, count in zip(starts, own, strict=True)]
        along = [torch.cat([each[torch.randperm(len(each))] for each in cloud_rows]) for _ in range(curves)]
        orders.append(torch.stack(along).int())
    inverses, sizes = [order.argsort(1).int() for order in orders], [48, 1, 5]
    on_device = ([each.cuda() for each in levels] for levels in (orders, inverses))
    found, expected = level_patches(*on_device, ends, sizes), level_patches(orders, inverses, ends, sizes)
    for one, other in zip(found, expected, strict=True):
        assert all(torch.equal(tensor.cpu(), known) for tensor, known in zip(one, other, strict=True))


def test_maps_made_and_grouped_together_are_as_each_alone():
    levels, sizes = [voxels(number, number, 40) for number in NUMBERS], (5, 3, 3)
    maps = submanifold_maps([each.cuda() for each in levels], sizes)
    for found, coords, size in zip(maps, levels, sizes, strict=True):
        assert torch.equal(found.forwards.cpu(), submanifold_map(coords, size).forwards)
    maps = [maps[0].inner(3), *maps[1:]]
    KernelMap.group(maps)
    for each in maps:
        alone = KernelMap(each.forwards).grouped
        assert all(torch.equal(one, other) for one, other in zip(each.grouped, alone, strict=True))
