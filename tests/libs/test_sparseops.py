"""Sparse operators against torch's dense convolutions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sparseops import COORD_LIMIT, pack_keys, sparse_conv, strided_map, submanifold_map
from torch.nn.functional import conv3d

GRID = 7


def random_voxels(seed: int, share: float, batches: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    voxels = (torch.rand(batches, GRID, GRID, GRID, generator=generator) < share).nonzero()
    return voxels[torch.randperm(len(voxels), generator=generator)]


def dense(features: torch.Tensor, coords: torch.Tensor, size: int) -> torch.Tensor:
    """(B, C, size, size, size) with the features of the voxels, zeros elsewhere."""
    grid = features.new_zeros(int(coords[:, 0].max()) + 1, size, size, size, features.shape[1])
    grid[tuple(coords.T)] = features
    return grid.permute(0, 4, 1, 2, 3)


def at(grid: torch.Tensor, coords: torch.Tensor) -> torch.Tensor:
    return grid.permute(0, 2, 3, 4, 1)[tuple(coords.T)]


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.floats(0.02, 0.9))
def test_submanifold_convolution_is_the_dense_one_at_the_voxels(kernel_size, seed, share):
    coords = random_voxels(seed, share)
    if not len(coords):
        return
    features, weight = torch.randn(len(coords), 3), torch.randn(4, *[kernel_size] * 3, 3)
    bias = torch.randn(4)
    expected = conv3d(dense(features, coords, GRID), weight.permute(0, 4, 1, 2, 3), bias, padding=kernel_size // 2)
    got = sparse_conv(features, weight, submanifold_map(coords, kernel_size), bias)
    torch.testing.assert_close(got, at(expected, coords), rtol=1e-5, atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.floats(0.02, 0.9))
def test_strided_convolution_is_the_dense_one_and_its_inverse_the_transposed(seed, share):
    coords = random_voxels(seed, share)
    if not len(coords):
        return
    coarse, down = strided_map(coords)
    features, weight = torch.randn(len(coords), 3), torch.randn(4, 2, 2, 2, 3)
    size = GRID + 1
    expected = conv3d(dense(features, coords, size), weight.permute(0, 4, 1, 2, 3), stride=2)
    got = sparse_conv(features, weight, down)
    torch.testing.assert_close(got, at(expected, coarse), rtol=1e-5, atol=1e-4)
    assert torch.equal(pack_keys(coarse), pack_keys(coarse).unique())

    up_weight = torch.randn(3, 2, 2, 2, 4)
    expected = torch.nn.functional.conv_transpose3d(
        dense(got, coarse, size // 2), up_weight.permute(4, 0, 1, 2, 3), stride=2
    )
    back = sparse_conv(got, up_weight, down.inverse())
    torch.testing.assert_close(back, at(expected, coords), rtol=1e-5, atol=1e-4)


def test_voxels_at_the_border_of_the_coordinates_do_not_meet_across_it():
    last = COORD_LIMIT - 1
    coords = torch.tensor(
        [[0, 0, 0, last], [0, 0, 1, 0], [0, 0, last, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, last, last, last]]
    )
    kernel_map = submanifold_map(coords, 3)
    pairs = set(zip(kernel_map.in_rows.tolist(), kernel_map.out_rows.tolist(), strict=True))
    assert pairs == {(row, row) for row in range(6)} | {(1, 3), (3, 1)}


def test_no_voxels_give_no_pairs():
    empty = torch.empty(0, 4, dtype=torch.int64)
    kernel_map = submanifold_map(empty, 3)
    assert sum(kernel_map.counts) == 0
    assert sparse_conv(torch.empty(0, 2), torch.randn(5, 3, 3, 3, 2), kernel_map).shape == (0, 5)


def test_gradients_reach_features_and_weights():
    coords = random_voxels(3, 0.2)
    features = torch.randn(len(coords), 2, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 3, 3, 3, 2, dtype=torch.float64, requires_grad=True)
    kernel_map = submanifold_map(coords, 3)
    assert torch.autograd.gradcheck(lambda f, w: sparse_conv(f, w, kernel_map), (features, weight), fast_mode=True)


@pytest.mark.parametrize("row", [[0, -1, 0, 0], [0, 0, COORD_LIMIT, 0], [-1, 0, 0, 0], [512, 0, 0, 0]])
def test_coordinates_outside_the_key_are_refused_with_their_range(row):
    with pytest.raises(ValueError, match="voxel coordinates must lie in"):
        submanifold_map(torch.tensor([[0, 0, 0, 0], row]), 3)


def test_wrong_shapes_are_refused_with_what_was_given():
    coords = random_voxels(0, 0.3)
    kernel_map = submanifold_map(coords, 3)
    features = torch.randn(len(coords), 4)
    with pytest.raises(ValueError, match=r"features must be \(\d+, 3\)"):
        sparse_conv(features, torch.randn(2, 3, 3, 3, 3), kernel_map)
    with pytest.raises(ValueError, match="weight has 8 offsets, the kernel map 27"):
        sparse_conv(features, torch.randn(2, 2, 2, 2, 4), kernel_map)
    with pytest.raises(ValueError, match="kernel_size must be odd, from 1 to 7, got 2"):
        submanifold_map(coords, 2)
    with pytest.raises(ValueError, match=r"coords must be \(V, 4\)"):
        pack_keys(coords[:, 1:])
