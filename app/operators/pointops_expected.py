"""What plain torch makes of the arguments of pointops' operators."""

import torch
from torch import Tensor

from .operator import Arguments

NEIGHBOURS = 8
CHANNELS, HEADS, WIDTH = 32, 4, 4
RADIUS_M = 0.6


def distances(given: Arguments) -> Tensor:
    """(queries, points), infinite between clouds."""
    queries, points = (
        torch.searchsorted(given[offset], torch.arange(len(given[xyz]), device=given[xyz].device), right=True)
        for xyz, offset in (("new_xyz", "new_offset"), ("xyz", "offset"))
    )
    distance = (given["new_xyz"].double()[:, None] - given["xyz"].double()).norm(dim=2)
    return distance.masked_fill(queries[:, None] != points, torch.inf)


def nearest(given: Arguments) -> Tensor:
    """Distances of the nearest points of each query, 1e5 where there is none."""
    return distances(given).topk(NEIGHBOURS, largest=False).values.nan_to_num(posinf=1e5)


def in_ball(given: Arguments) -> Tensor:
    """How many points are taken of those around each query."""
    return (distances(given) < RADIUS_M).sum(1).clamp(max=NEIGHBOURS)


def rows_at(table: Tensor, index: Tensor) -> Tensor:
    """Rows of ``table`` at ``index``, zeros at -1."""
    return torch.cat([table, torch.zeros_like(table[:1])])[index.long()]


def grouping(given: Arguments) -> Tensor:
    """Places relative to the queries, and features, of their neighbours."""
    relative = (rows_at(given["xyz"], given["idx"]) - given["new_xyz"][:, None]) * (given["idx"] >= 0)[..., None]
    return torch.cat([relative, rows_at(given["feat"], given["idx"])], 2)


def moments(given: Arguments) -> Tensor:
    """Of each query by itself, from its neighbours' places in float64."""
    is_one = (given["idx"] >= 0)[:, : given["nsample"], None]
    places = rows_at(given["xyz"], given["idx"][:, : given["nsample"]]).double() - given["new_xyz"][:, None].double()
    count = is_one.sum(1).clamp(min=1)
    mean = (places * is_one).sum(1) / count
    centred = (places - mean[:, None]) * is_one
    covariance = centred.mT @ centred / count[..., None]
    lowest = places[..., 2].masked_fill(~is_one[..., 0], torch.inf).amin(1).nan_to_num(posinf=0)
    entries = torch.triu_indices(3, 3, device=covariance.device)
    return torch.cat([mean.T, covariance[:, entries[0], entries[1]].T, lowest[None]])


def aggregation(given: Arguments) -> Tensor:
    """Sums of features and positions of neighbours by weights that channels share."""
    weight = given["weight"].repeat(1, 1, CHANNELS // WIDTH) * (given["idx"] >= 0)[..., None]
    return ((rows_at(given["input"], given["idx"]) + given["position"]) * weight).sum(1)


def interpolation(given: Arguments) -> Tensor:
    """Means of the features of the three nearest points by the inverse of their distance."""
    distance, index = distances(given).topk(3, largest=False)
    weight = 1 / (distance.nan_to_num(posinf=1e5) + 1e-8)
    weight = (weight / weight.sum(1, keepdim=True)).float()
    index = index.masked_fill(distance.isinf(), -1)
    return (rows_at(given["feat"], index) * weight[..., None]).sum(1)


def relation(given: Arguments) -> Tensor:
    """Products of query and key along edges, by weight, summed over the channels of a head."""
    return (given["query"][given["index_target"]] * given["key"][given["index_refer"]] * given["weight"]).sum(2)


def fusion(given: Arguments) -> Tensor:
    """Values along edges by their weight, summed at their targets."""
    terms = given["weight"][..., None] * given["value"][given["index_refer"]]
    return torch.zeros_like(given["value"]).index_add(0, given["index_target"], terms)
