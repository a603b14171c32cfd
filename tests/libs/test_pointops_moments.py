import pointops
import pytest
import torch

XYZ = torch.tensor([[0.0, 0, 0], [1, 0, 2], [0, 3, 1], [4, 4, 4]])
QUERY = torch.tensor([[1.0, 1, 1]])


def moments(*rows, nsample=None):
    idx = torch.tensor([rows], dtype=torch.int32)
    return pointops.neighbour_moments(idx, nsample or len(rows), XYZ, QUERY)[:, 0].tolist()


def test_they_are_those_of_the_first_neighbours_seen_from_the_query():
    of_two = [-0.5, -1, 0, 0.25, 0, 0.5, 0, 0, 1, -1]
    assert moments(0, 1) == of_two
    assert moments(0, 1, 3, nsample=2) == of_two
    assert moments(-1, 0, -1, 1) == of_two


def test_one_neighbour_has_no_spread_and_none_has_nothing():
    assert moments(2) == [-1, 2, 0, 0, 0, 0, 0, 0, 0, 0]
    assert moments(-1, -1) == [0] * 10
    assert pointops.neighbour_moments(torch.zeros(0, 3).int(), 3, XYZ, QUERY[:0]).shape == (10, 0)


@pytest.mark.parametrize("nsample", [0, 3])
def test_there_are_as_many_neighbours_as_are_listed(nsample):
    with pytest.raises(ValueError, match="idx lists 2 neighbours"):
        pointops.neighbour_moments(torch.zeros(1, 2).int(), nsample, XYZ, QUERY)
