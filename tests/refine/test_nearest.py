"""The nearest points are those of the operator; of many at one place few are searched."""

import pytest
import torch
from pointops import knn_query

from app.pipeline.normals import estimate_normals
from app.refine import nearest as module
from app.refine.nearest import nearest


def piles(num_points=3000, num_places=40):
    """Points at few places, and as many that are alone."""
    generator = torch.Generator().manual_seed(0)
    places = torch.rand(num_places, 3, generator=generator)
    at = torch.randint(num_places, (num_points,), generator=generator)
    return torch.cat([places[at], torch.rand(num_points, 3, generator=generator)])


@pytest.mark.parametrize("number", [1, 5, 64])
@pytest.mark.parametrize("coord", [piles(), piles(0), torch.ones(300, 3)], ids=["piles", "alone", "alike"])
def test_they_are_those_of_the_operator(coord, number):
    expected = knn_query(number, coord, torch.tensor([len(coord)]))
    for found, wanted in zip(nearest(number, coord), expected, strict=True):
        assert torch.equal(found, wanted)


def test_of_many_points_at_one_place_few_are_searched(monkeypatch):
    searched = []

    def counted(number, coord, *others):
        searched.append(len(coord))
        return knn_query(number, coord, *others)

    monkeypatch.setattr(module, "knn_query", counted)
    nearest(64, torch.ones(50_000, 3))
    estimate_normals(torch.ones(50_000, 3))
    assert searched == [64, 16]
