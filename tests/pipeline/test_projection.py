"""Projection of rows to the points of a cloud."""

import pytest
import torch

from app.pipeline.projection import Projection

# points 1, 2 and 4 of five are usable; the procedure drops point 2
KEPT = Projection.of_usable(5, torch.tensor([1, 2, 4])).onto(torch.tensor([0, -1, 1]), have_gaps=True)


def test_points_get_the_values_of_their_rows_and_the_others_the_unusable_one():
    assert KEPT.project(torch.tensor([7, 8], dtype=torch.int32), -1).tolist() == [-1, 7, -1, -1, 8]
    wide = KEPT.project(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), 0)
    assert wide.dtype == torch.float32
    assert wide.tolist() == [[0, 0], [1, 2], [0, 0], [0, 0], [3, 4]]


def test_rows_of_rows_and_rows_that_are_dropped_on_the_way():
    voxels = KEPT.onto(torch.tensor([3, 0]))
    assert voxels.project(torch.tensor([10, 11, 12, 13]), -1).tolist() == [-1, 13, -1, -1, 10]
    assert KEPT.onto(torch.tensor([-1, 0]), have_gaps=True).project(torch.tensor([5]), -1).tolist() == [
        -1,
        -1,
        -1,
        -1,
        5,
    ]


def test_points_that_are_all_usable_lose_their_rows_only_with_what_is_dropped():
    every = Projection.of_usable(3, torch.arange(3)).onto(torch.tensor([1, 0, 1]))
    assert every.project(torch.tensor([5, 6]), -1).tolist() == [6, 5, 6]
    assert every.onto(torch.tensor([-1, 0]), have_gaps=True).project(torch.tensor([7]), -1).tolist() == [7, -1, 7]


@pytest.mark.parametrize("shape", [(0,), (0, 3)])
def test_a_cloud_without_a_usable_point(shape):
    values = Projection.of_nothing(2).project(torch.empty(shape, dtype=torch.int32), -1)
    assert values.dtype == torch.int32
    assert values.tolist() == torch.full((2, *shape[1:]), -1).tolist()


def test_noise_gets_the_values_of_its_rows_or_those_of_one_for_noise():
    rows_of_all = KEPT.with_noise(torch.tensor([True, False])).onto(torch.tensor([1, 1]))
    assert rows_of_all.noise.tolist() == [False, True, False, False, False]
    values = torch.tensor([5, 6, 7])
    assert rows_of_all.project(values, -1).tolist() == [-1, 6, -1, -1, 6]
    assert rows_of_all.with_noise_at(2).project(values, -1).tolist() == [-1, 7, -1, -1, 6]
    assert rows_of_all.first(2).with_noise_at(2).project(values, -1).tolist() == [-1, 7]
    twice = rows_of_all.with_noise(torch.tensor([False, True]))
    assert twice.noise.tolist() == [False, True, False, False, True]
    assert KEPT.with_noise_at(1) is KEPT
